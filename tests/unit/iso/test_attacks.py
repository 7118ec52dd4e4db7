"""Malicious ISOs: each attack ends in a rejection, and none costs much."""

import struct
from collections.abc import Callable

import pytest

from isodrop.codes import Code
from isodrop_local.iso_maker import EditionSpec, Image, Layout, make_image, make_wim
from isodrop_local.iso_maker.image import SECTOR
from isodrop_local.iso_maker.iso import FIRST_PARTITION_SECTOR
from isodrop_local.iso_maker.meter import assert_rejected_cheaply, read_contents, read_rejection
from isodrop_local.iso_maker.mutate import names_resealed, put, resealed, sealed
from isodrop_local.iso_maker.udf import allocation_extent, entity, short_ad

LARGE = 5_400_000_000
ONE = [EditionSpec("Enterprise", "Windows 11 Enterprise")]
WIM = "/sources/install.wim"
SOUND_IMAGE = make_image(layout="narrow")
CHAINED = make_image(layout="chained")


def block_of(image: Image, place: str) -> int:
    return image.places[place] // SECTOR - FIRST_PARTITION_SECTOR


# Loops


def test_an_allocation_extent_that_continues_in_itself_is_rejected() -> None:
    place = "chain of install.wim"
    block = block_of(CHAINED, place)
    circle = allocation_extent(block, short_ad(SECTOR, block, 3))

    assert_rejected_cheaply(CHAINED.with_bytes(CHAINED.places[place], circle), "is circular")


def test_a_circle_of_two_allocation_extents_is_rejected() -> None:
    first = block_of(CHAINED, "chain of install.wim")
    image = CHAINED
    for block, following in ((first, first + 1), (first + 1, first)):
        data = allocation_extent(block, short_ad(SECTOR, following, 3))
        image = image.with_bytes((FIRST_PARTITION_SECTOR + block) * SECTOR, data)

    assert_rejected_cheaply(image, "is circular")


