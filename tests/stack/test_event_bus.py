"""A stack with its own event bus."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from isodrop_local.iso_maker import make_iso
from isodrop_local.stack import EmulatedStack


@pytest.fixture(scope="module")
def own_bus() -> Iterator[EmulatedStack]:
    with EmulatedStack(wait_scale=0.001) as stack:
        stack.deploy({"CreateEventBus": "true"})
        yield stack


def test_the_answer_comes_on_the_stacks_own_bus_and_on_no_other(
    own_bus: EmulatedStack, tmp_path: Path
) -> None:
    default = own_bus.subscribe("elsewhere", {"source": ["isodrop"]}, "default")

    answer = own_bus.wait_for_answer(own_bus.upload(make_iso(tmp_path / "win11.iso")))

    assert own_bus.outputs["EventBusName"] == "isodrop-events"
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert default.events() == []


def test_the_buss_policy_denies_publishing_to_all_but_two_roles(own_bus: EmulatedStack) -> None:
    """The emulator stores the policy without enforcing it; it was not verified on AWS."""
    bus = own_bus.client("events").describe_event_bus(Name=own_bus.outputs["EventBusName"])
    (statement,) = json.loads(bus["Policy"])["Statement"]
    resources = own_bus.client("cloudformation").describe_stack_resources(StackName="isodrop")
    roles = {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for each in resources["StackResources"]
        if each["ResourceType"] == "AWS::IAM::Role"
    }
    exempt = statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
    assert (statement["Effect"], statement["Resource"]) == ("Deny", bus["Arn"])
    assert {arn.rpartition("/")[2] for arn in exempt} == {
        roles["ReportBuildRole"],
        roles["SweepRole"],
    }
