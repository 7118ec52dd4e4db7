"""What file names say: the names found in the field, renamed files, and nothing like them."""

import csv
import re
from pathlib import Path

import pytest

from isodrop.windows.file_names import FileName, read_name
from isodrop.windows.name_patterns import FAMILIES, FLAGS

FIELD_NAMES = Path(__file__).parents[2] / "data" / "iso-names.tsv"

# Names whose truth is not in the name. The table says what the disc turned out to be.
MISSES = {
    "SERVER_EVAL_x64FRE_en-us.iso": "Server 2022, but the name holds neither release nor build",
}
# What the table calls a kind that must never be imported.
REFUSED = re.compile(
    r"windows-server|ltsc|iot|evaluation|not-an-os-image|consumer|insider|uup-dump|oem"
)


def rows() -> list[dict[str, str]]:
    with FIELD_NAMES.open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t"))


def said(name: FileName) -> tuple[str, str, str, str]:
    build = "" if name.build is None else f"{name.build}"
    revision = "" if name.revision is None else f".{name.revision}"
    return name.release or "", build + revision, name.architecture or "", name.language or ""


def is_right(row: dict[str, str]) -> bool:
    release = row["release"].removesuffix(" (Win10)")
    expected = (release, row["build"], row["arch"], row["language"])
    return said(read_name(row["name"])) == expected


def test_given_the_names_of_the_field_when_read_then_all_but_the_listed_misses_are_right() -> None:
    wrong = {row["name"] for row in rows() if not is_right(row)}
    assert wrong == MISSES.keys()
    assert len(rows()) - len(wrong) >= 97


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"][:60])
def test_given_a_name_of_the_field_when_read_then_its_family_is_known(row: dict[str, str]) -> None:
    assert read_name(row["name"]).family == row["family"]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"][:60])
def test_given_a_kind_that_is_refused_when_only_its_name_is_read_then_it_is_not_importable(
    row: dict[str, str],
) -> None:
    name = read_name(row["name"])
    refused = (
        REFUSED.search(row["family"])
        or "Win10" in row["release"]
        or "Windows 10" in row["edition-hint"]
        or row["arch"] == "arm64"
    )
    if refused:
        assert name.importable != "yes"
    else:
        documented = row["release"] in {"23H2", "24H2", "25H2"} and row["arch"] == "x64"
        assert (name.importable == "yes") == documented


def test_given_every_family_when_its_pattern_is_compiled_then_it_names_only_known_groups() -> None:
    known = {
        "windows", "release", "ltsc", "build", "revision", "architecture", "language", "edition",
        "month", "year",
    }  # fmt: skip
    assert all(re.compile(family.pattern, FLAGS).groupindex.keys() <= known for family in FAMILIES)