def test_volume_descriptors_that_continue_in_themselves() -> None:
    # Given a pointer (ECMA-167 3/10.3) to the sequence that it is in
    image = SOUND_IMAGE
    for place in ("main", "reserve"):
        offset = image.places[f"{place} 4"]
        pointer = struct.pack(
            "<HH12xLLL", 3, 2, 9, 16 * SECTOR, image.places[f"{place} 0"] // SECTOR
        )
        data = bytearray(pointer.ljust(512, b"\0"))
        data[10:12] = (496).to_bytes(2, "little")
        image = image.with_bytes(offset, sealed(bytes(data), offset // SECTOR))

    assert_rejected_cheaply(image, "more than 64")


def renamed(image: Image, old: str, new: str, block: int | None = None) -> Image:
    """Change a name in the root folder, and its target."""
    offset = image.places["/"]
    data = bytearray(image.read(offset, SECTOR))
    at = data.find(b"\x08" + old.encode()) - 38
    data[at + 39 : at + 39 + len(new)] = new.encode()
    if block is not None:
        data[at + 24 : at + 28] = block.to_bytes(4, "little")
    return image.with_bytes(offset, names_resealed(bytes(data)))


def test_a_folder_that_contains_itself() -> None:
    image = renamed(SOUND_IMAGE, "sources", "sources", block_of(SOUND_IMAGE, "/#"))

    found = read_rejection(image, requests=1)

    assert found.code is Code.NOT_WINDOWS
    assert "its sources folder contains" in found.message


def test_a_tree_of_the_greatest_depth_is_not_walked() -> None:
    deep = "/".join(["d"] * 150)

    assert (
        read_contents(make_image(files={f"{deep}/x": b"", f"sources/{deep}/x": b""})).requests <= 5
    )


# Overlaps and sizes


def test_extents_that_overlap() -> None:
    image = make_image(layout=Layout(extent=SECTOR * 4))
    entry = image.read(image.places[f"{WIM}#"], SECTOR)

    assert_rejected_cheaply(
        resealed(image, f"{WIM}#", put("L", 188, int.from_bytes(entry[180:184], "little") + 3)),
        "overlap",
    )


def test_a_thousand_extents_of_the_same_gigabyte() -> None:
    # Given an install.wim of 234 GB on an ISO of five
    image = make_image(size=LARGE)
    block = block_of(image, WIM)

    def change(entry: bytearray) -> None:
        for at in range(234):
            put("LL", 176 + 8 * at, 0x3FF00000, block)(entry)
        put("Q", 56, 234 * 0x3FF00000)(entry)
        put("L", 172, 234 * 8)(entry)
        put("H", 10, 160 + 234 * 8)(entry)

    assert_rejected_cheaply(resealed(image, f"{WIM}#", change), "overlap")


@pytest.mark.parametrize("place", ["/#", "/sources#"])
@pytest.mark.parametrize("size", [(1 << 64) - 1, 1 << 63, 1 << 40, 1 << 32])
def test_a_folder_that_claims_to_be_huge(place: str, size: int) -> None:
    assert_rejected_cheaply(resealed(SOUND_IMAGE, place, put("Q", 56, size)), "fewer are recorded")


def test_a_folder_that_is_huge() -> None:
    # Given a fully recorded folder of a gigabyte
    image = make_image(size=LARGE)

    def change(entry: bytearray) -> None:
        put("LL", 176, 0x3FF00000, 1000)(entry)
        put("Q", 56, 0x3FF00000)(entry)

    assert_rejected_cheaply(resealed(image, "/sources#", change), "more than 1,048,576")


@pytest.mark.parametrize("size", [(1 << 64) - 1, 1 << 40])
def test_a_windows_image_that_claims_to_be_huge(size: int) -> None:
    assert_rejected_cheaply(
        resealed(SOUND_IMAGE, f"{WIM}#", put("Q", 56, size)), "fewer are recorded"
    )


@pytest.mark.parametrize("at", [168, 172])
@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x80000000, SECTOR])
def test_attributes_and_descriptors_that_claim_to_be_huge(at: int, length: int) -> None:
    assert_rejected_cheaply(
        resealed(SOUND_IMAGE, f"{WIM}#", put("L", at, length)), "larger than a block"
    )


def test_an_allocation_extent_that_claims_to_be_huge() -> None:
    image = resealed(CHAINED, "chain of install.wim", put("L", 20, 0xFFFFFFFF))

    assert_rejected_cheaply(image, "larger than a block")


@pytest.mark.parametrize(
    ("at", "value"), [(19, 255), (36, 0xFF), (37, 0xFF)], ids=["name", "use", "much use"]
)
def test_names_longer_than_their_folder(at: int, value: int) -> None:
    offset = SOUND_IMAGE.places["/sources"]
    data = bytearray(SOUND_IMAGE.read(offset, SECTOR))
    size = int.from_bytes(SOUND_IMAGE.read(SOUND_IMAGE.places["/sources#"] + 56, 8), "little")
    start = data.find(b"\x08install.wim") - 38
    data[start + at] = value
    changed = SOUND_IMAGE.with_bytes(offset, names_resealed(bytes(data[:size])))

    assert_rejected_cheaply(changed, "ends within a name")


def test_a_folder_that_ends_within_a_name() -> None:
    size = int.from_bytes(SOUND_IMAGE.read(SOUND_IMAGE.places["/sources#"] + 56, 8), "little")
    for less in (4, 20, 40):
        image = resealed(SOUND_IMAGE, "/sources#", put("Q", 56, size - less))
        assert_rejected_cheaply(image, "ends within a name")


# Places


@pytest.mark.parametrize("block", [0xFFFFFFFF, 0x7FFFFFFF, 1_000_000])
def test_addresses_outside_the_partition_are_rejected(block: int) -> None:
    assert_rejected_cheaply(
        resealed(SOUND_IMAGE, "fsd", put("L", 404, block)), "outside the file system"
    )
    assert_rejected_cheaply(
        resealed(SOUND_IMAGE, "/sources#", put("L", 180, block)), "outside the file system"
    )
    assert_rejected_cheaply(
        resealed(SOUND_IMAGE, f"{WIM}#", put("L", 180, block)), "outside the file system"
    )
    assert_rejected_cheaply(
        renamed(SOUND_IMAGE, "sources", "sources", block), "outside the file system"
    )


