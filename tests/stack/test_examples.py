"""Each example, deployed unchanged beside the stack, handles the events that it is for.

Where the emulator lacks a service, the test's docstring says how it is tested instead.
"""

import json
import runpy
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError

from isodrop.events import UnverifiedEventError
from isodrop_local.deploy import deploy
from isodrop_local.image_builder.shapes import violations
from isodrop_local.iso_maker import server_editions
from isodrop_local.packaging import ROOT
from isodrop_local.stack import EmulatedStack, Event
from tests.stack.conftest import MakeIso, upload_failing_iso

Deploy = Callable[..., dict[str, str]]
NOBODY: Any = {"aws_access_key_id": "nobody", "aws_secret_access_key": "none"}


@pytest.fixture(scope="module")
def example(deployed: EmulatedStack) -> Deploy:
    """Deploy an example once; return its outputs."""
    deployed_ones: dict[str, dict[str, str]] = {}

    def deploy_it(name: str, **parameters: str) -> dict[str, str]:
        if name not in deployed_ones:
            deployed_ones[name] = deploy(
                deployed.client("cloudformation"),
                deployed.client("s3"),
                f"example-{name}",
                parameters,
                template=ROOT / "examples" / name / "template.yaml",
            )
        return deployed_ones[name]

    return deploy_it


def data(answer: Event) -> dict[str, Any]:
    found: dict[str, Any] = answer["detail"]["data"]
    return found


def messages(stack: EmulatedStack, queue: str) -> list[Any]:
    """Receive the messages of a queue."""
    taken = stack.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    return [json.loads(each["Body"]) for each in taken.get("Messages", [])]


def test_a_subscriber_written_from_the_page_uses_the_ami_of_every_answer(
    stack: EmulatedStack, iso: MakeIso, example: Deploy
) -> None:
    code = (ROOT / "examples/subscriber/app.py").read_text().splitlines()
    assert len([line for line in code if line.strip()]) < 15
    missed = example("subscriber", LayerArn=stack.outputs["LayerArn"])["FailedEventsQueueUrl"]
    of_version_2 = json.loads((ROOT / "events/out/iso-import-succeeded.json").read_text())
    of_version_2["detail"]["metadata"]["schemaVersion"] = "2.0"
    function = stack.client("cloudformation").describe_stack_resource(
        StackName="example-subscriber", LogicalResourceId="Subscriber"
    )["StackResourceDetail"]["PhysicalResourceId"]
    stack.client("lambda").invoke(
        FunctionName=function, InvocationType="Event", Payload=json.dumps(of_version_2)
    )

    answer = stack.wait_for_answer(stack.upload(iso()))

    ami, version = data(answer)["amis"][0]["id"], data(answer)["plan"]["semanticVersion"]
    wanted = {"Key": "Windows", "Value": version}
    ec2 = stack.client("ec2")

    def tags() -> list[dict[str, str]]:
        (image,) = ec2.describe_images(ImageIds=[ami])["Images"]
        found: list[dict[str, str]] = image.get("Tags", [])
        return found

    stack.wait_for(lambda: wanted in tags())
    (kept,) = stack.wait_for(lambda: messages(stack, missed))
    assert kept["requestPayload"] == of_version_2
    assert kept["responsePayload"]["errorType"] == "UnknownEventError"


