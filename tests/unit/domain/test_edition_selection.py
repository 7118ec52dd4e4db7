"""Which image is imported: custom ISOs, and images with an incomplete description."""

from dataclasses import replace
from typing import Any

import pytest

from isodrop.codes import Code, Rejection
from isodrop.domain.edition_selection import select_image
from isodrop.domain.model import ImportPlan
from isodrop.domain.planning import plan_import
from isodrop.iso.model import IsoContents, WimImage
from tests.support.builders import an_edition, an_iso, an_upload, some_settings

SUPPORTED = frozenset({22621, 22631, 26100, 26200})
TEN: dict[str, Any] = {"build": 19041, "revision": 3803, "name": "Windows 10 Enterprise"}
LATE_23H2: dict[str, Any] = {"build": 22621, "revision": 6199}


def decided(contents: IsoContents, key: str = "in/all-in-one.iso", **settings: Any) -> ImportPlan:
    made = plan_import(an_upload(key), contents, {}, some_settings(**settings))
    assert isinstance(made, ImportPlan), made
    return made


def refused(contents: IsoContents, key: str = "in/all-in-one.iso", **settings: Any) -> Rejection:
    made = plan_import(an_upload(key), contents, {}, some_settings(**settings))
    assert isinstance(made, Rejection), made
    return made


def bare(index: int, name: str = "Windows Setup Media") -> WimImage:
    """Make an image without a WINDOWS node."""
    return WimImage(index, name, *(None,) * 8, languages=(), default_language=None)


def pe(index: int) -> WimImage:
    return an_edition("WindowsPE", index, installation_type="WindowsPE", name="Windows PE")


def lost(index: int, **changes: Any) -> WimImage:
    """Make an image as tiny11 exports it."""
    return an_edition(
        None, index, installation_type=None, languages=(), default_language=None, **changes
    )


# Several images of one edition


@pytest.mark.parametrize(
    "other",
    [
        TEN,
        {"build": 22000, "revision": 318},  # 21H2
        {"build": 22621, "revision": 525},  # 22H2
        {"build": 28000, "revision": 1},
        {"architecture": "arm64"},
        {"architecture": "x86"},
        {"architecture": None},
        {"installation_type": "Server"},
        {"installation_type": None},
        {"build": None},
        {"major": 6, "build": 7601},
        {"revision": 4_000_000_000},
    ],
    ids=str,
)
@pytest.mark.parametrize("first", [True, False])
def test_the_one_usable_image_of_several_is_selected(other: dict[str, Any], first: bool) -> None:
    good, bad = an_edition(index=2 if first else 7), an_edition(index=7 if first else 2, **other)
    both = sorted((good, bad), key=lambda image: image.index)
    plan = decided(an_iso(an_edition("Professional", 1, **TEN), *both))
    assert (plan.image_index, plan.windows_build, plan.notes) == (good.index, 26100, ())


def test_the_first_of_several_usable_images_is_selected_with_a_note() -> None:
    plan = decided(
        an_iso(
            an_edition(index=1, **TEN),
            an_edition(index=2, **LATE_23H2),
            an_edition(index=3),
            an_edition(index=4, build=26200, revision=6584),
        )
    )
    assert (plan.image_index, plan.release) == (2, "23H2")
    (note,) = plan.notes
    assert note == (
        "3 images of the edition Enterprise can be imported (indexes 2, 3, 4; 22621.6199 en-us,"
        " 26100.1742 en-us, 26200.6584 en-us); the first is imported unless the override"
        " image-index selects another."
    )


def test_without_a_usable_image_the_first_reason_is_given() -> None:
    arm = an_edition(index=2, architecture="arm64")
    old = an_edition(index=4, **TEN)
    unsupported = an_edition(index=6, build=22000)
    mixed = (an_edition("Professional", 1), arm, old, unsupported)
    assert refused(an_iso(*mixed)).code is Code.WRONG_ARCHITECTURE
    found = refused(an_iso(mixed[0], replace(old, index=2), replace(arm, index=4), unsupported))
    assert found.code is Code.NOT_WINDOWS_11
    assert "Image 2 on the ISO, Enterprise, is Windows 10, build 19041" in found.message


