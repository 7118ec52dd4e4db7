"""The limits on builds under many uploads and under faults.

Like :mod:`tests.integration.test_resilience`: the real handlers under the real state machine's
definition, without real time. The oracle counts the builds independently.
"""

from types import MappingProxyType
from typing import Any

import pytest

from tests.resilience.oracle import FinalState, Json, find_violations
from tests.resilience.schedule import (
    MAX_CONSECUTIVE_FAILURES,
    ActionKind,
    FaultKind,
    OperatorAction,
    PlannedFault,
    Schedule,
    Upload,
)
from tests.resilience.simulation import Simulation

BEGAN = 1_795_000_000.0
SUCCEEDED = "Succeeded"
SPEED = 10
"""How many times faster than the real service builds are, so that waiting runs retry less often."""


def run(*uploads: Upload, **how: Any) -> FinalState:
    """Run a given schedule, and check that it violates no guarantee."""
    schedule = Schedule(0, uploads, **how)
    end = Simulation(schedule).run()
    assert (
        find_violations(
            end,
            max_consecutive_failures=MAX_CONSECUTIVE_FAILURES,
            retries_suffice=schedule.retries_suffice,
        )
        == []
    )
    return end


def flood(count: int, *, every: float = 1.0) -> list[Upload]:
    """Uploads of one small ISO, each of them a separate import."""
    rebuilds = [MappingProxyType({"rebuild": str(number)}) for number in range(count)]
    return [
        Upload(number * every, f"{number}.iso", "one", metadata=metadata)
        for number, metadata in enumerate(rebuilds)
    ]


def answers(end: FinalState) -> dict[str, str]:
    """The answer of each upload by its key: ``Succeeded`` or the code."""
    return {
        event["detail"]["data"]["source"]["key"]: event["detail"]["data"].get("code") or SUCCEEDED
        for event in end.published
        if event["detail-type"].rpartition(" ")[2] in {SUCCEEDED, "Failed", "Rejected"}
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("many", [12, pytest.param(60, marks=pytest.mark.soak)])
def test_isos_ahead_in_the_queue_only_delay_an_import(many: int) -> None:
    schedule = Schedule(0, (*flood(many), Upload(60, "admin.iso", "two")), at_once=3)

    end = Simulation(schedule, speed=SPEED).run()

    assert find_violations(end, max_consecutive_failures=MAX_CONSECUTIVE_FAILURES) == []
    assert set(answers(end).values()) == {SUCCEEDED}
    assert len(end.ours) == many + 1
    (admins,) = [build for build in end.ours if owner(end, build) == "admin.iso"]
    # A waiting run retries within a quarter of an hour, so no place is free for longer.
    rounds = many / 3
    assert begin(admins) - BEGAN < rounds * (max(map(duration, end.ours)) + 900)


def owner(end: FinalState, build: Json) -> str:
    run = end.find_upload(build)
    assert run is not None
    return run.key


def begin(build: Json) -> float:
    return float(build["history"][0]["at"])


def duration(build: Json) -> float:
    return float(build["history"][-1]["at"]) - begin(build)


def test_a_flood_in_one_day_reaches_the_limit_and_answers_every_upload() -> None:
    end = run(*flood(30), at_once=10, per_day=4)

    found = list(answers(end).values())
    assert (found.count(SUCCEEDED), found.count("daily-limit-reached")) == (4, 26)
    assert len(end.builds) == 4


@pytest.mark.parametrize(
    "kind", [FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER, FaultKind.RESPONSE_LOST]
)
@pytest.mark.parametrize("skip", [0, 1])
def test_a_function_that_dies_while_counting_is_counted_once(kind: FaultKind, skip: int) -> None:
    end = run(
        *flood(4),
        faults=(PlannedFault("dynamodb.TransactWriteItems", kind, skip, 2),),
        at_once=1,
        per_day=3,
    )

    assert sorted(answers(end).values()) == [SUCCEEDED] * 3 + ["daily-limit-reached"]
    assert end.build_counts is not None
    assert (list(end.build_counts.today.values()), end.build_counts.under_way) == ([3], frozenset())


def test_a_refused_import_makes_room_for_the_next() -> None:
    end = run(
        *flood(2, every=600),
        faults=(PlannedFault("imagebuilder.ImportDiskImage", FaultKind.REFUSED, 0),),
        at_once=1,
        per_day=1,
    )

    assert sorted(answers(end).values()) == [SUCCEEDED, "import-refused"]


def test_a_build_without_a_run_stops_counting() -> None:
    end = run(
        *flood(2, every=60),
        actions=(OperatorAction(300, ActionKind.ABORT_EXECUTION, 0),),
        at_once=1,
    )

    assert len(end.builds) == 2
    assert end.build_counts is not None
    assert end.build_counts.under_way == frozenset()
