"""Metrics, alarms and the runbook's commands on the deployed template."""

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from botocore import xform_name

from isodrop.aws.metrics import NAMESPACE
from isodrop_cli.main import main
from isodrop_local.iso_maker import server_editions
from isodrop_local.stack import EmulatedStack
from tests.stack.conftest import MakeIso, upload_failing_iso
from tests.unit.test_monitoring import METRIC_DIMENSIONS, RUNBOOK

# Options of the AWS CLI that are no parameters of an operation.
CLI_ONLY = {"cli-binary-format"}
WHERE_NOT_ZERO = {
    *("OpenRuns", "OldestOpenRunAge", "AwaitedBuilds", "SlotsInUse", "BuildsToday"),
    *("SweepActions", "SweepAnswers", "SweepStarts", "SweepItemErrors", "ActionRequired"),
}


def lines(stack: EmulatedStack, group: str) -> list[dict[str, Any]]:
    """The JSON lines of a function's log."""
    logs = stack.client("logs")
    (name,) = (
        each["logGroupName"]
        for each in logs.describe_log_groups()["logGroups"]
        if each["logGroupName"].endswith(f"/{stack.name}/{group}")
    )
    events = logs.filter_log_events(logGroupName=name)["events"]
    return [json.loads(each["message"]) for each in events if each["message"].startswith("{")]


