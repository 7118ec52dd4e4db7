"""Whatever the file name: less, never nonsense, and never slow."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isodrop.windows.file_names import MAX_NAME, FileName, parse_file_name
from isodrop.windows.name_patterns import LANGUAGE_CODES, LANGUAGE_TAGS, LANGUAGES
from isodrop.windows.releases import SUPPORTED_RELEASES

KNOWN_LANGUAGES = {*LANGUAGE_TAGS.values(), *LANGUAGE_CODES.values()}
ALPHABET = st.sampled_from(string.ascii_letters + string.digits + "_-. ")
WORDS = st.sampled_from(
    ["win11", "Windows", "11", "10", "24H2", "25h2", "x64", "arm64", "enterprise", "ent", "n",
     "ltsc", "2024", "eval", "server", "iot", "26100.1742", "en-us", "German", "business"]
)  # fmt: skip
LOOSE_NAMES = st.tuples(st.lists(WORDS, max_size=8), st.sampled_from(["_", "-", " ", "."])).map(
    lambda words: words[1].join(words[0]) + ".iso"
)
ANY_KEY = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=300),
    st.text(ALPHABET, max_size=300),
    LOOSE_NAMES,
)


# A name for each source: its beginning, words in between, and its end.
ENDS = (
    ("SW_DVD9_Win_Pro_11_", "_MLF_X23-69812"),
    ("NH_SW_DVD5_WIN_ENT_", "_MLF_-_3_X23-95130"),
    ("en-us_windows_11_", "_x64_dvd_59a1851e"),
    ("cn_windows_server_", "_dvd_12063333"),
    ("26100.1742.240906-0331.ge_release_", "_x64FRE_en-us"),
    ("X23-81951_22621.1.220506-1250.NI_RELEASE_CLIENT", "_A64FRE_pt-br_1"),
    ("CLIENT", "_x64FRE_en-us"),
    ("28000.1_", "_X64_EN-US"),
    ("Windows11_InsiderPreview_", "_en-us_27842"),
    ("Win11_24H2_", "English_x64v2 (1)"),
    ("virtio-win-", "-0.1.285"),
    ("EWDK_", "_22621"),
)
PIECES = st.sampled_from(
    ["Pro", "Ent", "EDU", "N", "ENTERPRISE", "ENTERPRISES", "EVAL", "BUSINESS", "SERVER", "LTSC",
     "LTSB_2016", "LTSC_24H2", "IOT", "24H2.9", "version_25h2", "updated_feb_2026", "1709", "2025",
     "64BIT", "Arm64", "x32", "LangPack", "LOF_PACKAGES", "InboxApps", "CLOUDEDITION", "OEM",
     *LANGUAGES]
)  # fmt: skip
NAMES_OF_SOURCES = st.tuples(
    st.sampled_from(ENDS), st.lists(PIECES, min_size=1, max_size=6), st.sampled_from("__ ")
).map(lambda parts: parts[0][0] + parts[2].join(parts[1]) + parts[0][1] + ".iso")


def check(parsed: FileName) -> None:
    assert parsed.windows in {"11", "10", "server", "none", None}
    assert parsed.architecture in {"x64", "arm64", "x86", None}
    assert parsed.language is None or parsed.language in KNOWN_LANGUAGES
    assert parsed.revision is None or parsed.build is not None
    if parsed.importable == "yes":
        assert (parsed.windows, parsed.architecture) == ("11", "x64")
        assert parsed.release in SUPPORTED_RELEASES
        assert parsed.iso_kind in {"business", "enterprise"}
        assert not {"ltsc", "eval", "server", "iot", "arm64"} & {*parsed.name.lower().split("_")}


@given(ANY_KEY)
def test_any_key_parses_to_known_values_only(key: str) -> None:
    check(parse_file_name(key))


@given(NAMES_OF_SOURCES)
def test_every_name_of_a_source_parses_to_known_values(
    name: str,
) -> None:
    parsed = parse_file_name(name)
    check(parsed)
    assert len(name) > MAX_NAME or parsed.family is not None


@given(NAMES_OF_SOURCES, st.integers(0, 255), st.text(ALPHABET, max_size=3))
def test_a_damaged_name_raises_no_error(name: str, position: int, damage: str) -> None:
    check(parse_file_name(name[:position] + damage + name[position + 1 :]))


@pytest.mark.parametrize(
    "hostile",
    [
        "a" * 1_000_000,
        "/" * 1_000_000,
        "26100.1.240331-1435.ge" + "_release" * 28,
        "26100.1.240331-1435." + "a_" * 110,
        "CLIENT" + "_EVAL" * 40,
        "SERVER" + "_" * 249,
        "mul_" + "a_" * 110 + "for_windows_1",
        "SW_DVD9_Win_Pro_11_24H2_64BIT_English" + "_Ent" * 50,
        "SW_DVD9_NTRL_Win_11_24H2_" + "FOD" * 70 + "!",
        "ltsc " * 50,
        "win11 " * 42,
        "lang" * 63,
        "1" * 255,
        "%20" * 85,
        "(1)" * 85,
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.timeout(10)  # a pattern that backtracks without end would take years
def test_a_name_built_to_be_slow_is_parsed_in_time(hostile: str) -> None:
    check(parse_file_name(hostile))
