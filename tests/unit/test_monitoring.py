"""Alarms, dashboard and queries look at metrics and fields that there are, by their exact names."""

import json
import re
from functools import cache
from typing import Any

import pytest

from isodrop.aws.metrics import NAMESPACE
from isodrop.codes import Code
from isodrop_local.template import ROOT, source
from tools.resolved_template import Resolved, resolve, resolve_plain

TOPIC = "arn:aws:sns:eu-central-1:123456789012:called-at-night"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# isodrop's own: layers/isodrop/isodrop/aws/metrics.py; the stack's test reads them from the logs
DOCUMENTED: dict[tuple[str, str], set[tuple[str, ...]]] = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {("QueueName",)},
    ("AWS/States", "ExecutionsStarted"): {("StateMachineArn",)},
    ("AWS/States", "ExecutionsSucceeded"): {("StateMachineArn",)},
    ("AWS/States", "ExecutionsFailed"): {("StateMachineArn",)},
    ("AWS/States", "ExecutionsAborted"): {("StateMachineArn",)},
    ("AWS/States", "ExecutionsTimedOut"): {("StateMachineArn",)},
    # A rule on the default bus has its name alone, and both rules are there.
    ("AWS/Events", "FailedInvocations"): {("RuleName",)},
    ("AWS/Lambda", "Errors"): {("FunctionName",)},
    (NAMESPACE, "Uploads"): {("service",)},
    (NAMESPACE, "Answers"): {("service",), ("service", "kind"), ("service", "kind", "code")},
    (NAMESPACE, "TimeToAnswer"): {("service",), ("service", "kind")},
    (NAMESPACE, "InspectionRequests"): {("service",)},
    (NAMESPACE, "InspectionBytes"): {("service",)},
    (NAMESPACE, "OpenRuns"): {("service",)},
    (NAMESPACE, "OldestOpenRunAge"): {("service",)},
    (NAMESPACE, "BuildsInFlight"): {("service",)},
    (NAMESPACE, "BuildsAtOnce"): {("service",)},
    (NAMESPACE, "BuildsToday"): {("service",)},
    (NAMESPACE, "SweepActions"): {("service",)},
    (NAMESPACE, "SweepAnswers"): {("service",)},
    (NAMESPACE, "SweepStarts"): {("service",)},
    (NAMESPACE, "SweepErrors"): {("service",)},
}
SUMS = {(NAMESPACE, "SweepActions")}
"""For an alarm: the dashboard shows what they are the sums of."""
OF_A_RESOURCE: dict[str, set[str]] = {
    "QueueName": {"DeadLetterQueue.QueueName"},
    "StateMachineArn": {"ImportStateMachine"},
    "RuleName": {"UploadRule", "SweepEveryFewMinutes"},
    "FunctionName": {"ImportIso", "ReportBuild", "Sweep"},
    "service": {"isodrop"},
    "kind": {"Succeeded", "Failed", "Rejected"},
    "code": {code.value for code in Code},
}


@cache
def operations(topic: str = "") -> Resolved:
    nested = resolve(AlarmTopicArn=topic).properties("MonitoringStack")
    return resolve_plain(source(ROOT / "monitoring.yaml"), nested["Parameters"])


def alarms(topic: str = "") -> dict[str, dict[str, Any]]:
    return operations(topic).of_type("AWS::CloudWatch::Alarm")


def widgets() -> list[dict[str, Any]]:
    (dashboard,) = operations().of_type("AWS::CloudWatch::Dashboard").values()
    found: list[dict[str, Any]] = json.loads(dashboard["DashboardBody"])["widgets"]
    return found


def assert_there_is(namespace: str, name: str, dimensions: dict[str, str]) -> None:
    assert tuple(dimensions) in DOCUMENTED[namespace, name], (namespace, name)
    for dimension, value in dimensions.items():
        assert value in OF_A_RESOURCE[dimension], (namespace, name)


def test_the_template_has_operations_within_it() -> None:
    assert (
        source()["Resources"]["MonitoringStack"]["Properties"]["TemplateURL"] == "monitoring.yaml"
    )
    declared = source(ROOT / "monitoring.yaml")["Parameters"]
    assert resolve().properties("MonitoringStack")["Parameters"].keys() == declared.keys()
    assert not re.search(r"[:\[] *[&*][a-z]", (ROOT / "monitoring.yaml").read_text()), (
        "CloudFormation takes no aliases where no SAM has read them"
    )


@pytest.mark.parametrize("name", sorted(alarms()))
def test_given_an_alarm_then_its_metric_is_documented_and_of_this_stack(name: str) -> None:
    alarm = alarms()[name]
    told = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    assert_there_is(alarm["Namespace"], alarm["MetricName"], told)


@pytest.mark.parametrize("name", sorted(alarms()))
def test_given_an_alarm_then_its_description_leads_to_its_section(name: str) -> None:
    alarm = alarms()[name]
    section = re.search(r"\bdocs/runbook\.md#([a-z-]+)$", alarm["AlarmDescription"])
    assert section
    assert f"\n## {section[1]}\n" in RUNBOOK
    assert alarm["AlarmName"] == f"isodrop-{section[1]}"


def test_every_section_of_the_runbook_is_an_alarm_s() -> None:
    sections = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
    assert sorted(f"isodrop-{name}" for name in sections) == sorted(
        alarm["AlarmName"] for alarm in alarms().values()
    )


def test_given_a_topic_then_every_alarm_goes_there_and_by_default_none_goes_anywhere() -> None:
    for alarm in alarms(TOPIC).values():
        assert (alarm["AlarmActions"], alarm["OKActions"]) == ([TOPIC], [TOPIC])
    for alarm in alarms().values():
        assert {"AlarmActions", "OKActions"}.isdisjoint(alarm)


def test_given_no_data_then_no_alarm_is_raised() -> None:
    missing = {name: alarm["TreatMissingData"] for name, alarm in alarms().items()}
    # Between two sweeps nobody knows; what was known stands.
    assert missing.pop("UnansweredAlarm") == "ignore"
    assert set(missing.values()) == {"notBreaching"}


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    shown = set()
    for widget in widgets():
        for metric in widget["properties"].get("metrics", ()):
            if isinstance(metric[0], dict):
                continue  # a search: below
            words = [part for part in metric if isinstance(part, str)]
            namespace, name, *rest = words
            assert_there_is(namespace, name, dict(zip(rest[::2], rest[1::2], strict=True)))
            shown.add((namespace, name))
    assert shown == DOCUMENTED.keys() - SUMS, "every metric is to be seen"


def test_the_dashboard_searches_answers_by_their_dimensions() -> None:
    (search,) = (
        metric[0]["expression"]
        for widget in widgets()
        for metric in widget["properties"].get("metrics", ())
        if isinstance(metric[0], dict)
    )
    schema = re.fullmatch(
        r"SEARCH\('\{([a-z,]+)\} MetricName=\"Answers\" service=\"isodrop\"', 'Sum', 3600\)", search
    )
    assert schema
    namespace, *dimensions = schema[1].split(",")
    assert namespace == NAMESPACE
    assert tuple(dimensions) in DOCUMENTED[NAMESPACE, "Answers"]


def test_no_two_widgets_lie_on_each_other_and_all_lie_on_the_grid() -> None:
    cells = [
        (x, y)
        for widget in widgets()
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_saved_queries_look_into_the_functions_log_groups() -> None:
    queries = operations().of_type("AWS::Logs::QueryDefinition")
    assert len(queries) == 4
    for query in queries.values():
        assert {*query["LogGroupNames"]} <= {"ImportIsoLogs", "ReportBuildLogs", "SweepLogs"}
