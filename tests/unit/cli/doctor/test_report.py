"""What isodrop doctor prints: its findings, their number, and its exit code."""

import ast
import json
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data
from rich.console import Console

from isodrop_cli.commands import doctor as cli
from isodrop_cli.doctor import CHECKS, NamedResult, run_checks
from isodrop_cli.doctor.context import action_of
from isodrop_cli.doctor.results import CheckResult, Level
from isodrop_local.template import ROOT
from tests.support.doctor_responses import HEALTHY, context, refusal, run_check


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal("NoSuchEntity", 404), "there is no instance profile builds"),
        ({"InstanceProfile": {"Roles": []}}, "has no role"),
    ],
)
def test_an_instance_profile_without_a_role_is_an_error(answer: Any, words: str) -> None:
    result = run_check("instance-profile", context(GetInstanceProfile=answer))
    assert result.level is Level.ERROR
    assert words in result.message


def test_commands_name_the_profile_that_was_named() -> None:
    at = replace(context(GetBucketVersioning={}), profile="imports")
    assert run_check("versioning", at).remedy == (
        "aws s3api put-bucket-versioning --bucket uploads --versioning-configuration Status=Enabled"
        " --region eu-central-1 --profile imports"
    )


@pytest.mark.parametrize(("number", "last"), [(1, "1 ok, 1 warning"), (2, "1 ok, 2 warnings")])
def test_on_a_terminal_the_findings_are_counted_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, last: str
) -> None:
    monkeypatch.setattr(cli, "console", Console)
    doubts = [NamedResult("quota", CheckResult(Level.WARNING, "low"))] * number
    cli.print_results((NamedResult("stack", CheckResult(Level.OK, "is whole")), *doubts))
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_the_sample_in_the_readme_is_what_a_terminal_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "README.md").read_text()
    sample = page.partition("$ isodrop doctor")[2].partition("\n")[2].partition("```")[0]
    summaries = [
        {**each, "PhysicalResourceId": "imports-UploadRule-1X2Y"}
        if each["LogicalResourceId"] == "UploadRule"
        else each
        for each in HEALTHY["ListStackResources"]["StackResourceSummaries"]
    ]
    at = context(
        ListStackResources={"StackResourceSummaries": summaries},
        DescribeRule={"State": "DISABLED"},
        ListServiceQuotas=refusal("AccessDenied", 403),
    )
    shown = [
        each for each in CHECKS if each.name in ("upload-rule", "can-pass-role", "build-quota")
    ]
    screen = Console(width=120, color_system=None, highlight=False, markup=False)
    monkeypatch.setattr(cli, "console", lambda: screen)

    cli.print_results(tuple(run_checks(at, shown)))

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [*sample.splitlines(), "1 error, 1 ok, 1 warning"]
    assert f"(Three of its {len(CHECKS)} checks.)" in page


def operations() -> set[tuple[str, str]]:
    """Every service and operation that a check may call, by the source of the checks."""
    found = set()
    for path in (ROOT / "cli/isodrop_cli/doctor").glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        words = {each.value for each in nodes if isinstance(each, ast.Constant)}
        for node in nodes:
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".call")):
                continue
            service, operation = (getattr(each, "value", None) for each in node.args[:2])
            assert isinstance(service, str)
            # One helper gets the operation as an argument.
            named = (
                [operation] if operation else [each for each in words if str(each)[:4] == "Desc"]
            )
            found |= {(service, str(each)) for each in named}
    return found


def test_the_policy_in_the_readme_allows_every_call_of_doctor() -> None:
    policies = json.loads(aws_managed_policies_data)
    allowed = [
        action
        for statement in policies["ReadOnlyAccess"]["Document"]["Statement"]
        for action in statement["Action"]
    ]
    asked = {action_of(*each) for each in operations()} | {"cloudformation:DescribeStacks"}

    assert {operation for _, operation in operations()} >= HEALTHY.keys()
    assert [each for each in asked if not any(fnmatchcase(each, one) for one in allowed)] == []
