"""The same editions are read from every layout of a Windows ISO."""

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from isodrop.errors import RejectedError
from isodrop.iso.model import WimImage
from isodrop.iso.range_reader import FIRST_READ
from isodrop.iso.reader import read_iso
from isodrop_local.iso_maker import (
    LAYOUTS,
    EditionSpec,
    Image,
    Layout,
    business_editions,
    consumer_editions,
    make_image,
    make_wim,
    server_editions,
    udf,
)
from isodrop_local.iso_maker.image import SECTOR
from isodrop_local.iso_maker.iso import FIRST_PARTITION_SECTOR
from isodrop_local.iso_maker.meter import Meter, peak_memory, read_contents
from isodrop_local.iso_maker.mutate import put, resealed, sealed

READABLE = [name for name, layout in LAYOUTS.items() if layout.udf]
LARGE = 5_400_000_000
OSCDIMG = ("grouped", "interleaved")
# As many files, in as large folders, as Microsoft's ISOs have: 995.
CROWD = {
    **{f"boot/{n:03}.efi": b"MZ" + bytes(5000) for n in range(90)},
    **{f"efi/microsoft/{n:03}.efi": b"MZ" + bytes(5000) for n in range(90)},
    **{f"sources/setup component {n:03}.dll": b"MZ" + bytes(9000) for n in range(250)},
    **{f"sources/replacementmanifests/{n:03}.man": b"<a/>" for n in range(300)},
    **{f"support/{n:03}.cab": b"MSCF" + bytes(9000) for n in range(250)},
}


def expected(specs: tuple[EditionSpec, ...]) -> tuple[WimImage, ...]:
    return tuple(
        WimImage(
            index=index,
            name=spec.name,
            edition_id=spec.edition_id,
            installation_type=spec.installation_type,
            architecture=spec.architecture,
            major=spec.major,
            minor=spec.minor,
            build=spec.build,
            revision=spec.revision,
            branch=spec.branch,
            languages=spec.languages,
            default_language=spec.default_language or (spec.languages or (None,))[0],
        )
        for index, spec in enumerate(specs, 1)
    )


@pytest.mark.parametrize("layout", READABLE)
def test_the_editions_are_read_from_every_layout(layout: str) -> None:
    contents = read_contents(make_image(layout=layout))

    assert contents.images == expected(business_editions())
    assert contents.label == "CCCOMA_X64FRE_EN-US_DV9"
    assert contents.kind == "wim"


@pytest.mark.parametrize("layout", [name for name in READABLE if name != "short"])
def test_the_editions_are_read_from_five_gigabytes(layout: str) -> None:
    # "short" would take hundreds of thousands of extents of 16 KiB.
    form = LAYOUTS[layout]
    if form.chain:
        form = replace(form, extent=64 << 20)
    image = make_image(layout=form, size=LARGE)

    contents = read_contents(image)

    assert contents.images == expected(business_editions())
    assert contents.size == image.size == LARGE // 2048 * 2048


def test_a_file_with_many_separate_extents_is_read_across_them() -> None:
    # Given an install.wim whose blocks are in reverse order on the ISO
    image = make_image(layout=Layout(extent=2048))
    start = image.places["/sources/install.wim"]
    count = (
        int.from_bytes(image.read(image.places["/sources/install.wim#"] + 172, 4), "little") // 8
    )
    blocks = [image.read(start + 2048 * at, 2048) for at in range(count)]
    for at, block in enumerate(reversed(blocks)):
        image = image.with_bytes(start + 2048 * at, block)

    def turn(entry: bytearray) -> None:
        # The last extent, now first on the ISO, is not full.
        last = start // 2048 - FIRST_PARTITION_SECTOR + count - 1
        for at in range(count):
            entry[180 + 8 * at : 184 + 8 * at] = (last - at).to_bytes(4, "little")

    image = resealed(image, "/sources/install.wim#", turn)

    assert count > 10
    assert read_contents(image).images == expected(business_editions())


@pytest.mark.parametrize("layout", OSCDIMG)
def test_a_microsoft_iso_takes_four_requests_and_half_a_megabyte(layout: str) -> None:
    contents = read_contents(make_image(layout=layout, size=LARGE, files=CROWD))

    assert contents.requests <= 4
    assert contents.bytes_read <= 512 * 1024


