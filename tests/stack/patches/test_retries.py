"""How long the emulator waits before a retry; called in this process, so nothing waits."""

from typing import Any

import pytest
from ministack.services import stepfunctions

from isodrop_local.patches.step_functions import find_matching_retrier

RETRIER = {
    "ErrorEquals": ["Busy"],
    "IntervalSeconds": 60,
    "BackoffRate": 2,
    "MaxDelaySeconds": 900,
    "MaxAttempts": 6,
}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(stepfunctions, "_scaled_sleep", found.append)
    return found


def retry(error: str, retries: int) -> list[Any]:
    return [find_matching_retrier([RETRIER], error, {0: number}) for number in range(retries)]


def test_a_retry_waits_as_long_as_the_retrier_says(waits: list[float]) -> None:
    retry("Busy", 6)
    assert waits == [60, 120, 240, 480, 900, 900]


def test_the_emulator_adds_no_wait_of_its_own(waits: list[float]) -> None:
    ((retrier, index),) = retry("Busy", 1)
    assert retrier["IntervalSeconds"] * retrier["BackoffRate"] == 0
    assert index == 0
    assert len(waits) == 1


def test_an_error_that_is_not_retried_waits_for_nothing(waits: list[float]) -> None:
    assert retry("Broken", 1) == [(None, -1)]
    assert find_matching_retrier([RETRIER], "Busy", {0: 6}) == (None, -1)
    assert waits == []
