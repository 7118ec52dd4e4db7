"""What an object is that has no UDF on it: said in words, and by which code it is rejected."""

from typing import Final

from isodrop.codes import Code
from isodrop.errors import RejectedError
from isodrop.iso.window import ANCHOR_SECTOR, SECTOR, Window, damaged, truncated
from isodrop.text import shown

_RECOGNITION: Final = 16  # the sector at which volume structures start: ECMA-167 2/8.3
_RECOGNITION_END: Final = 32
_STARTS: Final = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"MSCF", "a cabinet file"),
    (b"MSWIM\0\0\0", "a bare Windows image (WIM)"),
    (b"WLPWM\0\0\0", "a bare Windows image (WIM)"),
    (b"\0" + b"\xff" * 10 + b"\0", "a raw copy of a disc, with sectors of 2,352 bytes"),
    (b"CISO", "a compressed disc image (CSO)"),
    (b"IsZ!", "a compressed disc image (ISZ)"),
    (b"DAA\0", "a compressed disc image (DAA)"),
    (b"vhdxfile", "a virtual disk (VHDX)"),
    (b"conectix", "a virtual disk (VHD)"),
    (b"KDMV", "a virtual disk (VMDK)"),
    (b"QFI\xfb", "a virtual disk (QCOW)"),
    (b"\xd0\xcf\x11\xe0", "an installer package or Office document"),
    (b"%PDF", "a PDF document"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x89PNG", "a picture"),
)
_PAGES: Final = (b"<!doctype html", b"<html", b"<head", b"<body")
_LINE_ENDS: Final = frozenset("\t\n\r\f")


def explain(window: Window) -> RejectedError:
    """Make the rejection of an object on which no UDF anchor was found."""
    if not window.size:
        return RejectedError(
            Code.NOT_AN_ISO,
            "The object is empty: it has no bytes at all.",
            "A copy of the ISO was broken off: see how large your file is, download it again if it"
            " is empty, too, and upload it again.",
        )
    data = window.at(0, min(window.size, _RECOGNITION_END * SECTOR), "what is")
    names = {data[at + 1 : at + 6] for at in range(_RECOGNITION * SECTOR, len(data) - 6, SECTOR)}
    udf = bool(names & {b"BEA01", b"NSR02", b"NSR03"})
    volume = _iso9660(data)
    if volume is not None and volume[1] > window.size:
        return truncated(window.size, volume[1], "the file system")
    if udf and window.size <= (ANCHOR_SECTOR + 1) * SECTOR:
        return truncated(window.size, (ANCHOR_SECTOR + 1) * SECTOR, "the start of the file system")
    if udf:
        return damaged(
            "it says that it has a UDF file system, but the anchor of it is missing, or its blocks"
            " are not of 2,048 bytes"
        )
    if volume is not None:
        return RejectedError(
            Code.NOT_WINDOWS,
            f"The ISO labelled {shown(volume[0]) or 'with nothing'} has a plain ISO 9660 file"
            " system, which no Windows 11 ISO has; one as Microsoft publishes it, with UDF, is"
            " needed.",
        )
    return _not_an_iso(_described(data))


def _not_an_iso(what: str) -> RejectedError:
    return RejectedError(
        Code.NOT_AN_ISO, f"The object is {what}, not an ISO image; the Windows 11 ISO is needed."
    )


def _iso9660(data: bytes) -> tuple[str, int] | None:
    """Give label and size in bytes by the primary volume descriptor (ECMA-119 8.4)."""
    for at in range(_RECOGNITION * SECTOR, len(data) - SECTOR + 1, SECTOR):
        if data[at : at + 7] == b"\x01CD001\x01":
            label = data[at + 40 : at + 72].decode("latin-1").strip(" \0")
            return label, int.from_bytes(data[at + 80 : at + 84], "little") * SECTOR
    return None


def _described(data: bytes) -> str:
    head = data[:512]
    for start, words in _STARTS:
        if head.startswith(start):
            return words
    if any(head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(page) for page in _PAGES):
        return "an HTML page"
    begins, system = _RECOGNITION * SECTOR, "the file system of an ISO begins at byte"
    kinds = (
        (not any(data) and len(data) < begins, f"{len(data):,} zeros, where {system} {begins:,}"),
        (not any(data), "nothing but zeros where a file system has to be"),
        (data[257:262] == b"ustar", "a tar archive"),
        (_is_text(head), "a text file"),
        (head[510:512] == b"\x55\xaa", "a disk with a boot sector"),
        (True, "binary data of no known kind"),
    )
    return next(words for fits, words in kinds if fits)


def _is_text(head: bytes) -> bool:
    encoding = "utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"
    # A character cut off at the end is no reason to say that it is not text.
    text = head.decode(encoding, "replace").rstrip("\N{REPLACEMENT CHARACTER}")
    return all(letter.isprintable() or letter in _LINE_ENDS for letter in text)
