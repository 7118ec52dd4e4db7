"""The private copy of an upload: its parts, their checksums, and what names its bytes. Pure.

A disc's own words prove nothing: a twin with the same size, header and XML and another payload is
easily made. S3 computes the SHA-256 of every part that it copies, so the bytes are named without
anybody reading them.
"""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PART_SIZE: Final = 128 * 1024**2
"""Bytes of each part but the last. It is in every content's id, so it stays as it is within a major
version. At most 10,000 parts make 1.25 TiB, more than ``MaxIsoGigabytes`` will ever be."""

_KEY: Final = re.compile(r"([0-9a-f]{32})-(0|[1-9][0-9]{0,8})\.iso")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a copy.

    Attributes
    ----------
    number : int
        Counted from 1.
    start, length : int
        Which bytes of the object, and how many.
    """

    number: int
    start: int
    length: int

    @property
    def range(self) -> str:
        """The bytes as ``CopySourceRange`` names them: first and last."""
        return f"bytes={self.start}-{self.start + self.length - 1}"


@dataclass(frozen=True, slots=True)
class Content:
    """What the bytes of an upload are, as S3 computed it of the copy.

    Attributes
    ----------
    size : int
        In bytes.
    part_size : int
        Of the parts that the checksum is made of.
    checksum : str
        The composite SHA-256 as S3 has it: base64, a hyphen and the number of parts.
    """

    size: int
    part_size: int
    checksum: str

    @property
    def id(self) -> str:
        """Name the bytes: 64 hexadecimal characters, equal for equal bytes and for no others."""
        parts = ["content", self.size, self.part_size, self.checksum]
        return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def plan_parts(size: int, part_size: int = PART_SIZE) -> tuple[Part, ...]:
    """Cut an object into parts.

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
    """Make the checksum of an object of those of its parts, as S3 does.

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
    """Name the copy that a run makes of its upload.

    Examples
    --------
    >>> staging_key("993be1855845687488d88a3c63909586", 0)
    '993be1855845687488d88a3c63909586-0.iso'
    """
    return f"{upload_id}-{run}.iso"


def run_of_key(key: str) -> tuple[str, int] | None:
    """Say whose copy lies under a key: upload and run; ``None`` if isodrop names none so.

    Examples
    --------
    >>> run_of_key("993be1855845687488d88a3c63909586-12.iso")
    ('993be1855845687488d88a3c63909586', 12)
    """
    found = _KEY.fullmatch(key)
    return None if found is None else (found[1], int(found[2]))
