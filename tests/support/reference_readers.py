"""Reads the XML of an image with other programs: 7z, pycdlib and wimlib-imagex."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from isodrop.iso.range_reader import RangeReader
from isodrop.iso.reader import find_wim
from tests.support.external_tools import ProgramError, run

ReferenceReader = Callable[[Path, str, Path], bytes]
"""Takes an ISO, the path of its WIM and a working folder; returns the raw XML."""


def ours(image: Path) -> bytes:
    """Return the XML that isodrop's reader reads."""
    with image.open("rb") as file:

        def read(offset: int, length: int, /) -> bytes:
            file.seek(offset)
            return file.read(length)

        return find_wim(RangeReader(read, image.stat().st_size)).wim.xml


def by_7z(image: Path, path: str, work: Path) -> bytes:
    """Extract the WIM from the UDF file system, and the XML from the WIM, with 7z."""
    run("7z", "e", "-so", "-tudf", image, path, into=work / "7z.wim")
    run("7z", "e", "-so", "-twim", work / "7z.wim", "[1].xml", into=work / "7z.xml")
    xml = (work / "7z.xml").read_bytes()
    if not xml:
        raise ProgramError("it shows no XML of a WIM with one image")
    return xml


def by_7z_and_wimlib(image: Path, path: str, work: Path) -> bytes:
    """Extract the WIM from the UDF file system with 7z, and its XML with wimlib."""
    run("7z", "e", "-so", "-tudf", image, path, into=work / "7z.wim")
    return _xml(work / "7z.wim", work / "7zw.xml")


def by_pycdlib_and_wimlib(image: Path, path: str, work: Path) -> bytes:
    """Extract the WIM from the UDF file system with pycdlib, and its XML with wimlib."""
    wim = io.BytesIO()
    iso = pycdlib.PyCdlib()
    try:
        iso.open(str(image))
        iso.get_file_from_iso_fp(wim, udf_path=f"/{path}")
    # pycdlib raises other exceptions, too, if it does not understand an image.
    except (PyCdlibException, AttributeError, IndexError) as error:
        raise ProgramError(str(error)) from error
    (work / "pycdlib.wim").write_bytes(wim.getvalue())
    return _xml(work / "pycdlib.wim", work / "pycdlib.xml")


def _xml(wim: Path, target: Path) -> bytes:
    run("wimlib-imagex", "info", wim, f"--extract-xml={target}")
    return target.read_bytes()


REFERENCE_READERS: Mapping[str, ReferenceReader] = MappingProxyType(
    {
        "7z": by_7z,
        "7z+wimlib": by_7z_and_wimlib,
        "pycdlib+wimlib": by_pycdlib_and_wimlib,
    }
)
