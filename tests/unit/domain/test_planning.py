"""What is imported, or why not: decided from upload, ISO, overrides and settings."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from isodrop.codes import Code, Rejection
from isodrop.domain.edition_selection import MAX_LANGUAGES
from isodrop.domain.image_naming import MAX_TAGS, RESERVED_TAGS, check_template
from isodrop.domain.model import ImportPlan, ImportSettings, Upload
from isodrop.domain.planning import plan_import
from isodrop.iso.model import UNREADABLE, IsoContents
from isodrop.text import clean_tag_value
from isodrop.windows.file_names import parse_file_name
from tests.support.builders import (
    a_business_iso,
    an_edition,
    an_iso,
    an_upload,
    some_settings,
)


def plan(
    contents: IsoContents | None = None,
    upload: Upload | None = None,
    metadata: Mapping[str, str] | None = None,
    settings: ImportSettings | None = None,
) -> ImportPlan:
    decided = plan_import(
        upload or an_upload(),
        contents or a_business_iso(),
        metadata or {},
        settings or some_settings(),
    )
    assert isinstance(decided, ImportPlan), decided
    return decided


def rejection(
    contents: IsoContents | None = None,
    upload: Upload | None = None,
    metadata: Mapping[str, str] | None = None,
    settings: ImportSettings | None = None,
) -> Rejection:
    decided = plan_import(
        upload or an_upload(),
        contents or a_business_iso(),
        metadata or {},
        settings or some_settings(),
    )
    assert isinstance(decided, Rejection), decided
    return decided


# Keys


@pytest.mark.parametrize("key", ["a.iSo", ".iso", "in/.iso", "a\n\x1b.iso", "é" * 511 + ".iso"])
def test_no_key_keeps_an_iso_from_its_import(key: str) -> None:
    # The copy is imported, whose key isodrop chooses.
    decided = plan(upload=an_upload(key))
    assert decided.name == "windows-11-enterprise-x64-en-us"
    assert decided.description.isprintable()


# The plan of a good ISO


def test_the_plan_of_a_business_iso_has_all_that_the_request_needs() -> None:
    decided = plan(upload=an_upload("in/Win11 business (24H2).iso"))
    assert decided == ImportPlan(
        name="windows-11-enterprise-x64-en-us",
        semantic_version="11.26100.1742",
        image_index=3,
        description="Windows 11 Enterprise 24H2 x64 en-us (11.26100.1742), imported by isodrop from"
        " s3://isodrop-upload/in/Win11 business (24H2).iso",
        edition="Enterprise",
        release="24H2",
        architecture="x64",
        windows_build=26100,
        revision=1742,
        languages=("en-us",),
        rebuild=None,
        tags={
            "isodrop:stack": "isodrop",
            "isodrop:source": "s3://isodrop-upload/in/Win11 business _24H2_.iso",
            "isodrop:etag": "9b2cf535f27731c974343645a3985328-700",
            "isodrop:edition": "Enterprise",
            "isodrop:release": "24H2",
            "isodrop:architecture": "x64",
            "isodrop:languages": "en-us",
            "isodrop:windows-build": "26100.1742",
        },
        notes=(),
    )


def test_enterprise_is_selected_at_another_index() -> None:
    contents = an_iso(*(an_edition(f"Filler{n}", n) for n in range(1, 7)), an_edition(index=7))
    assert plan(contents).image_index == 7


def test_without_a_servicing_build_the_revision_is_0() -> None:
    assert plan(a_business_iso(revision=None)).semantic_version == "11.26100.0"


def test_the_default_language_comes_first() -> None:
    decided = plan(a_business_iso(languages=("en-US", "de-DE", "fr-FR"), default_language="de-DE"))
    assert decided.languages == ("de-de", "en-us", "fr-fr")
    assert decided.name == "windows-11-enterprise-x64-de-de"
    assert decided.tags["isodrop:languages"] == "de-de en-us fr-fr"


def test_only_valid_language_tags_are_accepted() -> None:
    many = tuple(f"{a}{b}-XX" for a in "abcdefghijk" for b in "abcdefghijk")
    decided = plan(a_business_iso(languages=("../../etc", "", *many), default_language="x" * 99))
    assert decided.languages[0] == "aa-xx"
    assert len(decided.languages) == MAX_LANGUAGES


def test_without_a_language_in_the_iso_the_file_name_supplies_it() -> None:
    silent = a_business_iso(languages=(), default_language=None)
    assert plan(silent, an_upload("Win11_24H2_Korean_x64.iso")).languages == ("ko-kr",)
    assert plan(silent).languages == ()
    assert plan(silent).name == "windows-11-enterprise-x64"


def test_the_first_of_two_images_of_an_edition_is_selected_with_a_note() -> None:
    decided = plan(an_iso(an_edition(index=2), an_edition(index=5)))
    assert decided.image_index == 2
    assert "indexes 2, 5" in decided.notes[0]


def test_x64_is_selected_among_two_architectures() -> None:
    contents = an_iso(an_edition(index=1, architecture="arm64"), an_edition(index=2))
    assert plan(contents).image_index == 2
    assert plan(contents).notes == ()


# Overrides


def test_overrides_take_precedence_over_iso_and_settings() -> None:
    decided = plan(
        metadata={
            "image-name": "golden",
            "semantic-version": "2.0.1",
            "edition": "Professional",
            "description": "mine",
            "rebuild": "r1",
        },
        settings=some_settings(description="the stack's"),
    )
    assert (decided.name, decided.semantic_version, decided.image_index) == ("golden", "2.0.1", 5)
    assert (decided.edition, decided.description) == ("Professional", "mine")
    assert decided.rebuild == "r1"
    assert "AWS documents only Windows 11 Enterprise" in decided.notes[0]


def test_an_image_index_selects_the_image() -> None:
    assert plan(metadata={"image-index": "4"}).edition == "EnterpriseN"


def test_an_unknown_image_index_lists_the_indexes() -> None:
    found = rejection(metadata={"image-index": "9"})
    assert found.code is Code.INVALID_OVERRIDE
    assert "image 9" in found.message
    assert "1, 2, 3, 4, 5, 6" in found.message


def test_overrides_that_disagree_are_reported() -> None:
    found = rejection(metadata={"image-index": "3", "edition": "Professional"})
    assert found.code is Code.INVALID_OVERRIDE
    assert "image-index 3 is Enterprise, and edition asks for Professional" in found.message


def test_an_override_that_the_stack_forbids_is_refused() -> None:
    settings = some_settings(allowed_overrides=frozenset())
    found = rejection(metadata={"edition": "EnterpriseN"}, settings=settings)
    assert found.code is Code.INVALID_OVERRIDE


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"edition_id": "EnterpriseEval"}, Code.EVALUATION_ISO),
        ({"edition_id": "EnterpriseS"}, Code.LTSC_ISO),
        ({"installation_type": "Server"}, Code.SERVER_ISO),
        ({"build": 19045}, Code.NOT_WINDOWS_11),
        ({"architecture": "arm64"}, Code.WRONG_ARCHITECTURE),
        ({"build": 28000}, Code.UNSUPPORTED_RELEASE),
        ({"edition_id": None}, Code.UNREADABLE_ISO),
    ],
)
def test_the_index_of_a_refused_image_is_refused(changes: dict[str, Any], code: Code) -> None:
    contents = an_iso(
        an_edition(index=1), an_edition(**{"edition_id": "Enterprise", **changes}, index=2)
    )
    assert rejection(contents, metadata={"image-index": "2"}).code is code


# Rejections


@pytest.mark.parametrize(
    ("contents", "code", "expected"),
    [
        (an_iso(), Code.UNREADABLE_ISO, "no image"),
        (
            an_iso(
                an_edition("ServerStandard", 1, installation_type="Server Core"),
                an_edition("ServerStandard", 2, installation_type="Server"),
                an_edition("ServerDatacenter", 3, installation_type="Server"),
            ),
            Code.SERVER_ISO,
            "(ServerStandard, ServerDatacenter)",
        ),
        (a_business_iso(build=19045), Code.NOT_WINDOWS_11, "build 19045 (22H2)"),
        (a_business_iso(major=6, build=9600), Code.NOT_WINDOWS_11, "build 9600"),
        (an_iso(an_edition("Core", build=19045)), Code.NOT_WINDOWS_11, "build 19045"),
        (an_iso(an_edition("EnterpriseEval")), Code.EVALUATION_ISO, "(EnterpriseEval)"),
        (an_iso(an_edition("IoTEnterpriseSEval")), Code.EVALUATION_ISO, "no Enterprise"),
        (
            an_iso(an_edition("EnterpriseS"), an_edition("IoTEnterpriseS", 2)),
            Code.LTSC_ISO,
            "(EnterpriseS, IoTEnterpriseS) and no Enterprise",
        ),
        (an_iso(an_edition("IoTEnterprise")), Code.NO_SUCH_EDITION, "contains: IoTEnterprise."),
        (
            an_iso(an_edition("Core"), an_edition("Professional", 2)),
            Code.NO_SUCH_EDITION,
            "Enterprise is not on the ISO, which contains: Core, Professional.",
        ),
        (
            an_iso(an_edition("EnterpriseN", name="Windows 11 Enterprise")),
            Code.NO_SUCH_EDITION,
            "EnterpriseN",
        ),
        (a_business_iso(architecture="arm64"), Code.WRONG_ARCHITECTURE, "for arm64"),
        (a_business_iso(build=28000), Code.UNSUPPORTED_RELEASE, "build 28000 (26H1)"),
        (a_business_iso(build=27842), Code.UNSUPPORTED_RELEASE, "22621, 22631, 26100, 26200"),
        (a_business_iso(major=11), Code.UNSUPPORTED_RELEASE, "build 26100"),
        (a_business_iso(build=None), Code.UNREADABLE_ISO, "VERSION/BUILD"),
        (a_business_iso(build=-1), Code.UNREADABLE_ISO, "VERSION/BUILD"),
        (a_business_iso(architecture=None), Code.UNREADABLE_ISO, "ARCH"),
        (a_business_iso(installation_type=None), Code.UNREADABLE_ISO, "INSTALLATIONTYPE"),
        (a_business_iso(installation_type="WindowsPE"), Code.NOT_WINDOWS, "only Windows PE"),
        (a_business_iso(installation_type="Nano"), Code.NOT_WINDOWS, "installation type Nano"),
        (a_business_iso(revision=-5), Code.UNREADABLE_ISO, "SPBUILD"),
        (a_business_iso(revision=UNREADABLE), Code.UNREADABLE_ISO, "an unreadable VERSION"),
        (a_business_iso(revision=100_000), Code.UNREADABLE_ISO, "the VERSION/SPBUILD '100000'"),
        (a_business_iso(revision=10**5000), Code.UNREADABLE_ISO, "SPBUILD"),
        (an_iso(an_edition(index=0)), Code.UNREADABLE_ISO, "INDEX"),
    ],
)
def test_a_rejection_has_the_most_helpful_reason(
    contents: IsoContents, code: Code, expected: str
) -> None:
    found = rejection(contents)
    assert (found.code, expected in found.message) == (code, True), found


def test_a_client_edition_named_server_is_not_a_server_iso() -> None:
    contents = an_iso(an_edition("ServerRdsh", name="Windows 11 Enterprise multi-session"))
    assert rejection(contents).code is Code.NO_SUCH_EDITION


def test_the_client_is_imported_from_an_iso_with_server_and_client() -> None:
    contents = an_iso(an_edition("ServerStandard", installation_type="Server"), an_edition(index=2))
    assert plan(contents).image_index == 2


def test_an_evaluation_beside_the_wanted_edition_is_ignored() -> None:
    assert plan(an_iso(an_edition("EnterpriseEval", 1), an_edition(index=2))).image_index == 2


def test_the_remedy_spells_the_wanted_edition_correctly() -> None:
    found = rejection(settings=some_settings(edition="enterprise"))
    assert (found.code, "Use Enterprise" in found.remedy) == (Code.NO_SUCH_EDITION, True)


def test_the_remedy_for_a_missing_edition_is_another_one() -> None:
    found = rejection(metadata={"edition": "EnterpriseG"})
    assert found.code is Code.NO_SUCH_EDITION
    assert "with the override edition or the stack's parameter Edition" in found.remedy


def test_with_very_many_editions_the_message_stays_short() -> None:
    contents = an_iso(*(an_edition(f"Evil\n{n}" + "x" * 500, n) for n in range(1, 257)))
    found = rejection(contents)
    assert len(found.message) < 1000
    assert found.message.isprintable()


def test_a_build_added_in_the_settings_is_accepted() -> None:
    settings = some_settings(supported_windows_builds=frozenset({22000, 29999}))
    assert plan(a_business_iso(build=22000), settings=settings).release == "21H2"
    unknown = plan(a_business_iso(build=29999), an_upload("win11_28h2.iso"), settings=settings)
    assert unknown.release == "28H2"


# Releases


@pytest.mark.parametrize(
    ("build", "key", "release"),
    [
        ("22621.2428", "Win11_23H2_English_x64.iso", "23H2"),
        ("22621.6060", "Win11_23H2_English_x64.iso", "23H2"),
        ("22621.2428", "windows.iso", None),
        ("22621.3447", "win11-22621.3447.iso", None),
        ("22621.3447", "22631.3447.240401-1200.CLIENTBUSINESS_VOL_x64FRE_en-us.iso", "23H2"),
        ("22621.3447", "Win11_24H2_English_x64.iso", None),
        ("22621.6061", "windows.iso", "23H2"),
        ("22621.6199", "Win11_22H2_English_x64.iso", "23H2"),
        ("22621", "Win11_23H2_English_x64.iso", "23H2"),
        ("22621", "windows.iso", None),
        ("22631.1", "windows.iso", "23H2"),
        ("26100.1", "windows.iso", "24H2"),
        ("26100.1742", "Win11_25H2_English_x64.iso", "24H2"),
        ("26100.1742", "Win11_23H2_English_x64.iso", "24H2"),
        ("26200.6584", "windows.iso", "25H2"),
        ("26200.8037", "Win11_24H2_English_x64.iso", "25H2"),
    ],
)
def test_a_file_name_only_supplies_what_the_iso_lacks(
    build: str, key: str, release: str | None
) -> None:
    decided = plan(iso_of_build(build), an_upload(key))
    assert decided.release == release
    assert decided.tags.get("isodrop:release") == release


def iso_of_build(version: str) -> IsoContents:
    """Make a business ISO of a build, with or without a revision."""
    build, _, revision = version.partition(".")
    return a_business_iso(build=int(build), revision=int(revision) if revision else None)


@pytest.mark.parametrize("version", ["22621.0", "22621.1", "22621.525", "22621.2427"])
@pytest.mark.parametrize(
    "key", ["Win11_23H2.iso", "Win11_22H2_English_x64.iso", "windows.iso", "win11-22631.1.iso"]
)
def test_an_early_22621_is_22h2_whatever_its_name(version: str, key: str) -> None:
    found = rejection(iso_of_build(version), an_upload(key))
    assert found.code is Code.UNSUPPORTED_RELEASE
    assert f"build {version}, which is 22H2" in found.message
    assert "23H2 contain 22621.2428" in found.message
    assert ("although the file name says 23H2" in found.message) == (
        parse_file_name(key).certain_release == "23H2"
    )
    assert "under a name" not in found.remedy


@pytest.mark.parametrize(
    ("version", "key", "notes"),
    [
        ("22621.6199", "windows.iso", ()),
        ("22621.6199", "Win11_22H2.iso",
         ("The file name says 22H2, but the ISO contains build 22621 (23H2)",)),
        ("26100.1742", "Win11_25H2.iso",
         ("The file name says 25H2, but the ISO contains build 26100 (24H2)",)),
        ("26100.1742", "26200.6584.250915-1905.25h2_ge_release_CLIENTBUSINESS_VOL_x64FRE_en-us.iso",
         ("The file name says 25H2, but the ISO contains build 26100 (24H2)",
          "The file name says 26200, but the ISO contains build 26100 (24H2)")),
        ("26200.6584", "Win11_24H2.iso",
         ("The file name says 24H2, but the ISO contains build 26200 (25H2)",)),
    ],
)  # fmt: skip
def test_the_notes_on_a_release_in_the_iso_are_correct(
    version: str, key: str, notes: tuple[str, ...]
) -> None:
    expected = tuple(f"{note}; the ISO takes precedence." for note in notes)
    assert plan(iso_of_build(version), an_upload(key)).notes == expected


def test_22h2_by_name_and_by_build_is_rejected_with_a_remedy() -> None:
    found = rejection(iso_of_build("22621.3447"), an_upload("Win11_22H2_English_x64.iso"))
    assert found.code is Code.UNSUPPORTED_RELEASE
    assert "22H2 or 23H2, and the file name says 22H2" in found.message
    assert "upload it under a name that says so" in found.remedy


def test_a_22621_without_a_release_in_its_name_gets_a_caveat() -> None:
    decided = plan(
        iso_of_build("22621.3447"),
        settings=some_settings(image_name_template="w11-{edition}-{release}"),
    )
    assert decided.name == "w11-enterprise-22621"
    assert "ISOs of 22H2 and 23H2" in decided.notes[0]


# What the file name says against the ISO


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Win11_23H2_English_x64.iso", "The file name says 23H2, but the ISO contains build 26100"),
        ("Win11_24H2_English_Arm64.iso", "The file name says arm64, but the ISO contains x64"),
        ("Win11_24H2_German_x64.iso", "The file name says de-DE, but the ISO contains en-us"),
        ("win10-x64.iso", "The file name says Windows 10, but the ISO contains Windows 11"),
        ("win11-22631.1.iso", "The file name says 22631, but the ISO contains build 26100"),
    ],
)
def test_an_iso_prevails_over_its_file_name_with_a_note(key: str, expected: str) -> None:
    decided = plan(upload=an_upload(key))
    assert any(note.startswith(expected) for note in decided.notes), decided.notes
    assert decided.architecture == "x64"


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("Win11_24H2_Arabic_x64.iso", {"languages": ("ar-SA",), "default_language": "ar-SA"}),
        ("22631.2428.231001-0608.23H2_NI_RELEASE_CLIENTBUSINESS_VOL_x64FRE_en-us.iso",
         {"build": 22621, "revision": 2428}),
        ("Win11_25H2_English_x64.iso", {"build": 26200}),
        ("mine.iso", {}),
    ],
)  # fmt: skip
def test_a_name_that_agrees_gets_no_note(key: str, changes: dict[str, Any]) -> None:
    assert plan(a_business_iso(**changes), an_upload(key)).notes == ()


def test_the_plan_notes_a_misspelled_override() -> None:
    assert "image-name" in plan(metadata={"image_name": "x"}).notes[0]


# Templates, descriptions, tags


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("windows-11-{edition}-{architecture}-{language}", "windows-11-enterprise-x64-en-us"),
        ("W11 {edition}_{release}_{build}", "w11-enterprise-24h2-26100"),
        ("--{build}--", "26100"),
        ("golden", "golden"),
    ],
)
def test_a_filled_name_is_lower_case_with_single_hyphens(template: str, name: str) -> None:
    assert check_template(template) is None
    assert plan(settings=some_settings(image_name_template=template)).name == name


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", "name has 0 characters"),
        ("{language}", "name has 0 characters"),
        ("w{language}1", "name has 2 characters"),
        ("w" * 129, "name has 129 characters"),
        ("win.11-{edition}", "'win.11-' contains a character"),
        ("fenêtre-{edition}", "contains a character"),
        ("{{edition}}", "contains a character"),
        ("{Edition}", "{Edition} is unknown"),
        ("{}", "{} is unknown"),
        ("{edition.__class__}", "{edition.__class__} is unknown"),
        ("{edition!r}", "{edition!r} is unknown"),
        ("{build:>{build}}", "{build:>{build}} is unknown"),
        ("{edition", "braces are not balanced"),
        ("edition}", "braces are not balanced"),
    ],
)
def test_an_invalid_template_is_refused_with_a_reason(template: str, expected: str) -> None:
    wrong = check_template(template)
    assert wrong is not None
    assert expected in wrong
    assert wrong.endswith(".")
    name = plan(settings=some_settings(image_name_template=template)).name
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{1,126}[a-z0-9]", name)


def test_a_description_in_the_settings_is_used_on_one_line() -> None:
    decided = plan(settings=some_settings(description="golden\nimage"))
    assert decided.description == "golden\\nimage"
    assert len(plan(settings=some_settings(description="é" * 2000)).description) == 1024


def test_stack_tags_are_cleaned_and_counted() -> None:
    stack = {
        "cost center": "42; DROP",
        "aws:x": "no",
        "AWS:y": "no",
        "isodrop:stack": "forged",
        "": "",
    }
    decided = plan(settings=some_settings(tags=stack))
    assert decided.tags["cost center"] == "42_ DROP"
    assert decided.tags["isodrop:stack"] == "isodrop"
    assert not any(key.lower().startswith("aws:") for key in decided.tags)
    assert len(decided.notes) == 4


def test_too_many_stack_tags_leave_room_for_the_submitter() -> None:
    decided = plan(settings=some_settings(tags={f"t{n}": "" for n in range(60)}))
    assert len(decided.tags) == MAX_TAGS - RESERVED_TAGS
    assert len(decided.notes) == 60 - (MAX_TAGS - RESERVED_TAGS - 8)


def test_a_tag_value_has_only_safe_characters() -> None:
    assert clean_tag_value('"é"\n<a&b> ok+-=._:/@') == "_____a_b_ ok+-=._:/@"
    assert clean_tag_value("x" * 300) == "x" * 256
