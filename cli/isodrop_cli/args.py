"""The address of an upload on the command line."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Final

_SCHEME: Final = "s3://"


def add_address(command: ArgumentParser, *, optional: bool = False) -> None:
    """Let a command be told of which upload."""
    command.add_argument(
        "upload",
        metavar="s3://BUCKET/KEY",
        type=_address,
        nargs="?" if optional else None,
        help="the object that was dropped",
    )


def _address(text: str) -> tuple[str, str]:
    """Split an address; bucket and key raw, not URL-encoded."""
    bucket, slash, key = text.removeprefix(_SCHEME).partition("/")
    if not text.startswith(_SCHEME) or not (bucket and slash and key):
        raise ArgumentTypeError(f"'{text}' is not of the form s3://bucket/key")
    return bucket, key
