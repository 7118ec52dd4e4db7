"""The table of rejections and failures."""

import re

import pytest

from isodrop.codes import CODES, AnswerKind, Code, CodeInfo, Rejection
from isodrop.errors import RejectedError


def test_every_code_has_an_entry_and_every_entry_a_code() -> None:
    assert CODES.keys() == set(Code)


@pytest.mark.parametrize("code", Code)
def test_a_code_is_kebab_case(code: Code) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)


@pytest.mark.parametrize(("code", "entry"), CODES.items())
def test_an_entry_has_whole_sentences(code: Code, entry: CodeInfo) -> None:
    assert code
    for sentence in (entry.meaning, entry.remedy, entry.why):
        assert sentence.endswith(".")
        assert sentence[0].isupper() or sentence.startswith("isodrop")
        assert sentence.isprintable()
        assert "  " not in sentence
        assert not sentence.endswith("..")


@pytest.mark.parametrize("code", Code)
def test_the_remedy_for_a_good_iso_is_a_retry(
    code: Code,
) -> None:
    entry = CODES[code]
    mended_elsewhere = {
        Code.TOO_MANY_ATTEMPTS,
        Code.UNSUPPORTED_RELEASE,
        Code.ESD_ISO,
        Code.INVALID_OVERRIDE,
        Code.TOO_SMALL,
        Code.TOO_LARGE,
        Code.DAILY_LIMIT_REACHED,
        Code.UNKNOWN_ISO,
        Code.ARCHIVED_OBJECT,
        Code.UNREADABLE_OBJECT,
    }
    mended_elsewhere |= {each for each in Code if CODES[each].kind is AnswerKind.FAILED}
    needs_none = code in mended_elsewhere - {Code.STAGING_LOST}
    assert ("isodrop retry" in entry.remedy) is needs_none


def test_failures_come_after_rejections() -> None:
    kinds = [CODES[code].kind for code in Code]
    assert kinds == sorted(kinds, key=[AnswerKind.REJECTED, AnswerKind.FAILED].index)


def test_a_rejection_without_a_message_uses_the_tables() -> None:
    entry = CODES[Code.SERVER_ISO]
    assert Rejection.of(Code.SERVER_ISO) == Rejection(Code.SERVER_ISO, entry.meaning, entry.remedy)
    assert Rejection.of(Code.SERVER_ISO, "Found this.", "Do that.") == Rejection(
        Code.SERVER_ISO, "Found this.", "Do that."
    )


def test_a_raised_rejection_has_code_and_message() -> None:
    error = RejectedError(Code.TRUNCATED, "It ends at byte 7.")
    assert (error.code, str(error)) == (Code.TRUNCATED, "It ends at byte 7.")
    assert error.rejection.remedy == CODES[Code.TRUNCATED].remedy
