"""Bodies of objects that are not in memory: they are in files, and read on demand.

S3 stores objects of up to 50 TB, and a real ISO is 6 GB; so an object put by reference stays in
its file, and so do its copies.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

CHUNK = 1 << 20
_hashers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="sha256")
_digests: dict[tuple["FileRange", ...], "Future[bytes]"] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class FileRange:
    """A range of a file, or of bytes in memory.

    Attributes
    ----------
    source : Path or bytes
        Where they are.
    start, size : int
        Which of them.
    changed : int
        When the file was last changed, in ns, if known.
    """

    source: Path | bytes
    start: int
    size: int
    changed: int = 0

    def slice(self, start: int, stop: int) -> "FileRange":
        """Return a part of it."""
        return replace(self, start=self.start + start, size=stop - start)

    def chunks(self) -> Iterator[bytes]:
        """Read it in chunks."""
        if isinstance(self.source, bytes):
            yield self.source[self.start : self.start + self.size]
            return
        with self.source.open("rb") as file:
            file.seek(self.start)
            left = self.size
            while left:
                data = file.read(min(left, CHUNK))
                if not data:
                    raise OSError(f"{self.source} has become shorter")
                left -= len(data)
                yield data

    def is_hole(self) -> bool:
        """Whether it is known to be nothing but zeros, because the file has nothing there."""
        if isinstance(self.source, bytes) or not hasattr(os, "SEEK_DATA"):
            return False
        with self.source.open("rb") as file:
            if self.start + self.size > os.fstat(file.fileno()).st_size:
                return False
            try:
                return os.lseek(file.fileno(), self.start, os.SEEK_DATA) >= self.start + self.size
            except OSError as error:
                return error.errno == errno.ENXIO  # no data after it either


class LinkedBody:
    """The body of an object as ranges of files; a slice is one, too, and reads nothing.

    Parameters
    ----------
    ranges : iterable of FileRange
        In order; adjacent ranges of one file are merged.
    reads : list, optional
        Records offset and length of each range that a client reads.
    offset : int
        The offset in the object at which it begins.
    """

    def __init__(
        self,
        ranges: Iterable[FileRange],
        reads: list[tuple[int, int]] | None = None,
        offset: int = 0,
    ) -> None:
        self.ranges = tuple(_merged(ranges))
        self.size = sum(each.size for each in self.ranges)
        self.reads = [] if reads is None else reads
        self.offset = offset

    @classmethod
    def of_file(cls, path: Path) -> "LinkedBody":
        """Make a file the body of an object."""
        stat = path.stat()
        return cls([FileRange(path, 0, stat.st_size, stat.st_mtime_ns)])

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, span: slice) -> "LinkedBody":
        start, stop, _ = span.indices(self.size)
        return LinkedBody(self._within(start, stop), self.reads, self.offset + start)

    def _within(self, start: int, stop: int) -> Iterator[FileRange]:
        before = 0
        for each in self.ranges:
            first, last = max(start - before, 0), min(stop - before, each.size)
            if first < last:
                yield each.slice(first, last)
            before += each.size

    def chunks(self) -> Iterator[bytes]:
        """Read it in chunks for a client, and record that."""
        self.reads.append((self.offset, self.size))
        for each in self.ranges:
            yield from each.chunks()

    def sha256(self) -> "Future[bytes]":
        """Hash it in a thread; the same range is hashed only once."""
        with _lock:
            if self.ranges not in _digests:
                _digests[self.ranges] = _hashers.submit(_sha256, self.ranges)
            return _digests[self.ranges]


Body = bytes | LinkedBody


def join(bodies: Iterable[Body]) -> Body:
    """Concatenate bodies without reading files."""
    parts = list(bodies)
    if all(isinstance(part, bytes) for part in parts):
        return b"".join(part for part in parts if isinstance(part, bytes))
    return LinkedBody(
        stretch
        for part in parts
        for stretch in (
            part.ranges if isinstance(part, LinkedBody) else [FileRange(part, 0, len(part))]
        )
    )


def _merged(ranges: Iterable[FileRange]) -> Iterator[FileRange]:
    last: FileRange | None = None
    for each in ranges:
        if last is not None and _are_adjacent(last, each):
            last = replace(last, size=last.size + each.size)
            continue
        if last is not None:
            yield last
        last = each
    if last is not None:
        yield last


def _are_adjacent(one: FileRange, other: FileRange) -> bool:
    same = isinstance(one.source, Path) and one.source == other.source
    return same and one.changed == other.changed and one.start + one.size == other.start


def _sha256(ranges: tuple[FileRange, ...]) -> bytes:
    if len(ranges) == 1 and ranges[0].is_hole():
        return _sha256_of_zeros(ranges[0].size)
    digest = hashlib.sha256()
    for each in ranges:
        for chunk in each.chunks():
            digest.update(chunk)
    return digest.digest()


@cache
def _sha256_of_zeros(size: int) -> bytes:
    """Hash zeros, of which most of a large ISO made for a test consists, without reading it."""
    digest, zeros = hashlib.sha256(), bytes(CHUNK)
    for _ in range(size // CHUNK):
        digest.update(zeros)
    digest.update(zeros[: size % CHUNK])
    return digest.digest()
