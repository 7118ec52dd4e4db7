"""Sparse bytes: the content of a file, and a whole image."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

SECTOR = 2048


def sectors(length: int) -> int:
    """Return the number of sectors that a number of bytes needs."""
    return -(-length // SECTOR)


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content: ``size`` bytes, zero except for its pieces.

    Pieces are (offset, bytes), ascending, and do not overlap.
    """

    size: int
    pieces: tuple[tuple[int, bytes], ...]

    @classmethod
    def of(cls, data: "bytes | Content") -> "Content":
        """Return bytes as a content without holes, and a content unchanged."""
        return data if isinstance(data, Content) else cls(len(data), ((0, data),))

    def read(self, offset: int, length: int) -> bytes:
        """Read a range; beyond the end there are zeros."""
        out = bytearray(length)
        at = max(0, bisect_right(self.pieces, offset, key=lambda piece: piece[0]) - 1)
        for start, data in self.pieces[at:]:
            if start >= offset + length:
                break
            low, high = max(start, offset), min(start + len(data), offset + length)
            if low < high:
                out[low - offset : high - offset] = data[low - start : high - start]
        return bytes(out)


@dataclass(frozen=True, slots=True)
class Image:
    """An ISO image; only its pieces are in memory.

    Attributes
    ----------
    content : Content
    places : mapping of str to int
        Byte offsets of its structures: ``anchor``, ``fsd``, ``/sources``, … for tests that
        damage them.
    partition : int
        The first sector of the file system, from which its blocks are numbered.
    """

    content: Content
    places: Mapping[str, int] = field(default_factory=dict)
    partition: int = 0

    @property
    def size(self) -> int:
        return self.content.size

    def read(self, offset: int, length: int, /) -> bytes:
        """Read a range; reading beyond the end is an error."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise AssertionError(f"asked for {length} bytes at {offset} of {self.size}")
        return self.content.read(offset, length)

    def with_bytes(self, offset: int, data: bytes) -> "Image":
        """Return a copy with other bytes at an offset."""
        pieces = []
        end = offset + len(data)
        for start, old in self.content.pieces:
            if start + len(old) <= offset or start >= end:
                pieces.append((start, old))
                continue
            if start < offset:
                pieces.append((start, old[: offset - start]))
            if start + len(old) > end:
                pieces.append((end, old[end - start :]))
        pieces.append((offset, data))
        pieces.sort()
        return replace(self, content=Content(max(self.size, end), tuple(pieces)))

    def resized(self, size: int) -> "Image":
        """Return a copy that is cut off, or extended with zeros."""
        pieces = tuple((at, data[: size - at]) for at, data in self.content.pieces if at < size)
        return replace(self, content=Content(size, pieces))

    def write(self, path: Path | str) -> Path:
        """Write the image as a sparse file."""
        target = Path(path)
        with target.open("wb") as file:
            for offset, data in self.content.pieces:
                file.seek(offset)
                file.write(data)
            file.truncate(self.size)
        return target


def sorted_pieces(pieces: Iterable[tuple[int, bytes]]) -> tuple[tuple[int, bytes], ...]:
    """Sort pieces, and omit empty ones."""
    return tuple(sorted(piece for piece in pieces if piece[1]))
