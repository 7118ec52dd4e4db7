"""The address of an upload on the command line: a key, or an S3 URI."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import NamedTuple

from isodrop.domain.s3_uri import S3Uri
from isodrop_cli.errors import ExplainedError, describe_error


class NotUtf8Error(ExplainedError):
    """A name is not UTF-8, so no object can have it."""


class UploadAddress(NamedTuple):
    """The bucket and key of an upload; ``bucket`` is ``None`` for the stack's own bucket."""

    bucket: str | None
    key: str


def add_address(command: ArgumentParser, *, optional: bool = False) -> None:
    """Add the argument that names an upload."""
    command.add_argument(
        "upload",
        metavar="KEY",
        type=_parse_address,
        nargs="?" if optional else None,
        help="the object's key in the stack's bucket; s3://BUCKET/KEY is accepted, too",
    )


def _parse_address(text: str) -> UploadAddress:
    """Parse an address; bucket and key are taken as they are, not URL-decoded."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # Not a ValueError: argparse would turn it into a usage error with its own message.
        raise NotUtf8Error(describe_error(error)) from error
    if "://" not in text:
        if not text:
            raise ArgumentTypeError("a key must have at least one character")
        return UploadAddress(None, text)
    try:
        uri = S3Uri.parse(text)
    except ValueError as error:
        message = f"'{text}' is neither a key nor a URI of the form s3://bucket/key"
        raise ArgumentTypeError(message) from error
    return UploadAddress(uri.bucket, uri.key)
