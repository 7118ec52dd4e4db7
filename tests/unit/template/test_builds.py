"""The template's infrastructure of builds: configuration, roles and network."""

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from tests.support.template_arguments import IN_A_SUBNET, INFRASTRUCTURE, ROLE
from tools.resolved_template import resolve


def test_an_existing_infrastructure_configuration_replaces_the_stacks() -> None:
    made = resolve(InfrastructureConfigurationArn=INFRASTRUCTURE)
    assert made.resources.keys() == resolve().resources.keys() - {
        *("InfrastructureConfiguration", "BuildInstanceProfile", "BuildInstanceRole")
    }
    assert made.outputs["InfrastructureConfigurationArn"] == INFRASTRUCTURE
    used = made.statement("ImportIsoRole", "GetInfrastructureConfiguration")
    assert used
    assert used["Resource"] == INFRASTRUCTURE


def test_an_existing_execution_role_is_used_and_only_it_may_be_passed() -> None:
    made = resolve(ExecutionRoleArn=ROLE)
    assert made.resources.keys() == resolve().resources.keys() - {"BuildExecutionRole"}
    passed = made.statement("ImportIsoRole", "PassExecutionRole")
    assert passed
    assert passed["Resource"] == ROLE


def test_the_importing_role_may_read_the_workflows_of_aws() -> None:
    # Two of AWS's pages require it, the newest does not.
    (statement,) = (
        each
        for policy in resolve().properties("ImportIsoRole")["Policies"]
        for each in policy["PolicyDocument"]["Statement"]
        if "imagebuilder:GetWorkflow" in listed(each["Action"])
    )
    assert statement["Resource"] == "arn:aws:imagebuilder:eu-central-1:aws:workflow/*"


AWS_S_OWN: dict[str, Any] = json.loads(aws_managed_policies_data)


def allows(statements: list[dict[str, Any]], action: str, resource: str) -> bool:
    """Whether any statement without conditions allows an action on a resource."""
    return any(
        statement["Effect"] == "Allow"
        and "Condition" not in statement
        and any(fnmatchcase(action, each) for each in listed(statement["Action"]))
        and any(fnmatchcase(resource, each) for each in listed(statement["Resource"]))
        for statement in statements
    )


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("group", ["", "/ours/builds"])
@pytest.mark.parametrize("name", ["BuildExecutionRole", "BuildInstanceRole"])
def test_builds_may_write_to_the_given_log_group(name: str, group: str) -> None:
    role = resolve(BuildLogGroupName=group).properties(name)
    statements = [
        statement
        for policy in role.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    for arn in role["ManagedPolicyArns"]:
        statements += AWS_S_OWN[arn.rpartition("/")[2]]["Document"]["Statement"]
    where = f"arn:aws:logs:eu-central-1:123456789012:log-group:{group or '/aws/imagebuilder/x'}"
    for action in ("CreateLogGroup", "CreateLogStream", "PutLogEvents"):
        assert allows(statements, f"logs:{action}", f"{where}:log-stream:11.26100.1742/1")


def test_the_execution_role_may_distribute_to_other_regions_and_accounts() -> None:
    (arn,) = resolve().properties("BuildExecutionRole")["ManagedPolicyArns"]
    statements = AWS_S_OWN[arn.rpartition("/")[2]]["Document"]["Statement"]
    there = "arn:aws:iam::210987654321:role/EC2ImageBuilderDistributionCrossAccountRole"
    assert allows(statements, "ec2:CopyImage", "arn:aws:ec2:us-west-2::image/ami-1")
    assert allows(statements, "sts:AssumeRole", there)


def test_builds_run_in_the_given_subnet_or_in_the_default_network() -> None:
    groups = "sg-0123456789abcdef0,sg-0123456789abcdef1"
    made = resolve(**{**IN_A_SUBNET, "SecurityGroupIds": groups}).properties(
        "InfrastructureConfiguration"
    )
    assert made["SubnetId"] == "subnet-0123456789abcdef0"
    assert made["SecurityGroupIds"] == groups.split(",")
    assert {"SubnetId", "SecurityGroupIds"}.isdisjoint(
        resolve().properties("InfrastructureConfiguration")
    )


def test_the_build_s_instance_is_tagged_with_its_stack() -> None:
    made = resolve(**{"AWS::StackName": "ours"}).properties("InfrastructureConfiguration")
    assert made["ResourceTags"] == {"isodrop:stack": "ours"}


def test_builds_run_on_the_given_instance_types() -> None:
    made = resolve(InstanceTypes="m7i.large,m6i.large").properties("InfrastructureConfiguration")
    assert made["InstanceTypes"] == ["m7i.large", "m6i.large"]
    assert "InstanceTypes" not in resolve().properties("InfrastructureConfiguration")
