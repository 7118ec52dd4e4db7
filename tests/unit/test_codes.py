"""The one table of rejections and failures."""

import re

import pytest

from isodrop.codes import CODES, Code, CodeInfo, OutcomeKind, Rejection
from isodrop.errors import RejectedError


def test_given_all_codes_when_looked_up_then_each_has_an_entry_and_none_is_left_over() -> None:
    assert CODES.keys() == set(Code)


@pytest.mark.parametrize("code", Code)
def test_given_a_code_when_written_then_it_is_kebab_case(code: Code) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)


@pytest.mark.parametrize(("code", "entry"), CODES.items())
def test_given_an_entry_when_told_to_a_person_then_it_is_whole_sentences(
    code: Code, entry: CodeInfo
) -> None:
    assert code
    for sentence in (entry.meaning, entry.remedy, entry.why):
        assert sentence.endswith(".")
        assert sentence[0].isupper() or sentence.startswith("isodrop")
        assert sentence.isprintable()
        assert "  " not in sentence
        assert not sentence.endswith("..")


@pytest.mark.parametrize("code", Code)
def test_given_an_iso_that_is_good_as_it_is_when_told_then_there_is_a_way_without_an_upload(
    code: Code,
) -> None:
    entry = CODES[code]
    mended_elsewhere = {
        Code.TOO_MANY_ATTEMPTS,
        Code.UNSUPPORTED_RELEASE,
        Code.ESD_MEDIA,
        Code.INVALID_OVERRIDE,
        Code.TOO_SMALL,
        Code.TOO_LARGE,
        Code.BUDGET_USED_UP,
        Code.UNKNOWN_ISO,
        Code.ARCHIVED_OBJECT,
        Code.UNREADABLE_OBJECT,
    }
    mended_elsewhere |= {each for each in Code if CODES[each].kind is OutcomeKind.FAILED}
    needs_none = code in mended_elsewhere - {Code.STAGING_LOST}
    assert ("isodrop retry" in entry.remedy) is needs_none


def test_given_both_kinds_when_counted_then_failures_come_after_rejections() -> None:
    kinds = [CODES[code].kind for code in Code]
    assert kinds == sorted(kinds, key=[OutcomeKind.REJECTED, OutcomeKind.FAILED].index)


def test_given_no_words_of_its_own_when_made_then_a_rejection_speaks_with_the_tables() -> None:
    entry = CODES[Code.SERVER_MEDIA]
    assert Rejection.of(Code.SERVER_MEDIA) == Rejection(
        Code.SERVER_MEDIA, entry.meaning, entry.remedy
    )
    assert Rejection.of(Code.SERVER_MEDIA, "Found this.", "Do that.") == Rejection(
        Code.SERVER_MEDIA, "Found this.", "Do that."
    )


def test_given_a_rejection_that_is_raised_when_caught_then_it_carries_code_and_words() -> None:
    error = RejectedError(Code.TRUNCATED, "It ends at byte 7.")
    assert (error.code, str(error)) == (Code.TRUNCATED, "It ends at byte 7.")
    assert error.rejection.remedy == CODES[Code.TRUNCATED].remedy
