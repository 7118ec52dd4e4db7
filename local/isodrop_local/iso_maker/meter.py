"""Runs the reader on an image, and measures its requests, time and memory."""

import sys
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import isodrop.iso
from isodrop.codes import Code, Rejection
from isodrop.errors import RejectedError
from isodrop.iso.model import IsoContents
from isodrop.iso.reader import read_iso
from isodrop_local.iso_maker.image import Image

READER = str(Path(isodrop.iso.__file__).parent)
MAX_REQUESTS = 24
MAX_BYTES = 4 << 20
MAX_MEMORY = 4 << 20
# In executed lines of the reader; a Microsoft ISO needs 8,000 or more.
FEW_LINES = 10_000
MAX_LINES = 500_000


@dataclass(slots=True)
class Meter:
    """A ``ReadRange`` of an image that records what is read."""

    image: Image
    ranges: list[tuple[int, int]] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return len(self.ranges)

    @property
    def total(self) -> int:
        return sum(length for _, length in self.ranges)

    def read(self, offset: int, length: int, /) -> bytes:
        self.ranges.append((offset, length))
        return self.image.read(offset, length)

    def check(self) -> None:
        """Fail if the reader exceeded its limits."""
        assert self.requests <= MAX_REQUESTS, self.ranges
        assert self.total <= MAX_BYTES, self.ranges


def read_contents(image: Image) -> IsoContents:
    """Read an image within the limits."""
    meter = Meter(image)
    contents = read_iso(meter.read, image.size)
    meter.check()
    assert (contents.requests, contents.bytes_read) == (meter.requests, meter.total)
    return contents


def read_rejection(image: Image, *, requests: int = MAX_REQUESTS) -> Rejection:
    """Read an image that must be rejected, with at most ``requests`` requests."""
    meter = Meter(image)
    found: IsoContents | Rejection
    try:
        found = read_iso(meter.read, image.size)
    except RejectedError as error:
        found = error.rejection
    meter.check()
    assert meter.requests <= requests, meter.ranges
    assert isinstance(found, Rejection), found
    assert found.message.isprintable()
    assert found.message.endswith(".")
    return found


def peak_memory(image: Image) -> int:
    """Return the peak memory of reading an image, in bytes, rejected or not."""
    tracemalloc.start()
    try:
        read_iso(image.read, image.size)
    except RejectedError:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


def count_lines(image: Image) -> int:
    """Count the lines of the reader that are executed for an image, rejected or not.

    Unlike seconds, they are the same on every machine, whatever its load.
    """
    lines = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(READER):
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read_iso(image.read, image.size)
    except RejectedError:
        pass
    finally:
        sys.settrace(before)
    return lines


def assert_rejected_cheaply(
    image: Image, words: str = "", code: Code = Code.UNREADABLE_ISO
) -> None:
    """Expect a rejection with at most two requests, four megabytes of memory and little work."""
    found = read_rejection(image, requests=2)
    assert found.code is code, found
    assert words in found.message, found
    assert peak_memory(image) < MAX_MEMORY
    assert count_lines(image) < FEW_LINES