def test_a_partition_that_does_not_exist() -> None:
    assert_rejected_cheaply(
        resealed(SOUND_IMAGE, "fsd", put("H", 408, 1)), "partition 1, which does not exist"
    )


@pytest.mark.parametrize("at", [0x48, 0x30, 0x60, 0x7C])
@pytest.mark.parametrize(
    ("size", "offset"),
    [((1 << 56) - 1, 208), (1000, (1 << 64) - 1), (1000, 1 << 63), (1 << 20, 1 << 30)],
)
def test_resources_outside_the_windows_image(at: int, size: int, offset: int) -> None:
    header = bytearray(SOUND_IMAGE.read(SOUND_IMAGE.places[WIM], 208))
    put("QQQ", at, size, offset, size)(header)

    assert_rejected_cheaply(
        SOUND_IMAGE.with_bytes(SOUND_IMAGE.places[WIM], bytes(header)), "lies outside it"
    )


# Wrong structures


@pytest.mark.parametrize("place", ["fsd", "/#", "/sources#", f"{WIM}#"])
@pytest.mark.parametrize(
    ("at", "words"), [(0, "there is no"), (4, "checksum"), (12, "checksum"), (100, "CRC")]
)
def test_damage_to_any_descriptor_is_noticed(place: str, at: int, words: str) -> None:
    offset = SOUND_IMAGE.places[place] + at
    data = SOUND_IMAGE.read(offset, 1)

    assert_rejected_cheaply(SOUND_IMAGE.with_bytes(offset, bytes((data[0] ^ 0x40,))), words)


@pytest.mark.parametrize("place", ["/", "/sources"])
def test_damage_to_a_name_is_noticed(place: str) -> None:
    for at, words in ((4, "checksum"), (20, "CRC")):
        offset = SOUND_IMAGE.places[place] + at
        assert_rejected_cheaply(
            SOUND_IMAGE.with_bytes(offset, bytes((SOUND_IMAGE.read(offset, 1)[0] ^ 1,))), words
        )


@pytest.mark.parametrize("place", ["fsd", "/#", "/sources#", f"{WIM}#"])
def test_a_descriptor_that_belongs_elsewhere_is_noticed(place: str) -> None:
    assert_rejected_cheaply(
        resealed(SOUND_IMAGE, place, put("L", 12, 7)), "claims to be at block 7"
    )


@pytest.mark.parametrize("number", [2, 3])
def test_damage_to_both_volume_descriptors_is_noticed(number: int) -> None:
    image = SOUND_IMAGE
    for place in ("main", "reserve"):
        image = image.with_bytes(image.places[f"{place} {number}"] + 30, b"\x99\x99")

    assert_rejected_cheaply(image, "CRC")


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        (f"{WIM}#", put("H", 20, 4096), "strategy 4096"),
        (f"{WIM}#", put("B", 27, 4), "is not a file"),
        ("/sources#", put("B", 27, 5), "is not a folder"),
        (f"{WIM}#", put("H", 34, 2), "unknown form"),
        (f"{WIM}#", put("H", 34, 7), "unknown form"),
        (f"{WIM}#", put("B", 179, 0x40), "no recorded data"),
        ("/sources#", put("B", 179, 0x80), "no recorded data"),
    ],
)
def test_entries_of_the_wrong_kind(
    place: str, change: Callable[[bytearray], None], words: str
) -> None:
    assert_rejected_cheaply(resealed(SOUND_IMAGE, place, change), words)


