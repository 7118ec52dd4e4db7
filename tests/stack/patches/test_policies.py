"""The emulator allows what IAM allows, where it matters to isodrop.

The docstrings of :mod:`isodrop_local.patches.policies` have AWS's documentation of each patch.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop_local.stack import REGION, EmulatedStack

As = Callable[..., boto3.Session]
ACCOUNT_ARN = f"{REGION}:123456789012"
IMAGES = f"arn:aws:imagebuilder:{ACCOUNT_ARN}:image/*"


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatedStack]:
    with EmulatedStack(wait_scale=0.01) as started:
        yield started


@pytest.fixture
def as_role(emulator: EmulatedStack, request: pytest.FixtureRequest) -> As:
    """Assume a role with the given permissions, and no others."""

    def become(*statements: dict[str, Any]) -> boto3.Session:
        name = re.sub(r"\W", "-", request.node.name)[:64]
        role = emulator.create_role(name, *statements)
        got = emulator.client("sts").assume_role(RoleArn=role, RoleSessionName="them")[
            "Credentials"
        ]
        return boto3.Session(
            got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"], REGION
        )

    return become


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def may(action: str, resource: str = "*", condition: Any = None) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition or {}}


def error_of(call: Callable[..., Any], **given: Any) -> str | None:
    """The error's code, which is the status for a HEAD; ``None`` without an error."""
    try:
        call(**given)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


def client(emulator: EmulatedStack, session: boto3.Session, service: str) -> Any:
    return session.client(service, endpoint_url=emulator.endpoint)  # type: ignore[call-overload] # any


def test_leading_keys_are_those_of_the_request(emulator: EmulatedStack, as_role: As) -> None:
    emulator.client("dynamodb").create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    only: dict[str, Any] = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "OURS#*"}}
    only["Null"] = {"dynamodb:LeadingKeys": "false"}
    table = client(emulator, as_role(may("dynamodb:*", condition=only)), "dynamodb")
    ours, theirs = {"pk": {"S": "OURS#1"}}, {"pk": {"S": "THEIRS#OURS#1"}}
    query: dict[str, Any] = {"TableName": "kept", "KeyConditionExpression": "#k = :v"}
    query["ExpressionAttributeNames"] = {"#k": "pk"}

    for item, code in ((ours, None), (theirs, "AccessDeniedException")):
        named = {"ExpressionAttributeValues": {":v": item["pk"]}}
        assert error_of(table.put_item, TableName="kept", Item=item) == code
        assert error_of(table.get_item, TableName="kept", Key=item) == code
        assert error_of(table.delete_item, TableName="kept", Key=item) == code
        assert error_of(table.query, **query, **named) == code
        keys = {"kept": {"Keys": [ours, item] if item is theirs else [ours]}}
        assert error_of(table.batch_get_item, RequestItems=keys) == code
    assert error_of(table.scan, TableName="kept") == "AccessDeniedException"


def test_an_absent_key_is_403_to_those_who_may_not_list_it(
    emulator: EmulatedStack, as_role: As
) -> None:
    emulator.client("s3").create_bucket(Bucket="shared")
    below = {"StringLike": {"s3:prefix": "isos/*"}}
    s3 = client(emulator, as_role(may("s3:GetObject"), may("s3:ListBucket", condition=below)), "s3")

    assert error_of(s3.get_object, Bucket="shared", Key="isos/none.iso") == "NoSuchKey"
    assert error_of(s3.get_object, Bucket="shared", Key="else/none.iso") == "AccessDenied"
    assert error_of(s3.head_object, Bucket="shared", Key="isos/none.iso") == "404"
    assert error_of(s3.head_object, Bucket="shared", Key="else/none.iso") == "403"


def test_the_principal_of_a_condition_is_the_role(emulator: EmulatedStack, as_role: As) -> None:
    session = as_role(may("s3:PutObject"))
    role = "test_the_principal_of_a_condition_is_the_role"
    s3 = emulator.client("s3")
    for bucket, name in (("theirs", role), ("others", "another")):
        arn = f"arn:aws:iam::123456789012:role/{name}"
        deny: dict[str, Any] = {
            "Sid": "x",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
        }
        deny |= {"Resource": f"arn:aws:s3:::{bucket}/*"}
        deny["Condition"] = {"ArnNotEquals": {"aws:PrincipalArn": arn}}
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_policy(Bucket=bucket, Policy=document(deny))
    them = client(emulator, session, "s3")

    assert error_of(them.put_object, Bucket="theirs", Key="x", Body=b"") is None
    assert error_of(them.put_object, Bucket="others", Key="x", Body=b"") == "AccessDenied"


def test_tags_on_an_object_need_the_permission_to_tag(emulator: EmulatedStack, as_role: As) -> None:
    emulator.client("s3").create_bucket(Bucket="tagged")
    s3 = client(emulator, as_role(may("s3:PutObject")), "s3")
    put = {"Bucket": "tagged", "Key": "x", "Body": b""}

    assert error_of(s3.put_object, **put) is None
    assert error_of(s3.put_object, **put, Tagging="for=them") == "AccessDenied"


