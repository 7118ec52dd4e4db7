"""Diagnoses an object on which no UDF anchor was found, and makes its rejection."""

from typing import Final, NamedTuple

from isodrop.codes import Code
from isodrop.errors import RejectedError
from isodrop.iso.range_reader import (
    ANCHOR_SECTOR,
    DOWNLOAD_AGAIN,
    SECTOR,
    RangeReader,
    damaged_error,
    describe_iso,
    only_zeros_error,
    truncated_error,
)

_RECOGNITION: Final = 16  # the sector at which volume structures start: ECMA-167 2/8.3
_RECOGNITION_END: Final = 32
_OTHER_BLOCK_SIZES: Final = (512, 1024, 4096)
_TAG_SIZE: Final = 16  # of a descriptor, in bytes
_SIGNATURES: Final = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"MSCF", "a cabinet file"),
    (b"MSWIM\0\0\0", "a bare Windows image file (WIM)"),
    (b"WLPWM\0\0\0", "a bare Windows image file (WIM)"),
    (b"\0" + b"\xff" * 10 + b"\0", "a raw CD or DVD image, with sectors of 2,352 bytes"),
    (b"CISO", "a compressed disk image (CSO)"),
    (b"IsZ!", "a compressed disk image (ISZ)"),
    (b"DAA\0", "a compressed disk image (DAA)"),
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
_HTML_STARTS: Final = ("<!doctype html", "<html", "<head", "<body")
# Longer marks first, because that of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS: Final = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_TEXT_CONTROLS: Final = frozenset("\t\n\r\f")


def diagnose(ranges: RangeReader) -> RejectedError:
    """Return the error that rejects an object on which no UDF anchor was found."""
    if not ranges.size:
        return RejectedError(
            Code.NOT_AN_ISO,
            "The object is empty.",
            "Copying the ISO was probably interrupted. Check the size of your file, download it"
            " again if it is empty too, and upload it again.",
        )
    data = ranges.read(0, min(ranges.size, _RECOGNITION_END * SECTOR), "the start of the object")
    return _file_system_error(ranges, data) or _other_file_error(data)


def _file_system_error(ranges: RangeReader, data: bytes) -> RejectedError | None:
    """Return the error that rejects an object with the signature of a file system, or ``None``."""
    names = {data[at + 1 : at + 6] for at in range(_RECOGNITION * SECTOR, len(data) - 6, SECTOR)}
    udf = bool(names & {b"BEA01", b"NSR02", b"NSR03"})
    iso9660 = _read_iso9660(data)
    if iso9660 is not None and iso9660.size > ranges.size:
        return truncated_error(ranges.size, iso9660.size, "the file system")
    anchor_end = (ANCHOR_SECTOR + 1) * SECTOR
    if udf and ranges.size <= anchor_end:
        return truncated_error(ranges.size, anchor_end, "the start of the file system")
    if udf:
        return _udf_error(ranges)
    if iso9660 is None:
        return None
    return RejectedError(
        Code.NOT_WINDOWS,
        f"{describe_iso(iso9660.label)} has a plain ISO 9660 file system, which no Windows 11"
        " ISO has; an ISO as Microsoft publishes it, with UDF, is needed.",
    )


def _udf_error(ranges: RangeReader) -> RejectedError:
    """Return the error that rejects a UDF file system whose anchor is not where it should be."""
    for block in _OTHER_BLOCK_SIZES:
        at = ANCHOR_SECTOR * block
        if at + _TAG_SIZE <= ranges.size:
            tag = ranges.read(at, _TAG_SIZE, "the anchor")
            if tag[:2] == b"\x02\0" and tag[12:] == ANCHOR_SECTOR.to_bytes(4, "little"):
                return damaged_error(f"the blocks of its file system are {block} bytes, not 2,048")
    if not any(ranges.read(ANCHOR_SECTOR * SECTOR, SECTOR, "the anchor")):
        return only_zeros_error("the anchor of its file system")
    return damaged_error("it claims to have a UDF file system, but the anchor is missing")


def _other_file_error(data: bytes) -> RejectedError:
    if zeros := _describe_zeros(data):
        return RejectedError(
            Code.NOT_AN_ISO,
            f"The object {zeros}; probably its download was interrupted. The whole Windows 11 ISO"
            " is needed.",
            DOWNLOAD_AGAIN,
        )
    return RejectedError(
        Code.NOT_AN_ISO,
        f"The object is {_describe_contents(data)}, not an ISO image; the Windows 11 ISO is"
        " needed.",
    )


def _describe_zeros(data: bytes) -> str | None:
    """Describe an object whose first 64 KiB are zeros; ``None`` for any other object."""
    begins = _RECOGNITION * SECTOR
    if any(data):
        return None
    if len(data) < begins:
        return (
            f"consists of {len(data):,} zero bytes and ends before byte {begins:,}, where an ISO's"
            " file system begins"
        )
    return "has only zeros where the file system should be"


class _Iso9660(NamedTuple):
    label: str
    size: int


def _read_iso9660(data: bytes) -> _Iso9660 | None:
    """Return label and size in bytes from the primary volume descriptor (ECMA-119 8.4)."""
    for at in range(_RECOGNITION * SECTOR, len(data) - SECTOR + 1, SECTOR):
        if data[at : at + 7] == b"\x01CD001\x01":
            label = data[at + 40 : at + 72].decode("latin-1").strip(" \0")
            size = int.from_bytes(data[at + 80 : at + 84], "little") * SECTOR
            return _Iso9660(label, size)
    return None


def _describe_contents(data: bytes) -> str:
    head = data[:512]
    for start, description in _SIGNATURES:
        if head.startswith(start):
            return description
    text = _decode_text(head)
    kinds = (
        (text.lstrip().lower().startswith(_HTML_STARTS), "an HTML page"),
        (data[257:262] == b"ustar", "a tar archive"),
        (all(letter.isprintable() or letter in _TEXT_CONTROLS for letter in text), "a text file"),
        (head[510:512] == b"\x55\xaa", "a disk with a boot sector"),
        (True, "binary data of an unknown format"),
    )
    return next(description for fits, description in kinds if fits)


def _decode_text(head: bytes) -> str:
    """Decode as text, using the byte order mark if there is one."""
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), "utf-8")
    # A truncated character at the end does not mean that it is not text.
    return head.decode(encoding, "replace").rstrip("\N{REPLACEMENT CHARACTER}")
