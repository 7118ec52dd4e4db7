"""The sweep on the deployed template: its permissions, schedule, answers and starts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from isodrop.codes import Code
from isodrop_local.iso_maker import server_editions
from isodrop_local.stack import EmulatedStack
from tests.stack.conftest import MakeIso


def data(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["detail"]["data"]
    return found


def rules(stack: EmulatedStack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.client("events").list_rules()["Rules"]
    return [rule for rule in found if not rule["Name"].startswith("subscriber-")]


def execution_of(stack: EmulatedStack, key: str) -> str | None:
    states = stack.client("stepfunctions")
    for each in stack.executions()[::-1]:
        response = states.describe_execution(executionArn=each["executionArn"])
        if json.loads(response["input"])["detail"]["object"]["key"] == key:
            return str(each["executionArn"])
    return None


def sweep_until_answered(stack: EmulatedStack, key: str) -> dict[str, Any]:
    """Sweep until a key has its answer, as the schedule does."""
    stack.wait_for(lambda: stack.sweep() and stack.answers(key))
    return stack.wait_for_answer(key)


@pytest.fixture
def disabled(stack: EmulatedStack) -> Iterator[EmulatedStack]:
    """The stack while its rule is disabled."""
    (name,) = stack.client("events").list_rule_names_by_target(
        TargetArn=stack.outputs["ImportStateMachineArn"]
    )["RuleNames"]
    stack.client("events").disable_rule(Name=name)
    yield stack
    stack.client("events").enable_rule(Name=name)


def test_the_sweep_has_a_schedule(stack: EmulatedStack) -> None:
    (rule,) = (rule for rule in rules(stack) if rule.get("ScheduleExpression"))

    (target,) = stack.client("events").list_targets_by_rule(Rule=rule["Name"])["Targets"]

    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(15 minutes)", "ENABLED")
    assert target["Arn"].endswith(f":{stack.outputs['SweepFunctionName']}")


def test_an_iso_uploaded_while_the_rule_was_off_is_swept(
    disabled: EmulatedStack, iso: MakeIso
) -> None:
    disabled.sweep()
    key = disabled.upload(iso(), "Drücke/while off + 100%41.ISO")

    summary = disabled.sweep()

    answer = disabled.wait_for_answer(key)
    assert summary["started"] == 1
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert data(answer)["source"]["key"] == key


def test_s3s_event_that_comes_after_the_sweep_is_a_repeat(
    disabled: EmulatedStack, iso: MakeIso
) -> None:
    published = disabled.subscribe(
        "late", {"source": ["aws.s3"], "detail-type": ["Object Created"]}
    )
    key = disabled.upload(iso(server_editions()))
    disabled.sweep()
    disabled.wait_for_answer(key)
    (late,) = (e for e in published.events() if e["detail"]["object"]["key"] == key)

    disabled.client("stepfunctions").start_execution(
        stateMachineArn=disabled.outputs["ImportStateMachineArn"], input=json.dumps(late)
    )
    disabled.settle()

    assert late["detail"]["object"]["sequencer"]
    assert len(disabled.answers(key)) == 1


def test_an_execution_aborted_by_hand_is_answered_with_how_its_build_ended(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    stack.image_builder.hold("BUILDING")
    key = stack.upload(iso())
    stack.wait_for(
        lambda: [e for e in stack.events() if "buildArn" in data(e) and key in str(data(e))]
    )
    stack.client("stepfunctions").stop_execution(executionArn=execution_of(stack, key))

    stack.sweep()
    early = stack.answers(key)
    stack.image_builder.release()

    assert early == []
    assert sweep_until_answered(stack, key)["detail-type"] == "ISO Import Succeeded"
    stack.sweep()
    assert len(stack.answers(key)) == 1


def test_an_execution_aborted_before_its_build_is_answered_with_that(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    stack.image_builder.fail_next("ImportDiskImage", code="TooManyRequestsException", times=999)
    key = stack.upload(iso())
    stack.wait_for(lambda: stack.image_builder.calls("ImportDiskImage"))
    stack.client("stepfunctions").stop_execution(
        executionArn=execution_of(stack, key), error="Stopped", cause="by hand"
    )

    answer = data(sweep_until_answered(stack, key))
    assert answer["code"] == Code.EXECUTION_ENDED
    assert "ABORTED: Stopped: by hand" in answer["message"]
