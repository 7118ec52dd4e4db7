"""From a callable that reads ranges to what is on the ISO: the one way in."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from isodrop.codes import Code
from isodrop.errors import RejectedError
from isodrop.iso.model import Media, ReadRange
from isodrop.iso.sniff import explain
from isodrop.iso.udf_files import Entry, File, entries, open_file
from isodrop.iso.udf_volume import Volume, find_anchor, open_volume
from isodrop.iso.wim import WimImage, open_wim
from isodrop.iso.wim_xml import read_editions
from isodrop.iso.window import Observer, Window, damaged
from isodrop.text import listed, shown

# Where file entries stand among the data, a folder's names follow its entry and a file's first
# bytes follow its own: these spare the request for them, at little cost where they do not.
_AHEAD_OF_FOLDER: Final = 24 * 1024
_AHEAD_OF_FILE: Final = 4 * 1024

_SOURCES: Final = "sources"
_KINDS: Final = {"install.wim": "wim", "install.esd": "esd"}
_SPLIT: Final = "install.swm"


@dataclass(frozen=True, slots=True)
class Found:
    """The Windows image on the ISO, and what it was found on."""

    volume: Volume
    kind: str
    image: WimImage


def read_media(read: ReadRange, size: int, observe: Observer | None = None) -> Media:
    """Read what is on a Windows ISO, by a handful of ranges.

    Parameters
    ----------
    read : ReadRange
        Reads from the object. What it raises passes through.
    size : int
        The object's size in bytes.
    observe : callable, optional
        Called with offset and length before each range is read.

    Returns
    -------
    Media
        Its ``media_id`` is SHA-256 over seven fields, each one preceded by its length as eight
        bytes, big-endian: ``isodrop media 1``; the object's size as eight bytes, big-endian;
        the volume identifier (32 bytes of the primary volume descriptor, empty where there is
        none); the volume set identifier (128 bytes of it); the logical volume identifier (128
        bytes); the WIM's header (208 bytes); the WIM's XML.

    Raises
    ------
    RejectedError
        ``not-an-iso``, ``truncated``, ``unreadable-media``, ``not-windows`` or ``split-image``.

    Examples
    --------
    >>> from io import BytesIO
    >>> data = b"This is no ISO."
    >>> read_media(lambda at, length: data[at : at + length], len(data))
    Traceback (most recent call last):
    isodrop.errors.RejectedError: The object is a text file, not an ISO image; the Windows 11 ISO is needed.
    """  # noqa: E501 # the message is one line
    window = Window(read, size, observe)
    found = find_image(window)
    return Media(
        label=found.volume.label,
        kind=found.kind,
        editions=read_editions(found.image),
        media_id=_identity(size, found),
        size=size,
        requests=window.requests,
        bytes=window.bytes,
    )


def find_image(window: Window) -> Found:
    """Find and read the Windows image, as far as its header and XML.

    Raises
    ------
    RejectedError
        As :func:`read_media`.
    """
    window.start()
    anchor = find_anchor(window)
    if anchor is None:
        raise explain(window)
    volume = open_volume(window, anchor)
    root = open_file(
        window, volume, volume.root, folder=True, what="its root folder", ahead=_AHEAD_OF_FOLDER
    )
    there = list(entries(window, root))
    sources = _one(there, _SOURCES)
    if sources is None or not sources.is_folder:
        raise _not_windows(volume, "it", there)
    where = sources.where
    folder = open_file(window, volume, where, folder=True, what=_SOURCES, ahead=_AHEAD_OF_FOLDER)
    return _image(window, volume, folder)


def _image(window: Window, volume: Volume, folder: File) -> Found:
    there = list(entries(window, folder))
    for name, kind in _KINDS.items():
        entry = _one(there, name)
        if entry is None:
            continue
        path = f"{_SOURCES}/{name}"
        file = open_file(window, volume, entry.where, folder=False, what=path, ahead=_AHEAD_OF_FILE)
        return Found(volume, kind, open_wim(window, file))
    if _one(there, _SPLIT) is not None:
        raise RejectedError(
            Code.SPLIT_IMAGE,
            f"The Windows image on the ISO is split ({_SOURCES}/{_SPLIT} and its further parts);"
            " one whole install.wim is needed.",
        )
    raise _not_windows(volume, _SOURCES, there)


def _one(there: Iterable[Entry], name: str) -> Entry | None:
    """Find a name whatever its case, as Windows does; twice would be one too many."""
    found = [entry for entry in there if entry.name.lower() == name]
    if len(found) > 1:
        raise damaged(f"{name} is there {len(found)} times")
    return found[0] if found else None


def _not_windows(volume: Volume, what: str, there: Iterable[Entry]) -> RejectedError:
    names = listed((entry.name for entry in there), limit=4) or "nothing"
    return RejectedError(
        Code.NOT_WINDOWS,
        f"The ISO labelled {shown(volume.label) or 'with nothing'} is not one that installs"
        f" Windows: {what} holds {names}, but no {_SOURCES}/install.wim; a Windows 11 ISO is"
        " needed.",
    )


def _identity(size: int, found: Found) -> str:
    """Say what is on the disc; :func:`read_media` says how."""
    digest = sha256()
    fields = (
        b"isodrop media 1",
        size.to_bytes(8, "big"),
        *found.volume.identifiers,
        found.image.header,
        found.image.xml,
    )
    for part in fields:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
