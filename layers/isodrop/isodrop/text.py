"""Makes untrusted strings safe to use in messages, tags and resource names. Pure."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

MESSAGE_LENGTH: Final = 1000
TAG_VALUE_LENGTH: Final = 256
TAG_KEY_LENGTH: Final = 128

# Stricter than some services, so that a tag can be copied to any of them unchanged:
# https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
_NOT_IN_TAGS: Final = re.compile(r"[^A-Za-z0-9 +\-=._:/@]")
_NOT_IN_SLUGS: Final = re.compile(r"[^a-z0-9]+")


def printable(text: str, limit: int = 80) -> str:
    r"""Escape and shorten any string for use in a message.

    Line breaks, control characters, characters that change the text direction and lone surrogates
    are escaped. Letters of all scripts are kept.

    Examples
    --------
    >>> printable("évil\nline\u202e")
    'évil\\nline\\u202e'
    >>> printable("a" * 100, limit=4)
    'aaaa…'
    """
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:limit])
    return safe if len(text) <= limit else f"{safe}…"


def single_line(text: str) -> str:
    r"""Put an external message on one line, shortened to ``MESSAGE_LENGTH``.

    Examples
    --------
    >>> single_line("it   failed\nbadly")
    'it failed badly'
    """
    return printable(" ".join(text[:MESSAGE_LENGTH].split()), limit=MESSAGE_LENGTH)


def join_list(texts: Iterable[str], limit: int = 12) -> str:
    """Join strings for a message: escaped, without duplicates, and limited in number.

    Examples
    --------
    >>> join_list(["Core", "CoreN", "Core", "Education"], limit=2)
    'Core, CoreN and 1 more'
    """
    unique = list(dict.fromkeys(texts))
    head = ", ".join(printable(text, limit=40) for text in unique[:limit])
    return head if len(unique) <= limit else f"{head} and {len(unique) - limit} more"


def timestamp(when: datetime) -> str:
    """Format a time with a time zone as ISO 8601 in UTC, with milliseconds.

    Timestamps in this format sort chronologically as text.

    >>> timestamp(datetime(2026, 11, 24, 10, 12, 34, 567000, UTC))
    '2026-11-24T10:12:34.567+00:00'
    """
    return when.astimezone(UTC).isoformat(timespec="milliseconds")


def slug(text: str) -> str:
    """Convert a string to lowercase ASCII letters, digits and single hyphens.

    Examples
    --------
    >>> slug("Windows 11_Enterprise--x64 ")
    'windows-11-enterprise-x64'
    """
    return _NOT_IN_SLUGS.sub("-", text.lower()).strip("-")


def clean_tag_value(text: str) -> str:
    """Make a tag value that is valid for every AWS service.

    Examples
    --------
    >>> clean_tag_value('s3://bucket/Win 11 (1).iso "etag"')
    's3://bucket/Win 11 _1_.iso _etag_'
    """
    return _NOT_IN_TAGS.sub("_", text)[:TAG_VALUE_LENGTH].strip(" ")


def clean_tag_key(text: str) -> str:
    """Make a tag key that is valid for every AWS service; the result may be empty."""
    return _NOT_IN_TAGS.sub("_", text)[:TAG_KEY_LENGTH].strip(" ")
