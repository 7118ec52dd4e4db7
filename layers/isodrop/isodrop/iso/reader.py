"""The entry point: reads the contents of an ISO with a callable that reads ranges."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from isodrop.codes import Code
from isodrop.errors import RejectedError
from isodrop.iso.model import ESD, WIM, IsoContents, ReadRange
from isodrop.iso.range_reader import (
    Observer,
    RangeReader,
    damaged_error,
    describe_iso,
    truncated_error,
)
from isodrop.iso.sniff import diagnose
from isodrop.iso.udf_files import FolderEntry, list_entries, open_file
from isodrop.iso.udf_volume import Address, Volume, ends_with_anchor, find_anchor, open_volume
from isodrop.iso.wim import WimFile, open_wim
from isodrop.iso.wim_xml import read_images
from isodrop.text import join_list

# If file entries are stored among the data, the names of a folder follow its entry, and the first
# bytes of a file follow the file's entry. Reading ahead then saves a request, and costs little
# otherwise.
_FOLDER_READ_AHEAD: Final = 24 * 1024
_FILE_READ_AHEAD: Final = 4 * 1024

_SOURCES: Final = "sources"
_KINDS: Final = {"install.wim": WIM, "install.esd": ESD}
_SPLIT: Final = "install.swm"
_MIN_ARCHITECTURES: Final = 2
_ARCHITECTURE_FOLDERS: Final = frozenset({"x64", "amd64", "x86", "arm64"})


@dataclass(frozen=True, slots=True)
class FoundWim:
    """The Windows image file on the ISO, and the volume that contains it."""

    volume: Volume
    kind: str
    wim: WimFile


def read_iso(read: ReadRange, size: int, observe: Observer | None = None) -> IsoContents:
    """Read the contents of a Windows ISO with a few ranged reads.

    Parameters
    ----------
    read : ReadRange
        Reads from the object. Its exceptions are passed on.
    size : int
        The object's size in bytes.
    observe : callable, optional
        Called with offset and length before each range is read.

    Returns
    -------
    IsoContents

    Raises
    ------
    RejectedError
        ``not-an-iso``, ``truncated``, ``unreadable-iso``, ``not-windows`` or ``split-image``.

    Examples
    --------
    >>> from io import BytesIO
    >>> data = b"This is not an ISO."
    >>> read_iso(lambda offset, length: data[offset : offset + length], len(data))
    Traceback (most recent call last):
    isodrop.errors.RejectedError: The object is a text file, not an ISO image; the Windows 11 ISO is needed.
    """  # noqa: E501 # the message is one line
    ranges = RangeReader(read, size, observe)
    found = find_wim(ranges)
    return IsoContents(
        label=found.volume.label,
        kind=found.kind,
        images=read_images(found.wim),
        has_esd_format=found.wim.is_esd,
        size=size,
        requests=ranges.requests,
        bytes_read=ranges.bytes,
    )


def find_wim(ranges: RangeReader) -> FoundWim:
    """Find the Windows image file, and read its header and XML.

    Raises
    ------
    RejectedError
        As :func:`read_iso`.
    """
    ranges.prefetch()
    anchor = find_anchor(ranges)
    if anchor is None:
        raise diagnose(ranges)
    volume = open_volume(ranges, anchor)
    if volume.end <= ranges.size:
        return _find_in_volume(ranges, volume)
    # A known defect of ISO writers: when pycdlib removes a file from an ISO made by genisoimage,
    # the partition stays one sector too long. An object that ends with an anchor is complete.
    truncation = truncated_error(ranges.size, volume.end, "the file system")
    try:
        found = _find_in_volume(ranges, volume)
    except RejectedError as error:
        if error.code is Code.TRUNCATED or ends_with_anchor(ranges):
            raise
        raise truncation from None
    if not ends_with_anchor(ranges):
        raise truncation
    return found


def _find_in_volume(ranges: RangeReader, volume: Volume) -> FoundWim:
    listing = _list_folder(ranges, volume, volume.root, "its root folder")
    sources = _find_entry(listing, _SOURCES)
    if sources is None or not sources.is_folder:
        raise _multi_architecture_error(ranges, volume, listing) or _not_windows_error(
            volume, "its root folder", listing
        )
    source_entries = _list_folder(ranges, volume, sources.address, _SOURCES)
    found = _find_wim(ranges, volume, source_entries)
    if found is None:
        raise _multi_architecture_error(ranges, volume, listing) or _not_windows_error(
            volume, "its sources folder", source_entries
        )
    return found


def _list_folder(
    ranges: RangeReader, volume: Volume, address: Address, what: str
) -> list[FolderEntry]:
    folder = open_file(
        ranges, volume, address, folder=True, what=what, read_ahead=_FOLDER_READ_AHEAD
    )
    return list(list_entries(ranges, folder))


def _find_wim(ranges: RangeReader, volume: Volume, listing: list[FolderEntry]) -> FoundWim | None:
    for name, kind in _KINDS.items():
        entry = _find_entry(listing, name)
        if entry is None:
            continue
        path = f"{_SOURCES}/{name}"
        file = open_file(
            ranges, volume, entry.address, folder=False, what=path, read_ahead=_FILE_READ_AHEAD
        )
        if file.end > ranges.size:
            raise truncated_error(ranges.size, volume.end, "the file system")
        return FoundWim(volume, kind, open_wim(ranges, file))
    if _find_entry(listing, _SPLIT) is not None:
        raise RejectedError(
            Code.SPLIT_IMAGE,
            f"The Windows image file on the ISO is split ({_SOURCES}/{_SPLIT} and further parts);"
            " a complete install.wim is needed.",
        )
    return None


def _multi_architecture_error(
    ranges: RangeReader, volume: Volume, listing: Iterable[FolderEntry]
) -> RejectedError | None:
    """Return the error that rejects an ISO with Windows for several architectures, or ``None``."""
    folders = [
        entry
        for entry in listing
        if entry.is_folder and entry.name.lower() in _ARCHITECTURE_FOLDERS
    ]
    if len(folders) < _MIN_ARCHITECTURES:
        return None
    found = []
    for folder in folders[: len(_ARCHITECTURE_FOLDERS)]:
        sources = _find_entry(_list_folder(ranges, volume, folder.address, folder.name), _SOURCES)
        if sources is not None and sources.is_folder:
            found.append(f"{folder.name}/{_SOURCES}")
    if len(found) < _MIN_ARCHITECTURES:
        return None
    return RejectedError(
        Code.NOT_WINDOWS,
        f"{describe_iso(volume.label)} contains Windows for several architectures"
        f" ({join_list(found)}), as ISOs from the Media Creation Tool do; an ISO for x64 alone,"
        f" with {_SOURCES}/install.wim, is needed.",
    )


def _find_entry(listing: Iterable[FolderEntry], name: str) -> FolderEntry | None:
    """Find a name regardless of case, as Windows does; it must not occur twice."""
    found = [entry for entry in listing if entry.name.lower() == name]
    if len(found) > 1:
        raise damaged_error(f"{name} occurs {len(found)} times")
    return found[0] if found else None


def _not_windows_error(volume: Volume, what: str, listing: Iterable[FolderEntry]) -> RejectedError:
    names = join_list((entry.name for entry in listing), limit=4)
    contents = f"contains {names}" if names else "is empty"
    return RejectedError(
        Code.NOT_WINDOWS,
        f"{describe_iso(volume.label)} is not a Windows installation ISO: {what} {contents}, and"
        f" there is no {_SOURCES}/install.wim; a Windows 11 ISO is needed.",
    )
