"""The checks of the delivery of events to the state machine, and of answers to the bus."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from isodrop_cli.doctor.results import Level
from tests.support.doctor_responses import ARN, ROLE, TARGET, context, refusal, run_check, trust


def test_the_remedy_for_a_rule_without_a_queue_sets_the_stacks_queue() -> None:
    bare = {name: value for name, value in TARGET.items() if name != "DeadLetterConfig"}
    result = run_check("upload-rule", context(ListTargetsByRule={"Targets": [bare]}))
    assert result.level is Level.WARNING
    assert ARN.format("sqs", "undelivered") in str(result.remedy)


def test_a_definition_that_step_functions_refuses_is_reported() -> None:
    validation = {"result": "FAIL", "diagnostics": [{"message": "no such integration"}]}
    result = run_check(
        "state-machine-definition", context(ValidateStateMachineDefinition=validation)
    )
    assert result.level is Level.ERROR
    assert "no such integration" in result.message


def history_of_steps(*runs: Mapping[str, Any]) -> dict[str, Any]:
    details = {
        "resourceType": "aws-sdk:imagebuilder",
        "resource": "listWorkflowExecutions",
        "output": json.dumps({"WorkflowExecutions": runs}),
    }
    return {"events": [{"type": "TaskSucceeded", "taskSucceededEventDetails": details}]}


@pytest.mark.parametrize(
    ("history", "level"),
    [
        (history_of_steps({"TotalStepsSucceeded": 3}), Level.OK),
        (history_of_steps({"Status": "RUNNING"}), Level.WARNING),
        (history_of_steps(), Level.OK),
        ({"events": [{"type": "ExecutionStarted"}]}, Level.OK),
    ],
)
def test_the_history_of_an_execution_is_checked_for_step_counts(history: Any, level: Level) -> None:
    ended = {"executions": [{"executionArn": "e"}]}
    assert run_check(
        "step-counts", context(ListExecutions=ended, GetExecutionHistory=history)
    ).level is (level)


def bus_denial(**condition: Any) -> dict[str, Any]:
    """A bus whose policy denies publishing to everybody, under a condition."""
    statement = {
        "Sid": "Shut",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "events:PutEvents",
        "Condition": condition,
    }
    return {"Name": "default", "Policy": json.dumps({"Statement": [statement]})}


def test_an_event_bus_that_denies_publishing_names_the_denied_role() -> None:
    found = run_check("event-bus", context(DescribeEventBus=bus_denial()))
    assert found.level is Level.ERROR
    assert "does not let ReportBuildRole and SweepRole publish" in found.message
    assert "describe-event-bus" in (found.remedy or "")


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (refusal("ResourceNotFoundException"), Level.ERROR),
        ({"Policy": json.dumps(trust("any"))}, Level.OK),
        (
            {
                "Policy": json.dumps(
                    {"Statement": {"Sid": "Ours", "Effect": "Deny", "Action": "events:Put*"}}
                )
            },
            Level.WARNING,
        ),
        (bus_denial(), Level.ERROR),
        (
            bus_denial(ArnNotEquals={"aws:PrincipalArn": ARN.format("iam", "role/other")}),
            Level.ERROR,
        ),
        (bus_denial(ArnNotEquals={"aws:PrincipalArn": [ROLE]}), Level.OK),
        (bus_denial(ArnNotLike={"AWS:principalarn": "*"}), Level.OK),
        (bus_denial(StringNotEquals={"aws:SourceVpc": "vpc-1"}), Level.WARNING),
    ],
)
def test_a_missing_event_bus_or_a_denial_is_reported(answer: Any, level: Level) -> None:
    assert run_check("event-bus", context(DescribeEventBus=answer)).level is level
