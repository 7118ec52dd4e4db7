"""Other people's strings made fit to be shown: in a sentence, a tag, a resource name. Pure."""

import re
from collections.abc import Iterable
from typing import Final

MESSAGE_LENGTH: Final = 1000
TAG_VALUE_LENGTH: Final = 256
TAG_KEY_LENGTH: Final = 128

# Narrower than some services are, so that a tag means the same wherever it is copied to:
# https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
_NOT_IN_TAGS: Final = re.compile(r"[^A-Za-z0-9 +\-=._:/@]")
_NOT_IN_SLUGS: Final = re.compile(r"[^a-z0-9]+")


def printable(text: str, limit: int = 80) -> str:
    r"""Make any string safe and short enough to stand in a sentence.

    Whatever could break out of a line, turn the reading direction or not be encoded at all is
    written as an escape; letters of all scripts stay readable.

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
    r"""Show a message of somebody else's on one line of at most some thousand characters.

    Examples
    --------
    >>> single_line("it   failed\nbadly")
    'it failed badly'
    """
    return printable(" ".join(text[:MESSAGE_LENGTH].split()), limit=MESSAGE_LENGTH)


def join_list(texts: Iterable[str], limit: int = 12) -> str:
    """Join strings for a sentence, safe, each one once and not too many.

    Examples
    --------
    >>> join_list(["Core", "CoreN", "Core", "Education"], limit=2)
    'Core, CoreN and 1 more'
    """
    once = list(dict.fromkeys(texts))
    head = ", ".join(printable(text, limit=40) for text in once[:limit])
    return head if len(once) <= limit else f"{head} and {len(once) - limit} more"


def slug(text: str) -> str:
    """Fold a string to lower-case ASCII letters, digits and single hyphens.

    Examples
    --------
    >>> slug("Windows 11_Enterprise--x64 ")
    'windows-11-enterprise-x64'
    """
    return _NOT_IN_SLUGS.sub("-", text.lower()).strip("-")


def clean_tag_value(text: str) -> str:
    """Keep to what every AWS service takes as a tag's value.

    Examples
    --------
    >>> clean_tag_value('s3://bucket/Win 11 (1).iso "etag"')
    's3://bucket/Win 11 _1_.iso _etag_'
    """
    return _NOT_IN_TAGS.sub("_", text)[:TAG_VALUE_LENGTH].strip(" ")


def clean_tag_key(text: str) -> str:
    """Keep to what every AWS service takes as a tag's key; empty where nothing is left."""
    return _NOT_IN_TAGS.sub("_", text)[:TAG_KEY_LENGTH].strip(" ")