@pytest.mark.parametrize("layout", OSCDIMG)
def test_reading_takes_less_than_four_megabytes_of_memory(layout: str) -> None:
    assert peak_memory(make_image(layout=layout, size=LARGE, files=CROWD)) < 4 << 20


def test_the_first_range_is_the_one_that_is_announced() -> None:
    seen: list[tuple[int, int]] = []
    for image in (make_image(size=LARGE), make_image()):
        meter = Meter(image)
        seen.clear()

        read_iso(meter.read, image.size, lambda at, length: seen.append((at, length)))

        assert seen == meter.ranges
        assert seen[0] == (FIRST_READ[0], min(FIRST_READ[1], image.size - FIRST_READ[0]))


def test_an_object_that_ends_before_the_first_range_is_read_from_its_start() -> None:
    meter = Meter(make_image().resized(FIRST_READ[0]))

    with pytest.raises(RejectedError):
        read_iso(meter.read, meter.image.size)

    assert meter.ranges[0] == (0, FIRST_READ[1])


@pytest.mark.parametrize("index", range(1, 12))
def test_enterprise_may_have_any_index(index: int) -> None:
    contents = read_contents(make_image(editions=business_editions(enterprise_index=index)))

    assert [e.index for e in contents.images if e.edition_id == "Enterprise"] == [index]


@pytest.mark.parametrize(
    ("sources", "name"),
    [("SOURCES", "INSTALL.WIM"), ("Sources", "Install.Wim"), ("sources", "install.WIM")],
)
def test_paths_are_found_in_any_case(sources: str, name: str) -> None:
    assert len(read_contents(make_image(sources=sources, wim_name=name)).images) == 11


def test_an_esd_is_read_and_marked_as_one() -> None:
    contents = read_contents(make_image(wim_name="install.esd", editions=consumer_editions()))

    assert contents.kind == "esd"
    assert contents.images == expected(consumer_editions())


def test_an_esd_under_the_name_of_a_wim_is_marked_as_one() -> None:
    wim = make_wim(consumer_editions(), solid=True)

    contents = read_contents(make_image(wim=wim))

    assert (contents.kind, contents.is_esd) == ("wim", True)


@pytest.mark.parametrize(("name", "is_esd"), [("install.wim", False), ("INSTALL.ESD", True)])
def test_an_esd_is_recognized_by_its_name_alone(name: str, is_esd: bool) -> None:
    # Only the name differs: the contents are an ordinary WIM.
    image = make_image(files={f"sources/{name}": make_wim(consumer_editions())}, wim=b"")

    assert read_contents(image).is_esd is is_esd


@pytest.mark.parametrize("integrity", [False, True])
def test_an_integrity_table_does_not_change_the_editions(integrity: bool) -> None:
    assert len(read_contents(make_image(integrity=integrity)).images) == 11


def test_several_languages_in_one_image_keep_their_order() -> None:
    spec = EditionSpec(
        "Enterprise", "x", languages=("de-DE", "en-US", "fr-FR"), default_language="en-US"
    )

    edition = read_contents(make_image(editions=[spec])).images[0]

    assert edition.languages == ("de-DE", "en-US", "fr-FR")
    assert edition.default_language == "en-US"


def test_values_missing_from_the_xml_are_none() -> None:
    spec = EditionSpec(
        None, "", architecture="riscv", installation_type=None, branch=None, languages=()
    )

    edition = read_contents(make_image(editions=[spec])).images[0]

    assert edition.name == ""
    assert edition.edition_id is None
    assert edition.installation_type is None
    assert edition.branch is None
    assert edition.default_language is None
    assert edition.languages == ()
    assert edition.architecture == "arch-99"


@pytest.mark.parametrize("architecture", ["x86", "arm", "x64", "arm64"])
def test_architectures_have_names(architecture: str) -> None:
    image = make_image(editions=server_editions(architecture=architecture))

    assert {e.architecture for e in read_contents(image).images} == {architecture}


@pytest.mark.parametrize("label", ["X", "Fenêtre_11", "窗口十一", "A" * 31])
def test_labels_are_read_in_eight_and_sixteen_bits(label: str) -> None:
    image = make_image(label=label[:14] if not label.isascii() else label)

    assert read_contents(image).label == label


