"""The template on ground that is there already: a bucket of somebody's, and a prefix in it."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import jmespath
import pytest
from botocore.exceptions import ClientError

from tests.emulator.deploy import deploy
from tests.emulator.stack import LocalStack
from tests.stack.conftest import Disc

BUCKET = "somebody-s-media"
NAME = "on-existing-ground"


@pytest.fixture(scope="module")
def before(deployed: LocalStack) -> dict[str, Any]:
    """What the bucket notifies before there is a stack: a queue, of other things."""
    s3, sqs = deployed.client("s3"), deployed.client("sqs")
    s3.create_bucket(Bucket=BUCKET)
    url = sqs.create_queue(QueueName="hears-of-invoices")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    queue = {"Id": "invoices", "QueueArn": arn["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
    queue["Filter"] = {"Key": {"FilterRules": [{"Name": "suffix", "Value": ".pdf"}]}}
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [queue]}
    )
    return notifications(deployed)


@pytest.fixture(scope="module")
def outputs(deployed: LocalStack, before: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The outputs of a stack that uses the bucket."""
    assert before
    cloudformation = deployed.client("cloudformation")
    yield deploy(
        cloudformation,
        deployed.client("s3"),
        NAME,
        {"ExistingBucketName": BUCKET, "KeyPrefix": "isos/"},
    )
    cloudformation.delete_stack(StackName=NAME)


def notifications(stack: LocalStack) -> dict[str, Any]:
    got = stack.client("s3").get_bucket_notification_configuration(Bucket=BUCKET)
    return {name: value for name, value in got.items() if name != "ResponseMetadata"}


def test_the_bucket_is_left_alone_and_the_command_adds_to_what_it_notifies(
    stack: LocalStack, before: dict[str, Any], outputs: dict[str, str]
) -> None:
    # Given
    assert notifications(stack) == before
    # When the command of the output is followed, as the AWS CLI does it
    inner = re.search(r"\$\((.*)\)", outputs["NotificationCommand"])
    assert inner
    asks = shlex.split(inner[1])
    merged = jmespath.search(asks[asks.index("--query") + 1], notifications(stack))
    stack.client("s3").put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration=merged
    )
    # Then
    assert notifications(stack) == {**before, "EventBridgeConfiguration": {}}


def test_isos_below_the_prefix_are_imported_and_others_are_nobody_s_business(
    stack: LocalStack, outputs: dict[str, str], disc: Disc
) -> None:
    # Given
    s3, states = stack.client("s3"), stack.client("stepfunctions")
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    # When
    s3.upload_file(str(disc()), BUCKET, "elsewhere.iso")
    s3.upload_file(str(disc()), BUCKET, "isos/deep/Windows 11.ISO")
    answer = stack.wait_for_answer("isos/deep/Windows 11.ISO")
    # Then
    found = states.list_executions(stateMachineArn=outputs["ImportMachineArn"])["executions"]
    told = [states.describe_execution(executionArn=each["executionArn"])["input"] for each in found]
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert answer["detail"]["metadata"]["stack"] == NAME
    assert [json.loads(each)["detail"]["object"]["key"] for each in told] == [
        "isos/deep/Windows 11.ISO"
    ]


def test_parameters_that_exclude_each_other_are_refused_before_anything_is_made(
    stack: LocalStack,
) -> None:
    with pytest.raises(ClientError, match="need SecurityGroupIds of the same VPC"):
        deploy(
            stack.client("cloudformation"),
            stack.client("s3"),
            "nowhere",
            {"SubnetId": "subnet-0123456789abcdef0"},
        )
    with pytest.raises(ClientError, match="does not exist"):
        stack.client("cloudformation").describe_stacks(StackName="nowhere")
