"""Mistakes that AWS refuses or ignores, although no linter finds them."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from isodrop_local.template import ROOT, read_template, transform
from tools.resolved_template import resolve, resolve_plain

EXAMPLES = sorted(ROOT.glob("examples/*/template.yaml"))
TEMPLATES = [ROOT / "template.yaml", ROOT / "monitoring.yaml", *EXAMPLES]

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
COMMANDS = {"as", "by", "asc", "desc", "display", "fields", "filter", "in", "like", "limit"} | {
    *("parse", "sort", "stats", "dedup", "unmask", "and", "or", "not", "pattern", "diff")
}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def resources(path: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in read_template(path)["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource["Properties"]


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_no_policy_of_a_topic_has_a_condition_for_eventbridge(path: Path) -> None:
    # "Condition blocks are not supported": nothing is published, and only FailedInvocations shows
    # it.
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions
    for name, policy in resources(path, "AWS::SNS::TopicPolicy"):
        for statement in policy["PolicyDocument"]["Statement"]:
            if "events.amazonaws.com" in str(statement["Principal"]):
                assert "Condition" not in statement, name


def test_no_field_of_a_saved_query_is_a_word_of_the_query_language() -> None:
    queries = dict(resources(ROOT / "monitoring.yaml", "AWS::Logs::QueryDefinition"))
    assert queries
    for name, query in queries.items():
        for fields in re.findall(r"^\s*\|?\s*(?:fields|display) (.*)$", query["QueryString"], re.M):
            taken = {each.strip().split(" ")[0] for each in fields.split(",")} & COMMANDS
            assert not taken, f"{name} asks for {taken}"


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_no_state_machine_uses_an_sdk_call_newer_than_step_functions(path: Path) -> None:
    # Its integrations have their own SDK version, which has everything older than this project.
    known = {
        *("imagebuilder:getImage", "imagebuilder:listWorkflowExecutions"),
        *("ec2:createLaunchTemplateVersion", "ec2:modifyLaunchTemplate"),
    }
    words = path.read_text() + (ROOT / "statemachine/import.asl.json").read_text()
    assert {*re.findall(r":states:::aws-sdk:([\w:]+)", words)} <= known


def cases(name: str) -> str:
    """Normalize a name as Image Builder does: by case, spaces and underscores."""
    return re.sub(r"[ _]", "-", name.lower())


def test_stack_names_that_differ_in_case_have_distinct_resource_names() -> None:
    def names(stack: str, stack_id: str) -> set[str]:
        made = resolve(
            ImageExpirationDays=7,
            **{"AWS::StackName": stack, "AWS::StackId": stack_id},
        )
        return {
            cases(resource["Properties"]["Name"])
            for resource in made.resources.values()
            if resource["Type"].startswith("AWS::ImageBuilder::")
        }

    one = names("isodrop", "arn:aws:cloudformation:eu-central-1:1:stack/isodrop/1a2b3c4d-0-0-0-0")
    other = names("Isodrop", "arn:aws:cloudformation:eu-central-1:1:stack/Isodrop/5e6f7a8b-0-0-0-0")
    assert len(one) == 2
    assert not one & other


def test_the_tested_sam_cli_is_no_older_than_the_required_one() -> None:
    # 1.128.0 is the first that supports python3.13: https://github.com/aws/aws-sam-cli/issues/7673
    page = (ROOT / "README.md").read_text()
    asked = re.search(r"SAM CLI (\d+)\.(\d+)\.(\d+) or newer", page)
    assert asked
    assert tuple(map(int, asked.groups())) >= (1, 128, 0)
    tried = tuple(map(int, version("aws-sam-cli").split(".")))
    assert tried >= tuple(map(int, asked.groups()))


ENVIRONMENT = 4096
"""The limit of a function's variables in bytes, names and values.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
"""


def longest(name: str, parameter: dict[str, Any]) -> str:
    """The longest value of a parameter, with characters of up to three bytes."""
    if "AllowedValues" in parameter:
        return max(map(str, parameter["AllowedValues"]), key=len)
    if parameter["Type"] == "Number":
        return str(parameter["MaxValue"])
    assert "MaxLength" in parameter, f"nothing bounds {name}"
    character = "x" if "AllowedPattern" in parameter else "日"
    return character * int(parameter["MaxLength"])


def test_the_longest_parameters_fit_into_every_function_s_environment() -> None:
    # Given
    whole = transform()
    made = {name: each["Type"] for name, each in whole["Resources"].items()}
    functions = {
        name: resource
        for name, resource in whole["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    environments = json.dumps([each["Properties"]["Environment"] for each in functions.values()])
    for name in {*re.findall(r'"Ref": "(\w+)"', environments)} & {*whole["Parameters"]}:
        whole["Parameters"][name] = {
            "Type": "String",
            "Default": longest(name, whole["Parameters"][name]),
        }
    whole |= {"Resources": functions, "Rules": {}, "Outputs": {}}

    def size(value: str) -> int:
        # What is another resource's name or ARN is its logical id here; with a long stack's name
        # and path it has 255 characters at the most; a bucket's name has 63.
        kind = made.get(value.split(".", maxsplit=1)[0])
        named = 63 if kind == "AWS::S3::Bucket" else 255
        return len(value.encode()) if kind is None else named

    # When
    resolved = resolve_plain(whole, {"AWS::StackName": "s" * 128})

    # Then
    assert len(resolved.resources) == 4
    for name, function in resolved.of_type("AWS::Lambda::Function").items():
        variables = function["Environment"]["Variables"]
        taken = sum(len(key) + size(str(value)) for key, value in variables.items())
        assert taken < ENVIRONMENT, f"{name} takes {taken}"
