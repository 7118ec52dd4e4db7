"""Facts in file names: real names, renamed files, and names without facts."""

import csv
import re
from pathlib import Path

import pytest

from isodrop.windows.file_names import FileName, parse_file_name
from isodrop.windows.name_patterns import FLAGS, NAME_PATTERNS

DATA = Path(__file__).parents[2] / "data"

# Names that do not contain the fact. The table has what the ISO contained.
MISSES = {
    "SERVER_EVAL_x64FRE_en-us.iso": "Server 2022, but the name holds neither release nor build",
}
# The table's names of kinds that must never be imported.
REFUSED = re.compile(
    r"windows-server|ltsc|iot|evaluation|not-an-os-image|consumer|insider|uup-dump|oem"
)


def rows(*tables: str) -> list[dict[str, str]]:
    made: list[dict[str, str]] = []
    for name in tables or ("iso-names.tsv", "iso-names-2.tsv"):
        with (DATA / name).open(encoding="utf-8", newline="") as table:
            made += csv.DictReader(table, delimiter="\t")
    return made


def facts_of(name: FileName) -> tuple[str, str, str, str]:
    build = "" if name.build is None else f"{name.build}"
    revision = "" if name.revision is None else f".{name.revision}"
    return name.release or "", build + revision, name.architecture or "", name.language or ""


def is_right(row: dict[str, str]) -> bool:
    release = row["release"].removesuffix(" (Win10)")
    expected = (release, row["build"], row["arch"], row["language"])
    return facts_of(parse_file_name(row["name"])) == expected


@pytest.mark.parametrize(("table", "count"), [("iso-names.tsv", 99), ("iso-names-2.tsv", 39)])
def test_only_listed_real_names_are_not_recognized(table: str, count: int) -> None:
    read = rows(table)
    assert len(read) == count
    assert {row["name"] for row in read if not is_right(row)} <= MISSES.keys()


def test_a_name_listed_as_unrecognized_is_still_unrecognized() -> None:
    assert {row["name"] for row in rows() if not is_right(row)} == MISSES.keys()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"][:60])
def test_a_real_name_matches_a_known_pattern(row: dict[str, str]) -> None:
    assert parse_file_name(row["name"]).family == row["family"]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"][:60])
def test_a_name_of_a_refused_kind_is_not_importable(
    row: dict[str, str],
) -> None:
    name = parse_file_name(row["name"])
    refused = (
        REFUSED.search(row["family"])
        or "Win10" in row["release"]
        or "Windows 10" in row["edition-hint"]
        or row["arch"] == "arm64"
    )
    if refused:
        assert name.importable != "yes"
    else:
        # The facts in a renamed file's name are not certain.
        documented = row["release"] in {"23H2", "24H2", "25H2"} and row["arch"] == "x64"
        documented &= row["family"] != "renamed"
        assert (name.importable == "yes") == documented


def test_the_patterns_of_sources_name_no_group() -> None:
    # Each fact has one regular expression, the same for all naming schemes.
    assert not any(re.compile(each.regex, FLAGS).groupindex for each in NAME_PATTERNS)


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
         "2022", "x64", "mul"),
        ("22631.2861.231204-0538.23H2_NI_RELEASE_SVC_REFRESH_CLIENTBUSINESS_VOL_x64FRE_en-us.iso",
         "23H2", "x64", "en-US"),
        ("18363.476.191007-0143.19h2_release_svc_refresh_CLIENTENTERPRISEEVAL_OEMRET_x64FRE_en-us.iso",
         "1909", "x64", "en-US"),
        ("Windows11_InsiderPreview_EnterpriseVL_x64_en-us_29599_1000.iso", None, "x64", "en-US"),
        ("Windows_InsiderPreview_Server_vNext_en-us_26296.iso", None, None, "en-US"),
    ],
)  # fmt: skip
def test_variants_of_known_names_are_parsed(
    name: str, release: str | None, architecture: str | None, language: str | None
) -> None:
    found = parse_file_name(name)
    assert (found.release, found.architecture, found.language) == (release, architecture, language)
    assert found.family not in (None, "renamed")


