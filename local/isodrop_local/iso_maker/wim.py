"""Small but valid WIM files: header, lookup table, metadata resources, XML.

Laid out as Microsoft's "Windows Imaging File Format (WIM) White Paper" says, so that
``wimlib-imagex info``, ``dir`` and ``verify`` accept them.
"""

import struct
from collections.abc import Sequence
from hashlib import sha1, sha256
from xml.sax.saxutils import escape

from isodrop_local.iso_maker.editions import EditionSpec
from isodrop_local.iso_maker.image import Content, sorted_pieces

HEADER_SIZE = 208
MAGIC = b"MSWIM\0\0\0"
PIPABLE_MAGIC = b"WLPWM\0\0\0"
_VERSION, _VERSION_SOLID = 0x10D00, 0xE00
_LZX, _LZMS = 0x40002, 0x80002
_METADATA = 0x02
_INTEGRITY_CHUNK = 10 << 20
ARCHITECTURES = {"x86": 0, "arm": 5, "ia64": 6, "x64": 9, "arm64": 12}


def make_xml(editions: Sequence[EditionSpec]) -> str:
    """Write the WIM's XML as on Microsoft's ISOs, about 2.5 KB for each image."""
    images = "".join(_image(index, spec) for index, spec in enumerate(editions, 1))
    return f"<WIM><TOTALBYTES>5368709120</TOTALBYTES>{images}</WIM>"


def _element(tag: str, text: object | None) -> str:
    return "" if text is None else f"<{tag}>{escape(str(text))}</{tag}>"


def _image(index: int, spec: EditionSpec) -> str:
    time = "<HIGHPART>0x01DB0000</HIGHPART><LOWPART>0x12345678</LOWPART>"
    languages = "".join(_element("LANGUAGE", language) for language in spec.languages)
    default = spec.default_language or (spec.languages[0] if spec.languages else None)
    version = (
        f"<VERSION>{_element('MAJOR', spec.major)}{_element('MINOR', spec.minor)}"
        f"{_element('BUILD', spec.build)}{_element('SPBUILD', spec.revision)}"
        f"<SPLEVEL>0</SPLEVEL>{_element('BRANCH', spec.branch)}</VERSION>"
    )
    windows = (
        f"<WINDOWS>{_element('ARCH', ARCHITECTURES.get(spec.architecture, 99))}"
        "<PRODUCTNAME>Microsoft\u00ae Windows\u00ae Operating System</PRODUCTNAME>"
        f"{_element('EDITIONID', spec.edition_id)}"
        f"{_element('INSTALLATIONTYPE', spec.installation_type)}"
        f"<SERVICINGDATA><GDRDUREVISION>0</GDRDUREVISION>"
        f"<PKEYCONFIGVERSION>{spec.major}.0.{spec.build}.{spec.revision};2016-01-01T00:00:00Z"
        f"</PKEYCONFIGVERSION><IMAGESTATE>IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE</IMAGESTATE>"
        "</SERVICINGDATA><PRODUCTTYPE>WinNT</PRODUCTTYPE>"
        "<PRODUCTSUITE>Terminal Server</PRODUCTSUITE>"
        f"<LANGUAGES>{languages}{_element('DEFAULT', default)}</LANGUAGES>"
        f"{version}{spec.extra}<SYSTEMROOT>WINDOWS</SYSTEMROOT></WINDOWS>"
    )
    return (
        f'<IMAGE INDEX="{index}"><DIRCOUNT>27117</DIRCOUNT><FILECOUNT>117117</FILECOUNT>'
        f"<TOTALBYTES>18000000000</TOTALBYTES><HARDLINKBYTES>8000000000</HARDLINKBYTES>"
        f"<CREATIONTIME>{time}</CREATIONTIME>"
        f"<LASTMODIFICATIONTIME>{time}</LASTMODIFICATIONTIME><WIMBOOT>0</WIMBOOT>{windows}"
        f"{_element('NAME', spec.name)}{_element('DESCRIPTION', spec.name)}"
        f"{_element('FLAGS', spec.edition_id)}{_element('DISPLAYNAME', spec.name)}"
        f"{_element('DISPLAYDESCRIPTION', spec.name)}</IMAGE>"
    )


