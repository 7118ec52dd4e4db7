"""The checks of the roles' permissions."""

from collections.abc import Mapping
from typing import Any

import pytest

from isodrop_cli.doctor.results import Level
from tests.support.doctor_responses import (
    ACCOUNT,
    DISTRIBUTION,
    FUNCTION,
    VARIABLES,
    context,
    refusal,
    run_check,
    with_parameters,
)


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ({"EvalDecision": "implicitDeny", "MatchedStatements": []}, "sam deploy restores"),
        (
            {
                "EvalDecision": "explicitDeny",
                "MatchedStatements": [{"SourcePolicyId": "no-images"}],
            },
            "the policy no-images",
        ),
        (
            {
                "EvalDecision": "implicitDeny",
                "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False},
            },
            "its permissions boundary denies it",
        ),
        (
            {
                "EvalDecision": "explicitDeny",
                "OrganizationsDecisionDetail": {"AllowedByOrganizations": False},
            },
            "a policy of your organization denies it",
        ),
    ],
)
def test_a_denied_permission_is_reported_with_its_source(refused: Any, words: str) -> None:
    result = run_check(
        "can-import-image", context(SimulatePrincipalPolicy={"EvaluationResults": [refused]})
    )
    assert result.level is Level.ERROR
    assert "ImportIsoRole is not allowed to perform imagebuilder:ImportDiskImage" in result.message
    assert words in str(result.remedy)


def test_without_a_distribution_its_checks_are_skipped() -> None:
    at = context(SimulatePrincipalPolicy=refusal("AccessDenied"))
    for check in ("distribution", "can-distribute-image"):
        result = run_check(check, at)
        assert result.level is Level.OK
        assert "images are not distributed" in result.message


def test_the_regions_of_a_distribution_are_listed_and_a_lost_one_fails() -> None:
    stack = with_parameters(DistributionConfigurationArn=DISTRIBUTION)
    distributions = [{"region": region} for region in ("us-west-2", "eu-west-1", "us-west-2")]
    response = {"distributionConfiguration": {"name": "ours", "distributions": distributions}}
    there = run_check("distribution", context(stack, GetDistributionConfiguration=response))
    gone = refusal("ResourceNotFoundException")
    not_there = run_check("distribution", context(stack, GetDistributionConfiguration=gone))
    assert (there.level, there.message) == (
        *(Level.OK, "images are distributed to eu-west-1, us-west-2 by ours"),
    )
    assert not_there.level is Level.ERROR
    assert "DistributionConfigurationArn" in str(not_there.remedy)


@pytest.mark.parametrize("action", ["iam:PassRole", "imagebuilder:DistributeImage"])
def test_a_missing_permission_to_distribute_is_named(action: str) -> None:
    stack = with_parameters(DistributionConfigurationArn=DISTRIBUTION)

    def judge(asked: Mapping[str, Any]) -> Any:
        refused = asked["ActionNames"] == [action]
        decision = "implicitDeny" if refused else "allowed"
        return {"EvaluationResults": [{"EvalDecision": decision}]}

    result = run_check("can-distribute-image", context(stack, SimulatePrincipalPolicy=judge))
    assert result.level is Level.ERROR
    assert f"ReportBuildRole is not allowed to perform {action}" in result.message


def test_the_service_linked_role_given_by_arn_is_a_warning() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/imagebuilder.amazonaws.com/AWSServiceRole"
    changed = {**FUNCTION, "Environment": {"Variables": {**VARIABLES, "EXECUTION_ROLE": role}}}
    result = run_check("execution-role", context(GetFunctionConfiguration=changed))
    assert result.level is Level.WARNING


def test_a_new_account_gets_the_command_for_its_service_linked_role() -> None:
    result = run_check("service-linked-role", context(GetRole=refusal("NoSuchEntity", 404)))
    assert result.level is Level.WARNING
    assert "create-service-linked-role --aws-service-name imagebuilder.amazonaws.com" in str(
        result.remedy
    )


def refusing(action: str, **more: Any) -> Any:
    """IAM's simulation, which denies one action."""

    def judge(asked: Mapping[str, Any]) -> Any:
        refused = {"EvalDecision": "implicitDeny", **more}
        return {
            "EvaluationResults": [
                refused if asked["ActionNames"] == [action] else {"EvalDecision": "allowed"}
            ]
        }

    return judge


@pytest.mark.parametrize(
    "action",
    [
        *("imagebuilder:ImportDiskImage", "imagebuilder:TagResource"),
        *("imagebuilder:GetWorkflow", "imagebuilder:GetInfrastructureConfiguration"),
    ],
)
def test_a_missing_permission_that_imports_need_is_named(action: str) -> None:
    result = run_check("can-import-image", context(SimulatePrincipalPolicy=refusing(action)))
    assert result.level is Level.ERROR
    assert f"ImportIsoRole is not allowed to perform {action}" in result.message


@pytest.mark.parametrize(
    ("check", "action", "policy"),
    [
        ("execution-role", "ssm:SendCommand", "EC2ImageBuilderExecutionPolicy"),
        ("instance-profile", "logs:PutLogEvents", "EC2InstanceProfileForImageBuilder"),
    ],
)
def test_a_missing_permission_that_builds_need_is_named(
    check: str, action: str, policy: str
) -> None:
    # A role that the user provides has other policies: only its permissions matter.
    bounded = {"PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}}
    well = run_check(check, context())
    lacking = run_check(check, context(SimulatePrincipalPolicy=refusing(action)))
    kept = run_check(check, context(SimulatePrincipalPolicy=refusing(action, **bounded)))
    assert well.level is Level.OK
    assert lacking.level is kept.level is Level.ERROR
    assert f"is not allowed to perform {action}" in lacking.message
    assert policy in str(lacking.remedy)
    assert "its permissions boundary denies it" in str(kept.remedy)
