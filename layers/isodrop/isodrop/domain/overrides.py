"""The overrides that an uploader may set for one import, as user metadata of the object. Pure.

Roles, infrastructure, logging and Secure Boot cannot be overridden: the permission to upload must
not include the permission to pass a role.
"""

import re
from binascii import Error as Base64Error
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from email.errors import MessageError
from email.header import decode_header
from types import MappingProxyType
from typing import Final

from isodrop.codes import Code, Rejection
from isodrop.text import join_list, printable

MAX_IMAGE_INDEX: Final = 4294967295
MAX_VERSION_NODE: Final = 1073741823
MAX_DESCRIPTION: Final = 1024
# S3 allows 2 KB of user metadata in total; RFC 2047 encoding never lengthens it to this.
_MAX_VALUE: Final = 8192
DEFAULT_ALLOWED: Final = frozenset({"edition", "image-index", "description"})
"""The default of the stack's parameter. The other overrides affect the ``latest`` parameters of
other images, or start another paid build."""
_MAX_NAME: Final = 32  # characters to compare; no override has more than half as many
_MIN_SIMILARITY: Final = 0.85
"""Accepts one additional, missing or misplaced letter, but not another common metadata key."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """The overrides of one upload; ``None`` for each one that is not set.

    Attributes
    ----------
    image_name : str or None
        Lowercase letters, digits and hyphens.
    semantic_version : str or None
        Three numbers.
    edition : str or None
        An ``EDITIONID``.
    image_index : int or None
        Selects the image on the ISO by index.
    description : str or None
    rebuild : str or None
        An arbitrary token that requests another import of the same content.
    notes : tuple of str
        Remarks on metadata keys that resemble an override but are not one.
    """

    image_name: str | None = None
    semantic_version: str | None = None
    edition: str | None = None
    image_index: int | None = None
    description: str | None = None
    rebuild: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rule:
    """The valid values of one override, as text and as a predicate."""

    requirement: str
    accepts: Callable[[str], bool]


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


def _is_version(value: str) -> bool:
    if not _matches(r"(?:0|[1-9][0-9]{0,9})(?:\.(?:0|[1-9][0-9]{0,9})){2}")(value):
        return False
    return all(int(node) <= MAX_VERSION_NODE for node in value.split("."))


def _is_index(value: str) -> bool:
    return _matches(r"[1-9][0-9]{0,9}")(value) and int(value) <= MAX_IMAGE_INDEX


def _is_description(value: str) -> bool:
    return 1 <= len(value) <= MAX_DESCRIPTION and value.isprintable() and not value.isspace()


# The limits are those of ImportDiskImage, or stricter where the service normalizes names:
# https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
RULES: Final = MappingProxyType(
    {
        "image-name": _Rule(
            "3 to 128 lowercase letters, digits and hyphens, no hyphen at either end",
            _matches(r"[a-z0-9][a-z0-9-]{1,126}[a-z0-9]"),
        ),
        "semantic-version": _Rule(
            f"three numbers such as 11.26100.1742, each at most {MAX_VERSION_NODE}", _is_version
        ),
        "edition": _Rule(
            "an EDITIONID as on the ISO, such as Enterprise or EnterpriseN",
            _matches(r"[A-Za-z][A-Za-z0-9]{0,63}"),
        ),
        "image-index": _Rule(f"a whole number from 1 to {MAX_IMAGE_INDEX}", _is_index),
        "description": _Rule(
            f"1 to {MAX_DESCRIPTION} printable characters on one line", _is_description
        ),
        "rebuild": _Rule(
            "a token of 1 to 64 letters, digits, dots, hyphens or underscores",
            _matches(r"[A-Za-z0-9._-]{1,64}"),
        ),
    }
)


def read_overrides(
    metadata: Mapping[str, str], allowed: Collection[str] = RULES.keys()
) -> Overrides | Rejection:
    """Read the overrides among an object's user metadata.

    Parameters
    ----------
    metadata : mapping of str to str
        As S3 returns it, without ``x-amz-meta-``. Metadata of other tools is ignored.
    allowed : collection of str
        The overrides that the stack lets an uploader set.

    Returns
    -------
    Overrides or Rejection
        The rejection ``invalid-override`` names the key and its valid values.

    Examples
    --------
    >>> read_overrides({"image-index": "3", "mtime": "1767225600"}).image_index
    3
    >>> read_overrides({"image-index": "three"}).code.value
    'invalid-override'
    """
    values: dict[str, str] = {}
    notes: list[str] = []
    for key in sorted(metadata):
        name = key.lower()  # as S3 returns keys; those of isodrop inspect --metadata may differ
        if name not in RULES:
            if suggestion := _suggest_override(name):
                notes.append(
                    f"The metadata entry {printable(key)} is not an override and was not read;"
                    f" the override is spelled {suggestion}."
                )
            continue
        if name not in allowed:
            return _reject_not_allowed(name, allowed)
        value = _decode_value(metadata[key]).strip()
        if not RULES[name].accepts(value):
            return _reject_malformed(name, value)
        values[name] = value
    index = values.get("image-index")
    return Overrides(
        image_name=values.get("image-name"),
        semantic_version=values.get("semantic-version"),
        edition=values.get("edition"),
        image_index=None if index is None else int(index),
        description=values.get("description"),
        rebuild=values.get("rebuild"),
        notes=tuple(notes),
    )


def merge_overrides(metadata: Mapping[str, str], requested: Mapping[str, str]) -> dict[str, str]:
    """Merge an operator's overrides over an object's metadata; an empty value removes one.

    Examples
    --------
    >>> merge_overrides({"edition": "EnterpriseN", "rebuild": "1"}, {"rebuild": "2", "edition": ""})
    {'rebuild': '2'}
    """
    merged = {key.lower(): value for key, value in metadata.items()} | dict(requested)
    return {key: value for key, value in merged.items() if value or key not in requested}


def _reject_not_allowed(name: str, allowed: Collection[str]) -> Rejection:
    permitted = join_list(sorted(set(allowed) & RULES.keys())) or "none"
    return Rejection.of(
        Code.INVALID_OVERRIDE,
        f"The object's metadata set the override {name}, which this stack does not allow"
        f" (allowed: {permitted}).",
        f"Upload without {name}, or add it to the stack's parameter AllowedOverrides.",
    )


def _reject_malformed(name: str, value: str) -> Rejection:
    return Rejection.of(
        Code.INVALID_OVERRIDE,
        f"The override {name} is '{printable(value)}', but it must be {RULES[name].requirement}.",
    )


def _suggest_override(name: str) -> str | None:
    """Find the override that a key such as ``image_name`` or ``editon`` was meant to be."""
    plain = re.sub(r"[^a-z]", "", name.removeprefix("x-amz-meta-"))
    letters = plain.removeprefix("isodrop")
    names = {each.replace("-", ""): each for each in RULES}
    close = get_close_matches(letters[:_MAX_NAME], names, n=1, cutoff=_MIN_SIMILARITY)
    return names[close[0]] if close else None


def _decode_value(value: str) -> str:
    """Decode RFC 2047, the encoding in which S3 returns metadata that is not ASCII.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html#UserMetadata
    """
    if "=?" not in value or len(value) > _MAX_VALUE:
        return value
    try:
        parts = decode_header(value)
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
            for part, charset in parts
        )
    except (MessageError, Base64Error, LookupError, ValueError):
        return value  # not an encoded word: the rule checks the value as it is
