"""What people's ISOs look like: each made, read and decided upon as the table expects it."""

from pathlib import Path

import pytest

from isodrop.codes import CODES, OutcomeKind
from tests.support.real_media import ACCEPTED, CASES, NOTED, Case
from tools.contract.media_page import media_page

PAGE = Path(__file__).parents[2] / "docs" / "media.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_an_iso_is_decided_as_the_table_expects(case: Case) -> None:
    outcome, words = case.result()
    assert outcome == case.outcome, words
    assert case.words in words
    assert words.isprintable()
    assert case.decision() == case.decision()


def test_every_outcome_in_the_table_is_known() -> None:
    codes = {code.value for code, entry in CODES.items() if entry.kind is OutcomeKind.REJECTED}
    assert {case.outcome for case in CASES} <= codes | {ACCEPTED, NOTED}
    assert len({(case.what, case.key) for case in CASES}) == len(CASES)


def test_the_generated_page_is_up_to_date() -> None:
    assert PAGE.read_text() == media_page()
