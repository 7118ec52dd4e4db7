"""The clock that follows the Date headers of AWS's responses."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from isodrop_cli.clock import ServiceClock


@pytest.mark.parametrize("ahead", [timedelta(minutes=3), timedelta(minutes=-3), timedelta(days=1)])
def test_a_wrong_local_clock_is_corrected(ahead: timedelta) -> None:
    clock, local = ServiceClock(), datetime.now(UTC)

    clock.synchronize({"date": format_datetime(local + ahead, usegmt=True)})

    assert abs(clock.now() - local - ahead) < timedelta(seconds=5)


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 24 Nov 2026 09:00:00 -0000"])
def test_an_answer_without_a_date_changes_nothing(date: str) -> None:
    clock = ServiceClock()

    clock.synchronize({"date": date} if date else {})

    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_difference_of_seconds_is_ignored() -> None:
    clock, local = ServiceClock(), datetime.now(UTC)

    clock.synchronize({"date": format_datetime(local - timedelta(seconds=3), usegmt=True)})

    assert clock.now() >= local
