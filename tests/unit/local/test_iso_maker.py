"""The maker of test ISOs is fast, makes sparse files and says where things are."""

from pathlib import Path

import pytest

from isodrop.iso.range_reader import RangeReader
from isodrop.iso.udf_files import list_entries, open_file
from isodrop.iso.udf_volume import find_anchor, open_volume
from isodrop_local.iso_maker import (
    LAYOUTS,
    MEASURED_WIM_SIZE,
    MICROSOFT_ENTERPRISE_INDEX,
    Content,
    business_editions,
    make_image,
    make_iso,
    make_wim,
    measured_files,
)
from isodrop_local.iso_maker.image import SECTOR, Image
from isodrop_local.iso_maker.meter import read_contents


def test_five_gigabytes_take_hardly_any_memory_and_disk(tmp_path: Path) -> None:
    # That is why they take a tenth of a second:
    # ``python -m isodrop_local.iso_maker PATH --size BYTES`` says.
    made = make_iso(tmp_path / "large.iso", size=5_400_000_000)

    assert sum(len(data) for _, data in make_image(size=5_400_000_000).content.pieces) < 1 << 20
    assert made.stat().st_size == 5_400_000_000 // 2048 * 2048
    assert made.stat().st_blocks * 512 < 4 << 20


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_written_file_equals_the_image_in_memory(layout: str, tmp_path: Path) -> None:
    image = make_image(layout=layout)

    assert image.write(tmp_path / "x.iso").read_bytes() == image.read(0, image.size)


def test_changes_do_not_affect_the_original() -> None:
    image = Image(Content(100, ((10, b"abcdef"), (20, b"xyz"))))

    changed = image.with_bytes(12, b"0123456789")

    assert changed.read(8, 18) == b"\0\0ab0123456789z\0\0\0"
    assert image.read(8, 18) == b"\0\0abcdef\0\0\0\0xyz\0\0\0"
    assert image.resized(12).read(8, 4) == b"\0\0ab"


def test_enterprise_is_third_only_on_request() -> None:
    assert business_editions()[2].edition_id != "Enterprise"
    assert business_editions(enterprise_index=3)[2].edition_id == "Enterprise"
    with pytest.raises(ValueError, match="1 to 11"):
        business_editions(enterprise_index=12)


# The layout that was measured on Microsoft's ISOs


MEASURED = make_image(
    files=measured_files(),
    wim=make_wim(
        business_editions(enterprise_index=MICROSOFT_ENTERPRISE_INDEX), size=MEASURED_WIM_SIZE
    ),
)


def tags(image: Image, sector: int) -> list[int]:
    """Return the identifiers of the tags from a sector on."""
    found = []
    while any(data := image.read(sector * SECTOR, 16)):
        found.append(int.from_bytes(data[:2], "little"))
        assert int.from_bytes(data[2:4], "little") == 2, "the tag's version"
        assert int.from_bytes(data[12:16], "little") == sector
        sector += 1
    return found


def test_the_volume_is_as_cdimage_writes_it() -> None:
    last = MEASURED.size // SECTOR - 1

    assert tags(MEASURED, 257) == tags(MEASURED, 275) == [1, 4, 5, 6, 7, 8]
    anchors = [
        sector
        for sector in (256, last - 256, last)
        if MEASURED.read(sector * SECTOR, 2) == b"\x02\0"
    ]
    assert anchors == [256, last]
    logical = MEASURED.read(MEASURED.places["main 3"], 512)
    assert logical[217:236] == b"*OSTA UDF Compliant"
    assert logical[240:243] == b"\x02\x01\x00", "UDF 1.02, no domain flags"
    assert b"*Microsoft CDIMAGE UDF" in logical


def test_the_iso_9660_part_contains_only_a_readme() -> None:
    records = MEASURED.read(24 * SECTOR, SECTOR)

    names, at = [], 0
    while records[at]:
        names.append(records[at + 33 : at + 33 + records[at + 32]])
        at += records[at]
    assert names == [b"\0", b"\1", b"README.TXT;1"]


def test_the_made_iso_has_as_many_files_and_folders_as_microsofts() -> None:
    ranges = RangeReader(MEASURED.read, MEASURED.size)
    ranges.requests = -1000  # this walks the whole tree, which the reader never does
    ranges.bytes = -(1 << 30)
    anchor = find_anchor(ranges)
    assert anchor is not None
    volume = open_volume(ranges, anchor)
    folders, files, wide = [volume.root], 0, set()
    for where in folders:
        folder = open_file(ranges, volume, where, folder=True, what="x", read_ahead=0)
        data = folder.read(ranges, 0, folder.size)
        at = 0
        while at < len(data):
            use = int.from_bytes(data[at + 36 : at + 38], "little")
            length = data[at + 19]
            wide |= {data[at + 38 + use]} if length else set()
            at += (38 + use + length + 3) // 4 * 4
        for entry in list_entries(ranges, folder):
            folders += [entry.address] if entry.is_folder else []
            files += not entry.is_folder
    assert (len(folders), files) == (85, 946)
    assert wide == {16}, "names are in 16 bits, though they are ASCII"


def test_the_windows_image_has_the_size_and_extents_of_microsofts() -> None:
    entry = MEASURED.read(MEASURED.places["/sources/install.wim#"], SECTOR)

    assert int.from_bytes(entry[56:64], "little") == MEASURED_WIM_SIZE
    lengths = [
        int.from_bytes(entry[at : at + 4], "little")
        for at in range(176, 176 + int.from_bytes(entry[172:176], "little"), 8)
    ]
    assert len(lengths) == 8
    assert set(lengths[:-1]) == {0x3FF00000}


@pytest.mark.parametrize("layout", ["grouped", "interleaved"])
def test_the_made_iso_is_read_with_four_requests_and_half_a_megabyte(layout: str) -> None:
    wim = make_wim(
        business_editions(enterprise_index=MICROSOFT_ENTERPRISE_INDEX), size=MEASURED_WIM_SIZE
    )
    contents = read_contents(make_image(layout=layout, files=measured_files(), wim=wim))

    assert [e.index for e in contents.images if e.edition_id == "Enterprise"] == [3]
    assert contents.requests <= 4
    assert contents.bytes_read <= 512 * 1024