def test_an_index_takes_precedence_over_the_first_usable_image() -> None:
    contents = an_iso(an_edition(index=1), an_edition(index=2, build=26200))
    made = plan_import(an_upload(), contents, {"image-index": "2"}, some_settings())
    assert isinstance(made, ImportPlan)
    assert (made.image_index, made.windows_build, made.notes) == (2, 26200, ())


def test_the_note_on_256_images_of_one_edition_is_short() -> None:
    plan = decided(an_iso(*(an_edition(index=n) for n in range(1, 257))))
    assert plan.image_index == 1
    assert "256 images of the edition Enterprise can be imported" in plan.notes[0]
    assert "and 244 more" in plan.notes[0]
    assert len(plan.notes[0]) < 300


def test_images_with_different_versions_are_checked_separately() -> None:
    images = [an_edition(index=n, build=19041 + n, revision=n) for n in range(1, 256)]
    last = an_edition(index=256)
    assert decided(an_iso(*images, last)).image_index == 256


# Windows 10 is not a release of Windows 11


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (19041, "Windows 10, build 19041 (2004 to 22H2)"),
        (18362, "Windows 10, build 18362 (1903 or 1909)"),
        (17763, "Windows 10, build 17763 (1809)"),
        (12345, "build 12345;"),
    ],
)
def test_a_refused_windows_10_gets_no_invented_release(build: int, words: str) -> None:
    found = refused(an_iso(an_edition(build=build)))
    assert found.code is Code.NOT_WINDOWS_11
    assert f"The ISO contains {words}" in found.message
    assert "(2004)" not in found.message


# ESD


def esd(**changes: Any) -> IsoContents:
    iso = an_iso(an_edition("Education"), an_edition(index=2), an_edition("Professional", 3))
    return replace(iso, kind="esd", label="11_23H2_VOL_x64_en-us", **changes)


def test_the_operator_decides_whether_an_esd_is_imported() -> None:
    found = refused(esd())
    assert found.code is Code.ESD_ISO
    assert "after the build has started" in found.message
    assert "AllowEsd" in found.remedy
    plan = decided(esd(), allow_esd=True)
    assert plan.image_index == 2
    assert "is an ESD, which this stack allows" in plan.notes[0]
    assert "after the build has started" in plan.notes[0]


@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize(
    ("image", "code"),
    [
        (an_edition("Core"), Code.NO_SUCH_EDITION),
        (an_edition(**TEN), Code.NOT_WINDOWS_11),
        (an_edition(architecture="arm64"), Code.WRONG_ARCHITECTURE),
    ],
)
def test_another_fault_of_an_esd_is_reported(image: WimImage, code: Code, allow: bool) -> None:
    assert refused(replace(an_iso(image), kind="esd"), allow_esd=allow).code is code


def test_an_esd_named_as_a_wim_is_an_esd() -> None:
    assert refused(replace(esd(), kind="wim", has_esd_format=True)).code is Code.ESD_ISO


def test_with_esd_allowed_an_ordinary_wim_gets_no_note() -> None:
    assert decided(an_iso(an_edition()), allow_esd=True).notes == ()


def test_setup_and_pe_images_of_a_raw_esd_are_not_installable() -> None:
    systems = [an_edition("Education", 4), an_edition("Professional", 5), an_edition(index=6)]
    contents = replace(an_iso(bare(1), pe(2), pe(3), *systems), kind="esd")
    assert refused(contents).code is Code.ESD_ISO
    assert decided(contents, allow_esd=True).image_index == 6


# Images with an incomplete description