@pytest.mark.parametrize(
    ("name", "release", "architecture", "language"),
    [
        ("SW_DVD9_Win_Pro_11_21H2_64BIT_FrenchCanadian_Pro_Ent_EDU_N_MLF_-3_X22-89967.ISO",
         "21H2", "x64", "fr-CA"),
        ("SW_DVD9_Win_Pro_11_23H2.6_64BIT_Eng_Intl_Pro_Ent_EDU_N_MLF_X23-75491.ISO",
         "23H2", "x64", "en-GB"),
        ("SW_DVD9_Win_Pro_Ent_Edu_N_10_1803_64BIT_Eng_Intl_-4_MLF_X21-87131.ISO",
         "1803", "x64", "en-GB"),
        ("SW_DVD9_Win_Server_STD_CORE_2025_24H2_64Bit_Brazilian_DC_STD_MLF_X23-81886.ISO",
         "2025", "x64", "pt-BR"),
        ("SW_DVD9_NTRL_Win_11_24H2_64_Arm64_Inbox_Apps_OEM_VL_updt_Sep_2024_X23-81949.ISO",
         "24H2", None, "mul"),
        ("Win11_24H2_Spanish_Mexico_x64.iso", "24H2", "x64", "es-MX"),
        ("Win11_25H2_EnglishInternational_x64_v2.iso", "25H2", "x64", "en-GB"),
        ("Win11_English_x64v1.iso", None, "x64", "en-US"),
        ("Win11_Chinese(Simplified)_x64v1.iso", None, "x64", "zh-CN"),
        ("en-us_windows_11_business_editions_x64_dvd_3a304c08.iso", None, "x64", "en-US"),
        ("26100.1.240331-1435.ge_release_amd64fre_CLIENT_LOF_PACKAGES_OEM.iso",
         "24H2", "x64", "mul"),
        ("20348.1.210507-1500.fe_release_amd64fre_SERVER_LOF_PACKAGES_OEM.iso",
         None, "x64", "mul"),
        ("22631.2861.231204-0538.23H2_NI_RELEASE_SVC_REFRESH_CLIENTBUSINESS_VOL_x64FRE_en-us.iso",
         "23H2", "x64", "en-US"),
        ("18363.476.191007-0143.19h2_release_svc_refresh_CLIENTENTERPRISEEVAL_OEMRET_x64FRE_en-us.iso",
         "1909", "x64", "en-US"),
        ("Windows11_InsiderPreview_EnterpriseVL_x64_en-us_29599_1000.iso", None, "x64", "en-US"),
        ("Windows_InsiderPreview_Server_vNext_en-us_26296.iso", None, None, "en-US"),
    ],
)  # fmt: skip
def test_given_relatives_of_the_known_names_when_read_then_they_are_understood(
    name: str, release: str | None, architecture: str | None, language: str | None
) -> None:
    found = read_name(name)
    assert (found.release, found.architecture, found.language) == (release, architecture, language)
    assert found.family not in (None, "renamed")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Win11_25H2_Enterprise.ISO", ("11", "25H2", None, None, "enterprise")),
        ("my-win11-24H2-x64.iso", ("11", "24H2", "x64", None, None)),
        ("windows 11 enterprise 24H2 en-us (2).iso", ("11", "24H2", None, "en-US", "enterprise")),
        ("Windows_11_German_64-bit_23h2.iso", ("11", "23H2", "x64", "de-DE", None)),
        ("win11-26100.1742-x86_64.iso", ("11", None, "x64", None, None)),
    ],
)
def test_given_a_renamed_file_when_read_then_its_loose_words_are_taken(
    name: str, expected: tuple[str | None, ...]
) -> None:
    found = read_name(f"drops/2026/{name}")
    told = (found.windows, found.release, found.architecture, found.language, found.edition)
    assert (told, found.family) == (expected, "renamed")


@pytest.mark.parametrize(
    "name",
    [
        "win11-24h2-enterprise-ltsc.iso",
        "Win11_24H2_EnterpriseN_x64.iso",
        "win11_eval_24h2_x64.iso",
        "win11-24h2-iot-enterprise.iso",
        "Windows_Server_2025.iso",
        "win10-enterprise-x64.iso",
        "Win11 Enterprise 24H2 ARM64.iso",
        "Win11_22H2_Enterprise_x64.iso",
        "26100.1.240331-1435.ge_release_amd64fre_CLIENT_LOF_PACKAGES_OEM.iso",
    ],
)
def test_given_a_file_of_a_refused_kind_when_read_then_the_name_says_no(name: str) -> None:
    assert read_name(name).importable == "no"


def test_given_a_renamed_file_that_says_everything_when_read_then_the_media_must_say_yes() -> None:
    assert read_name("Win11_24H2_Enterprise_x64_en-us.iso").importable == "unknown"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".iso",
        "holiday.iso",
        "medieval-pro-core.iso",
        "ubuntu-24.04-desktop-amd64.iso",
        "ubuntu-pro-22.04.iso",
        "sql-server-2019-x64.iso",
        "my-home-multi-n.iso",
        "A" * 256 + "win11_24h2.iso",
    ],
)
def test_given_a_name_that_does_not_speak_of_windows_when_read_then_nothing_is_made_of_it(
    name: str,
) -> None:
    assert read_name(name) == FileName(name)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("win10-or-win11-24H2.iso", "windows"),
        ("win11-23H2-upgraded-to-24H2.iso", "release"),
        ("win11-x64-and-arm64.iso", "architecture"),
        ("win11-English-fr-fr.iso", "language"),
    ],
)
def test_given_a_name_that_contradicts_itself_when_read_then_it_says_nothing_there(
    name: str, field: str
) -> None:
    assert getattr(read_name(name), field) is None


def test_given_a_servicing_month_in_the_name_when_read_then_it_is_told() -> None:
    name = "en-us_windows_11_business_editions_version_24h2_updated_march_2025_x64_dvd_77837751.iso"
    assert read_name(name).updated == "2025-03"
    assert read_name(name.replace("march", "smarch")).updated is None


def test_given_a_windows_path_when_read_then_only_the_base_name_counts() -> None:
    assert read_name(r"C:\win10\Win11_24H2_English_x64.iso").name == "Win11_24H2_English_x64.iso"
