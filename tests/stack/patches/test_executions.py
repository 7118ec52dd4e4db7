"""How executions run on the emulator, where its own Step Functions differs from AWS's."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from isodrop_local.stack import EmulatedStack
from tests.support.emulator_calls import make_function, make_machine, over, task

BIG = 256 * 1024
GET_IMAGE = {
    "Type": "Task",
    "Resource": "arn:aws:states:::aws-sdk:imagebuilder:getImage",
    "Arguments": {
        "ImageBuildVersionArn": "arn:aws:imagebuilder:us-east-1:123456789012:image/no/1.0.0/1"
    },
    "End": True,
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatedStack]:
    with EmulatedStack(wait_scale=0.01) as started:
        started.create_role("any", {"Effect": "Allow", "Action": "*", "Resource": "*"})
        yield started


def ended(emulator: EmulatedStack, states: dict[str, Any], given: object = None) -> Any:
    """Run a state machine from its first state to its end."""
    machine = make_machine(emulator, states, next(iter(states)))
    client = emulator.client("stepfunctions")
    started = client.start_execution(stateMachineArn=machine, input=json.dumps(given))
    return emulator.wait_for(lambda: over(emulator, started["executionArn"]))


def test_a_state_assigns_its_variables_at_once(emulator: EmulatedStack) -> None:
    states = {
        "Set": {"Type": "Pass", "Assign": {"a": 1, "b": 2}, "Next": "Swap"},
        "Swap": {"Type": "Pass", "Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Next": "Tell"},
        "Tell": {"Type": "Pass", "Output": "{% [$a, $b] %}", "End": True},
    }
    assert json.loads(ended(emulator, states)["output"]) == [2, 1]


@pytest.mark.parametrize("condition", ["'yes'", "1", "[true]"])
def test_a_condition_that_is_not_a_boolean_is_an_error(
    emulator: EmulatedStack, condition: str
) -> None:
    rule = {"Condition": f"{{% {condition} %}}", "Next": "End"}
    states = {
        "Ask": {"Type": "Choice", "Choices": [rule], "Default": "End"},
        "End": {"Type": "Succeed"},
    }
    found = ended(emulator, states)
    assert found["error"] == "States.QueryEvaluationError"
    assert "Expected 'boolean'" in found["cause"]


@pytest.mark.parametrize(("condition", "end"), [("true", "Yes"), ("1 = 2", "No")])
def test_a_condition_that_is_a_boolean_decides(
    emulator: EmulatedStack, condition: str, end: str
) -> None:
    rule = {"Condition": f"{{% {condition} %}}", "Next": "Yes"}
    states = {
        "Ask": {"Type": "Choice", "Choices": [rule], "Default": "No"},
        "Yes": {"Type": "Pass", "Output": "Yes", "End": True},
        "No": {"Type": "Pass", "Output": "No", "End": True},
    }
    assert json.loads(ended(emulator, states)["output"]) == end


@pytest.mark.parametrize("retried", [False, True])
def test_a_result_of_more_than_256_kib_ends_the_execution(
    emulator: EmulatedStack, retried: bool
) -> None:
    function = make_function(emulator, f"return 'x' * {BIG}")
    patience = {"Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}]} if retried else {}
    caught = [{"ErrorEquals": ["States.ALL"], "Next": "End"}]
    states = {"Do": task(function, Catch=caught, **patience), "End": {"Type": "Succeed"}}
    found = ended(emulator, states)
    assert (found["status"], found["error"]) == ("FAILED", "States.DataLimitExceeded")
    assert "maximum number of bytes service limit" in found["cause"]


def test_a_result_of_less_than_256_kib_continues(emulator: EmulatedStack) -> None:
    function = make_function(emulator, f"return 'x' * ({BIG} - 100)")
    assert ended(emulator, {"Do": task(function)})["status"] == "SUCCEEDED"


def test_an_output_of_more_than_256_kib_can_be_caught_by_its_name(emulator: EmulatedStack) -> None:
    function = make_function(emulator, "return 'x'")
    caught = [{"ErrorEquals": ["States.DataLimitExceeded"], "Output": "caught", "Next": "End"}]
    output = f"{{% $pad('x', {BIG}) %}}"
    states = {
        "Do": task(function, Catch=caught, Output=output),
        "End": {"Type": "Succeed"},
    }
    assert json.loads(ended(emulator, states)["output"]) == "caught"


def test_an_input_of_more_than_256_kib_starts_no_execution(emulator: EmulatedStack) -> None:
    machine = make_machine(emulator, {"End": {"Type": "Succeed"}}, "End")
    with pytest.raises(ClientError, match="less than or equal to 262144"):
        emulator.client("stepfunctions").start_execution(
            stateMachineArn=machine, input=json.dumps("x" * BIG)
        )


def test_the_cause_of_a_service_error_ends_like_that_of_aws(emulator: EmulatedStack) -> None:
    found = ended(emulator, {"Look": GET_IMAGE})
    assert found["error"] == "Imagebuilder.ResourceNotFoundException"
    message, _, rest = found["cause"].partition(" (")
    assert message.endswith("does not exist.")
    assert rest.startswith("Service: Imagebuilder, Status Code: 404, Request ID: ")


def test_a_code_missing_from_the_model_is_a_generic_service_error(emulator: EmulatedStack) -> None:
    how = {"operation": "GetImage", "code": "ThrottlingException", "status": 429}
    emulator.control("imagebuilder/fail_next", how)
    found = ended(emulator, {"Look": GET_IMAGE})
    assert found["error"] == "Imagebuilder.ImagebuilderException"
    assert "Status Code: 429" in found["cause"]


def test_the_cause_of_a_throttled_invocation_ends_like_that_of_aws(emulator: EmulatedStack) -> None:
    function = make_function(emulator, "return event")
    emulator.client("lambda").put_function_concurrency(
        FunctionName=function, ReservedConcurrentExecutions=0
    )
    found = ended(emulator, {"Do": task(function)})
    assert found["error"] == "Lambda.TooManyRequestsException"
    assert found["cause"].startswith("Rate Exceeded. (Service: Lambda, Status Code: 429, ")
