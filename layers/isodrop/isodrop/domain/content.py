"""The staging copy of an upload: its parts, their checksums, and the id of its content. Pure.

The metadata on an ISO does not identify its content: another ISO with the same size, header and XML
but different files is easily made. S3 computes the SHA-256 of every part that it copies, so the
content is identified without being downloaded.
"""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PART_SIZE: Final = 128 * 1024**2
"""Bytes of each part but the last. It is part of every content id, so it must not change within a
major version. The maximum of 10,000 parts is 1.25 TiB, far more than ``MaxIsoGigabytes`` allows."""

_KEY: Final = re.compile(r"([0-9a-f]{32})-(0|[1-9][0-9]{0,8})\.iso")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a copy.

    Attributes
    ----------
    number : int
        Counted from 1.
    start, length : int
        The offset in the object and the number of bytes.
    """

    number: int
    start: int
    length: int

    @property
    def range(self) -> str:
        """The value of ``CopySourceRange``: first and last byte."""
        return f"bytes={self.start}-{self.start + self.length - 1}"


@dataclass(frozen=True, slots=True)
class Content:
    """Identifies the bytes of an upload by the checksum that S3 computed for the copy.

    Attributes
    ----------
    size : int
        In bytes.
    part_size : int
        The size of the parts that the checksum is computed from.
    checksum : str
        The composite SHA-256 as S3 returns it: base64, a hyphen and the number of parts.
    """

    size: int
    part_size: int
    checksum: str

    @property
    def id(self) -> str:
        """The content id: 64 hexadecimal characters, equal if and only if the bytes are."""
        parts = ["content", self.size, self.part_size, self.checksum]
        return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def plan_parts(size: int, part_size: int = PART_SIZE) -> tuple[Part, ...]:
    """Divide an object into parts.

    Examples
    --------
    >>> [part.range for part in plan_parts(10, 4)]
    ['bytes=0-3', 'bytes=4-7', 'bytes=8-9']
    """
    return tuple(
        Part(number, start, min(part_size, size - start))
        for number, start in enumerate(range(0, size, part_size), start=1)
    )


def composite_checksum(checksums: Sequence[str]) -> str:
    """Compute the composite checksum of an object from those of its parts, as S3 does.

    Parameters
    ----------
    checksums : sequence of str
        The parts' SHA-256 in base64, in order.

    References
    ----------
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """
    digests = b"".join(b64decode(each, validate=True) for each in checksums)
    return f"{b64encode(hashlib.sha256(digests).digest()).decode()}-{len(checksums)}"


def staging_key(upload_id: str, run: int) -> str:
    """Return the key of the copy that a run makes of its upload.

    Examples
    --------
    >>> staging_key("f9129832946f89208b0d25346fca5755", 0)
    'f9129832946f89208b0d25346fca5755-0.iso'
    """
    return f"{upload_id}-{run}.iso"


def parse_staging_key(key: str) -> tuple[str, int] | None:
    """Return the upload id and run number of a copy's key; ``None`` for any other key.

    Examples
    --------
    >>> parse_staging_key("f9129832946f89208b0d25346fca5755-12.iso")
    ('f9129832946f89208b0d25346fca5755', 12)
    """
    match = _KEY.fullmatch(key)
    return None if match is None else (match[1], int(match[2]))