@pytest.mark.parametrize("image", [lost(1, name="tiny11"), bare(1, "tiny11")])
def test_an_image_without_its_edition_is_refused_with_that_reason(image: WimImage) -> None:
    found = refused(an_iso(image))
    assert found.code is Code.UNREADABLE_ISO
    assert "Image 1, 'tiny11', on the ISO has no EDITIONID" in found.message
    assert "/Capture-Image" in found.remedy
    assert "/Export-Image" in found.remedy
    assert "consumer" not in found.message + found.remedy


def test_an_image_without_name_and_edition_is_refused_with_that_reason() -> None:
    assert "Image 1 on the ISO has no EDITIONID" in refused(an_iso(bare(1, ""))).message


def test_a_hostile_image_name_is_escaped() -> None:
    found = refused(an_iso(bare(1, "a\n\u202eb" + "x" * 2000)))
    assert found.message.isprintable()
    assert len(found.message) < 500


def test_a_damaged_image_and_a_missing_edition_are_both_reported() -> None:
    found = refused(an_iso(an_edition("Professional"), lost(2, name="my Enterprise")))
    assert found.code is Code.NO_SUCH_EDITION
    assert "which contains: Professional." in found.message
    assert "Image 2, 'my Enterprise', on the ISO has no EDITIONID" in found.message
    assert "/Get-ImageInfo" in found.remedy


@pytest.mark.parametrize(
    "image",
    [
        an_edition(installation_type=None),
        an_edition(architecture=None),
        an_edition(build=None),
    ],
)
def test_a_missing_part_of_the_wanted_image_is_named(
    image: WimImage,
) -> None:
    found = refused(an_iso(image))
    assert found.code is Code.UNREADABLE_ISO
    assert "Image 1, 'Windows 11 Enterprise', on the ISO has no" in found.message


def test_a_damaged_image_beside_the_wanted_one_is_ignored() -> None:
    assert decided(an_iso(lost(1), an_edition(index=2), bare(3))).image_index == 2


@pytest.mark.parametrize("extra", [(bare(1), pe(2), pe(3)), (lost(1, build=None, major=None),)])
@pytest.mark.parametrize(
    ("images", "code"),
    [
        ([an_edition("ServerStandard", 5, installation_type="Server")], Code.SERVER_ISO),
        ([an_edition("ServerStandard", 5, installation_type="Server Core")], Code.SERVER_ISO),
        ([an_edition("Professional", 5, **TEN)], Code.NOT_WINDOWS_11),
        ([an_edition("EnterpriseEval", 5)], Code.EVALUATION_ISO),
        ([an_edition("EnterpriseS", 5), an_edition("IoTEnterpriseSK", 6)], Code.LTSC_ISO),
    ],
)
def test_images_with_little_metadata_are_reported_by_their_kind(
    extra: tuple[WimImage, ...], images: list[WimImage], code: Code
) -> None:
    assert refused(an_iso(*extra, *images)).code is code


def test_setup_images_alone_are_not_windows() -> None:
    for images in ((pe(1), pe(2)), (bare(1), pe(2), pe(3))):
        found = refused(an_iso(*images))
        assert found.code is Code.NOT_WINDOWS
        assert "only Windows PE" in found.message


def test_pe_is_not_listed_beside_consumer_editions() -> None:
    found = refused(an_iso(bare(1), pe(2), an_edition("Core", 3)))
    assert (found.code, "which contains: Core." in found.message) == (Code.NO_SUCH_EDITION, True)
    assert "EDITIONID" not in found.message


def test_a_capture_after_windows_pe_is_refused_as_damaged() -> None:
    found = refused(an_iso(pe(1), bare(2, "my capture")))
    assert "Image 2, 'my capture', on the ISO has no EDITIONID" in found.message


def test_the_index_of_a_damaged_image_is_refused() -> None:
    contents = an_iso(an_edition(index=1), lost(2, name="tiny11"))
    found = select_image(
        contents,
        edition="Enterprise",
        image_index=2,
        supported_windows_builds=SUPPORTED,
        named_release=None,
    )
    assert isinstance(found, Rejection)
    assert "Image 2, 'tiny11', on the ISO has no EDITIONID" in found.message
