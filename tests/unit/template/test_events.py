"""Polling, and the bus that events are published to."""

import pytest

from isodrop_local.template import definition, read_template
from tools.resolved_template import resolve


@pytest.mark.parametrize(
    ("parameter", "value"), [("PollIntervalSeconds", 77), ("TrackingTimeoutHours", 19)]
)
def test_the_state_machine_uses_the_given_poll_interval(parameter: str, value: int) -> None:
    substitutes = resolve(**{parameter: value}).properties("ImportStateMachine")
    assert substitutes["DefinitionSubstitutions"][parameter] == str(value)
    assert str(definition(**{parameter: value})) != str(definition())


def test_only_the_given_event_bus_is_published_to() -> None:
    made = resolve(EventBusName="ours")
    allowed = made.statement("ReportBuildRole", "PublishEvents")
    assert allowed
    assert allowed["Resource"].endswith(":event-bus/ours")
    assert made.properties("ReportBuild")["Environment"]["Variables"]["EVENT_BUS"] == "ours"
    assert made.outputs["EventBusName"] == "ours"


def test_on_request_the_stack_has_its_own_bus_and_two_publishers() -> None:
    made = resolve(CreateEventBus="true")
    (statement,) = [made.properties("EventBusPolicy")["Statement"]]
    assert made.properties("EventBus")["Name"] == "isodrop-events"
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert (statement["Action"], statement["Resource"]) == ("events:PutEvents", "EventBus.Arn")
    assert statement["Condition"] == {
        "ArnNotEquals": {"aws:PrincipalArn": ["ReportBuildRole.Arn", "SweepRole.Arn"]}
    }
    for role, function in (("ReportBuildRole", "ReportBuild"), ("SweepRole", "Sweep")):
        allowed = made.statement(role, "PublishEvents")
        assert allowed is not None
        assert allowed["Resource"] == "EventBus.Arn"
        assert made.properties(function)["Environment"]["Variables"]["EVENT_BUS"] == "EventBus"
    assert made.outputs["EventBusName"] == "EventBus"


def test_by_default_the_stack_creates_no_bus() -> None:
    assert not {"EventBus", "EventBusPolicy"} & resolve().resources.keys()


@pytest.mark.parametrize("role", ["ReportBuildRole", "SweepRole"])
def test_publishers_may_publish_as_isodrop_only(role: str) -> None:
    allowed = resolve().statement(role, "PublishEvents")
    assert allowed is not None
    assert allowed["Condition"] == {
        "ForAllValues:StringEquals": {"events:source": "isodrop"},
        "Null": {"events:source": "false"},
    }


def test_a_schema_registry_is_created_on_request_only() -> None:
    assert "EventSchemas" not in resolve().resources
    nested = resolve(RegisterSchemas="true").properties("EventSchemas")
    assert (
        read_template()["Resources"]["EventSchemas"]["Properties"]["TemplateURL"]
        == "events/registry.json"
    )
    assert nested["Parameters"] == {"RegistryName": "isodrop"}
