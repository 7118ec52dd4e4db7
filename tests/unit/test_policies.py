"""Every policy is validated by AWS's service authorization reference.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from isodrop_local.template import ROOT, read_template, transform
from tests.support.policies import listed, reference
from tools.resolved_template import Resolved, resolve, resolve_plain

ARN = "arn:aws:{}:eu-central-1:123456789012:{}"
KEY = ARN.format("kms", "key/1b2c3d4e-0000-1111-2222-333344445555")
EVERYTHING = {
    "KmsKeyArn": KEY,
    "DistributionConfigurationArn": ARN.format("imagebuilder", "distribution-configuration/ours"),
    "BuildLogGroupName": "/ours/builds",
    "UefiDataUri": "s3://ours/uefi.b64",
    "KeyPrefix": "isos/",
    "MalwareScan": "GuardDuty",
    "CreateEventBus": "true",
    "ImageExpirationDays": 7,
}
"""Parameters for which the template has every statement."""
ARNS = {
    "AWS::DynamoDB::Table": ARN.format("dynamodb", "table/x"),
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/x",
    "AWS::ImageBuilder::InfrastructureConfiguration": ARN.format(
        "imagebuilder", "infrastructure-configuration/x"
    ),
    "AWS::Lambda::Function": ARN.format("lambda", "function:x"),
    "AWS::Logs::LogGroup": ARN.format("logs", "log-group:x:*"),
    "AWS::S3::Bucket": "arn:aws:s3:::x",
    "AWS::SNS::Topic": "arn:aws:sns:eu-central-1:123456789012:x",
    "AWS::SQS::Queue": "arn:aws:sqs:eu-central-1:123456789012:x",
    "AWS::StepFunctions::StateMachine": ARN.format("states", "stateMachine:x"),
    "AWS::Events::EventBus": ARN.format("events", "event-bus/x"),
    "AWS::Events::ApiDestination": ARN.format("events", "api-destination/x/1b2c3d4e"),
    "AWS::Events::Rule": ARN.format("events", "rule/x"),
}
"""The forms of ARNs of resources that the stack creates."""
GLOBAL = {
    "aws:PrincipalArn",
    "aws:ResourceAccount",
    "aws:SecureTransport",
    "aws:SourceAccount",
    "aws:SourceArn",
}
DOCUMENTED_INSTEAD = {"iam:CreateServiceLinkedRole"}
"""Not granted, because one call in the life of an account needs it: docs/deploying.md."""


def actions(pattern: str) -> list[dict[str, Any]]:
    """The actions of the reference that an action of a policy names."""
    prefix, _, name = pattern.partition(":")
    known = reference().get(prefix, {}).get("privileges", {})
    return [known[each] for each in known if fnmatchcase(each.lower(), name.lower())]


def documents(made: Resolved) -> Iterator[tuple[str, dict[str, Any]]]:
    """All policies of a template, by the logical id of the resource."""
    for name, resource in made.resources.items():
        properties = resource.get("Properties", {})
        if "PolicyDocument" in properties:
            yield name, properties["PolicyDocument"]
        for policy in properties.get("Policies", []):
            if isinstance(policy, dict) and "PolicyDocument" in policy:
                yield name, policy["PolicyDocument"]


def template(path: Path) -> Resolved:
    if path.name == "template.yaml" and path.parent == ROOT:
        return resolve(**EVERYTHING)
    plain = transform(read_template(path))
    required = {
        name: parameter.get("AllowedValues", ["x" * 20])[0]
        for name, parameter in plain.get("Parameters", {}).items()
        if "Default" not in parameter
    }
    for name in required:
        plain["Parameters"][name].pop("AllowedPattern", None)
    plain.setdefault("Parameters", {})
    return resolve_plain(plain, required)


def arn(made: Resolved, resource: str) -> str:
    """Return the ARN for a logical id in a resolved template."""
    if resource == "*" or resource.startswith("arn:"):
        return resource
    name = re.split(r"[./]", resource)[0]
    rest = resource.removeprefix(name).removeprefix(".Arn")
    return ARNS[made.resources[name]["Type"]] + rest


def same(one: str, other: str) -> bool:
    """Whether an ARN exists that both match, part by part."""
    parts, others = one.split(":", 5), other.split(":", 5)
    return len(parts) == len(others) and all(map(overlap, parts, others))


def overlap(one: str, other: str) -> bool:
    """Whether a string exists that both match; ``*`` matches any part of it."""

    @cache
    def from_here(i: int, j: int) -> bool:
        if i == len(one) and j == len(other):
            return True
        if i < len(one) and one[i] == "*":
            return from_here(i + 1, j) or (j < len(other) and from_here(i, j + 1))
        if j < len(other) and other[j] == "*":
            return from_here(i, j + 1) or (i < len(one) and from_here(i + 1, j))
        return i < len(one) and j < len(other) and one[i] == other[j] and from_here(i + 1, j + 1)

    return from_here(0, 0)


def shapes(pattern: str) -> set[str]:
    """The forms of the ARNs of an action's resources, with ``*`` for variable parts."""
    known = reference()[pattern.partition(":")[0]]["resources"]
    return {
        re.sub(r"\$\{\w+\}", "*", known[kind]["arn"])
        for action in actions(pattern)
        for kind in action["resource_types"]
        if kind
    }


