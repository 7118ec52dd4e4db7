"""The name, description and tags of an image. Pure."""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Final

from isodrop.domain.overrides import MAX_DESCRIPTION
from isodrop.text import clean_tag_key, clean_tag_value, printable, slug

TEMPLATE_FIELDS: Final = ("edition", "architecture", "language", "release", "build")
MIN_NAME: Final = 3
MAX_NAME: Final = 128

MAX_TAGS: Final = 50
# Reserved for the submission: import key, attempt, upload, content and hash.
RESERVED_TAGS: Final = 5

_FIELD: Final = re.compile(r"\{([a-z]{1,16})\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9 _-]*")
_SAMPLE: Final = {
    "edition": "Enterprise",
    "architecture": "x64",
    "language": "",  # may be missing in both ISO and file name
    "release": "24H2",
    "build": "26100",
}


def check_template(template: str) -> str | None:
    """Check an image name template.

    Parameters
    ----------
    template : str
        Such as ``windows-11-{edition}-{architecture}-{language}``.

    Returns
    -------
    str or None
        What is wrong, in one sentence; ``None`` if it is valid.

    Examples
    --------
    >>> check_template("windows-11-{edition}-{release}")
    >>> check_template("windows-11-{flavor}")
    '{flavor} is unknown; use {edition}, {architecture}, {language}, {release} and {build}.'
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        return f"The braces are not balanced: {error}."
    for literal, field, spec, conversion in parts:
        if not _LITERAL.fullmatch(literal):
            return (
                f"'{printable(literal)}' contains a character that is not allowed in image"
                " names; use letters, digits, hyphens, underscores and spaces."
            )
        if field is None:
            continue
        if field not in TEMPLATE_FIELDS or spec or conversion:
            known = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS[:-1])
            what = field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            return f"{{{printable(what)}}} is unknown; use {known} and {{{TEMPLATE_FIELDS[-1]}}}."
    name = slug(_fill_template(template, _SAMPLE))
    if not MIN_NAME <= len(name) <= MAX_NAME:
        return (
            f"If the language is unknown, the name has {len(name)} characters; image names have"
            f" {MIN_NAME} to {MAX_NAME}."
        )
    return None


def image_name(template: str, values: Mapping[str, str]) -> str:
    """Fill a template; the result is always a valid name for ImportDiskImage.

    The name is in lowercase, without spaces and underscores, because Image Builder treats names
    that differ only in these as the same.

    References
    ----------
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html

    Examples
    --------
    >>> image_name("Windows 11 {edition}", {"edition": "EnterpriseN"})
    'windows-11-enterprisen'
    """
    name = slug(_fill_template(template, values))[:MAX_NAME].strip("-")
    # Templates are checked when the settings are read; with others, the name may be too short.
    return name if len(name) >= MIN_NAME else f"windows-11-{name}".strip("-")


def default_description(summary: str, version: str, uri: str) -> str:
    """Describe the image and its source, within the length that ImportDiskImage allows."""
    return truncate_description(f"{summary} ({version}), imported by isodrop from {uri}")


def truncate_description(text: str) -> str:
    """Turn any text into a valid description; it is cut after escaping, which lengthens it."""
    return printable(text, limit=MAX_DESCRIPTION)[:MAX_DESCRIPTION]


def image_tags(
    isodrop_tags: Mapping[str, str | None], parameter_tags: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Merge the tags of the parameter ImageTags with isodrop's own, as valid tags within the limit.

    Parameters
    ----------
    isodrop_tags : mapping of str to str or None
        isodrop's own tags, without their prefix. They take precedence; a tag whose value is
        ``None`` is left out.
    parameter_tags : mapping of str to str
        The tags from the stack's parameter ImageTags.

    Returns
    -------
    tuple
        The tags, and a note for each of the parameter's tags that was left out.
    """
    own_tags = {
        f"isodrop:{key}": clean_tag_value(value)
        for key, value in isodrop_tags.items()
        if value is not None
    }
    tags: dict[str, str] = {}
    notes: list[str] = []
    for key, value in parameter_tags.items():
        cleaned = clean_tag_key(key)
        if not cleaned or cleaned.lower().startswith("aws:") or cleaned in own_tags:
            notes.append(
                f"The tag '{printable(key)}' of ImageTags was left out: its key is reserved or"
                " invalid."
            )
        elif len(tags) + len(own_tags) + RESERVED_TAGS >= MAX_TAGS:
            notes.append(
                f"The tag '{printable(key)}' of ImageTags was left out: there are too many."
            )
        else:
            tags[cleaned] = clean_tag_value(value)
    return tags | own_tags, tuple(notes)


def _fill_template(template: str, values: Mapping[str, str]) -> str:
    # Not str.format, with which a template could access attributes of the values.
    return _FIELD.sub(lambda match: values.get(match[1], ""), template)
