"""Reads ranges of an object with a cache, within limits on requests and bytes."""

from collections.abc import Callable
from typing import Final, TypeAlias

from isodrop.codes import Code
from isodrop.errors import RejectedError
from isodrop.iso.model import ReadRange
from isodrop.text import printable

SECTOR: Final = 2048
ANCHOR_SECTOR: Final = 256

FIRST_READ: Final = (ANCHOR_SECTOR * SECTOR, 448 * 1024)
"""Offset and length of the reader's first range, limited to the object's end.

On ISOs written by oscdimg it contains the anchor, the volume descriptors, the root folder and
usually all folders. An object that ends at or before the offset is read from 0 instead.
"""

MAX_REQUESTS: Final = 24
MAX_BYTES: Final = 4 << 20
# Longer ranges are folders and XML, which are read once; the first range is always cached.
_MAX_CACHED: Final = 64 * 1024

Observer: TypeAlias = Callable[[int, int], None]
"""Called with offset and length before each range is read."""

DOWNLOAD_AGAIN: Final = (
    "Download the ISO again, compare the file's SHA-256 with the one published with the"
    " download, and upload it again."
)


def damaged_error(what: str) -> RejectedError:
    """Return the error that rejects a damaged ISO; ``what`` is the damage, without a period."""
    return RejectedError(
        Code.UNREADABLE_ISO,
        f"The ISO cannot be read: {what}; an unmodified copy of Microsoft's ISO is needed.",
    )


def only_zeros_error(what: str) -> RejectedError:
    """Return the error that rejects an object with zeros where ``what`` must be."""
    return RejectedError(
        Code.UNREADABLE_ISO,
        f"The ISO cannot be read: there are only zeros where {what} should be, as in a broken"
        " download; the whole ISO is needed.",
        DOWNLOAD_AGAIN,
    )


def describe_iso(label: str) -> str:
    """Name an ISO by its volume label, to begin a message."""
    return f"The ISO labeled {printable(label)}" if label else "The unlabeled ISO"


def truncated_error(size: int, needed: int, what: str) -> RejectedError:
    """Return the error that rejects an object that is shorter than its contents require."""
    return RejectedError(
        Code.TRUNCATED,
        f"The object ends after {size:,} bytes, but {what} would end at byte {needed:,};"
        " the whole ISO is needed.",
    )


class RangeReader:
    """Ranges of one object, each read once, within limits on requests and bytes.

    Parameters
    ----------
    read : ReadRange
        Its exceptions are passed on.
    size : int
        The object's size in bytes; nothing is read beyond it.
    observe : Observer, optional
        Called before each request.

    Attributes
    ----------
    size : int
    requests, bytes : int
        The number of requests and bytes so far.
    """

    __slots__ = ("_observe", "_read", "_segments", "bytes", "requests", "size")

    def __init__(self, read: ReadRange, size: int, observe: Observer | None = None) -> None:
        self._read = read
        self._observe = observe
        # At most MAX_REQUESTS of them, so a plain list is searched fast enough.
        self._segments: list[tuple[int, bytes]] = []
        self.size = size
        self.requests = 0
        self.bytes = 0

    def prefetch(self) -> None:
        """Read the first range, limited to the object's size."""
        offset, length = FIRST_READ
        if self.size <= offset:
            offset = 0
        if self.size:
            self._segments.append((offset, self._fetch(offset, min(length, self.size - offset))))

    def read(self, offset: int, length: int, what: str, *, read_ahead: int = 0) -> bytes:
        """Return ``length`` bytes from ``offset``.

        Parameters
        ----------
        offset, length : int
        what : str
            What the range contains, for the error message if the object ends before it.
        read_ahead : int
            The minimum number of bytes to read if a request is needed. The range that is read next
            often follows this one.

        Raises
        ------
        RejectedError
            ``truncated``, or ``unreadable-iso`` when a limit is exceeded.
        """
        end = offset + length
        if end > self.size:
            raise truncated_error(self.size, end, what)
        parts = []
        while offset < end:
            segment = self._find_segment(offset)
            if segment is None:
                segment = self._read_segment(offset, end, read_ahead)
            start, data = segment
            part = data[offset - start : end - start]
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _find_segment(self, offset: int) -> tuple[int, bytes] | None:
        for start, data in self._segments:
            if start <= offset < start + len(data):
                return start, data
        return None

    def _read_segment(self, offset: int, end: int, read_ahead: int) -> tuple[int, bytes]:
        """Read from ``offset`` to the next cached segment, the wanted end or the object's end."""
        wanted_end = max(end, min(offset + read_ahead, self.size))
        stop = min((at for at, _ in self._segments if offset < at < wanted_end), default=wanted_end)
        segment = (offset, self._fetch(offset, stop - offset))
        if len(segment[1]) <= _MAX_CACHED:
            self._segments.append(segment)
        return segment

    def _fetch(self, offset: int, length: int) -> bytes:
        if self.requests >= MAX_REQUESTS:
            raise damaged_error(f"its editions cannot be found within {MAX_REQUESTS} reads")
        if self.bytes + length > MAX_BYTES:
            raise damaged_error(f"its editions cannot be found within {MAX_BYTES:,} bytes")
        if self._observe is not None:
            self._observe(offset, length)
        self.requests += 1
        self.bytes += length
        data = self._read(offset, length)
        if len(data) != length:
            raise RejectedError(
                Code.TRUNCATED,
                f"Only {len(data):,} of {length:,} bytes could be read at byte {offset:,}; the"
                " whole ISO is needed.",
            )
        return data
