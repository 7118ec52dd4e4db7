"""Alarms, dashboard and queries use metrics and fields that exist, by their exact names."""

import json
import re
from functools import cache
from typing import Any

import pytest

from isodrop.aws.metrics import NAMESPACE, Metrics
from isodrop.codes import Code
from isodrop.domain.sweep_summary import SweepSummary
from isodrop_local.template import ROOT, read_template
from tools.resolved_template import Resolved, resolve, resolve_plain

TOPIC = "arn:aws:sns:eu-central-1:123456789012:called-at-night"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# isodrop's own: layers/isodrop/isodrop/aws/metrics.py; the stack's test reads them from the logs
METRIC_DIMENSIONS: dict[tuple[str, str], set[tuple[str, ...]]] = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {("QueueName",)},
    ("AWS/States", "ExecutionsStarted"): {("StateMachineArn",)},
    ("AWS/States", "ExecutionsSucceeded"): {("StateMachineArn",)},
    ("AWS/States", "ExecutionsFailed"): {("StateMachineArn",)},
    ("AWS/States", "ExecutionsAborted"): {("StateMachineArn",)},
    ("AWS/States", "ExecutionsTimedOut"): {("StateMachineArn",)},
    # A rule on the default bus has only its name as a dimension; both rules are there.
    ("AWS/Events", "FailedInvocations"): {("RuleName",)},
    ("AWS/Lambda", "Errors"): {("FunctionName",)},
    (NAMESPACE, "Runs"): {("service",)},
    (NAMESPACE, "Answers"): {("service",), ("service", "kind"), ("service", "kind", "code")},
    (NAMESPACE, "ActionRequired"): {("service",)},
    (NAMESPACE, "TimeToAnswer"): {("service",), ("service", "kind")},
    (NAMESPACE, "InspectionRequests"): {("service",)},
    (NAMESPACE, "InspectionBytes"): {("service",)},
    (NAMESPACE, "OpenRuns"): {("service",)},
    (NAMESPACE, "OldestOpenRunAge"): {("service",)},
    (NAMESPACE, "AwaitedBuilds"): {("service",)},
    (NAMESPACE, "SlotsInUse"): {("service",)},
    (NAMESPACE, "BuildsToday"): {("service",)},
    (NAMESPACE, "SweepActions"): {("service",)},
    (NAMESPACE, "SweepAnswers"): {("service",)},
    (NAMESPACE, "SweepStarts"): {("service",)},
    (NAMESPACE, "SweepItemErrors"): {("service",)},
}
SUMS = {(NAMESPACE, "SweepActions"), (NAMESPACE, "ActionRequired")}
"""For alarms only: the dashboard shows the metrics that they sum up."""
OF_A_RESOURCE: dict[str, set[str]] = {
    "QueueName": {"DeadLetterQueue.QueueName"},
    "StateMachineArn": {"ImportStateMachine"},
    "RuleName": {"UploadRule", "SweepSchedule"},
    "FunctionName": {"ImportIso", "ReportBuild", "Sweep"},
    "service": {"isodrop"},
    "kind": {"Succeeded", "Failed", "Rejected"},
    "code": {code.value for code in Code},
}


@cache
def operations(topic: str = "") -> Resolved:
    nested = resolve(AlarmTopicArn=topic, CreateDashboard="true").properties("MonitoringStack")
    return resolve_plain(read_template(ROOT / "monitoring.yaml"), nested["Parameters"])


def alarms(topic: str = "") -> dict[str, dict[str, Any]]:
    return operations(topic).of_type("AWS::CloudWatch::Alarm")


def widgets() -> list[dict[str, Any]]:
    (dashboard,) = operations().of_type("AWS::CloudWatch::Dashboard").values()
    found: list[dict[str, Any]] = json.loads(dashboard["DashboardBody"])["widgets"]
    return found


def assert_there_is(namespace: str, name: str, dimensions: dict[str, str]) -> None:
    assert tuple(dimensions) in METRIC_DIMENSIONS[namespace, name], (namespace, name)
    for dimension, value in dimensions.items():
        assert value in OF_A_RESOURCE[dimension], (namespace, name)


def test_the_inlined_template_contains_the_operations_stack() -> None:
    assert (
        read_template()["Resources"]["MonitoringStack"]["Properties"]["TemplateURL"]
        == "monitoring.yaml"
    )
    declared = read_template(ROOT / "monitoring.yaml")["Parameters"]
    assert resolve().properties("MonitoringStack")["Parameters"].keys() == declared.keys()
    assert not re.search(r"[:\[] *[&*][a-z]", (ROOT / "monitoring.yaml").read_text()), (
        "CloudFormation takes no aliases where no SAM has read them"
    )


@pytest.mark.parametrize("name", sorted(alarms()))
def test_the_metric_of_an_alarm_is_documented_and_of_this_stack(name: str) -> None:
    alarm = alarms()[name]
    dimensions = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    assert_there_is(alarm["Namespace"], alarm["MetricName"], dimensions)


@pytest.mark.parametrize("name", sorted(alarms()))
def test_the_description_of_an_alarm_links_to_its_section(name: str) -> None:
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


