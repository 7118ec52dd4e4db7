"""Ways to read the XML of the Windows image file of an object, and the cost of each.

``python -m tools.bench.readers NAME JSON`` measures one in its own process and prints the
cost as JSON.
"""

import io
import json
import statistics
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from http.client import HTTPConnection
from types import MappingProxyType
from typing import Any

import pycdlib

from isodrop.iso.range_reader import RangeReader
from isodrop.iso.reader import find_wim
from isodrop.iso.wim import HEADER_SIZE

Places = list[list[int]]
"""The ranges (offset, length) of a block of metadata, the WIM's header and its XML."""

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a reader: ``memory`` is the peak of Python, ``xml`` the SHA-256 of the XML."""

    requests: int
    bytes: int
    seconds: float
    memory: int
    xml: str


class Client:
    """Reads ranges over one persistent connection, as an S3 client does, and counts."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port)
        self._connection.connect()
        self.requests = self.bytes = 0

    def read(self, offset: int, length: int, /) -> bytes:
        return b"".join(self.pieces(offset, length))

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range in pieces."""
        self.requests += 1
        self.bytes += length
        request = {"Range": f"bytes={offset}-{offset + length - 1}"}
        self._connection.request("GET", "/", headers=request)
        response = self._connection.getresponse()
        while piece := response.read(_PIECE):
            yield piece


class BlockFile(io.RawIOBase):
    """A file over ranges that reads whole blocks and caches all of them: the best case."""

    def __init__(self, client: Client, size: int, block: int) -> None:
        self._client, self._size, self._block = client, size, block
        self._at = 0
        self._blocks: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._at))
        end, done = self._at + length, 0
        while done < length:
            number, skip = divmod(self._at + done, self._block)
            data = self._fetch(number)[skip : skip + end - self._at - done]
            buffer[done : done + len(data)] = data
            done += len(data)
        self._at = end
        return length

    def _fetch(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * self._block
            length = min(self._block, self._size - start)
            self._blocks[number] = self._client.read(start, length)
        return self._blocks[number]


def three_reads(client: Client, _size: int, places: Places) -> bytes:
    """Read only what is necessary, at known offsets: the lower bound."""
    return [client.read(offset, length) for offset, length in places][-1]


def isodrop_reader(client: Client, size: int, _places: Places) -> bytes:
    """Read as isodrop does."""
    return find_wim(RangeReader(client.read, size)).wim.xml


def _by_pycdlib(block: int) -> "Reader":
    def read(client: Client, size: int, _places: Places) -> bytes:
        iso = pycdlib.PyCdlib()
        iso.open_fp(io.BufferedReader(BlockFile(client, size, block)))
        with iso.open_file_from_iso(udf_path="/sources/install.wim") as wim:
            header = wim.read(HEADER_SIZE)
            length, offset = struct.unpack_from("<QQ", header, 0x48)
            wim.seek(offset)
            return bytes(wim.read(length & (1 << 56) - 1))

    return read


def whole_object(client: Client, size: int, places: Places) -> bytes:
    """Read everything, and keep only the XML."""
    xml, at = bytearray(), 0
    start, length = places[-1]
    for piece in client.pieces(0, size):
        xml += piece[max(0, start - at) : max(0, start + length - at)]
        at += len(piece)
    return bytes(xml)


Reader = Callable[[Client, int, Places], bytes]
READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "three reads at known offsets": three_reads,
        "isodrop": isodrop_reader,
        "pycdlib, blocks of 1 MiB": _by_pycdlib(1 << 20),
        "pycdlib, blocks of 64 KiB": _by_pycdlib(64 << 10),
        "the whole object": whole_object,
    }
)


def measure(name: str, ports: Sequence[int], size: int, times: int, known: Places) -> Cost:
    """Run a reader and return its cost.

    Memory is measured in a separate run, because measuring takes time: on the second port,
    where a server responds at once.
    """
    slow, fast = ports
    client = Client(fast)
    tracemalloc.start()
    READERS[name](client, size, known)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    seconds = []
    for _ in range(times):
        client = Client(slow)
        began = time.perf_counter()
        xml = READERS[name](client, size, known)
        seconds.append(time.perf_counter() - began)
    digest = sha256(xml).hexdigest()
    return Cost(client.requests, client.bytes, statistics.median(seconds), memory, digest)


def main() -> None:
    name, request = sys.argv[1], json.loads(sys.argv[2])
    cost = measure(name, request["ports"], request["size"], request["times"], request["places"])
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
