"""The roles may do what they do, and nothing else: all calls of a walk, against all policies.

One stack with all optional resources is used in every way. Each call is recorded with its caller,
and calls and policies are compared in both directions.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop.codes import Code
from isodrop.domain.content import staging_key
from isodrop_cli import operations
from isodrop_cli.main import main
from isodrop_local.faults import LOST_RESPONSE
from isodrop_local.iso_maker import business_editions, make_iso, server_editions
from isodrop_local.stack import EmulatedStack, StackError
from tests.support.policies import (
    Call,
    Grant,
    Statement,
    allows,
    grant_of,
    granted,
    listed,
    reference,
)

FUNCTIONS = ("ImportIsoRole", "ReportBuildRole", "SweepRole", "EmptyStagingBucketRole")
PLAYED_BY_AWS = {
    "BuildInstanceRole": "the build's instance is not there",
    "BuildExecutionRole": "Image Builder's own work is not done in its name here",
}
"""Roles that nobody acts as on one machine."""
NOT_WALKED: dict[tuple[str, str], str] = {
    **{
        (who, action): "Lambda does it, and there is none here"
        for who in FUNCTIONS
        for action in (
            "logs:CreateLogStream",
            "logs:PutLogEvents",
            "xray:PutTraceSegments",
            "xray:PutTelemetryRecords",
        )
    },
    **{
        ("ImportStateMachineRole", action): "Step Functions does it, as its logging asks for"
        for action in (
            "logs:CreateLogDelivery",
            "logs:CreateLogStream",
            "logs:GetLogDelivery",
            "logs:UpdateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:ListLogDeliveries",
            "logs:PutLogEvents",
            "logs:PutResourcePolicy",
            "logs:DescribeResourcePolicies",
            "logs:DescribeLogGroups",
            "xray:PutTraceSegments",
            "xray:PutTelemetryRecords",
            "xray:GetSamplingRules",
            "xray:GetSamplingTargets",
        )
    },
    **{
        (who, "s3:AbortMultipartUpload"): "where a copy is given up halfway"
        for who in ("ImportIsoRole", "ReportBuildRole")
    },
    ("OperatorPolicy", "s3:ListMultipartUploadParts"): "to go on with an upload of many parts",
}
"""What a role needs where the walk does not come by."""
OPERATOR = "somebody-who-operates"
LISTS = "somebody-s-lists"


@dataclass(frozen=True)
class Walk:
    """The roles' policies, and the calls that were made with the roles.

    Attributes
    ----------
    statements : mapping of str to list
        By the logical id of the role or policy.
    calls : mapping of str to list
        Likewise.
    """

    statements: Mapping[str, list[Statement]]
    calls: Mapping[str, list[Call]]


def policies_of(stack: EmulatedStack) -> tuple[dict[str, list[Statement]], dict[str, str]]:
    """The statements of the stack's roles and policies, and the roles' names."""
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


def operator_session(stack: EmulatedStack, name: str) -> dict[str, str]:
    """The environment of a role that has only the operators' policy."""
    iam = stack.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=stack.outputs["OperatorPolicyArn"])
    got = stack.client("sts").assume_role(RoleArn=role, RoleSessionName="them")["Credentials"]
    return {
        **stack.environment,
        "AWS_ACCESS_KEY_ID": got["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": got["SecretAccessKey"],
        "AWS_SESSION_TOKEN": got["SessionToken"],
    }


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedStack]:
    """A stack with a distribution, UEFI data and an allow-list, and a prefix in its bucket."""
    with EmulatedStack(wait_scale=0.001, files=[tmp_path_factory.getbasetemp()]) as stack:
        s3 = stack.client("s3")
        s3.create_bucket(Bucket=LISTS)
        s3.put_bucket_versioning(Bucket=LISTS, VersioningConfiguration={"Status": "Enabled"})
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
def them(started: EmulatedStack) -> Iterator[EmulatedStack]:
    """The stack, while this process is an operator."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in operator_session(started, OPERATOR).items():
            patch.setenv(name, value)
        patch.setattr(operations, "WAIT_SECONDS", 0.1)
        yield started


@dataclass(frozen=True)
class Walker:
    """The test of the roles: uploads as the account, and operates as an operator."""

    stack: EmulatedStack
    folder: Path

    def iso(self, number: int) -> Path:
        editions = business_editions(revision=7000 + number)
        path = self.folder / f"{number}.iso"
        return make_iso(path, editions=editions, label=f"WALK_{number}")

    def upload(self, number: int) -> str:
        return self.stack.upload(self.iso(number), f"isos/{number}.ISO")

    def code(self, key: str) -> Any:
        return self.stack.wait_for_answer(key, 90)["detail"]["data"].get("code")

    def delete(self, key: str) -> None:
        s3, bucket = self.stack.client("s3"), self.stack.bucket
        for each in s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]:
            s3.delete_object(Bucket=bucket, Key=key, VersionId=each["VersionId"])

    def upload_and_hold(self, *numbers: int) -> list[str]:
        """Upload an ISO, and keep its build from ending."""
        builder = self.stack.image_builder
        builder.hold("BUILDING")
        before = len(builder.builds())
        keys = [self.upload(number) for number in numbers]
        self.stack.wait_for(lambda: len(builder.builds()) == before + len(keys), 60)
        return keys

    def import_isos(self) -> None:
        """Import an ISO, the same bytes again, and one with lost responses; reject two."""
        builder = self.stack.image_builder
        assert self.code(self.upload(1)) is None
        again = self.stack.upload(self.folder / "1.iso", "isos/again.iso")
        assert self.code(again) is None
        for operation in ("ImportDiskImage", "DistributeImage"):
            builder.fail_next(operation, code=LOST_RESPONSE, committed=True, kill_caller=True)
        # And one that is killed while it copies: the next try lists the parts.
        self.stack.fail_next(
            "s3", "UploadPartCopy", code=LOST_RESPONSE, committed=True, kill_caller=True
        )
        assert self.code(self.upload(2)) is None
        server = make_iso(self.folder / "server.iso", editions=server_editions())
        assert self.code(self.stack.upload(server, "isos/server.iso")) == Code.SERVER_ISO
        self.stack.deliver_next(0.5)
        gone = self.upload(3)
        self.delete(gone)
        assert self.code(gone) == Code.OBJECT_GONE

    def sweep(self) -> None:
        """Answer aborted runs, also of a deleted object; start an upload without an event."""
        swept, swept_and_gone = self.upload_and_hold(4, 5)
        for each in self.stack.executions():
            if each["status"] == "RUNNING":
                self.stack.client("stepfunctions").stop_execution(executionArn=each["executionArn"])
        self.delete(swept_and_gone)
        self.stack.image_builder.release()
        self.stack.deliver_next()
        undelivered = self.upload(6)
        answered_long_ago = self.stack.answers("isos/1.ISO")[0]["detail"]["metadata"]["uploadId"]
        self.leave_a_copy(staging_key(answered_long_ago, 0))
        self.stack.image_builder.fail_next(
            "DistributeImage", code=LOST_RESPONSE, committed=True, kill_caller=True
        )

        def answered() -> bool:
            with suppress(StackError):  # it is killed once
                self.stack.sweep()
            return all(map(self.stack.answers, (swept, swept_and_gone, undelivered)))

        self.stack.wait_for(answered, 90)

    def leave_a_copy(self, key: str) -> None:
        """Leave the parts of an abandoned copy."""
        staging = self.stack.outputs["StagingBucketName"]
        self.stack.client("s3").create_multipart_upload(Bucket=staging, Key=key)

    def operate(self) -> None:
        """Run the operators' commands."""
        first = "isos/1.ISO"
        for command in (
            ["upload", str(self.iso(7)), "--tag", "for=them"],
            ["list"],
            ["status", first],
            ["retry", first, "--wait"],
            ["inspect", str(self.iso(8)), "--sha256", "--stack", self.stack.name],
            ["env"],
        ):
            assert main(command) == 0, command
        (running,) = self.upload_and_hold(9)
        assert main(["cancel", running]) == 0
        self.stack.image_builder.release()
        assert self.code(running) == Code.BUILD_CANCELLED
        self.stack.image_builder.fail_next(
            "ImportDiskImage", code="TooManyRequestsException", times=60
        )
        before = len(self.stack.image_builder.calls("ImportDiskImage"))
        waiting = self.upload(10)
        calls = self.stack.image_builder.calls
        self.stack.wait_for(lambda: len(calls("ImportDiskImage")) > before, 60)
        assert main(["cancel", waiting]) == 0
        assert self.code(waiting) == Code.BUILD_CANCELLED

    def remove(self) -> None:
        """Delete the stack while its bucket is not empty."""
        s3, staging = self.stack.client("s3"), self.stack.outputs["StagingBucketName"]
        self.leave_a_copy("unfinished.iso")
        s3.put_object(Bucket=staging, Key="left.iso", Body=b"")
        self.stack.client("cloudformation").delete_stack(StackName=self.stack.name)
        self.stack.wait_for(
            lambda: staging not in {each["Name"] for each in s3.list_buckets()["Buckets"]}
        )