def test_every_alarm_notifies_the_topic_and_by_default_nothing() -> None:
    for alarm in alarms(TOPIC).values():
        assert (alarm["AlarmActions"], alarm["OKActions"]) == ([TOPIC], [TOPIC])
    for alarm in alarms().values():
        assert {"AlarmActions", "OKActions"}.isdisjoint(alarm)


def test_without_data_no_alarm_is_raised() -> None:
    missing = {name: alarm["TreatMissingData"] for name, alarm in alarms().items()}
    assert set(missing.values()) == {"notBreaching"}


def test_the_dashboard_shows_only_existing_metrics() -> None:
    shown = set()
    for widget in widgets():
        for metric in widget["properties"].get("metrics", ()):
            if isinstance(metric[0], dict):
                continue  # a search: below
            words = [part for part in metric if isinstance(part, str)]
            namespace, name, *rest = words
            assert_there_is(namespace, name, dict(zip(rest[::2], rest[1::2], strict=True)))
            shown.add((namespace, name))
    assert shown == METRIC_DIMENSIONS.keys() - SUMS, "every metric is to be seen"


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
    assert tuple(dimensions) in METRIC_DIMENSIONS[NAMESPACE, "Answers"]


def test_widgets_do_not_overlap_and_are_on_the_grid() -> None:
    cells = [
        (x, y)
        for widget in widgets()
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_saved_queries_use_the_functions_log_groups() -> None:
    queries = operations().of_type("AWS::Logs::QueryDefinition")
    assert len(queries) == 4
    for query in queries.values():
        assert {*query["LogGroupNames"]} <= {"ImportIsoLogs", "ReportBuildLogs", "SweepLogs"}


# The cost of an idle stack: https://aws.amazon.com/cloudwatch/pricing/, lambda/pricing/,
# s3/pricing/


def costs() -> dict[str, tuple[str, float]]:
    """The table of docs/deploying.md: the number of each item, and dollars a month."""
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    section = page.partition("\n### Idle costs\n")[2]
    rows = re.findall(r"^\| \**([^|*]+?)\** \| ([^|]*?) ?\| \**\$([0-9.]+)\** \|$", section, re.M)
    return {part: (count, float(dollars)) for part, count, dollars in rows}


def test_the_table_of_idle_costs_counts_what_the_template_has() -> None:
    table = costs()
    parameters = resolve().properties("MonitoringStack")["Parameters"]
    stack = resolve_plain(read_template(ROOT / "monitoring.yaml"), parameters)
    # An alarm is charged for each metric that it uses.
    looked_at = sum(
        len(alarm.get("Metrics", ())) or 1
        for alarm in stack.of_type("AWS::CloudWatch::Alarm").values()
    )
    assert stack.of_type("AWS::CloudWatch::CompositeAlarm") == {}
    assert stack.of_type("AWS::CloudWatch::Dashboard") == {}
    sweeps = 31 * 24 * 60 / 15
    assert "rate(15 minutes)" in str(resolve().resources)
    sweeping = sweeps * (0.20 / 1e6 + 0.5 * 0.0000133334 + 0.005 / 1000)
    assert table.pop("together") == ("", round(sum(cost for _, cost in table.values()), 2))
    assert table == {
        "alarms, each of one metric": (f"{looked_at} at $0.10", round(looked_at * 0.10, 2)),
        "isodrop's own metrics": ("0: a sweep that finds nothing writes none", 0),
        "dashboards": ("0 (`CreateDashboard=true`: 1 at $3.00)", 0),
        "sweeps, every quarter of an hour": (
            f"{sweeps:,.0f} of one second at 512 MB, each listing at most 20,000 versions",
            round(sweeping, 2),
        ),
    }
    assert sum(cost for _, cost in table.values()) < 1


def test_an_idle_sweep_writes_no_metric(capsys: pytest.CaptureFixture[str]) -> None:
    Metrics("isodrop").record_sweep(SweepSummary())
    assert capsys.readouterr().out == ""


def test_a_sweep_writes_metrics_of_its_findings_only(capsys: pytest.CaptureFixture[str]) -> None:
    everything = SweepSummary(
        open=1,
        oldest_open_seconds=700,
        builds=2,
        answered=3,
        started=4,
        slots_in_use=5,
        builds_today=6,
    )
    everything.errors = 7
    Metrics("isodrop").record_sweep(everything)
    Metrics("isodrop").record_sweep(SweepSummary(started=1))

    whole, some = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    swept = names(whole)
    assert swept == {
        *("OpenRuns", "OldestOpenRunAge", "AwaitedBuilds", "SweepActions", "SweepAnswers"),
        *("SweepStarts", "SlotsInUse", "BuildsToday", "SweepItemErrors"),
    }
    assert names(some) == {"SweepActions", "SweepStarts"}
    assert {(NAMESPACE, name) for name in swept} <= METRIC_DIMENSIONS.keys()


def names(line: dict[str, Any]) -> set[str]:
    """The metrics of a line in the embedded metric format."""
    return {
        metric["Name"]
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }
