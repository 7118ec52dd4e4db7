"""Every limit: a value at the limit is read, a value above it is rejected."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from isodrop.codes import Code
from isodrop.errors import RejectedError
from isodrop.iso.range_reader import FIRST_READ, MAX_BYTES, MAX_REQUESTS, RangeReader
from isodrop_local.iso_maker import (
    LAYOUTS,
    EditionSpec,
    Image,
    Layout,
    make_image,
    make_wim,
    udf,
)
from isodrop_local.iso_maker.image import SECTOR, Content
from isodrop_local.iso_maker.iso import FIRST_PARTITION_SECTOR
from isodrop_local.iso_maker.meter import read_contents, read_rejection
from isodrop_local.iso_maker.mutate import put, resealed, sealed

LARGE = 5_400_000_000
ONE = [EditionSpec("Enterprise", "Windows 11 Enterprise")]
LARGEST = 1 << 20
FOLDERS = ("boot", "efi", "sources", "support")


def unreadable(image: Image, words: str, *, requests: int = MAX_REQUESTS) -> None:
    found = read_rejection(image, requests=requests)
    assert found.code is Code.UNREADABLE_ISO, found
    assert words in found.message


def folder_of(size: int, *, image_size: int | None = None, path: str = "sources/") -> Image:
    """Make an image whose folder has exactly ``size`` bytes, with names of up to 256 bytes."""
    used = 40 + sum(
        (39 + len(name) + 3) // 4 * 4
        for name in (
            ("boot.wim", "idwbinfo.txt", "lang.ini", "setup.exe", "install.wim")
            if path
            else ("autorun.inf", "bootmgr", "bootmgr.efi", "setup.exe", *FOLDERS)
        )
    )
    count, rest = divmod(size - used, 256)
    if rest < 48:
        count, rest = count - 1, rest + 256
    names = [f"{n:05}".ljust(217, "x") for n in range(count)] + ["y" * (rest - 39)]
    image = make_image(files={path + name: b"" for name in names}, size=image_size, layout="narrow")
    entry = image.places["/sources#" if path else "/#"]
    assert int.from_bytes(image.read(entry + 56, 8), "little") == size
    return image


@pytest.mark.parametrize("path", ["sources/", ""])
def test_a_folder_of_one_mebibyte(path: str) -> None:
    assert len(read_contents(folder_of(LARGEST, path=path)).images) == 11
    unreadable(folder_of(LARGEST + 4, path=path), "1,048,580 bytes, more than 1,048,576")


def xml_of(size: int) -> bytes:
    head = '<WIM><IMAGE INDEX="1"><NAME>x</NAME></IMAGE>'
    return ("\ufeff" + head + " " * (size // 2 - 1 - len(head) - 6) + "</WIM>").encode("utf-16-le")


def test_an_xml_of_one_mebibyte() -> None:
    assert len(xml_of(LARGEST)) == LARGEST
    assert read_contents(make_image(wim=make_wim(ONE, xml=xml_of(LARGEST)))).images[0].name == "x"
    unreadable(make_image(wim=make_wim(ONE, xml=xml_of(LARGEST + 2))), "1,048,578 bytes, more than")


def test_256_images() -> None:
    assert len(read_contents(make_image(editions=ONE * 256)).images) == 256
    unreadable(make_image(editions=ONE * 257), "257 images")


def test_257_images_in_the_xml_where_the_header_has_fewer() -> None:
    unreadable(make_image(wim=make_wim(ONE * 257, count=256)), "more than 256 images")


@pytest.mark.parametrize("long", [False, True])
def test_512_allocation_descriptors(long: bool) -> None:
    # In blocks of one sector each; one more descriptor continues a group of 100.
    layout = Layout(extent=SECTOR, chain=100, long=long)

    def image(extents: int) -> Image:
        wim = make_wim(ONE, size=extents * SECTOR)
        assert wim.size == extents * SECTOR
        return make_image(wim=wim, layout=layout)

    assert len(read_contents(image(507)).images) == 1  # and 5 that continue them
    unreadable(image(508), "more than 512 extents")


def scattered(pieces: int) -> Image:
    """Make an image whose folder sources is in many places, each of which needs a request."""
    image = folder_of(pieces * SECTOR, image_size=LARGE)
    start = image.places["/sources"]
    descriptors = b""
    for at in range(pieces):
        block = 1_000_000 + 1000 * at
        data = image.read(start + at * SECTOR, SECTOR)
        image = image.with_bytes((FIRST_PARTITION_SECTOR + block) * SECTOR, data)
        descriptors += SECTOR.to_bytes(4, "little") + block.to_bytes(4, "little")

    def change(entry: bytearray) -> None:
        put("L", 172, len(descriptors))(entry)
        put("H", 10, 160 + len(descriptors))(entry)
        entry[176 : 176 + len(descriptors)] = descriptors

    return resealed(image, "/sources#", change)


def test_24_requests() -> None:
    # One for the start, one each for the file entry, the header and the XML of install.wim.
    assert read_contents(scattered(20)).requests == 24
    unreadable(scattered(21), "within 24 reads")


def test_four_mebibytes_in_all() -> None:
    # With the other limits no image needs so much, so this tests the ranges itself.
    ranges = RangeReader(lambda _at, length: bytes(length), LARGE)
    ranges.read(0, MAX_BYTES, "it")
    assert ranges.bytes == MAX_BYTES

    with pytest.raises(RejectedError, match="within 4,194,304 bytes"):
        ranges.read(MAX_BYTES, 1, "it")
    with pytest.raises(RejectedError, match="within 4,194,304 bytes"):
        RangeReader(lambda _at, length: bytes(length), LARGE).read(0, MAX_BYTES + 1, "it")


def test_the_largest_of_everything_stays_within_the_limits() -> None:
    image = folder_of(LARGEST, path="")
    whole = make_image(
        layout="narrow",
        files={f"sources/{n:05}".ljust(8 + 217, "x"): b"" for n in range((LARGEST - 300) // 256)},
        wim=make_wim(ONE, xml=xml_of(LARGEST)),
    )

    assert read_contents(image).bytes_read < MAX_BYTES
    assert read_contents(whole).bytes_read < MAX_BYTES


def descriptor_changed(image: Image, number: int, change: Callable[[bytearray], object]) -> Image:
    for place in ("main", "reserve"):
        image = resealed(image, f"{place} {number}", change)
    return image


def test_the_partition_may_reach_to_the_end_of_the_object() -> None:
    image = make_image()
    length = image.size // SECTOR - FIRST_PARTITION_SECTOR

    assert len(read_contents(descriptor_changed(image, 2, put("L", 192, length))).images) == 11


@pytest.mark.parametrize("more", [1, 2, 150, 1 << 20, 1 << 31])
@pytest.mark.parametrize("anchor", ["last", "before-last"])
def test_an_object_that_ends_with_an_anchor_is_whole(more: int, anchor: str) -> None:
    # Given a partition that claims to be longer than the object, as by defects of ISO writers
    image = make_image(layout=Layout(anchors=("first", anchor)), size=LARGE)
    length = image.size // SECTOR - FIRST_PARTITION_SECTOR
    longer = descriptor_changed(image, 2, put("L", 192, length + more))

    contents = read_contents(longer)

    assert len(contents.images) == 11
    assert contents.requests <= 5


@pytest.mark.parametrize("layout", ["grouped", "interleaved"])
def test_an_object_that_ends_without_an_anchor_is_not_whole(layout: str) -> None:
    image = make_image(layout=replace(LAYOUTS[layout], anchors=("first",)), size=64 << 20)
    length = image.size // SECTOR - FIRST_PARTITION_SECTOR
    longer = descriptor_changed(image, 2, put("L", 192, length + 1))

    found = read_rejection(longer)

    assert found.code is Code.TRUNCATED
    assert f"the file system would end at byte {image.size + SECTOR:,}" in found.message


def test_a_file_that_continues_after_the_last_anchor_is_not_whole() -> None:
    # Given an object that ends inside install.wim, directly after what looks like an anchor
    image = make_image(size=64 << 20)
    sector = image.size // SECTOR // 2
    cut = image.with_bytes(sector * SECTOR, udf.anchor(sector, 257, 275)).resized(
        (sector + 1) * SECTOR
    )

    found = read_rejection(cut, requests=1)

    assert found.code is Code.TRUNCATED
    assert "the file system would end at byte" in found.message


def test_any_other_iso_that_is_cut_off_is_reported_as_truncated() -> None:
    image = make_image(wim=b"", files={"casper/x": Content(64 << 20, ())})

    assert read_rejection(image).code is Code.NOT_WINDOWS
    assert read_rejection(image.resized(image.size - SECTOR * 10)).code is Code.TRUNCATED


def test_an_extent_may_reach_to_the_end_of_the_partition() -> None:
    # The last file on this ISO is install.wim.
    image = make_image(
        layout=Layout(interleaved=True, narrow=True), wim_name="install.wim", size=LARGE
    )
    entry, start = image.places["/sources/install.wim#"], image.places["/sources/install.wim"]
    size = int.from_bytes(image.read(entry + 56, 8), "little")
    end = (start + size + SECTOR - 1) // SECTOR - FIRST_PARTITION_SECTOR

    assert len(read_contents(descriptor_changed(image, 2, put("L", 192, end))).images) == 11
    unreadable(descriptor_changed(image, 2, put("L", 192, end - 1)), "outside the file system")


def test_64_volume_descriptors() -> None:
    # Given as many further descriptors of implementation use, before the terminator
    def image(count: int) -> Image:
        made = make_image(size=2_000_000)
        first = made.size // SECTOR - 100
        moved = [made.read(made.places[f"main {at}"], SECTOR) for at in range(5)]
        every = moved[:1] + [moved[1]] * (count - 4) + moved[2:]
        for at, data in enumerate(every):
            made = made.with_bytes((first + at) * SECTOR, sealed(data, first + at))
        end = made.read(made.places["main 5"], SECTOR)
        made = made.with_bytes((first + len(every)) * SECTOR, sealed(end, first + len(every)))
        change = put("LLLL", 16, 100 * SECTOR, first, 0, 0)
        return resealed(made, "anchor first", change)

    assert len(read_contents(image(63)).images) == 11  # the terminator is the 64th
    unreadable(image(64), "more than 64")


def test_four_partitions() -> None:
    def image(count: int) -> Image:
        def change(data: bytearray) -> None:
            put("LL", 264, 6 * count, count)(data)
            for at in range(count):
                put("BBHH", 440 + 6 * at, 1, 6, 1, 0)(data)

        return descriptor_changed(make_image(), 3, change)

    assert len(read_contents(image(4)).images) == 11
    unreadable(image(5), "5 partitions")
    unreadable(image(0), "0 partitions")


def with_xml(inside: str, *, count: int = 1) -> Image:
    text = f'\ufeff<WIM><IMAGE INDEX="1">{inside}</IMAGE></WIM>'
    return make_image(wim=make_wim(ONE, xml=text.encode("utf-16-le"), count=count))


def test_elements_32_deep() -> None:
    assert read_contents(with_xml("<a>" * 30 + "</a>" * 30))
    unreadable(with_xml("<a>" * 31 + "</a>" * 31), "too many elements, or nests them too deeply")


def test_32768_elements() -> None:
    assert read_contents(with_xml("<a/>" * 32_766))
    unreadable(with_xml("<a/>" * 32_767), "too many elements, or nests them too deeply")


def test_4096_attributes() -> None:
    # One of them is the image's index.
    assert read_contents(with_xml('<o a=""/>' * 4095))
    unreadable(with_xml('<o a=""/>' * 4096), "too many attributes")


def test_values_of_1024_letters() -> None:
    assert read_contents(with_xml(f"<NAME>{'x' * 1024}</NAME>")).images[0].name == "x" * 1024
    unreadable(with_xml(f"<NAME>{'x' * 1025}</NAME>"), "too long")
    assert read_contents(with_xml(f"<OTHER>{'x' * 5000}</OTHER>"))


def test_256_languages() -> None:
    def languages(count: int) -> Image:
        each = "<LANGUAGE>en-US</LANGUAGE>" * count
        return with_xml(f"<WINDOWS><LANGUAGES>{each}</LANGUAGES></WINDOWS>")

    assert len(read_contents(languages(256)).images[0].languages) == 256
    unreadable(languages(257), "more than 256 languages")


def test_the_file_entry_fills_its_block_and_no_more() -> None:
    # 234 short descriptors are 1,872 bytes behind 176.
    image = make_image(wim=make_wim(ONE, size=234 * SECTOR), layout=Layout(extent=SECTOR))
    assert len(read_contents(image).images) == 1
    unreadable(resealed(image, "/sources/install.wim#", put("L", 172, 1880)), "larger than a block")


def test_the_smallest_wim_is_a_header() -> None:
    unreadable(make_image(wim=Content.of(b"MSWIM\0\0\0".ljust(207, b"\0"))), "only 207 bytes")


def test_the_first_range_is_smaller_than_half_a_megabyte() -> None:
    assert FIRST_READ == (256 * 2048, 448 * 1024)
