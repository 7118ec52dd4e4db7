"""The guarantees under faults of calls and killed processes, on the deployed template.

The cases that need no deployment are in ``tests/integration/test_resilience.py``.
"""

from typing import Any

import pytest

from isodrop.codes import Code
from isodrop_local.stack import EmulatedStack
from tests.resilience.emulator_run import EmulatorRun, inject
from tests.resilience.oracle import find_violations
from tests.resilience.schedule import MAX_CONSECUTIVE_FAILURES, FaultKind, PlannedFault, Schedule
from tests.stack.conftest import MakeIso

CALLS = (
    "s3.GetObject",
    "s3.CreateMultipartUpload",
    "dynamodb.TransactWriteItems",
    "dynamodb.PutItem",
    "dynamodb.UpdateItem",
    "dynamodb.GetItem",
    "dynamodb.Query",
    "imagebuilder.GetImage",
    "imagebuilder.ListWorkflowExecutions",
    "events.PutEvents",
)
WITHOUT_EFFECT = (
    FaultKind.THROTTLED,
    FaultKind.BROKEN,
    FaultKind.BUSY,
    FaultKind.LOST,
    FaultKind.KILLED_BEFORE,
)
WITH_EFFECT = (FaultKind.RESPONSE_LOST, FaultKind.RESPONSE_BROKEN, FaultKind.KILLED_AFTER)
# Only a few, because each takes several seconds; `make soak-faults STACK=1` runs more.
SEEDS = (1007, 1011)


def data(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["detail"]["data"]
    return found


def builds_of(stack: EmulatedStack, key: str) -> list[dict[str, Any]]:
    return [
        build
        for build in stack.image_builder.builds()
        if build["request"]["tags"]["isodrop:source"].endswith(f"/{key}")
    ]


def the_only_answer(stack: EmulatedStack, key: str) -> dict[str, Any]:
    """Wait for a key's answer, and check that there is no other."""
    stack.wait_for_answer(key, timeout=60)
    stack.settle(60)
    answers = {str(answer["detail"]): answer for answer in stack.answers(key)}
    (answer,) = answers.values()
    return answer


@pytest.mark.parametrize("call", CALLS)
def test_a_call_failing_in_every_way_gives_one_build_and_one_answer(
    stack: EmulatedStack, iso: MakeIso, call: str
) -> None:
    for kind in (*WITHOUT_EFFECT, *WITH_EFFECT):
        inject(stack, PlannedFault(call, kind, 0))

    key = stack.upload(iso())

    assert the_only_answer(stack, key)["detail-type"] == "ISO Import Succeeded"
    assert len(builds_of(stack, key)) == 1
    assert stack.faults_left() == 0


@pytest.mark.parametrize("kind", WITH_EFFECT)
def test_an_import_failing_in_every_way_gives_one_build_and_one_answer(
    stack: EmulatedStack, iso: MakeIso, kind: FaultKind
) -> None:
    for each in (*WITHOUT_EFFECT, kind):
        inject(stack, PlannedFault("imagebuilder.ImportDiskImage", each, 0))

    key = stack.upload(iso())

    assert the_only_answer(stack, key)["detail-type"] == "ISO Import Succeeded"
    assert len(builds_of(stack, key)) == 1
    assert stack.faults_left() == 0


def test_an_invocation_whose_result_is_lost_runs_beside_the_next(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    inject(stack, PlannedFault("lambda.Invoke", FaultKind.RESPONSE_LOST, 0, 2))
    inject(stack, PlannedFault("lambda.Invoke", FaultKind.KILLED_BEFORE, 0, 1))

    key = stack.upload(iso())

    assert the_only_answer(stack, key)["detail-type"] == "ISO Import Succeeded"
    assert len(builds_of(stack, key)) == 1


def test_fifty_copies_of_one_event_give_one_build_and_one_answer(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    before = len(stack.executions())
    stack.deliver_next(*([0.0] * 50))

    key = stack.upload(iso())

    assert the_only_answer(stack, key)["detail-type"] == "ISO Import Succeeded"
    assert len(builds_of(stack, key)) == 1
    assert len(stack.executions()) == before + 50


def test_events_out_of_order_for_one_key_are_each_answered(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    stack.deliver_next(1.0)
    stack.deliver_next(0.0, 1.5)
    key = stack.upload(iso(), "out-of-order.iso")
    stack.upload(iso(), key)

    stack.wait_for_answer(key, nth=2)
    stack.settle()

    kinds = sorted(data(answer).get("code") or "succeeded" for answer in stack.answers(key))
    assert kinds == ["succeeded", "succeeded"]


def test_an_answer_that_the_bus_refuses_is_published_again(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    inject(stack, PlannedFault("events.PutEvents", FaultKind.NOTHING_ACCEPTED, 0, 8))

    key = stack.upload(iso())

    assert the_only_answer(stack, key)["detail-type"] == "ISO Import Succeeded"
    assert stack.faults_left() == 0


def test_a_function_that_cannot_be_loaded_ends_in_an_answer(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    inject(stack, PlannedFault("lambda.Invoke", FaultKind.UNLOADABLE, 0, 5))

    answer = the_only_answer(stack, stack.upload(iso()))

    assert data(answer)["code"] == Code.INTERNAL_ERROR
    assert "ImportModuleError" in data(answer)["message"]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_guarantee_is_violated_while_processes_are_killed(
    deployed: EmulatedStack, seed: int
) -> None:
    schedule = Schedule.of(seed)
    assert schedule.kills

    end = EmulatorRun(schedule, deployed).run()

    assert (
        find_violations(
            end,
            max_consecutive_failures=MAX_CONSECUTIVE_FAILURES,
            retries_suffice=schedule.retries_suffice,
        )
        == []
    )
