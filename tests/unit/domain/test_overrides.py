"""The overrides in an object's metadata, and the rejection of invalid ones."""

import pytest

from isodrop.codes import Code, Rejection
from isodrop.domain.overrides import RULES, Overrides, read_overrides


def read(metadata: dict[str, str], allowed: frozenset[str] = frozenset(RULES)) -> Overrides:
    overrides = read_overrides(metadata, allowed)
    assert isinstance(overrides, Overrides)
    return overrides


def refused(metadata: dict[str, str], allowed: frozenset[str] = frozenset(RULES)) -> Rejection:
    rejection = read_overrides(metadata, allowed)
    assert isinstance(rejection, Rejection)
    assert rejection.code is Code.INVALID_OVERRIDE
    return rejection


def test_each_override_has_its_value() -> None:
    overrides = read(
        {
            "image-name": "golden-win11",
            "semantic-version": "1.2.1073741823",
            "edition": "EnterpriseN",
            "image-index": "4294967295",
            "description": "For the call center",
            "rebuild": "2026-02.b_1",
        }
    )
    assert overrides == Overrides(
        "golden-win11", "1.2.1073741823", "EnterpriseN", 4294967295,
        "For the call center", "2026-02.b_1",
    )  # fmt: skip


def test_without_metadata_nothing_is_overridden() -> None:
    assert read({}) == Overrides()


def test_metadata_of_other_tools_is_ignored() -> None:
    others = {"s3cmd-attrs": "uid:1000/mode:33188", "mtime": "1767225600.5", "name": "x", "": ""}
    assert read(others) == Overrides()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image-name", "ab"),
        ("image-name", "a" * 129),
        ("image-name", "Windows-11"),
        ("image-name", "windows.11"),
        ("image-name", "windows_11"),
        ("image-name", "-windows"),
        ("image-name", "windows-"),
        ("image-name", "wïndows"),
        ("semantic-version", "1.2"),
        ("semantic-version", "1.2.3.4"),
        ("semantic-version", "01.2.3"),
        ("semantic-version", "1.2.1073741824"),
        ("semantic-version", "1.2.x"),
        ("semantic-version", "1.2.٣"),
        ("edition", ""),
        ("edition", "Windows 11 Enterprise"),
        ("edition", "E" * 65),
        ("image-index", "0"),
        ("image-index", "-1"),
        ("image-index", "3.0"),
        ("image-index", "0x3"),
        ("image-index", "4294967296"),
        ("image-index", "9" * 5000),
        ("description", ""),
        ("description", "   "),
        ("description", "two\nlines"),
        ("description", "d" * 1025),
        ("rebuild", ""),
        ("rebuild", "r" * 65),
        ("rebuild", "again please"),
    ],
)
def test_a_malformed_override_is_named_with_its_form(key: str, value: str) -> None:
    rejection = refused({key: value})
    assert f"override {key} is" in rejection.message
    assert RULES[key].requirement in rejection.message
    assert rejection.message.isprintable()


def test_a_forbidden_override_is_refused_with_the_allowed_ones() -> None:
    rejection = refused({"edition": "EnterpriseN"}, frozenset({"rebuild", "description"}))
    assert "does not allow (allowed: description, rebuild)" in rejection.message
    assert "AllowedOverrides" in rejection.remedy


def test_a_stack_without_overrides_refuses_any() -> None:
    assert "(allowed: none)" in refused({"rebuild": "1"}, frozenset()).message


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("image_name", "image-name"),
        ("imagename", "image-name"),
        ("isodrop-image-name", "image-name"),
        ("isodrop-edition", "edition"),
        ("isodrop_image_index", "image-index"),
        ("x-amz-meta-rebuild", "rebuild"),
        ("semantic.version", "semantic-version"),
        ("editon", "edition"),
        ("editions", "edition"),
        ("Descripton", "description"),
        ("image-indx", "image-index"),
        ("rebuilt", "rebuild"),
    ],
)
def test_a_similar_override_is_noted_and_not_applied(key: str, meant: str) -> None:
    overrides = read({key: "anything"})
    assert overrides == Overrides(notes=overrides.notes)
    assert len(overrides.notes) == 1
    assert f"entry {key} is not an override" in overrides.notes[0]
    assert f"spelled {meant}." in overrides.notes[0]


@pytest.mark.parametrize(
    "key", ["region", "version", "build", "name", "index", "image", "owner", "s3cmd-attrs", "mtime"]
)
def test_metadata_of_other_tools_does_not_resemble_overrides(key: str) -> None:
    assert read({key: "anything"}) == Overrides()


def test_metadata_keys_are_folded_to_lower_case_as_s3_does() -> None:
    assert read({"Image-Index": "3"}).image_index == 3


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("=?UTF-8?B?RsO8ciBkYXMgQsO8cm8=?=", "Für das Büro"),
        ("=?UTF-8?Q?F=C3=BCr_das_B=C3=BCro?=", "Für das Büro"),
        ("For =?UTF-8?Q?M=C3=BCnchen?=", "For München"),
        ("2 =? 3", "2 =? 3"),
        ("=?no-such-charset?Q?a?=", "=?no-such-charset?Q?a?="),
    ],
)
def test_encoded_words_are_decoded_as_s3_sends_them(value: str, meant: str) -> None:
    assert read({"description": value}).description == meant


def test_an_encoded_line_break_is_refused_after_decoding() -> None:
    assert "description" in refused({"description": "=?UTF-8?Q?one=0Atwo?="}).message
