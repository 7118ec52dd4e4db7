"""The adapter of Step Functions: its requests and its handling of errors."""

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from isodrop.aws.step_functions import Execution, StepFunctions
from isodrop.errors import PermanentError, QuotaError

MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:ImportStateMachine"
ARN = "arn:aws:states:eu-central-1:123456789012:execution:ImportStateMachine:name"
WHEN = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def executions() -> StepFunctions:
    client = boto3.client(
        "stepfunctions",
        region_name="eu-central-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 - no secret
    )
    return StepFunctions(client, MACHINE)


def described(**more: Any) -> dict[str, Any]:
    return {"executionArn": ARN, "stateMachineArn": MACHINE, "startDate": WHEN, **more}


def test_the_arn_of_an_execution_follows_from_its_name(executions: StepFunctions) -> None:
    assert executions.arn_for("name") == ARN


def test_an_execution_is_started_with_an_event_under_a_name(executions: StepFunctions) -> None:
    asked = {"stateMachineArn": MACHINE, "name": "name", "input": json.dumps({"key": "ü"})}
    with Stubber(executions.client) as stub:
        stub.add_response("start_execution", {"executionArn": ARN, "startDate": WHEN}, asked)

        assert executions.start_execution("name", {"key": "ü"}) == ARN


def test_a_name_that_was_used_is_no_error(executions: StepFunctions) -> None:
    with Stubber(executions.client) as stub:
        stub.add_client_error("start_execution", "ExecutionAlreadyExists")

        assert executions.start_execution("name", {}) is None


@pytest.mark.parametrize(
    ("code", "error"), [("ExecutionLimitExceeded", QuotaError), ("InvalidName", PermanentError)]
)
def test_a_failed_start_raises_an_error(
    executions: StepFunctions, code: str, error: type[Exception]
) -> None:
    with Stubber(executions.client) as stub:
        stub.add_client_error("start_execution", code, http_status_code=400)

        with pytest.raises(error, match=code):
            executions.start_execution("name", {})


@pytest.mark.parametrize(
    ("status", "over"),
    [
        ("RUNNING", False),
        ("PENDING_REDRIVE", False),
        ("SUCCEEDED", True),
        ("FAILED", True),
        ("TIMED_OUT", True),
        ("ABORTED", True),
    ],
)
def test_an_execution_has_ended_or_is_running(
    executions: StepFunctions, status: str, over: bool
) -> None:
    with Stubber(executions.client) as stub:
        stub.add_response("describe_execution", described(status=status), {"executionArn": ARN})

        found = executions.describe_execution(ARN)

    assert found == Execution(ARN, status, "")
    assert found.has_ended is over


def test_the_reason_of_a_failed_execution_is_one_line(executions: StepFunctions) -> None:
    with Stubber(executions.client) as stub:
        response = described(status="FAILED", error="States.Runtime", cause="one\ntwo\x1b[31m")
        stub.add_response("describe_execution", response)

        found = executions.describe_execution(ARN)

    assert found is not None
    assert found.error == "States.Runtime: one two\\x1b[31m"


def test_an_unknown_execution_is_not_found(executions: StepFunctions) -> None:
    with Stubber(executions.client) as stub:
        stub.add_client_error("describe_execution", "ExecutionDoesNotExist")

        assert executions.describe_execution(ARN) is None