def test_the_mail_has_a_sentence_for_every_answer(
    stack: EmulatedStack, iso: MakeIso, example: Deploy
) -> None:
    """The emulator sends no mail, so a queue subscribes to the topic as well."""
    topic = example("mail", Address="someone@example.com")["TopicArn"]
    sns, sqs = stack.client("sns"), stack.client("sqs")
    (mail,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    queue = sqs.create_queue(QueueName="reads-mail")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    sends = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}}
    sends |= {"Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [sends]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])
    read: list[str] = []

    def sentence(answer: Event) -> Any:
        read.extend(each["Message"] for each in messages(stack, queue))
        return next((each for each in read if data(answer)["source"]["key"] in each), None)

    good = stack.wait_for_answer(stack.upload(iso()))
    bad = stack.wait_for_answer(stack.upload(iso(server_editions())))
    lost = stack.wait_for_answer(upload_failing_iso(stack, iso(), message="Setup found no TPM."))

    assert (mail["Protocol"], mail["Endpoint"]) == ("email", "someone@example.com")
    ami = data(good)["amis"][0]
    assert stack.wait_for(lambda: sentence(good)) == (
        f'"{data(good)["source"]["key"]} is now the AMI {ami["id"]} in {ami["region"]}:'
        ' windows-11-enterprise-x64-en-us 11.26100.1742."'
    )
    assert stack.wait_for(lambda: sentence(bad)) == (
        f'"{data(bad)["source"]["key"]} cannot be imported (server-iso).'
        f' {data(bad)["message"]} {data(bad)["remedy"]}"'
    )
    assert stack.wait_for(lambda: sentence(lost)) == (
        f'"The import of {data(lost)["source"]["key"]} failed (build-failed).'
        f' {data(lost)["message"]} {data(lost)["remedy"]}"'
    )


@pytest.fixture
def posted() -> Iterator[tuple[str, list[tuple[str | None, Event]]]]:
    """A server on this machine: its address, and the received bodies with their keys."""
    came: list[tuple[str | None, Event]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append((self.headers["X-Api-Key"], json.loads(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", came
    server.shutdown()
    server.server_close()
    serving.join()


def test_the_webhook_receives_the_answer_unchanged(
    stack: EmulatedStack,
    iso: MakeIso,
    example: Deploy,
    posted: tuple[str, list[tuple[str | None, Event]]],
) -> None:
    """EventBridge posts to https only; the emulator uses http on the loopback address."""
    endpoint, came = posted
    example("webhook", Endpoint=endpoint, ApiKey="a-key-of-sixteen")

    answer = stack.wait_for_answer(stack.upload(iso(server_editions())))

    stack.wait_for(lambda: ("a-key-of-sixteen", answer) in came)


def test_the_failure_queue_holds_failures_only(
    stack: EmulatedStack, iso: MakeIso, example: Deploy
) -> None:
    queue = example("failures")["QueueUrl"]
    stack.wait_for_answer(stack.upload(iso()))
    stack.wait_for_answer(stack.upload(iso(server_editions())))

    failed = stack.wait_for_answer(upload_failing_iso(stack, iso()))

    assert stack.wait_for(lambda: messages(stack, queue)) == [failed]
    assert messages(stack, queue) == []


def executions(stack: EmulatedStack, machine: str, status: str) -> list[dict[str, Any]]:
    found = stack.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    return [each for each in found if each["status"] == status]


def verifying(stack: EmulatedStack) -> dict[str, str]:
    """The parameters of an example that compares answers with the ledger."""
    return {name: stack.outputs[name] for name in ("LayerArn", "LedgerTableName")}


def default_ami(stack: EmulatedStack, template: str) -> str:
    (default,) = stack.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=template, Versions=["$Default"]
    )["LaunchTemplateVersions"]
    return str(default["LaunchTemplateData"].get("ImageId"))


def forged(answer: Event) -> Event:
    """The answer with another AMI, as anyone who may put events on the bus can publish it."""
    event: Event = json.loads(json.dumps(answer))
    data(event)["amis"][0]["id"] = "ami-00000000badbadbad"
    return event


def test_the_pipeline_makes_the_new_ami_the_default_of_the_launch_template(
    stack: EmulatedStack, iso: MakeIso, example: Deploy
) -> None:
    outputs = example("launch-template", **verifying(stack))

    answer = stack.wait_for_answer(stack.upload(iso()))

    stack.wait_for(lambda: executions(stack, outputs["PipelineArn"], "SUCCEEDED"))
    assert default_ami(stack, outputs["LaunchTemplateId"]) == data(answer)["amis"][0]["id"]


def test_a_forged_answer_moves_no_launch_template(
    stack: EmulatedStack, iso: MakeIso, example: Deploy
) -> None:
    outputs = example("launch-template", **verifying(stack))
    answer = stack.wait_for_answer(stack.upload(iso()))
    ami = data(answer)["amis"][0]["id"]
    stack.wait_for(lambda: default_ami(stack, outputs["LaunchTemplateId"]) == ami)
    machine = outputs["PipelineArn"]
    stack.wait_for(lambda: not executions(stack, machine, "RUNNING"))
    failed = len(executions(stack, machine, "FAILED"))
    ended = failed + len(executions(stack, machine, "SUCCEEDED"))
    forgery = forged(answer)

    stack.client("events").put_events(
        Entries=[
            {
                "Source": "isodrop",
                "DetailType": forgery["detail-type"],
                "Detail": json.dumps(forgery["detail"]),
            }
        ]
    )

    def after() -> int:
        return sum(len(executions(stack, machine, how)) for how in ("SUCCEEDED", "FAILED"))

    stack.wait_for(lambda: after() > ended)
    assert default_ami(stack, outputs["LaunchTemplateId"]) == ami
    assert len(executions(stack, machine, "FAILED")) == failed + 1


def test_workspaces_is_called_for_the_new_image_as_its_model_requires(
    shell: EmulatedStack, iso: MakeIso, example: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator has no WorkSpaces.

    So the function is only deployed there, and its handler runs in the test, with the answer. Its
    request is validated with botocore's model of the service, including patterns.
    """
    stack = shell
    infrastructure = stack.outputs["InfrastructureConfigurationArn"]
    known = {"InfrastructureConfigurationArn": infrastructure, **verifying(stack)}
    function = example("workspaces", **known)["FunctionName"]
    made = stack.client("lambda").get_function_configuration(FunctionName=function)
    for variable, value in made["Environment"]["Variables"].items():
        monkeypatch.setenv(variable, value)
    name = "golden-" + "x" * 60
    answer = stack.wait_for_answer(stack.upload(iso(), metadata={"image-name": name}))

    (request,), (again,) = [
        sent_to_workspaces(answer, code) for code in (None, "ResourceAlreadyExists")
    ]

    model = botocore.session.get_session().get_service_model("workspaces")
    shape = model.operation_model("ImportCustomWorkspaceImage").input_shape
    assert list(violations(shape, request)) == []
    assert request["ImageSource"] == {"ImageBuildVersionArn": data(answer)["buildArn"]}
    assert request["InfrastructureConfigurationArn"] == infrastructure
    assert request["ImageName"].endswith("_11.26100.1742")
    assert len(request["ImageName"]) == 64
    assert again == request
    with pytest.raises(ClientError, match="ResourceLimitExceeded"):
        sent_to_workspaces(answer, "ResourceLimitExceeded")
    with pytest.raises(UnverifiedEventError, match=r"data\.amis"):
        sent_to_workspaces(forged(answer), None)


def sent_to_workspaces(answer: Event, refused: str | None) -> list[dict[str, Any]]:
    """Run the example's handler with an event; return its requests to WorkSpaces."""
    session: Any = boto3.Session(region_name="us-east-1", **NOBODY)
    client = session.client("workspaces")
    sent: list[dict[str, Any]] = []

    def request(params: dict[str, Any], **_: Any) -> Any:
        sent.append(json.loads(params["body"]))
        error = {"Error": {"Code": f"{refused}Exception"}} if refused else {}
        return SimpleNamespace(status_code=400 if refused else 200), error

    client.meta.events.register("before-call.workspaces", request)
    real: Any = boto3.client
    with patch.object(boto3, "client", lambda name: client if name == "workspaces" else real(name)):
        code = runpy.run_path(str(ROOT / "examples/workspaces/app.py"))
    try:
        code["handler"](answer, None)
    except UnverifiedEventError:
        assert sent == []
        raise
    return sent


def test_every_example_has_its_test_and_its_paragraph() -> None:
    names = {path.parent.name for path in (ROOT / "examples").glob("*/template.yaml")}
    tests = Path(__file__).read_text()
    page = (ROOT / "examples/README.md").read_text()
    assert names == {
        name for name in names if f'example("{name}"' in tests and f"]({name})" in page
    }