def test_names_in_sixteen_bits_do_no_harm() -> None:
    image = make_image(files={"sources/説明.txt": b"", "Ünïcödé.txt": b"x"})

    assert len(read_contents(image).images) == 11


def damaged(image: Image, *places: str) -> Image:
    for place in places:
        image = image.with_bytes(image.places[place] + 20, b"\xff\xfe\xfd")
    return image


def test_damaged_descriptors_are_replaced_by_the_reserve_ones() -> None:
    image = make_image()
    for number in range(5):
        assert len(read_contents(damaged(image, f"main {number}")).images) == 11


def in_both(image: Image, number: int, change: Callable[[bytearray], object]) -> Image:
    for place in ("main", "reserve"):
        image = resealed(image, f"{place} {number}", change)
    return image


@pytest.mark.parametrize("number", [0, 1, 2989, 0xFFFF])
def test_partitions_may_have_any_number(number: int) -> None:
    image = in_both(make_image(), 2, put("H", 22, number))

    assert len(read_contents(in_both(image, 3, put("H", 444, number))).images) == 11


def copied(image: Image, source: str, sector: int, change: Callable[[bytearray], object]) -> Image:
    data = bytearray(image.read(image.places[source], SECTOR))
    change(data)
    return image.with_bytes(sector * SECTOR, sealed(bytes(data), sector))


@pytest.mark.parametrize(("number", "label"), [(1, "CCCOMA_X64FRE_EN-US_DV9"), (3, "PREVAILS")])
def test_the_descriptor_with_the_higher_number_prevails(number: int, label: str) -> None:
    # Given a second logical volume descriptor in place of an unused one, after the first
    image = make_image()
    name = b"\x08" + label.encode()

    def change(data: bytearray) -> None:
        put("L", 16, number)(data)
        data[84 : 84 + 128] = name.ljust(127, b"\0") + bytes((len(name),))

    image = copied(image, "main 3", image.places["main 4"] // SECTOR, change)

    assert read_contents(image).label == label


def test_volume_descriptors_may_continue_elsewhere() -> None:
    # Given a sequence that continues after a pointer from the third on (ECMA-167 3/10.3)
    image = make_image(size=LARGE)
    first = image.places["main 2"] // SECTOR
    elsewhere = image.size // SECTOR - 50
    for at in range(4):
        image = copied(image, f"main {2 + at}", elsewhere + at, lambda _: None)
    body = struct.pack("<LLL", 9, 4 * SECTOR, elsewhere) + bytes(484)
    image = image.with_bytes(first * SECTOR, udf.tag(3, body, first))

    assert len(read_contents(image).images) == 11


def test_other_elements_of_real_xml_are_ignored() -> None:
    text = (
        '\ufeff<WIM><TOTALBYTES>1</TOTALBYTES><IMAGE INDEX="1"><WINDOWS><ARCH>9</ARCH>'
        "<PRODUCTNAME>Microsoft® Windows® Operating System</PRODUCTNAME>"
        "<EDITIONID>Enterprise</EDITIONID><INSTALLATIONTYPE>Client</INSTALLATIONTYPE>"
        "<LANGUAGES><LANGUAGE>ja-JP</LANGUAGE>"
        '<FALLBACK LANGUAGE="ja-JP">en-US</FALLBACK><DEFAULT>ja-JP</DEFAULT></LANGUAGES>'
        "<VERSION><MAJOR>10</MAJOR><MINOR>0</MINOR><BUILD>26100</BUILD><SPBUILD>1</SPBUILD>"
        "<SPLEVEL>0</SPLEVEL><BRANCH>ge_release</BRANCH></VERSION></WINDOWS>"
        "<NAME>Windows 11 Enterprise</NAME><FLAGS>Enterprise</FLAGS></IMAGE></WIM>"
    )
    wim = make_wim([EditionSpec("x", "x")], xml=text.encode("utf-16-le"))

    (edition,) = read_contents(make_image(wim=wim)).images

    assert (edition.edition_id, edition.build, edition.revision) == ("Enterprise", 26100, 1)
    assert (edition.languages, edition.default_language) == (("ja-JP",), "ja-JP")