def test_every_metric_is_written_under_its_documented_name_and_dimensions(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    # Given answers of two kinds, and a sweep
    stack.wait_for_answer(stack.upload(iso()))
    stack.wait_for_answer(stack.upload(iso(server_editions())))
    stack.settle()
    stack.sweep()
    # When
    written: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for group in ("ImportIsoLogs", "ReportBuildLogs", "SweepLogs"):
        for line in lines(stack, group):
            for found in line.get("_aws", {}).get("CloudWatchMetrics", ()):
                assert line["service"] == stack.name
                for metric in found["Metrics"]:
                    dimensions = {tuple(each) for each in found["Dimensions"]}
                    written.setdefault((found["Namespace"], metric["Name"]), set()).update(
                        dimensions
                    )
    # Then all, except counts that a sweep records only if they are not 0, and alarming answers
    own = {key: value for key, value in METRIC_DIMENSIONS.items() if key[0] == NAMESPACE}
    assert written.items() <= own.items()
    assert {name for _, name in own.keys() - written.keys()} <= WHERE_NOT_ZERO


def test_an_upload_is_found_by_its_id_in_every_functions_log(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    answer = stack.wait_for_answer(stack.upload(iso()))
    stack.settle()
    upload_id = answer["detail"]["metadata"]["uploadId"]

    for group, message in (("ImportIsoLogs", "processed"), ("ReportBuildLogs", "answered")):
        found = [line for line in lines(stack, group) if line.get("uploadId") == upload_id]
        assert message in [line["message"] for line in found]


def test_the_alarms_exist_and_lambda_s_metrics_are_counted(stack: EmulatedStack) -> None:
    stack.sweep()
    cloudwatch = stack.client("cloudwatch")

    alarms = cloudwatch.describe_alarms(AlarmNamePrefix=f"{stack.name}-")["MetricAlarms"]
    counted = {
        (metric["MetricName"], dimension["Name"], dimension["Value"])
        for metric in cloudwatch.list_metrics(Namespace="AWS/Lambda")["Metrics"]
        for dimension in metric["Dimensions"]
    }
    sections = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
    assert sorted(alarm["AlarmName"] for alarm in alarms) == sorted(
        f"{stack.name}-{section}" for section in sections
    )
    assert ("Errors", "FunctionName", stack.outputs["SweepFunctionName"]) in counted
    assert cloudwatch.get_dashboard(DashboardName=stack.outputs["DashboardName"])["DashboardBody"]


# The runbook, command by command


Follow = Callable[..., dict[str, Any]]


@pytest.fixture
def follow(shell: EmulatedStack) -> Follow:
    """Run a section's commands in order; return their results, by their first three words."""

    def run(section: str, **placeholders: str) -> dict[str, Any]:
        text = RUNBOOK.partition(f"# {section}\n")[2].partition("\n##")[0]
        commands = re.findall(r"^\$ (.+)$", text, re.MULTILINE)
        assert commands
        results = {}
        for command in commands:
            filled = re.sub(r"<(\w+)>", lambda match: shell.outputs[match[1]], command)
            for name, value in placeholders.items():
                filled = re.sub(rf"\b{name.replace('_', '-')}\b", value, filled)
            program, *arguments = shlex.split(filled)
            call = main if program == "isodrop" else lambda request: aws(shell, request)
            results[" ".join(command.split()[:3])] = call(arguments)
        return results

    return run


def aws(stack: EmulatedStack, arguments: list[str]) -> Any:
    """Run a command of the runbook as the AWS CLI does."""
    service, operation, *rest = arguments
    client = stack.client(service)
    method = xform_name(operation.replace("-", "_"))
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
    known = {xform_name(name, "-"): name for name in model.input_shape.members}
    request: dict[str, Any] = {}
    while rest:
        option = rest.pop(0)
        if not option.startswith("--"):
            continue  # the file that the CLI writes the response to
        name, value = option.removeprefix("--"), rest.pop(0)
        if name in CLI_ONLY:
            continue
        kind = model.input_shape.members[known[name]].type_name
        request[known[name]] = {"integer": int, "list": lambda value: [value]}.get(kind, str)(value)  # type: ignore[operator] # one of three
    return getattr(client, method)(**request)


def log_group(stack: EmulatedStack, group: str) -> str:
    names = stack.client("logs").describe_log_groups()["logGroups"]
    found = (str(each["logGroupName"]) for each in names)
    return next(name for name in found if name.endswith(f"/{group}"))


def held(stack: EmulatedStack, iso: MakeIso) -> tuple[str, str]:
    """An upload with a running build, and its execution."""
    stack.image_builder.hold("BUILDING")
    key = stack.upload(iso())

    def started() -> Any:
        return [event for event in stack.events() if key in str(event) and "buildArn" in str(event)]

    stack.wait_for(started)
    return key, stack.executions()[-1]["executionArn"]


@pytest.mark.parametrize("section", ["execution-aborted", "overdue-upload"])
def test_the_runbook_answers_a_stopped_execution(
    stack: EmulatedStack, iso: MakeIso, follow: Follow, section: str
) -> None:
    # Given
    key, execution = held(stack, iso)
    stack.client("stepfunctions").stop_execution(executionArn=execution)
    # When
    results = follow(section, KEY=key)
    stack.image_builder.release()
    # Then
    assert results["isodrop cancel s3://<UploadBucketName>/KEY"] == 0
    stack.wait_for(lambda: stack.sweep() and stack.answers(key))
    assert stack.wait_for_answer(key)["detail"]["data"]["code"] == "build-cancelled"


@pytest.mark.parametrize(
    "section", ["upload-rule-failed", "dead-letter-queue", "sweep-rule-failed"]
)
def test_the_runbook_answers_an_upload_without_an_event(
    stack: EmulatedStack, iso: MakeIso, follow: Follow, section: str
) -> None:
    # Given
    events, sqs = stack.client("events"), stack.client("sqs")
    (rule,) = events.list_rule_names_by_target(TargetArn=stack.outputs["ImportStateMachineArn"])[
        "RuleNames"
    ]
    events.disable_rule(Name=rule)
    key = stack.upload(iso())
    queue = stack.outputs["DeadLetterQueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="what could not be delivered")
    # When
    try:
        results = follow(section, RULE=rule)
        state = events.describe_rule(Name=rule)["State"]
    finally:
        events.enable_rule(Name=rule)
    # Then
    assert stack.wait_for_answer(key)["detail-type"] == "ISO Import Succeeded"
    if section == "upload-rule-failed":
        assert state == "ENABLED"
    if section == "dead-letter-queue":
        (message,) = results["aws sqs receive-message"]["Messages"]
        assert message["Body"] == "what could not be delivered"
    sqs.purge_queue(QueueUrl=queue)


def test_the_runbook_answers_an_execution_that_ended_without_an_answer(
    stack: EmulatedStack, iso: MakeIso, follow: Follow
) -> None:
    key, execution = held(stack, iso)
    stack.client("stepfunctions").stop_execution(executionArn=execution)
    stack.image_builder.release()

    # The build takes some time, so the sweep is repeated until it has ended.
    stack.wait_for(
        lambda: follow("execution-failed", EXECUTION_ARN=execution) and stack.answers(key)
    )

    assert stack.wait_for_answer(key)["detail-type"] == "ISO Import Succeeded"


@pytest.mark.parametrize("section", ["internal-error", "execution-timed-out"])
def test_the_runbook_retries_an_upload_after_its_answer(
    stack: EmulatedStack, iso: MakeIso, follow: Follow, section: str
) -> None:
    key = upload_failing_iso(stack, iso(), message="no luck")
    stack.wait_for_answer(key)
    stack.settle()

    follow(section, KEY=key)

    assert stack.wait_for_answer(key, nth=2)["detail-type"] == "ISO Import Succeeded"


@pytest.mark.parametrize("section", ["report-build-errors", "sweep-errors"])
def test_the_runbook_examines_failing_functions_and_sweeps(
    stack: EmulatedStack, follow: Follow, section: str
) -> None:
    results = follow(
        section,
        REPORT_LOGS=log_group(stack, "ReportBuildLogs"),
        SWEEP_LOGS=log_group(stack, "SweepLogs"),
    )
    assert "events" in results["aws logs filter-log-events"]
    assert results["aws lambda invoke"]["StatusCode"] == 200
    assert "FunctionError" not in results["aws lambda invoke"]