@pytest.fixture(scope="module")
def walk(them: EmulatedStack, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Do once everything that the stack does; then delete it."""
    walker = Walker(them, tmp_path_factory.mktemp("walk"))
    walker.import_isos()
    walker.sweep()
    walker.operate()
    them.settle(60)
    statements, names = policies_of(them)
    walker.remove()
    calls: dict[str, list[Call]] = {}
    for call in them.authorizations():
        who = names.get(call["principal"].split("/")[1])
        if who is not None:
            calls.setdefault(who, []).append(call)
    return Walk(statements, calls)


@pytest.fixture(scope="module")
def theirs(them: EmulatedStack) -> boto3.Session:
    """A session of an operator, outside of the walk, for forbidden calls."""
    keys = operator_session(them, "somebody-who-tries")
    return boto3.Session(
        keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"]
    )


def is_denied(call: Callable[..., Any], **given: Any) -> bool:
    """Whether a call is denied."""
    try:
        call(**given)
    except ClientError as error:
        return error.response["Error"]["Code"].startswith("AccessDenied")
    return False


@pytest.mark.parametrize("partition", ["UPLOAD#x", "ATTEMPTS#x", "IMAGE#x", "BUILDS", "XCANCEL#"])
def test_operators_write_only_cancellations(
    them: EmulatedStack, theirs: boto3.Session, partition: str
) -> None:
    table = theirs.resource("dynamodb").Table(them.outputs["LedgerTableName"])
    key = {"pk": partition, "sk": "RUN#000000"}
    put = {"Put": {"TableName": table.name, "Item": key}}
    cancellation = {"Put": {"TableName": table.name, "Item": key | {"pk": "CANCEL#x"}}}

    assert not is_denied(table.put_item, Item=key | {"pk": "CANCEL#x"})
    assert is_denied(table.put_item, Item=key)
    assert is_denied(table.delete_item, Key=key | {"pk": "CANCEL#x"})
    assert is_denied(
        table.update_item,
        Key=key,
        UpdateExpression="SET answer = :forged",
        ExpressionAttributeValues={":forged": "{}"},
    )
    client = table.meta.client
    assert is_denied(client.transact_write_items, TransactItems=[cancellation, put])
    requests = {table.name: [{"PutRequest": {"Item": key}}]}
    assert is_denied(client.batch_write_item, RequestItems=requests)


def test_operators_cancel_no_build_of_others(them: EmulatedStack, theirs: boto3.Session) -> None:
    them.client("s3").put_object(Bucket=LISTS, Key="theirs.iso", Body=b"")
    them.image_builder.hold("BUILDING")
    foreign = them.client("imagebuilder").import_disk_image(
        name="somebody-s",
        semanticVersion="1.0.0",
        platform="Windows",
        osVersion="Microsoft Windows 11",
        infrastructureConfigurationArn=them.outputs["InfrastructureConfigurationArn"],
        executionRole="arn:aws:iam::123456789012:role/theirs",
        uri=f"s3://{LISTS}/theirs.iso",
        clientToken="theirs",
        tags={"isodrop:stack": "another"},
    )["imageBuildVersionArn"]
    cancel = theirs.client("imagebuilder").cancel_image_creation

    refused = is_denied(cancel, imageBuildVersionArn=foreign, clientToken="now")

    them.image_builder.release()
    assert refused
    assert not them.image_builder.calls("CancelImageCreation")


def test_operators_list_no_other_folder(them: EmulatedStack, theirs: boto3.Session) -> None:
    s3 = theirs.client("s3")

    assert not is_denied(s3.list_objects_v2, Bucket=them.bucket, Prefix="isos/")
    for prefix in ({}, {"Prefix": ""}, {"Prefix": "payroll/"}, {"Prefix": "isos"}):
        assert is_denied(s3.list_objects_v2, Bucket=them.bucket, **prefix)
    assert is_denied(s3.get_object, Bucket=them.bucket, Key="isos/payroll.xlsx")
    assert is_denied(s3.put_object, Bucket=them.bucket, Key="payroll/1.iso", Body=b"")


@pytest.mark.parametrize("who", ["ImportIsoRole", "ReportBuildRole", "SweepRole"])
def test_no_function_lists_another_folder(walk: Walk, who: str) -> None:
    listing = next(
        call
        for call in [*walk.calls["SweepRole"], *walk.calls["ImportIsoRole"]]
        if call["action"] in {"s3:ListBucket", "s3:ListBucketVersions"}
        and str(call["context"].get("s3:prefix", "")).startswith("isos/")
    )
    for action in ("s3:ListBucket", "s3:ListBucketVersions"):
        for prefix in ({"s3:prefix": "payroll/"}, {"s3:prefix": ""}, {}):
            context = {
                key: value for key, value in listing["context"].items() if key != "s3:prefix"
            }
            call = {**listing, "action": action, "context": {**context, **prefix}}
            assert not allows(walk.statements[who], call)


# In both directions


def wrong(who: str, grants: list[Grant], calls: list[Call]) -> list[str]:
    """Describe what is missing or unused in a policy, given the calls; a sentence each."""
    allowed = frozenset().union(*(grant.calls for grant in grants))
    actions = {grant.action for grant in grants}
    idle = {grant.action for grant in grants if not grant.calls}
    excused = {action for role, action in NOT_WALKED if role == who}
    return [
        *(
            f"{call['action']} on {call['resource']} is used, and not granted"
            for number, call in enumerate(calls)
            if number not in allowed
        ),
        *(f"{action} is granted, and not used" for action in sorted(idle - excused)),
        *(f"{action} is excused, and not granted" for action in sorted(excused - actions)),
        *(f"{action} is excused, and used" for action in sorted(excused & actions - idle)),
    ]


def test_roles_may_do_exactly_what_they_do(walk: Walk) -> None:
    assert walk.calls.keys() == walk.statements.keys() - PLAYED_BY_AWS.keys()
    found = {
        who: wrong(who, granted(walk.statements[who], calls), calls)
        for who, calls in walk.calls.items()
    }
    assert not any(found.values()), found


@pytest.mark.parametrize(
    "who",
    ["ImportIsoRole", "ReportBuildRole", "SweepRole", "ImportStateMachineRole", "OperatorPolicy"],
)
def test_any_action_removed_or_added_is_found(walk: Walk, who: str) -> None:
    statements, calls = walk.statements[who], walk.calls[who]
    grants = granted(statements, calls)
    for number, grant in enumerate(grants):
        without = [*grants[:number], *grants[number + 1 :]]
        assert wrong(who, without, calls), f"without {grant.action}"
    for statement in statements:
        for action in never_used(statement, grants):
            more = [*grants, grant_of(statement, action, calls)]
            assert wrong(who, more, calls), f"{statement.get('Sid')} with {action}"


def never_used(statement: Statement, grants: list[Grant]) -> list[str]:
    """All actions of a statement's service apart from the granted ones."""
    service = listed(statement["Action"])[0].partition(":")[0]
    known = {f"{service}:{name}" for name in reference()[service]["privileges"]}
    return sorted(known - {grant.action for grant in grants})
