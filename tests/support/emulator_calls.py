"""Functions and state machines made on the emulator by its tests."""

import io
import json
import uuid
import zipfile
from typing import Any

import boto3

from isodrop_local.stack import EmulatedStack, credentials

ROLE = "arn:aws:iam::123456789012:role/any"
INVOKE = "arn:aws:states:::lambda:invoke"


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


class Bare:
    """An emulator that is already running."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def client(self, service: str) -> Any:
        session = boto3.session.Session(**credentials())
        return session.client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]  # any


def make_function(emulator: EmulatedStack | Bare, body: str, **settings: Any) -> str:
    """Deploy a function whose handler has this body; return its ARN."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    made = emulator.client("lambda").create_function(
        FunctionName=f"f-{uuid.uuid4().hex[:8]}",
        Runtime="python3.13",
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": zipped({"app.py": f"def handler(event, context):\n{lines}\n"})},
        **settings,
    )
    return str(made["FunctionArn"])


def make_machine(emulator: EmulatedStack | Bare, states: dict[str, Any], start: str) -> str:
    definition = {"QueryLanguage": "JSONata", "StartAt": start, "States": states}
    made = emulator.client("stepfunctions").create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}", definition=json.dumps(definition), roleArn=ROLE
    )
    return str(made["stateMachineArn"])


def run(emulator: EmulatedStack, states: dict[str, Any], start: str, given: object = None) -> Any:
    """Run a state machine to its end; return its output, or its error's name."""
    states_client = emulator.client("stepfunctions")
    execution = states_client.start_execution(
        stateMachineArn=make_machine(emulator, states, start), input=json.dumps(given)
    )["executionArn"]
    ended = emulator.wait_for(lambda: over(emulator, execution))
    return json.loads(ended["output"]) if ended["status"] == "SUCCEEDED" else ended["error"]


def over(emulator: EmulatedStack, execution: str) -> Any:
    found = emulator.client("stepfunctions").describe_execution(executionArn=execution)
    return found if found["status"] != "RUNNING" else None


def task(function: str, **fields: Any) -> dict[str, Any]:
    """A state that invokes a function and returns its result."""
    return {
        "Type": "Task",
        "Resource": INVOKE,
        "Arguments": {"FunctionName": function, "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "End": True,
        **fields,
    }
