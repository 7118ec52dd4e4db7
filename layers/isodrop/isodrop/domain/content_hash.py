"""Both names of bytes from one pass: the flat SHA-256, and what S3 makes of a copy. Pure."""

import hashlib
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from isodrop.domain.content import PART_SIZE, Content, composite_checksum

PIECE: Final = 8 * 1024**2
PARALLEL: Final = 8
"""Pieces that are read at the same time; with the one that is hashed they bound the memory."""

Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class ContentHashes:
    """What bytes are called.

    Attributes
    ----------
    sha256 : str
        Of all of them: 64 hexadecimal characters, as Microsoft prints it beside its downloads.
    content : Content
        What S3 would say of a copy, without one.
    """

    sha256: str
    content: Content


def read_in_order(
    read: Read, size: int, *, piece: int = PIECE, parallel: int = PARALLEL
) -> Iterator[bytes]:
    """Read pieces side by side, and hand them on in order.

    Never more than ``parallel`` pieces are read or wait, besides the one that was handed on.

    Parameters
    ----------
    read : callable
        Takes offset and length; called by several threads.
    size : int
        Of the whole.
    piece, parallel : int
        How much at a time, and how many at once.
    """
    starts = iter(range(0, size, piece))
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        ahead: deque[Future[bytes]] = deque()

        def submit(count: int) -> None:
            for start in islice(starts, count):
                ahead.append(pool.submit(read, start, min(piece, size - start)))

        try:
            submit(parallel)
            while ahead:
                data = ahead.popleft().result()
                submit(1)
                yield data
        finally:
            for each in ahead:
                each.cancel()


def sha256_of(read: Read, size: int, *, piece: int = PIECE, parallel: int = PARALLEL) -> str:
    """Hash the whole, flat."""
    whole = hashlib.sha256()
    for data in read_in_order(read, size, piece=piece, parallel=parallel):
        whole.update(data)
    return whole.hexdigest()


def hashes_of(
    read: Read,
    size: int,
    *,
    part_size: int = PART_SIZE,
    piece: int = PIECE,
    parallel: int = PARALLEL,
) -> ContentHashes:
    """Hash the whole both ways, from one pass.

    Examples
    --------
    >>> hashes_of(lambda at, length: b"abc"[at : at + length], 3).sha256[:16]
    'ba7816bf8f01cfea'
    """
    whole = hashlib.sha256()
    checksums = []
    part, left = hashlib.sha256(), part_size
    for data in read_in_order(read, size, piece=piece, parallel=parallel):
        whole.update(data)
        view = memoryview(data)
        while len(view) >= left:
            part.update(view[:left])
            checksums.append(b64encode(part.digest()).decode())
            view, part, left = view[left:], hashlib.sha256(), part_size
        part.update(view)
        left -= len(view)
    if left < part_size:
        checksums.append(b64encode(part.digest()).decode())
    return ContentHashes(whole.hexdigest(), Content(size, part_size, composite_checksum(checksums)))