def test_tagging_an_ami_is_evaluated_for_that_ami(emulator: EmulatedStack, as_role: As) -> None:
    amis = [
        emulator.client("ec2").register_image(Name=name, RootDeviceName="/dev/sda1")["ImageId"]
        for name in ("ours", "theirs")
    ]
    ours = f"arn:aws:ec2:{REGION}::image/{amis[0]}"
    stack = {"StringEquals": {"aws:RequestTag/stack": "ours"}}
    ec2 = client(emulator, as_role(may("ec2:CreateTags", ours, stack)), "ec2")

    def tagged(ami: str, value: str) -> bool:
        tags = [{"Key": "stack", "Value": value}]
        return error_of(ec2.create_tags, Resources=[ami], Tags=tags) is None

    assert [tagged(ami, value) for ami in amis for value in ("ours", "no")] == [
        *(True, False),
        *(False, False),
    ]


LACKING = [
    "imagebuilder:TagResource",
    "imagebuilder:GetInfrastructureConfiguration",
    "imagebuilder:GetWorkflow",
    "iam:PassRole",
    "s3:GetObject",
    "s3:ListBucket",
]


@pytest.mark.parametrize("lacking", LACKING)
def test_an_import_needs_its_dependent_permissions(
    emulator: EmulatedStack, as_role: As, lacking: str
) -> None:
    rights = [may(each) for each in (*LACKING, "imagebuilder:ImportDiskImage") if each != lacking]
    builder = client(emulator, as_role(*rights), "imagebuilder")
    request = {
        "name": "any",
        "semanticVersion": "1.0.0",
        "platform": "Windows",
        "osVersion": "Microsoft Windows 11",
        "infrastructureConfigurationArn": (
            f"arn:aws:imagebuilder:{ACCOUNT_ARN}:infrastructure-configuration/any"
        ),
        "executionRole": "arn:aws:iam::123456789012:role/any",
        "uri": "s3://any/x.iso",
        "clientToken": "any",
    }

    with pytest.raises(ClientError, match=f"not authorized to perform: {lacking}"):
        builder.import_disk_image(**request)


def test_a_state_machine_is_limited_to_its_role(emulator: EmulatedStack) -> None:
    states = emulator.client("stepfunctions")
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:imagebuilder:getImage",
        "Arguments": {"ImageBuildVersionArn": IMAGES.replace("*", "any/1.0.0/1")},
        "End": True,
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Get", "States": {"Get": task}}
    ended = []
    for name, rights in (("may-not", []), ("may", [may("imagebuilder:GetImage", IMAGES)])):
        machine = states.create_state_machine(
            name=name,
            definition=json.dumps(definition),
            roleArn=emulator.create_role(name, *rights),
        )["stateMachineArn"]
        execution = states.start_execution(stateMachineArn=machine)["executionArn"]

        def over(execution: str = execution) -> Any:
            found = states.describe_execution(executionArn=execution)
            return found["status"] != "RUNNING" and found

        ended.append("AccessDenied" in emulator.wait_for(over)["error"])
    assert ended == [True, False]  # an allowed caller gets NotFound


def test_the_evaluation_of_a_callers_policies_is_recorded(
    emulator: EmulatedStack, as_role: As
) -> None:
    emulator.client("s3").create_bucket(Bucket="recorded")
    s3 = client(emulator, as_role(may("s3:ListBucket")), "s3")
    s3.list_objects_v2(Bucket="recorded", Prefix="isos/")
    error_of(s3.put_object, Bucket="recorded", Key="x", Body=b"")

    found = [
        (call["action"], call["resource"], call["context"].get("s3:prefix"), call["allowed"])
        for call in emulator.authorizations()
        if "recorded" in call["resource"]
    ]
    assert found == [
        ("s3:ListBucket", "arn:aws:s3:::recorded", "isos/", True),
        ("s3:PutObject", "arn:aws:s3:::recorded/x", None, False),
    ]


def test_the_sources_of_published_events_are_those_of_the_request(
    emulator: EmulatedStack, as_role: As
) -> None:
    only: dict[str, Any] = {"ForAllValues:StringEquals": {"events:source": "isodrop"}}
    only["Null"] = {"events:source": "false"}
    events = client(emulator, as_role(may("events:PutEvents", condition=only)), "events")

    def entry(source: str) -> dict[str, str]:
        return {"Source": source, "DetailType": "ISO Import Succeeded", "Detail": "{}"}

    both = [entry("isodrop"), entry("aws.ec2")]
    assert error_of(events.put_events, Entries=[entry("isodrop")]) is None
    assert error_of(events.put_events, Entries=both) == "AccessDeniedException"


def test_a_wildcard_stands_for_line_breaks_too(emulator: EmulatedStack, as_role: As) -> None:
    emulator.client("s3").create_bucket(Bucket="broken-lines")
    emulator.client("s3").put_object(Bucket="broken-lines", Key="a\nred.iso", Body=b"1")
    s3 = client(emulator, as_role(may("s3:GetObject", "arn:aws:s3:::broken-lines/*.iso")), "s3")

    assert error_of(s3.get_object, Bucket="broken-lines", Key="a\nred.iso") is None
