"""Reads Windows image files, see Microsoft's white paper "Windows Imaging File Format (WIM)"."""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from isodrop.codes import Code
from isodrop.errors import RejectedError
from isodrop.iso.range_reader import RangeReader, damaged_error, only_zeros_error
from isodrop.iso.udf_files import File

HEADER_SIZE: Final = 208
MAX_XML: Final = 1 << 20
MAX_IMAGES: Final = 256

_MAGIC: Final = b"MSWIM\0\0\0"
_PIPABLE: Final = b"WLPWM\0\0\0"
# The version of solid files (ESD), which are newer than the white paper:
# https://wimlib.net/man1/wimcapture.html
_ESD_VERSION: Final = 0xE00
_VERSIONS: Final = frozenset({0x10D00, _ESD_VERSION})
_HEADER: Final = Struct("<8sLLLL16sHHL")
_RESOURCE: Final = Struct("<QQQ")
_LENGTH_MASK: Final = (1 << 56) - 1
_WRITE_IN_PROGRESS: Final = 0x40
_COMPRESSED: Final = 0x04
_RESOURCES: Final = {0x30: "lookup table", 0x48: "XML", 0x60: "boot metadata", 0x7C: "integrity"}


@dataclass(frozen=True, slots=True)
class WimFile:
    """The header and XML of a Windows image file (WIM), which contains one or more images.

    Attributes
    ----------
    header : bytes
        All 208 bytes.
    xml : bytes
        UTF-16LE with byte order mark, unchanged.
    count : int
        The number of images according to the header.
    is_esd : bool
        Whether it has the ESD format, whatever the file is called. DISM writes that format only
        with ``/Compress:recovery``.
    """

    header: bytes
    xml: bytes
    count: int
    is_esd: bool = False


def open_wim(ranges: RangeReader, file: File) -> WimFile:
    """Read the header and XML of a Windows image file.

    Raises
    ------
    RejectedError
        ``truncated``, ``unreadable-iso`` or ``split-image``.
    """
    what = file.what
    if file.size < HEADER_SIZE:
        raise damaged_error(f"{what} is only {file.size} bytes")
    header = file.read(ranges, 0, HEADER_SIZE)
    if not any(header):
        raise only_zeros_error(f"the beginning of {what}")
    version, count = _check_header(header, what)
    at, length = _locate_xml(header, file)
    xml = file.read(ranges, at, length)
    if not any(xml):
        raise only_zeros_error(f"the XML of {what}")
    if xml[:2] != b"\xff\xfe":
        raise damaged_error(f"the XML of {what} is not UTF-16")
    return WimFile(header, xml, count, version == _ESD_VERSION)


def _check_header(header: bytes, what: str) -> tuple[int, int]:
    """Reject what cannot be read; returns the version and the number of images."""
    magic, size, version, flags, _, _, part, parts, count = _HEADER.unpack_from(header)
    if magic == _PIPABLE:
        raise damaged_error(f"{what} is a pipable WIM, which only wimlib can read")
    if magic != _MAGIC:
        raise damaged_error(f"{what} does not start like a Windows image file")
    if size != HEADER_SIZE or version not in _VERSIONS:
        raise damaged_error(
            f"{what} is of an unknown version, {version:#x} with {size} bytes of header"
        )
    if parts != 1:
        raise RejectedError(
            Code.SPLIT_IMAGE,
            f"{what} is part {part} of {parts}; a complete install.wim is needed.",
        )
    if part != 1:
        raise damaged_error(f"{what} is part {part} of 1")
    if flags & _WRITE_IN_PROGRESS:
        raise damaged_error(f"{what} was not written completely")
    if not 1 <= count <= MAX_IMAGES:
        raise damaged_error(
            f"{what} contains {count:,} images, where 1 to {MAX_IMAGES} are expected"
        )
    return int(version), int(count)


def _locate_xml(header: bytes, file: File) -> tuple[int, int]:
    """Return offset and length of the XML, after checking that all resources are in the file."""
    for at, name in _RESOURCES.items():
        size_and_flags, offset, _ = _RESOURCE.unpack_from(header, at)
        if size_and_flags & _LENGTH_MASK and offset + (size_and_flags & _LENGTH_MASK) > file.size:
            raise damaged_error(f"the {name} of {file.what} lies outside it")
    size_and_flags, offset, original_size = _RESOURCE.unpack_from(header, 0x48)
    length, flags = size_and_flags & _LENGTH_MASK, size_and_flags >> 56
    if length > MAX_XML:
        raise damaged_error(f"the XML of {file.what} is {length:,} bytes, more than {MAX_XML:,}")
    if flags & _COMPRESSED or length != original_size:
        raise damaged_error(f"the XML of {file.what} is compressed")
    if length % 2 or offset < HEADER_SIZE:
        raise damaged_error(f"the XML of {file.what} has an impossible length or offset")
    return offset, length
