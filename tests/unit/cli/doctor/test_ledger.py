"""The checks of the ledger: that it can be written, and that no upload waits too long."""

from collections.abc import Mapping
from typing import Any

import pytest

from isodrop_cli.doctor.results import Level
from tests.support.doctor_responses import context, refusal, run_check


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal("ResourceNotFoundException"), "the ledger table the-ledger does not exist"),
        ({"Table": {"TableStatus": "DELETING"}}, "the ledger is DELETING"),
        ({"Table": {"TableStatus": "ACTIVE"}}, "index ByState is not active"),
    ],
)
def test_a_ledger_that_cannot_be_written_is_an_error(answer: Any, words: str) -> None:
    result = run_check("ledger", context(DescribeTable=answer))
    assert result.level is Level.ERROR
    assert words in result.message


def test_only_runs_older_than_the_longest_build_are_overdue() -> None:
    asked: list[Mapping[str, Any]] = []

    def query(parameters: Mapping[str, Any]) -> Any:
        asked.append(parameters)
        return {"Items": []}

    assert run_check("overdue-uploads", context(Query=query)).level is Level.OK
    # A build is tracked for 16 hours; two more are allowed.
    before = asked[0]["ExpressionAttributeValues"][":before"]["S"]
    assert before == "2026-11-23T18:00:00+00:00"
