"""ISOs of other programs are read correctly at the documented cost, or rejected as expected."""

from collections.abc import Callable
from pathlib import Path

import pytest

from isodrop.codes import Code
from isodrop.errors import RejectedError
from isodrop.iso.model import IsoContents
from isodrop.iso.reader import read_iso
from isodrop_local.iso_maker import business_editions, make_wim
from isodrop_local.iso_maker.image import Image
from tests.support import iso_makers
from tests.support.external_tools import run
from tests.support.reference_images import OTHER_PROGRAMS

Make = Callable[[Path], Path]


def read(path: Path) -> IsoContents:
    with path.open("rb") as file:

        def ranged(offset: int, length: int, /) -> bytes:
            file.seek(offset)
            return file.read(length)

        return read_iso(ranged, path.stat().st_size)


@pytest.mark.parametrize("name", OTHER_PROGRAMS)
def test_a_made_iso_contains_its_files_and_is_read_cheaply(name: str, work: Path) -> None:
    case = OTHER_PROGRAMS[name]
    contents = read(case.make(work))
    assert contents.label == iso_makers.LABEL
    assert contents.kind == case.path.lower().rpartition(".")[2]
    found = [
        (e.edition_id, e.architecture, e.build, e.revision, e.installation_type, e.languages)
        for e in contents.images
    ]
    assert found == [
        (e.edition_id, e.architecture, e.build, e.revision, e.installation_type, e.languages)
        for e in case.editions
    ]
    assert [edition.index for edition in contents.images] == list(range(1, len(found) + 1))
    assert contents.requests <= 5
    assert contents.bytes_read <= 512 * 1024


def test_the_end_of_a_wim_that_genisoimage_splits_is_found(
    work: Path,
) -> None:
    wim = make_wim(business_editions(), size=1200 << 20)
    source = iso_makers.folder(work / "files", Image(wim).write(work / "big.wim"), fillers=900)
    contents = read(iso_makers.genisoimage(work / "image.iso", source))
    assert [edition.edition_id for edition in contents.images][4] == "Enterprise"
    assert contents.requests <= 5
    assert contents.bytes_read <= 512 * 1024


def _split(name: str) -> Make:
    """Put one part of a split WIM on an ISO, under the given name."""

    def make(work: Path) -> Path:
        whole = iso_makers.wimlib(work / "whole.wim", "lzms")
        (work / "whole.content" / "noise").write_bytes(bytes(range(256)) * 16384)
        run("wimlib-imagex", "append", work / "whole.content", whole, "noise")
        run("wimlib-imagex", "split", whole, work / "part.swm", "0.001")
        assert (work / "part2.swm").exists()
        source = iso_makers.folder(work / "files", work / "part.swm", f"sources/{name}")
        return iso_makers.genisoimage(work / "image.iso", source)

    return make


def _pipable(work: Path) -> Path:
    wim = iso_makers.wimlib(work / "made.wim", "one", "--pipable")
    return iso_makers.genisoimage(work / "image.iso", iso_makers.folder(work / "files", wim))


def _linux(work: Path) -> Path:
    source = iso_makers.folder(
        work / "files", iso_makers.wimlib(work / "made.wim", "one"), "casper/x.wim"
    )
    return iso_makers.genisoimage(work / "image.iso", source, "-J", "-R")


def _nothing(work: Path) -> Path:
    source = iso_makers.folder(
        work / "files", iso_makers.wimlib(work / "made.wim", "one"), "casper/x.wim"
    )
    return iso_makers.genisoimage(work / "image.iso", source)


def _cut(part: float) -> Make:
    def make(work: Path) -> Path:
        image = OTHER_PROGRAMS["genisoimage, many files"].make(work)
        with image.open("r+b") as file:
            file.truncate(int(image.stat().st_size * part))
        return image

    return make


def _mkudffs(*options: str, contents: str = "hd") -> Make:
    def make(work: Path) -> Path:
        return iso_makers.mkudffs(work / "image.iso", *options, contents=contents)

    return make


# The image, the code of its rejection, and text of the reason.
REJECTED: dict[str, tuple[Make, Code, str]] = {
    "wimlib, split": (_split("install.swm"), Code.SPLIT_IMAGE, "install.swm and further parts"),
    "wimlib, a part under the whole's name": (
        _split("install.wim"),
        Code.SPLIT_IMAGE,
        "is part 1 of",
    ),
    "wimlib, pipable": (_pipable, Code.UNREADABLE_ISO, "pipable WIM"),
    "genisoimage, Linux": (_linux, Code.NOT_WINDOWS, "plain ISO 9660"),
    "genisoimage, UDF without Windows": (_nothing, Code.NOT_WINDOWS, "no sources/install.wim"),
    "genisoimage, nine tenths": (_cut(0.9), Code.TRUNCATED, "object ends"),
    "genisoimage, a tenth": (_cut(0.1), Code.TRUNCATED, "object ends"),
    "mkudffs, empty": (_mkudffs("--blocksize=2048"), Code.NOT_WINDOWS, "no sources/install.wim"),
    "mkudffs, virtual partition": (
        _mkudffs("--vat", contents="cdr"),
        Code.UNREADABLE_ISO,
        "a virtual partition",
    ),
    "mkudffs, sparable partition": (
        _mkudffs(contents="cdrw"),
        Code.UNREADABLE_ISO,
        "a sparable partition",
    ),
    "mkudffs, virtual partition of 2.50": (
        _mkudffs("--udfrev=2.50", contents="bdr"),
        Code.UNREADABLE_ISO,
        "a virtual partition",
    ),
    "mkudffs, blocks of 512": (
        _mkudffs("--blocksize=512"),
        Code.UNREADABLE_ISO,
        "are 512 bytes, not 2,048",
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_an_iso_that_must_not_be_imported_is_rejected_by_its_code(name: str, work: Path) -> None:
    make, code, message = REJECTED[name]
    image = make(work)
    with pytest.raises(RejectedError) as caught:
        read(image)
    assert caught.value.code == code
    assert message in str(caught.value)
