"""The reader reads the same XML as 7z, pycdlib and wimlib, byte for byte."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.external_tools import ProgramError
from tests.support.reference_images import OTHER_PROGRAMS, OURS
from tests.support.reference_readers import REFERENCE_READERS, ours

CASES = {**OURS, **OTHER_PROGRAMS}
_WITHOUT_BRIDGE = "Valid ISO9660 filesystems must have at least one PVD"
UNABLE = {
    # Reference reader and images: its error. 7z follows no allocation extents, reads no file
    # with a tail and looks for an anchor at sector 256 only; pycdlib reads UDF beside ISO 9660
    # only, no inline folders and no deleted names.
    ("7z", "genisoimage, one"): "it shows no XML of a WIM with one image",
    ("7z*", "ours, chained*"): "Unsupported Method",
    ("7z*", "ours, last-anchor"): "Is not archive",
    ("7z*", "ours, before-last-anchor"): "Is not archive",
    ("7z*", "ours, tail"): "Unsupported Method",
    ("pycdlib*", "ours, extras"): "Empty UDF File Entry for directories are not allowed",
    ("pycdlib*", "ours, extras-inline"): "Could not find path",
    ("pycdlib*", "ours, *-anchor"): "Expected at least 2 UDF Anchors",
    ("pycdlib*", "ours, inline"): "Could not find path",
    ("pycdlib*", "ours, udf-only"): _WITHOUT_BRIDGE,
    ("pycdlib*", "mkudffs, *"): _WITHOUT_BRIDGE,
}


def _unable(reader: str, name: str) -> str | None:
    """The error of a reference reader for an image that it cannot read, otherwise ``None``."""
    for (who, what), reason in UNABLE.items():
        if fnmatch(reader, who) and fnmatch(name, what):
            return reason
    return None


def _read_xml(reader: str, image: Path, path: str, work: Path) -> bytes | str:
    """The XML that a reference reader reads, or its error."""
    try:
        return REFERENCE_READERS[reader](image, path, work)
    except ProgramError as error:
        return str(error)


@pytest.mark.parametrize("name", CASES)
def test_reference_readers_read_the_same_xml(name: str, work: Path) -> None:
    case = CASES[name]
    image = case.make(work)
    xml = ours(image)
    for reader in REFERENCE_READERS:
        result = _read_xml(reader, image, case.path, work)
        reason = _unable(reader, name)
        if isinstance(result, str):
            assert reason is not None, f"{reader} says: {result}"
            assert reason in result, reader
        else:
            assert result == xml, reader


def test_at_least_25_images_have_a_reference_reader() -> None:
    compared = {
        name for name in CASES if any(_unable(reader, name) is None for reader in REFERENCE_READERS)
    }
    assert len(compared) >= 25
    assert set(CASES) - compared == {"ours, before-last-anchor", "ours, last-anchor"}
