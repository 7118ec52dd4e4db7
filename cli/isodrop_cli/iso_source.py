"""Open an ISO for reading: a local file, or an object in S3."""

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from isodrop.domain.s3_uri import SCHEME, S3Uri
from isodrop.errors import PermanentError
from isodrop.iso.model import ReadRange
from isodrop_cli.errors import ExplainedError
from isodrop_cli.output.console import print_trace

# Stands in for the bucket of a local file.
PLACEHOLDER_BUCKET: Final = "your-bucket"


class IsoSourceError(ExplainedError):
    """The ISO cannot be opened or read. Says nothing about its contents."""


@dataclass(frozen=True, slots=True)
class Source:
    """An ISO that can be read.

    Attributes
    ----------
    bucket, key : str
        Where it is stored, or would be if it were uploaded.
    size : int
    read : ReadRange
    etag : str
        Empty for a file.
    version_id : str or None
        ``None`` for a file.
    metadata : mapping of str to str
        The object's user metadata; empty for a file.
    open_seconds : float
        How long opening took; an object is opened by the request for its first range.
    """

    bucket: str
    key: str
    size: int
    read: ReadRange
    etag: str = ""
    version_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    open_seconds: float = 0.0


@contextmanager
def open_source(
    path_or_uri: str, *, trace: bool = False, profile: str | None = None, region: str | None = None
) -> Iterator[Source]:
    """Open an ISO by path or by ``s3://bucket/key``.

    Parameters
    ----------
    path_or_uri : str
    trace : bool
        Print each range that is read, and how long it took, to stderr.
    profile, region : str, optional
        The profile and Region to read an object with; from the environment by default.

    Raises
    ------
    IsoSourceError
        The message is for the user.
    """
    if "://" in path_or_uri and not path_or_uri.startswith(SCHEME):
        raise IsoSourceError(f"{path_or_uri}: only a file or s3://bucket/key can be inspected")
    source_context = (
        _open_object(path_or_uri, profile, region)
        if path_or_uri.startswith(SCHEME)
        else _open_file(Path(path_or_uri))
    )
    with source_context as source:
        yield replace(source, read=_traced(source.read, source.open_seconds)) if trace else source


@contextmanager
def _open_file(path: Path) -> Iterator[Source]:
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            # Opening a pipe that nobody writes to would block forever.
            what = "a directory" if stat.S_ISDIR(mode) else "neither a file nor an optical drive"
            raise IsoSourceError(f"{path}: this is {what}")
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise IsoSourceError(f"{path}: {_reason(error)}") from error
    with file:

        def read(offset: int, length: int, /) -> bytes:
            file.seek(offset)
            data = file.read(length)
            if len(data) != length:
                raise IsoSourceError(f"{path}: the file became shorter while it was being read")
            return data

        yield Source(PLACEHOLDER_BUCKET, path.name, file.seek(0, os.SEEK_END), read)


@contextmanager
def _open_object(path_or_uri: str, profile: str | None, region: str | None) -> Iterator[Source]:
    # Imported only here: a command without it starts in a tenth of the time.
    from isodrop.aws.s3 import is_missing, open_any_object  # noqa: PLC0415 - see above
    from isodrop_cli.aws_errors import OBJECT_HINTS, explain_errors, s3_client  # noqa: PLC0415 - see above

    try:
        location = S3Uri.parse(path_or_uri)
    except ValueError as error:
        raise IsoSourceError(str(error)) from error
    with explain_errors(OBJECT_HINTS, IsoSourceError, path_or_uri):
        client = s3_client(profile, region)
        began = time.perf_counter()
        try:
            found = open_any_object(client, location)
        except PermanentError as error:
            if is_missing(error):
                raise IsoSourceError(f"{path_or_uri}: there is no such object") from error
            raise
        yield Source(
            bucket=location.bucket,
            key=location.key,
            size=found.size,
            read=found.read,
            etag=found.etag,
            version_id=found.version_id,
            metadata=found.metadata,
            open_seconds=time.perf_counter() - began,
        )


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _traced(read: ReadRange, open_seconds: float) -> ReadRange:
    count = 0

    def traced(offset: int, length: int, /) -> bytes:
        nonlocal count
        began = time.perf_counter()
        data = read(offset, length)
        count += 1
        seconds = time.perf_counter() - began + (open_seconds if count == 1 else 0)
        print_trace(count, offset, length, seconds)
        return data

    return traced
