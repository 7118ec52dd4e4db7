"""Where an ISO is read from: a file here, or an object in S3. The one place that opens either."""

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from isodrop.codes import Code
from isodrop.errors import IsodropError, RejectedError
from isodrop.iso.model import ReadRange
from isodrop_cli.failures import ExplainedError
from isodrop_cli.output.console import print_trace

# A file is in no bucket yet.
BUCKET: Final = "your-bucket"


class IsoSourceError(ExplainedError):
    """There is nothing to look at, or no way to it. Says nothing about the ISO."""


@dataclass(frozen=True, slots=True)
class Source:
    """An ISO that can be read.

    Attributes
    ----------
    bucket, key : str
        Where it lies, or would lie if it were uploaded.
    size : int
    read : ReadRange
    etag, version_id : str and str or None
        Empty and ``None`` for a file.
    metadata : mapping of str to str
        Of the object; a file has none.
    opening : float
        Seconds that it took; an object is opened by the very range that is read first.
    """

    bucket: str
    key: str
    size: int
    read: ReadRange
    etag: str = ""
    version_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    opening: float = 0.0


@contextmanager
def open_source(
    address: str, *, trace: bool = False, profile: str | None = None, region: str | None = None
) -> Iterator[Source]:
    """Open an ISO by path or by ``s3://bucket/key``.

    Parameters
    ----------
    address : str
    trace : bool
        Tell each range that is read, and what it took, on stderr.
    profile, region : str, optional
        With which an object is read, other than by the environment.

    Raises
    ------
    CannotLookError
        With a sentence for the person who typed the address.
    """
    if "://" in address and not address.startswith("s3://"):
        raise IsoSourceError(f"{address}: only a file or s3://bucket/key can be looked at")
    opened = (
        _open_object(address, profile, region)
        if address.startswith("s3://")
        else _open_file(Path(address))
    )
    with opened as source:
        yield replace(source, read=_traced(source.read, source.opening)) if trace else source


@contextmanager
def _open_file(path: Path) -> Iterator[Source]:
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            # Opening a pipe that nobody writes to would hold us for ever.
            what = "a directory" if stat.S_ISDIR(mode) else "neither a file nor a disc drive"
            raise IsoSourceError(f"{path}: it is {what}")
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise IsoSourceError(f"{path}: {_reason(error)}") from error
    with file:

        def read(offset: int, length: int, /) -> bytes:
            file.seek(offset)
            data = file.read(length)
            if len(data) != length:
                raise IsoSourceError(f"{path}: it became shorter while it was read")
            return data

        yield Source(BUCKET, path.name, file.seek(0, os.SEEK_END), read)


@contextmanager
def _open_object(address: str, profile: str | None, region: str | None) -> Iterator[Source]:
    # Only here does the command need an SDK; without it, it starts in a tenth of the time.
    from isodrop.aws.s3 import open_object, parse_uri  # noqa: PLC0415 - see above
    from isodrop_cli.aws_errors import OBJECT, explained, s3_client  # noqa: PLC0415 - see above

    try:
        bucket, key = parse_uri(address)
    except ValueError as error:
        raise IsoSourceError(str(error)) from error
    with explained(OBJECT, IsoSourceError, address):
        client = s3_client(profile, region)
        began = time.perf_counter()
        try:
            found = open_object(client, bucket, key)
        except RejectedError as error:
            refused = error.__cause__
            if error.code is not Code.OBJECT_GONE and isinstance(refused, IsodropError):
                raise refused from refused.__cause__  # AWS's own words have their way out
            raise IsoSourceError(f"{address}: there is no such object") from error
        yield Source(
            bucket=bucket,
            key=key,
            size=found.size,
            read=found.read,
            etag=found.etag,
            version_id=found.version_id,
            metadata=found.metadata,
            opening=time.perf_counter() - began,
        )


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _traced(read: ReadRange, opening: float) -> ReadRange:
    count = 0

    def traced(offset: int, length: int, /) -> bytes:
        nonlocal count
        began = time.perf_counter()
        data = read(offset, length)
        count += 1
        seconds = time.perf_counter() - began + (opening if count == 1 else 0)
        print_trace(count, offset, length, seconds)
        return data

    return traced