# Release, build, architecture, language, family: one row for each kind of name, none of which is in
# the tables in this form.
KINDS = {
    # the endings of the Volume Licensing Service Center, and of repeated downloads
    "SW_DVD9_Win_Pro_11_23H2.9_64BIT_German_Pro_Ent_EDU_N_MLF_-_2_X23-1.ISO":
        ("23H2", None, "x64", "de-DE", "vlsc-admin-center"),
    "SW_DVD9_Win_Pro_11_25H2.3_64BIT_Spanish_LatAm_Pro_Ent_EDU_N_MLF_X24-22925_1.iso":
        ("25H2", None, "x64", "es-MX", "vlsc-admin-center"),
    "SW_DVD9_Win_Pro_11_24H2_64BIT_Thai_Pro_Ent_EDU_N_MLF_X23-26100 (12).ISO":
        ("24H2", None, "x64", "th-TH", "vlsc-admin-center"),
    "en-us_windows_11_business_editions_version_24h2_x64_dvd_59a1851e - Copy.iso":
        ("24H2", None, "x64", "en-US", "msdn-business"),
    "Win11_25H2_English_x64_v2_1.iso": ("25H2", None, "x64", "en-US", "consumer-download"),
    "-Win11_24H2_English_x64.iso": ("24H2", None, "x64", "en-US", "consumer-download"),
    "Win11_24H2_German_x64-2.iso": ("24H2", None, "x64", "de-DE", "consumer-download"),
    "Win11_24H2_German_x64_1 (1) - Copy.iso.ISO":
        ("24H2", None, "x64", "de-DE", "consumer-download"),
    # languages, features, apps
    "17763.1.180914-1434.rs5_release_SERVERLANGPACKDVD_OEM_MULTI.iso":
        ("2019", 17763, None, "mul", "not-an-os-image"),
    "18362.1.190318-1202.19h1_release_amd64fre_FOD-PACKAGES_OEM_PT1_amd64fre_MULTI.iso":
        ("1903", 18362, "x64", "mul", "not-an-os-image"),
    "SW_DVD9_NTRL_Win_10_2004_64Bit_MultiLang_LangPackAll_LIP_X22-21307.ISO":
        ("2004", None, "x64", "mul", "not-an-os-image"),
    "SW_DVD9_NTRL_Win_10_1903_32_64_ARM64_MultiLang_Feat_on_Demand_X22-01658.ISO":
        ("1903", None, None, "mul", "not-an-os-image"),
    "mu_windows_10_language_pack_version_1903_x86_x64_dvd_a1b2c3d4.iso":
        ("1903", None, None, "mul", "not-an-os-image"),
    "mul_windows_server_2022_languages_and_optional_features_x64_dvd_1c08b81c.iso":
        ("2022", None, "x64", "mul", "not-an-os-image"),
    "Windows_InsiderPreview_WDK_en-us_26100.iso":
        ("24H2", 26100, None, "en-US", "not-an-os-image"),
    # UUP dump's converters
    "22631.1_PROFESSIONAL_ARM64_ZH-CN.ISO": ("23H2", 22631, "arm64", "zh-CN", "uup-dump"),
    "26200.5074_CORE_X64_SR-LATN-RS.ISO": ("25H2", 26200, "x64", "sr-Latn-RS", "uup-dump"),
    "26100.1.240331-1435.GE_RELEASE_CLIENTPROWORKSTATION_OEMRET_X64FRE_FR-FR.ISO":
        ("24H2", 26100, "x64", "fr-FR", "uup-dump"),
    # Server by half year, by year and month, by year
    "en_windows_server_version_1709_updated_jan_2018_x64_dvd_100492040.iso":
        ("1709", None, "x64", "en-US", "windows-server"),
    "SW_DVD5_Win_Svr_STD_CORE_1709_64Bit_English_DC_STD_MLF_X21-59159.ISO":
        ("1709", None, "x64", "en-US", "windows-server"),
    "SW_DVD9_Win_Server_STD_CORE_2025_24H2.4_64Bit_German_DC_STD_MLF_X23-81891.ISO":
        ("2025", None, "x64", "de-DE", "windows-server"),
    "SW_DVD9_Win_Server_STD_CORE_2022__64Bit_English_DC_STD_MLF_X22-74290.ISO":
        ("2022", None, "x64", "en-US", "windows-server"),
    "SW_DVD9_Windows_Svr_Std_and_DataCtr_2012_R2_64Bit_English_-4_MLF_X19-82891.ISO":
        ("2012 R2", None, "x64", "en-US", "windows-server"),
    "25398.469.231004-1141.zn_release_svc_refresh_SERVER_OEMRET_x64FRE_en-us.iso":
        ("23H2", 25398, "x64", "en-US", "windows-server"),
    "14393.0.161119-1705.RS1_REFRESH_SERVERHYPERCORE_OEM_X64FRE_EN-US.ISO":
        ("2016", 14393, "x64", "en-US", "windows-server"),
    "Windows_Server_2016_Datacenter_EVAL_en-us_14393_refresh.ISO":
        ("2016", 14393, None, "en-US", "windows-server"),
    # LTSB and LTSC
    "en_windows_10_enterprise_2015_ltsb_n_x64_dvd_6848316.iso":
        ("LTSB 2015", None, "x64", "en-US", "msdn-iot-ltsc"),
    "SW_DVD5_WIN_ENT_LTSB_N_2016_64BIT_English_MLF_X21-07426.ISO":
        ("LTSB 2016", None, "x64", "en-US", "vlsc-admin-center-ltsc"),
    "cn_windows_10_enterprise_ltsc_2019_x64_dvd_9c09ff24.iso":
        ("LTSC 2019", None, "x64", "zh-CN", "msdn-iot-ltsc"),
    "14393.0.160715-1616.RS1_RELEASE_CLIENTENTERPRISES_OEM_X86FRE_EN-US.ISO":
        ("LTSB 2016", 14393, "x86", "en-US", "oem-buildstring"),
    "19044.1288.211006-0501.21h2_release_svc_refresh_CLIENT_LTSC_EVAL_x64FRE_en-us.iso":
        ("LTSC 2021", 19044, "x64", "en-US", "evaluation-center"),
    # other words for machine, edition and language
    "Win10_2004_ChineseSimplified_x32.iso": ("2004", None, "x86", "zh-CN", "consumer-download"),
    "Win11_22H2_China_GGK_Chinese(Simplified)_x64v1.iso":
        ("22H2", None, "x64", "zh-CN", "consumer-download"),
    "Win10_1803_SingleLang_English_x64.iso": ("1803", None, "x64", "en-US", "consumer-download"),
    "22621.2428.231001-0608.NI_RELEASE_CLOUDEDITIONN_OEM_arm64fre_pt-br.iso":
        ("22H2", 22621, "arm64", "pt-BR", "oem-buildstring"),
    "tw_windows_10_consumer_editions_version_1909_x86_dvd_11111111.iso":
        ("1909", None, "x86", "zh-TW", "msdn-consumer"),
    "en_windows_10_multiple_editions_version_1511_x64_dvd_7223712.iso":
        ("1511", None, "x64", "en-US", "msdn-consumer"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS, ids=lambda name: name[:60])
def test_each_fact_of_a_name_is_parsed(name: str) -> None:
    read = parse_file_name(name)
    found = (read.release, read.build, read.architecture, read.language, read.family)
    assert found == KINDS[name]


@pytest.mark.parametrize(
    ("name", "word", "label"),
    [
        ("Win11_25H2_English_x64.iso", "25H2", "25H2"),
        ("win11-22621.3447.iso", None, None),  # the name does not decide between the two
        ("win11-22621.525.iso", None, "22H2"),
        ("22631.2861.231204-0538.CLIENTBUSINESS_VOL_x64FRE_en-us.iso", None, "23H2"),
        ("win11-25H2-26100.1742.iso", "25H2", "25H2"),
        # In the lab's names this is the branch.
        ("18363.418.191007-0143.19h2_release_CLIENT_x64FRE_en-us.iso", None, None),
    ],
)
def test_the_original_spelling_of_a_name_is_kept(
    name: str, word: str | None, label: str | None
) -> None:
    read = parse_file_name(name)
    assert (read.release_word, read.certain_release) == (word, label)


@pytest.mark.parametrize(
    ("name", "importable"),
    [
        ("win11-22621.525.iso", "no"),
        ("win11-22621.3447.iso", "unknown"),  # ISOs of 23H2 have this build, too
        ("Win11_22H2.iso", "no"),
    ],
)
def test_a_build_of_two_releases_is_not_refused_by_name(name: str, importable: str) -> None:
    assert parse_file_name(name).importable == importable


def test_a_name_of_known_words_that_is_too_long_gives_nothing() -> None:
    everything = "_".join(row["name"] for row in rows())[:1020] + ".iso"
    assert len(everything.encode()) == 1024
    assert parse_file_name(everything) == FileName(everything)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Win11_25H2_Enterprise.ISO", ("11", "25H2", None, None, "enterprise")),
        ("my-win11-24H2-x64.iso", ("11", "24H2", "x64", None, None)),
        ("windows 11 enterprise 24H2 en-us (2).iso", ("11", "24H2", None, "en-US", "enterprise")),
        ("Windows_11_German_64-bit_23h2.iso", ("11", "23H2", "x64", "de-DE", None)),
        ("win11-26100.1742-x86_64.iso", ("11", "24H2", "x64", None, None)),
        ("tiny11 23H2 x64.iso", ("11", "23H2", "x64", None, None)),
        ("windows-10.0.26100.1742-en-us.iso", ("11", "24H2", None, "en-US", None)),
        ("Win11v24H2Enterprise-x64.iso", ("11", "24H2", "x64", None, None)),
        ("tiny11a64 r2.iso", ("11", None, "arm64", None, None)),
        ("Windows.11.Pro.v24H2.Build.26100.2033.x64.iso", ("11", "24H2", "x64", None, "pro")),
        ("W11x64_24H2_Pro_HP.iso", ("11", "24H2", "x64", None, "pro")),
        ("9663HA00_W10x64ROW_home(DL)_v3.iso", ("10", None, "x64", None, "home")),
        (
            "Windows 11 Enterprise (24H2) [x64] [en-US].iso",
            ("11", "24H2", "x64", "en-US", "enterprise"),
        ),
        ("Win10_1909_pro_de_de.iso", ("10", "1909", None, "de-DE", "pro")),
        ("Windows_11.iso", ("11", None, None, None, None)),
        ("Win11_LTSC_2024_x64.iso", ("11", "LTSC 2024", "x64", None, "ltsc")),
    ],
)
def test_the_loose_words_of_a_renamed_file_are_parsed(
    name: str, expected: tuple[str | None, ...]
) -> None:
    found = parse_file_name(f"isos/2026/{name}")
    facts = (found.windows, found.release, found.architecture, found.language, found.iso_kind)
    assert (facts, found.family) == (expected, "renamed")


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
def test_the_name_of_a_refused_kind_is_not_importable(name: str) -> None:
    assert parse_file_name(name).importable == "no"


