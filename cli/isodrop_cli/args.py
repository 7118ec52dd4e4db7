"""The address of an upload on the command line."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Final, NamedTuple

from isodrop_cli.failures import ExplainedError, describe_failure

_SCHEME: Final = "s3://"


class NotUtf8Error(ExplainedError):
    """A name is not UTF-8, and so no object can have it."""


class Address(NamedTuple):
    """Where an upload lies; ``bucket`` is ``None`` for the stack's own."""

    bucket: str | None
    key: str


def add_address(command: ArgumentParser, *, optional: bool = False) -> None:
    """Let a command be told of which upload."""
    command.add_argument(
        "upload",
        metavar="KEY",
        type=_address,
        nargs="?" if optional else None,
        help="the object's key in the stack's bucket, or s3://BUCKET/KEY",
    )


def _address(text: str) -> Address:
    """Read an address; bucket and key raw, not URL-encoded."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # No ValueError: argparse would make wrong usage of it, in words of its own.
        raise NotUtf8Error(describe_failure(error)) from error
    if "://" not in text:
        if not text:
            raise ArgumentTypeError("a key has at least one character")
        return Address(None, text)
    bucket, slash, key = text.removeprefix(_SCHEME).partition("/")
    if not text.startswith(_SCHEME) or not (bucket and slash and key):
        raise ArgumentTypeError(f"'{text}' is neither a key nor of the form s3://bucket/key")
    return Address(bucket, key)
