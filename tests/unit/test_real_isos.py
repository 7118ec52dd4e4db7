"""The decision on each ISO of docs/supported-isos.md is the expected one."""

from pathlib import Path

import pytest

from isodrop.codes import CODES, AnswerKind
from tests.support.real_isos import ACCEPTED, CASES, NOTED, Case
from tools.contract.supported_isos_page import supported_isos_page

PAGE = Path(__file__).parents[2] / "docs" / "supported-isos.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_an_iso_is_decided_as_the_table_expects(case: Case) -> None:
    outcome, words = case.result()
    assert outcome == case.outcome, words
    assert case.words in words
    assert words.isprintable()
    assert case.decision() == case.decision()


def test_every_outcome_in_the_table_is_known() -> None:
    codes = {code.value for code, entry in CODES.items() if entry.kind is AnswerKind.REJECTED}
    assert {case.outcome for case in CASES} <= codes | {ACCEPTED, NOTED}
    assert len({(case.what, case.key) for case in CASES}) == len(CASES)


def test_the_generated_page_is_up_to_date() -> None:
    assert PAGE.read_text() == supported_isos_page()