@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        (3, put("L", 212, 512), "2,048 bytes"),
        (3, put("B", 217, 0), "not a UDF"),
        (3, put("BB", 440, 2, 64), "a partition map of an unknown kind"),
        (3, put("L", 264, 5), "a partition map of an unknown kind"),
        (3, put("H", 444, 9), "no descriptor"),
        (2, put("B", 25, 0), "not a UDF"),
        (3, put("H", 0, 9), "no logical volume descriptor"),
    ],
)
def test_volumes_of_another_kind(
    number: int, change: Callable[[bytearray], None], words: str
) -> None:
    image = SOUND_IMAGE
    for place in ("main", "reserve"):
        image = resealed(image, f"{place} {number}", change)

    assert_rejected_cheaply(image, words)


@pytest.mark.parametrize("kind", ["Virtual", "Sparable", "Metadata"])
def test_rewritable_and_newer_udf_volumes_are_named_by_their_partition(
    kind: str,
) -> None:
    # Given a second partition map of type 2 (OSTA UDF 2.60, 2.2.8 to 2.2.10)
    def change(data: bytearray) -> None:
        put("LL", 264, 6 + 64, 2)(data)
        put("BBH", 446, 2, 64, 0)(data)
        data[450:482] = entity(f"*UDF {kind} Partition".encode(), b"\x50\x02")
        put("H", 10, 496)(data)

    image = SOUND_IMAGE
    for place in ("main", "reserve"):
        image = resealed(image, f"{place} 3", change)

    assert_rejected_cheaply(image, f"has a {kind.lower()} partition, which Windows ISOs never have")


def test_an_extent_that_ends_within_a_block_and_is_not_the_last() -> None:
    image = make_image(layout=Layout(extent=SECTOR * 4))

    assert_rejected_cheaply(
        resealed(image, f"{WIM}#", put("L", 176, SECTOR * 4 - 1)), "within a block"
    )


def test_an_extent_recorded_after_the_tail() -> None:
    # Given three extents, the first one short, the second one only allocated
    image = make_image(layout=Layout(extent=SECTOR * 4))
    change = resealed(image, f"{WIM}#", put("L", 176, SECTOR * 4 - 1))

    assert_rejected_cheaply(resealed(change, f"{WIM}#", put("B", 187, 0x40)), "within a block")


def test_the_same_name_twice() -> None:
    assert_rejected_cheaply(make_image(files={"Sources/x": b""}), "occurs 2 times")


@pytest.mark.parametrize(
    ("at", "form", "value", "words"),
    [
        (0, "B", 0x4E, "does not start like"),
        (8, "L", 207, "unknown version"),
        (12, "L", 0x10E00, "unknown version"),
        (16, "L", 0x40, "not written completely"),
        (40, "H", 2, "part 2 of 1"),
        (44, "L", 0, "contains 0 images"),
        (44, "L", 0xFFFFFFFF, "4,294,967,295 images"),
        (
            44,
            "L",
            10,
            "10 images, but the indexes of those in the XML are: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        ),
        (0x4F, "B", 6, "compressed"),
        (0x58, "Q", 5, "compressed"),
        (0x50, "Q", 207, "impossible length or offset"),
    ],
)
def test_windows_images_of_another_kind(at: int, form: str, value: int, words: str) -> None:
    header = bytearray(SOUND_IMAGE.read(SOUND_IMAGE.places[WIM], 208))
    put(form, at, value)(header)

    assert_rejected_cheaply(SOUND_IMAGE.with_bytes(SOUND_IMAGE.places[WIM], bytes(header)), words)


def test_an_xml_of_an_odd_length() -> None:
    header = bytearray(SOUND_IMAGE.read(SOUND_IMAGE.places[WIM], 208))
    put("QQQ", 0x48, 1001, 1000, 1001)(header)

    assert_rejected_cheaply(
        SOUND_IMAGE.with_bytes(SOUND_IMAGE.places[WIM], bytes(header)),
        "impossible length or offset",
    )


def test_split_and_pipable_windows_images() -> None:
    assert_rejected_cheaply(make_image(wim_name="install.swm"), "install.swm", Code.SPLIT_IMAGE)
    assert_rejected_cheaply(
        make_image(wim=make_wim(ONE, part=(1, 3))), "part 1 of 3", Code.SPLIT_IMAGE
    )
    assert_rejected_cheaply(make_image(pipable=True), "pipable")