def conditions(pattern: str) -> set[str]:
    """The condition keys of an action and its resources; those of tags without the tag's key."""
    resources = reference()[pattern.partition(":")[0]]["resources"]
    keys = (
        key
        for action in actions(pattern)
        for name, kind in action["resource_types"].items()
        for key in [*kind["condition_keys"], *resources.get(name, {}).get("condition_keys", ())]
    )
    return GLOBAL.union(key.replace("${TagKey}", "") for key in keys)


def without_tag(key: str) -> str:
    """Remove the tag's key from a condition key."""
    family, slash, _ = key.partition("/")
    return family + slash


def wrong(made: Resolved, statement: dict[str, Any]) -> Iterator[str]:
    """The errors of a statement, a sentence each."""
    resources = [
        arn(made, each)
        for each in listed(statement.get("Resource", statement.get("NotResource", ())))
    ]
    asked = {without_tag(key) for test in statement.get("Condition", {}).values() for key in test}
    fit: set[str] = set()
    for pattern in listed(statement["Action"]):
        if not actions(pattern):
            yield f"there is no action {pattern}"
            continue
        forms = shapes(pattern)
        suits = {
            each for each in resources if each == "*" or any(same(each, form) for form in forms)
        }
        fit |= suits
        if not suits:
            yield f"{pattern} is about {forms or 'no resource, so *'}, not {resources}"
        if unknown := asked - conditions(pattern):
            yield f"{pattern} knows no condition {unknown}"
    for each in resources:
        if each not in fit:
            yield f"no action of {statement['Action']} is about {each}"


TEMPLATES = [ROOT / "template.yaml", *sorted(ROOT.glob("examples/*/template.yaml"))]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.parent.name)
def test_every_statement_is_one_that_aws_knows(path: Path) -> None:
    made = template(path)
    found = list(documents(made))
    for name, document in found:
        for statement in listed(document["Statement"]):
            assert list(wrong(made, statement)) == [], f"{name}: {statement}"


def test_there_are_policies_to_compare() -> None:
    assert len(list(documents(template(TEMPLATES[0])))) >= 9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Action": "imagebuilder:ImportDiskImages"}, "no action"),
        ({"Resource": ARN.format("imagebuilder", "component/*")}, "is about"),
        ({"Condition": {"StringEquals": {"ec2:Region": "x"}}}, "no condition"),
        ({"Resource": ["*", ARN.format("sqs", "x")]}, "no action of"),
    ],
)
def test_an_action_unknown_to_aws_is_found(change: dict[str, Any], words: str) -> None:
    good = {"Action": "imagebuilder:ImportDiskImage", "Resource": "*"}
    assert not list(wrong(Resolved({}, {}), good))
    assert words in " ".join(wrong(Resolved({}, {}), good | change))


@pytest.mark.parametrize(
    ("role", "action"),
    [
        ("ImportIsoRole", "imagebuilder:ImportDiskImage"),
        ("ReportBuildRole", "imagebuilder:DistributeImage"),
        ("SweepRole", "imagebuilder:DistributeImage"),
    ],
)
def test_a_caller_has_the_dependent_permissions_of_its_calls(role: str, action: str) -> None:
    granted = [
        each
        for name, document in documents(template(TEMPLATES[0]))
        if name == role
        for statement in document["Statement"]
        for each in listed(statement["Action"])
    ]
    (asked,) = actions(action)
    depends = {
        each for kind in asked["resource_types"].values() for each in kind["dependent_actions"]
    }
    lacking = {
        each for each in depends if not any(fnmatchcase(each, pattern) for pattern in granted)
    }
    assert lacking <= DOCUMENTED_INSTEAD
