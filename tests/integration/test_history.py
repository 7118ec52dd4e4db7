"""No execution exceeds the limit of Step Functions' history, whatever fails.

https://docs.aws.amazon.com/step-functions/latest/dg/limits-overview.html
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from isodrop_local.template import definition, read_template
from tests.resilience.state_machine import Machine, TaskError

MOST: Final = 25_000
"""Events in the history of one execution."""

OF_A_STATE: Final = 2
"""It is entered and exited."""
OF_A_TRY: Final = 3
"""A task is scheduled, is started, and succeeds or fails."""
AROUND: Final = 4
"""The execution starts and ends, and so does what is in the Parallel."""


@dataclass(frozen=True, slots=True)
class Recorded(Machine):
    """A state machine that counts the events of its history."""

    events: Counter[str] = field(default_factory=Counter)

    def _task(self, *how: Any) -> tuple[str | None, Any]:
        self.events["states"] += OF_A_STATE
        return Machine._task(self, *how)

    def _choice(self, *how: Any) -> tuple[str | None, Any]:
        self.events["states"] += OF_A_STATE
        return Machine._choice(self, *how)

    def _wait(self, *how: Any) -> tuple[str | None, Any]:
        self.events["states"] += OF_A_STATE
        return Machine._wait(self, *how)

    def _succeed(self, *how: Any) -> tuple[str | None, Any]:
        self.events["states"] += OF_A_STATE
        return Machine._succeed(self, *how)

    def _parallel(self, *how: Any) -> tuple[str | None, Any]:
        self.events["states"] += OF_A_STATE
        return Machine._parallel(self, *how)


def limits() -> dict[str, int]:
    """The parameters with the most polls of a build."""
    declared = read_template()["Parameters"]
    return {
        "PollIntervalSeconds": declared["PollIntervalSeconds"]["MinValue"],
        "TrackingTimeoutHours": declared["TrackingTimeoutHours"]["MaxValue"],
    }


def recorded(perform: Callable[[str, Any], Any], **parameters: object) -> tuple[int, Counter[str]]:
    """Run the state machine; return the number of events, and of tries by call."""
    tries: Counter[str] = Counter()

    def perform_counted(resource: str, arguments: Any) -> Any:
        kind = arguments.get("Payload", {}).get("report", {}).get("kind")
        what = kind or arguments.get("FunctionName") or resource.rpartition(":")[2]
        tries[what] += 1
        return perform(what, tries[what])

    machine = Recorded(definition(**{**limits(), **parameters}), perform_counted, lambda _: None)
    machine.run({}, "execution")
    return machine.events["states"] + OF_A_TRY * tries.total() + AROUND, tries


def test_the_longest_execution_stays_within_the_history_limit() -> None:
    # Everything that is retried fails until the last try but one, each poll finds another finished
    # step, no notification can be published, and a distribution is tracked after the import.
    importing = ["QuotaError"] * 100 + ["TransientError"] * 60 + ["Sandbox.Timedout"] * 4

    def perform(what: str, number: int) -> Any:
        match what:
            case "getImage":
                return {"Image": {"State": {"Status": f"STATUS-{number}"}}}
            case "listWorkflowExecutions":
                return {"WorkflowExecutions": [{"TotalStepsSucceeded": number}]}
            case "distribute" if number == 41:
                return {"Payload": {"buildArn": "arn:distribution"}}
            case "started" | "progressed" | "distribute":
                raise TaskError("TransientError")
            case "answer" if number != 102:
                raise TaskError("TransientError")
            case "answer":
                return {"Payload": {}}
        if number <= len(importing):
            raise TaskError(importing[number - 1])
        return {"Payload": {"nextStep": "track", "buildArn": "arn:build"}}

    events, tries = recorded(perform)

    assert tries["getImage"] > 1200
    assert tries["distribute"] == 41
    assert tries["answer"] == 102  # 41 and, when all else has failed, 61
    assert MOST * 0.6 < events < MOST


def test_polls_that_always_fail_end_well_before_the_limit() -> None:
    def perform(what: str, _number: int) -> Any:
        if what == "getImage":
            raise TaskError("Imagebuilder.ServiceException")
        return {"Payload": {"nextStep": "track", "buildArn": "arn:build"}}

    events, tries = recorded(perform)

    assert tries["getImage"] == 180  # three hours
    assert events < MOST / 5


def test_a_build_that_is_not_found_is_waited_for_ten_minutes() -> None:
    def perform(what: str, _number: int) -> Any:
        if what == "getImage":
            raise TaskError("Imagebuilder.ResourceNotFoundException")
        return {"Payload": {"nextStep": "track", "buildArn": "arn:build"}}

    _, tries = recorded(perform)

    assert tries["getImage"] == 11


def test_an_occasional_failed_poll_does_not_end_the_tracking() -> None:
    def perform(what: str, number: int) -> Any:
        if what == "getImage":
            if number % 2:
                raise TaskError("Imagebuilder.ResourceNotFoundException")
            if number % 3:
                raise TaskError("Imagebuilder.CallRateLimitExceededException")
            return {"Image": {"State": {"Status": "BUILDING" if number < 600 else "AVAILABLE"}}}
        if what == "listWorkflowExecutions":
            raise TaskError("Imagebuilder.ServiceException")
        if what == "distribute":
            return {"Payload": {"buildArn": None}}
        return {"Payload": {"nextStep": "track", "buildArn": "arn:build"}}

    _, tries = recorded(perform)

    assert tries["getImage"] == 600
    assert tries["answer"] == 1


@pytest.mark.parametrize("distributes", ["true", "false"])
def test_a_function_is_invoked_for_a_distribution_where_there_may_be_one(distributes: str) -> None:
    def perform(what: str, _number: int) -> Any:
        if what == "getImage":
            return {"Image": {"State": {"Status": "AVAILABLE"}}}
        return {"Payload": {"nextStep": "track", "buildArn": "arn:build"}}

    _, tries = recorded(perform, DistributesImages=distributes)

    assert tries["distribute"] == (distributes == "true")
    assert tries["answer"] == 1
