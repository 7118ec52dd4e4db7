"""Roles that may do what they do, and nothing else: all calls of a walk, against all policies.

One stack with all that parameters can add is walked through, every call is recorded by who made
it, and the policies are held against the calls in both directions.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop.codes import Code
from isodrop_cli import operations
from isodrop_cli.main import main
from isodrop_local.faults import LOST
from isodrop_local.iso_maker import business_editions, make_iso, server_editions
from isodrop_local.stack import REGION, LocalStack
from tests.support.policies import Call, Grant, Statement, denied, grants, listed, unused

OPERATOR = "somebody-who-operates"
LISTS = "somebody-s-lists"


@dataclass(frozen=True)
class Walk:
    """What the roles may do, and what was done as them.

    Attributes
    ----------
    statements : mapping of str to list
        By the logical id of what has them.
    calls : mapping of str to list
        Likewise.
    """

    statements: Mapping[str, list[Statement]]
    calls: Mapping[str, list[Call]]


def policies_of(stack: LocalStack) -> tuple[dict[str, list[Statement]], dict[str, str]]:
    """The statements of the stack's own roles and policies, and the roles' names."""
    iam, found = stack.client("iam"), {}
    names: dict[str, str] = {}
    resources = stack.client("cloudformation").describe_stack_resources(StackName=stack.name)
    for each in resources["StackResources"]:
        logical, physical = each["LogicalResourceId"], each["PhysicalResourceId"]
        if each["ResourceType"] == "AWS::IAM::ManagedPolicy":
            policy = iam.get_policy(PolicyArn=physical)["Policy"]
            version = iam.get_policy_version(
                PolicyArn=physical, VersionId=policy["DefaultVersionId"]
            )
            found[logical] = _statements(version["PolicyVersion"]["Document"])
            names[OPERATOR] = logical
        elif each["ResourceType"] == "AWS::IAM::Role":
            inline = iam.list_role_policies(RoleName=physical)["PolicyNames"]
            found[logical] = [
                statement
                for name in inline
                for statement in _statements(
                    iam.get_role_policy(RoleName=physical, PolicyName=name)["PolicyDocument"]
                )
            ]
            names[physical] = logical
    return found, names


def _statements(document: Any) -> list[Statement]:
    plain = json.loads(document) if isinstance(document, str) else document
    return listed(plain["Statement"])


def operator_session(stack: LocalStack) -> dict[str, str]:
    """The environment of somebody who has the operators' policy, and nothing else."""
    iam = stack.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=OPERATOR,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    iam.attach_role_policy(RoleName=OPERATOR, PolicyArn=stack.outputs["OperatorPolicyArn"])
    got = stack.client("sts").assume_role(RoleArn=role, RoleSessionName="them")["Credentials"]
    return {
        **stack.environment,
        "AWS_ACCESS_KEY_ID": got["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": got["SecretAccessKey"],
        "AWS_SESSION_TOKEN": got["SessionToken"],
    }


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack with a distribution, UEFI data and an allow-list, and a prefix in its bucket."""
    with LocalStack(wait_scale=0.001, files=[tmp_path_factory.getbasetemp()]) as stack:
        s3 = stack.client("s3")
        s3.create_bucket(Bucket=LISTS)
        s3.put_bucket_versioning(
            Bucket=LISTS, VersioningConfiguration={"Status": "Enabled"}
        )
        s3.put_object(Bucket=LISTS, Key="isos.txt", Body=b"0" * 64 + b"  other.iso\n")
        s3.put_object(Bucket=LISTS, Key="uefi.b64", Body=b"AAAA")
        stack.client("ssm").put_parameter(
            Name="/isos", Value="0" * 64 + "  other.iso", Type="String"
        )
        elsewhere = stack.client("imagebuilder").create_distribution_configuration(
            name="elsewhere",
            distributions=[{"region": "us-west-2", "amiDistributionConfiguration": {}}],
            clientToken="elsewhere",
        )["distributionConfigurationArn"]
        stack.deploy(
            {
                "KeyPrefix": "isos/",
                "DistributionConfigurationArn": elsewhere,
                "UefiDataUri": f"s3://{LISTS}/uefi.b64",
                "AllowListMode": "warn",
                "AllowListUri": f"s3://{LISTS}/isos.txt",
                "MaxBuildsPerDay": "1000",
            }
        )
        yield stack


@pytest.fixture(scope="module")
def them(started: LocalStack) -> Iterator[LocalStack]:
    """The stack, while this process is an operator."""
    before = dict(os.environ)
    os.environ |= operator_session(started)
    patience, operations.WAIT_SECONDS = operations.WAIT_SECONDS, 0.1  # type: ignore[misc] # a constant
    yield started
    operations.WAIT_SECONDS = patience  # type: ignore[misc] # likewise
    os.environ.clear()
    os.environ |= before


@pytest.fixture(scope="module")
def walk(them: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Everything that the stack does, once; and then it is deleted."""
    folder = tmp_path_factory.mktemp("walk")

    def iso(number: int, server: bool = False) -> Path:
        editions = server_editions() if server else business_editions(revision=7000 + number)
        return make_iso(folder / f"{number}.iso", editions=editions, label=f"WALK_{number}")

    stack, s3 = them, them.client("s3")

    def upload(number: int, **how: Any) -> str:
        return stack.upload(iso(number, **how), f"isos/{number}.ISO")

    def address(key: str) -> str:
        return f"s3://{stack.bucket}/{key}"

    # An import with its distribution, another of the same bytes, and one that is rejected.
    stack.wait_for_answer(first := upload(1), 60)
    stack.wait_for_answer(stack.upload(folder / "1.iso", "isos/again.iso"), 60)
    stack.wait_for_answer(upload(2, server=True), 60)
    # A request whose answer was lost; and a distribution's.
    stack.image_builder.fail_next("ImportDiskImage", code=LOST, committed=True)
    stack.wait_for_answer(upload(3), 60)
    # One that is gone before it is read.
    stack.deliver_next(0.5)
    gone = upload(4)
    for each in s3.list_object_versions(Bucket=stack.bucket, Prefix=gone)["Versions"]:
        s3.delete_object(Bucket=stack.bucket, Key=gone, VersionId=each["VersionId"])
    stack.wait_for_answer(gone, 60)
    # What the sweep does: an execution that is aborted, an upload that nobody heard of.
    stack.image_builder.hold("BUILDING")
    swept = upload(5)
    stack.wait_for(lambda: any(each["status"] == "BUILDING" for each in stack.image_builder.builds()))
    for each in stack.executions():
        if each["status"] == "RUNNING":
            stack.client("stepfunctions").stop_execution(executionArn=each["executionArn"])
    stack.image_builder.release()
    stack.deliver_next()
    upload(6)
    stack.wait_for(lambda: stack.sweep() and stack.answers(swept), 60)
    stack.wait_for(lambda: stack.sweep() and stack.answers("isos/6.ISO"), 60)
    # What operators do.
    assert main(["drop", str(iso(7)), "--key", "isos/7.iso", "--wait"]) == 0
    assert main(["list"]) == 0
    assert main(["status", address(first)]) == 0
    assert main(["retry", address(first), "--wait"]) == 0
    assert main(["inspect", str(iso(8)), "--sha256", "--stack", stack.name]) == 0
    assert main(["env"]) == 0
    stack.image_builder.hold("BUILDING")
    stack.wait_for(lambda: stack.image_builder.builds())
    running = upload(9)
    stack.wait_for(lambda: stack.image_builder.builds()[-1]["status"] == "BUILDING")
    assert main(["cancel", address(running)]) == 0
    stack.image_builder.release()
    assert stack.wait_for_answer(running, 60)["detail"]["data"]["code"] == Code.BUILD_CANCELLED
    stack.image_builder.fail_next("ImportDiskImage", code="TooManyRequestsException", times=60)
    waiting = upload(10)
    stack.wait_for(lambda: len(stack.image_builder.calls("ImportDiskImage")) > 9)
    assert main(["cancel", address(waiting)]) == 0
    assert stack.wait_for_answer(waiting, 90)["detail"]["data"]["code"] == Code.BUILD_CANCELLED
    stack.settle(60)
    statements, names = policies_of(stack)
    stack.client("cloudformation").delete_stack(StackName=stack.name)
    calls: dict[str, list[Call]] = {}
    for call in stack.authorizations():
        who = names.get(call["principal"].split("/")[1])
        if who is not None:
            calls.setdefault(who, []).append(call)
    return Walk(statements, calls)


def test_everything_that_is_used_is_granted(walk: Walk) -> None:
    for who, calls in walk.calls.items():
        assert denied(walk.statements[who], calls) == [], who


def test_everything_that_is_granted_is_used(walk: Walk) -> None:
    found = {
        (who, *grant)
        for who, statements in walk.statements.items()
        for grant in unused(statements, walk.calls.get(who, []))
    }
    print(sorted(found))
    assert found == set()