def _resource(size: int, offset: int, flags: int = 0, original: int | None = None) -> bytes:
    whole = size | flags << 56
    return struct.pack("<QQQ", whole, offset, size if original is None else original)


def _metadata(index: int) -> bytes:
    """Write an image's metadata: no security descriptors, and an empty root folder.

    The list with the root and the empty list of its contents each end with eight zeros.
    """
    root = struct.pack("<QLLQQQ", 104, 0x10, 0xFFFFFFFF, 120, 0, 0)
    root += struct.pack("<QQQ", 0x01DB000012345678 + index, 0x01DB0000, 0x01DB0000)
    root += bytes(20) + struct.pack("<LQHHH", 0, 0, 0, 0, 0)
    return struct.pack("<LL", 8, 0) + root.ljust(104, b"\0") + bytes(16)


def _integrity(content: Content, end: int) -> bytes:
    """Write the integrity table: a SHA-1 of each 10 MiB after the header."""
    zeros: dict[int, bytes] = {}
    digests = []
    for start in range(HEADER_SIZE, end, _INTEGRITY_CHUNK):
        length = min(_INTEGRITY_CHUNK, end - start)
        if any(at < start + length and at + len(data) > start for at, data in content.pieces):
            digests.append(sha1(content.read(start, length), usedforsecurity=False).digest())
            continue
        if length not in zeros:
            zeros[length] = sha1(bytes(length), usedforsecurity=False).digest()
        digests.append(zeros[length])
    head = struct.pack("<LLL", 12 + 20 * len(digests), len(digests), _INTEGRITY_CHUNK)
    return head + b"".join(digests)


def make_wim(
    editions: Sequence[EditionSpec],
    *,
    size: int = 0,
    solid: bool = False,
    part: tuple[int, int] = (1, 1),
    pipable: bool = False,
    integrity: bool = False,
    xml: bytes | None = None,
    count: int | None = None,
    guid: bytes | None = None,
) -> Content:
    """Make a WIM.

    Parameters
    ----------
    editions : sequence of EditionSpec
        One image each, in this order.
    size : int
        The minimum size in bytes; a gap before the metadata stands for the data of files.
    solid : bool
        Whether the header is an ESD's.
    part : tuple of int
        Which part of how many.
    pipable, integrity : bool
    xml : bytes, optional
        The raw XML to write instead of that of :func:`make_xml`.
    count : int, optional
        Another number of images for the header.
    guid : bytes, optional
        The header's GUID; by default it follows from the XML.
    """
    text = b"\xff\xfe" + make_xml(editions).encode("utf-16-le") if xml is None else xml
    metadata = [_metadata(index) for index in range(1, len(editions) + 1)]
    tail = sum(map(len, metadata)) + 50 * len(metadata) + len(text)
    at = max(HEADER_SIZE, size - tail)
    pieces: list[tuple[int, bytes]] = []
    table = b""
    for data in metadata:
        pieces.append((at, data))
        table += _resource(len(data), at, _METADATA) + struct.pack("<HL", part[0], 1)
        table += sha1(data, usedforsecurity=False).digest()
        at += len(data)
    pieces += [(at, table), (at + len(table), text)]
    end = at + len(table) + len(text)
    check = _integrity(Content(end, sorted_pieces(pieces)), at + len(table)) if integrity else b""
    pieces.append((end, check))
    header = (PIPABLE_MAGIC if pipable else MAGIC) + struct.pack(
        "<LLLL16sHHL",
        HEADER_SIZE,
        _VERSION_SOLID if solid else _VERSION,
        _LZMS if solid else _LZX,
        0x20000 if solid else 0x8000,
        guid or sha256(text).digest()[:16],
        *part,
        len(editions) if count is None else count,
    )
    header += _resource(len(table), at) + _resource(len(text), at + len(table)) + bytes(24 + 4)
    header += _resource(len(check), end if check else 0)
    pieces.append((0, header.ljust(HEADER_SIZE, b"\0")))
    return Content(end + len(check), sorted_pieces(pieces))