def test_a_renamed_file_with_every_fact_needs_the_iso_to_confirm() -> None:
    assert parse_file_name("Win11_24H2_Enterprise_x64_en-us.iso").importable == "unknown"


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
        "photos-2004.iso",
        "SW_DVD5_Office_Professional_Plus_2016_64Bit_English_MLF_X20-42432.ISO",
        "en_office_professional_plus_2019_x86_x64_dvd_7ea28c99.iso",
        "VMware-tools-windows-12.3.5-22544099.iso",
        "holiday_x64_1903.iso",
        "linux64-24.04.iso",
        "data-12345.67-x64.iso",
        "X23-26100.iso",
        "A" * 256 + "win11_24h2.iso",
    ],
)
def test_a_name_without_windows_gives_nothing(
    name: str,
) -> None:
    assert parse_file_name(name) == FileName(name)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("win10-or-win11-24H2.iso", "windows"),
        ("win11-23H2-upgraded-to-24H2.iso", "release"),
        ("win11-x64-and-arm64.iso", "architecture"),
        ("win11-English-fr-fr.iso", "language"),
    ],
)
def test_a_contradictory_fact_in_a_name_is_left_out(name: str, field: str) -> None:
    assert getattr(parse_file_name(name), field) is None


def test_a_servicing_month_in_the_name_is_parsed() -> None:
    name = "en-us_windows_11_business_editions_version_24h2_updated_march_2025_x64_dvd_77837751.iso"
    assert parse_file_name(name).updated == "2025-03"
    assert parse_file_name(name.replace("march", "smarch")).updated is None


def test_only_the_base_name_of_a_windows_path_counts() -> None:
    assert (
        parse_file_name(r"C:\win10\Win11_24H2_English_x64.iso").name == "Win11_24H2_English_x64.iso"
    )
