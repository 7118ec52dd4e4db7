"""Parses the XML of a WIM into images, keeping only the elements that are needed.

A DOM of one malicious megabyte would take many megabytes of memory; this parser needs only as much
as the values it keeps. No WIM contains a document type declaration, an entity declaration or a
comment, so all markup that starts with ``<!`` is rejected before parsing.
"""

import re
from typing import Final
from xml.parsers import expat

from isodrop.iso.model import UNREADABLE, WimImage
from isodrop.iso.range_reader import damaged_error
from isodrop.iso.wim import MAX_IMAGES, WimFile
from isodrop.text import join_list

MAX_DEPTH: Final = 32
MAX_ELEMENTS: Final = 32_768
MAX_ATTRIBUTES: Final = 4096
MAX_TEXT: Final = 1024
MAX_LANGUAGES: Final = 256

_IMAGE: Final = ["WIM", "IMAGE"]
_LANGUAGE: Final = "WINDOWS/LANGUAGES/LANGUAGE"
_WANTED: Final = frozenset(
    {
        "NAME",
        "WINDOWS/ARCH",
        "WINDOWS/EDITIONID",
        "WINDOWS/INSTALLATIONTYPE",
        "WINDOWS/LANGUAGES/DEFAULT",
        "WINDOWS/VERSION/MAJOR",
        "WINDOWS/VERSION/MINOR",
        "WINDOWS/VERSION/BUILD",
        "WINDOWS/VERSION/SPBUILD",
        "WINDOWS/VERSION/BRANCH",
        _LANGUAGE,
    }
)
# PROCESSOR_ARCHITECTURE_* of winnt.h.
_ARCHITECTURES: Final = {0: "x86", 5: "arm", 6: "ia64", 9: "x64", 12: "arm64"}
# The characters around a value that are not part of it, as in wimlib and 7-Zip.
_PADDING: Final = " \t\r\n\0"
# NUL is not allowed in XML, but occurs at its end and around values.
_PADDING_NULS: Final = re.compile(r"(?<=[>\s\0])\0|\0(?=[<\s\0]|\Z)")
_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_CHUNK: Final = 16 * 1024  # expat copies its input; this keeps the copies small


class _Parser:
    """Parses the XML and keeps the needed values of each image."""

    def __init__(self) -> None:
        self.images: dict[int, tuple[dict[str, str], list[str]]] = {}
        self.path: list[str] = []
        self.elements = 0
        self.index = 0
        self.wanted = ""
        self.text = ""
        self.parser = expat.ParserCreate("UTF-16LE")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data

    def parse(self, xml: bytes) -> None:
        for at in range(2, len(xml), _CHUNK):
            self.parser.Parse(_clean_chunk(xml, at), False)
        self.parser.Parse(b"", True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        self.path.append(name)
        if self.elements > MAX_ELEMENTS or len(self.path) > MAX_DEPTH:
            raise damaged_error(
                "the XML of its Windows image file has too many elements, or nests them too deeply"
            )
        if self.path == _IMAGE:
            self._image(attributes.get("INDEX", ""))
        self.wanted = ""
        if self.path[:2] == _IMAGE:
            element = "/".join(self.path[2:])
            self.wanted = element if element in _WANTED else ""
        self.text = ""

    def _image(self, index: str) -> None:
        unnumbered = "the images in the XML of its Windows image file are not numbered"
        if not _NUMBER.fullmatch(index):
            raise damaged_error(unnumbered)
        if int(index) in self.images:
            raise damaged_error(f"{unnumbered} consecutively: {int(index)} occurs twice")
        if len(self.images) >= MAX_IMAGES:
            raise damaged_error(
                f"the XML of its Windows image file lists more than {MAX_IMAGES} images"
            )
        self.index = int(index)
        self.images[self.index] = ({}, [])

    def _data(self, text: str) -> None:
        if self.wanted:
            self.text += text
            if len(self.text) > MAX_TEXT:
                raise damaged_error("a value in the XML of its Windows image file is too long")

    def _end(self, _name: str) -> None:
        self.path.pop()
        wanted, self.wanted = self.wanted, ""
        if not wanted:
            return
        values, languages = self.images[self.index]
        text = self.text.strip(_PADDING)
        if wanted == _LANGUAGE:
            languages.append(text)
            if len(languages) > MAX_LANGUAGES:
                raise damaged_error(f"image {self.index} lists more than {MAX_LANGUAGES} languages")
        elif wanted in values:
            raise damaged_error(f"image {self.index} has {wanted.rpartition('/')[2]} twice")
        else:
            values[wanted] = text


def read_images(wim: WimFile) -> tuple[WimImage, ...]:
    """Return the images of a WIM in the order of their indexes.

    Raises
    ------
    RejectedError
        ``unreadable-iso``.
    """
    parser = _Parser()
    try:
        _check_markup(wim.xml.decode("utf-16"))
        parser.parse(wim.xml)
    except (expat.ExpatError, ValueError):  # ValueError for a lone surrogate
        raise damaged_error("the XML of its Windows image file is not well-formed") from None
    if sorted(parser.images) != list(range(1, wim.count + 1)):
        indexes = join_list(map(str, sorted(parser.images))) or "none"
        raise damaged_error(
            f"the header of its Windows image file declares {wim.count} images, but the indexes of"
            f" those in the XML are: {indexes}"
        )
    return tuple(_make_image(index, *parser.images[index]) for index in sorted(parser.images))


def _check_markup(text: str) -> None:
    """Reject, before parsing, markup that never occurs in the XML of a WIM."""
    if "<!" in text:
        raise damaged_error("the XML of its Windows image file contains a declaration or comment")
    # expat passes all attributes of an element at once, however many there are.
    if text.count("=") > MAX_ATTRIBUTES:
        raise damaged_error("the XML of its Windows image file has too many attributes")


def _clean_chunk(xml: bytes, at: int) -> bytes:
    """Return a chunk, with spaces in place of NULs around a value."""
    piece = xml[at : at + _CHUNK]
    if b"\0\0" not in piece:
        return piece
    # With the characters before and after the chunk, because those around a NUL matter.
    before, after = xml[at - 2 : at], xml[at + _CHUNK : at + _CHUNK + 2]
    text = (before + piece + after).decode("utf-16-le", "surrogatepass")
    cleaned = _PADDING_NULS.sub(" ", text).encode("utf-16-le", "surrogatepass")[2:]
    return cleaned[:-2] if after else cleaned


def _make_image(index: int, values: dict[str, str], languages: list[str]) -> WimImage:
    def text(path: str) -> str | None:
        return values.get(f"WINDOWS/{path}") or None

    def number(path: str) -> int | None:
        value = values.get(f"WINDOWS/{path}", "")
        return int(value) if _NUMBER.fullmatch(value) else None

    architecture = number("ARCH")
    revision = number("VERSION/SPBUILD")
    if revision is None and text("VERSION/SPBUILD") is not None:
        revision = UNREADABLE  # not None, which would mean that there is none
    return WimImage(
        index=index,
        name=values.get("NAME", ""),
        edition_id=text("EDITIONID"),
        installation_type=text("INSTALLATIONTYPE"),
        architecture=None
        if architecture is None
        else _ARCHITECTURES.get(architecture, f"arch-{architecture}"),
        major=number("VERSION/MAJOR"),
        minor=number("VERSION/MINOR"),
        build=number("VERSION/BUILD"),
        revision=revision,
        branch=text("VERSION/BRANCH"),
        languages=tuple(language for language in languages if language),
        default_language=text("LANGUAGES/DEFAULT"),
    )
