"""The template with existing resources: a bucket, a prefix, and a distribution configuration."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import jmespath
import pytest
from botocore.exceptions import ClientError

from isodrop_cli.main import main
from isodrop_local.deploy import deploy
from isodrop_local.faults import LOST_RESPONSE
from isodrop_local.stack import ACCOUNT, PARAMETERS, REGION, EmulatedStack
from tests.stack.conftest import MakeIso

BUCKET = "existing-isos"
NAME = "on-existing-ground"


@pytest.fixture(scope="module")
def before(deployed: EmulatedStack) -> dict[str, Any]:
    """The bucket's notifications before there is a stack: to a queue, of other events."""
    s3, sqs = deployed.client("s3"), deployed.client("sqs")
    s3.create_bucket(Bucket=BUCKET)
    url = sqs.create_queue(QueueName="invoice-events")["QueueUrl"]
    # S3 refuses queues that it may not send to.
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}}
    statement |= {"Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    queue = {"Id": "invoices", "QueueArn": arn["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
    queue["Filter"] = {"Key": {"FilterRules": [{"Name": "suffix", "Value": ".pdf"}]}}
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [queue]}
    )
    return notifications(deployed)


@pytest.fixture(scope="module")
def elsewhere(deployed: EmulatedStack) -> str:
    """The ARN of a distribution configuration, with another Region and another account."""
    made = deployed.client("imagebuilder").create_distribution_configuration(
        name="elsewhere",
        distributions=[
            {
                "region": "us-west-2",
                "amiDistributionConfiguration": {"targetAccountIds": [ACCOUNT, "210987654321"]},
            }
        ],
        clientToken="elsewhere",
    )
    return str(made["distributionConfigurationArn"])


@pytest.fixture(scope="module")
def outputs(
    deployed: EmulatedStack, before: dict[str, Any], elsewhere: str
) -> Iterator[dict[str, str]]:
    """The outputs of a stack that uses the bucket, distributes images and deletes old ones."""
    assert before
    cloudformation = deployed.client("cloudformation")
    yield deploy(
        cloudformation,
        deployed.client("s3"),
        NAME,
        {
            **PARAMETERS,
            "ExistingBucketName": BUCKET,
            "KeyPrefix": "isos/",
            "DistributionConfigurationArn": elsewhere,
            "ImageExpirationDays": "90",
        },
    )
    cloudformation.delete_stack(StackName=NAME)


def notifications(stack: EmulatedStack) -> dict[str, Any]:
    got = stack.client("s3").get_bucket_notification_configuration(Bucket=BUCKET)
    return {name: value for name, value in got.items() if name != "ResponseMetadata"}


def test_the_bucket_is_unchanged_and_the_command_adds_notifications(
    stack: EmulatedStack, before: dict[str, Any], outputs: dict[str, str]
) -> None:
    # Given
    assert notifications(stack) == before
    # When the command of the output is run, as by the AWS CLI
    inner = re.search(r"\$\((.*)\)", outputs["EnableEventBridgeCommand"])
    assert inner
    arguments = shlex.split(inner[1])
    merged = jmespath.search(arguments[arguments.index("--query") + 1], notifications(stack))
    stack.client("s3").put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration=merged
    )
    # Then
    assert notifications(stack) == {**before, "EventBridgeConfiguration": {}}


def test_only_isos_below_the_prefix_are_imported(
    stack: EmulatedStack, outputs: dict[str, str], iso: MakeIso
) -> None:
    # Given
    s3, states = stack.client("s3"), stack.client("stepfunctions")
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    # When
    s3.upload_file(str(iso()), BUCKET, "elsewhere.iso")
    s3.put_object(Bucket=BUCKET, Key="isos/Windows.iso.sha256", Body=b"5ca1ab1e")
    s3.upload_file(str(iso()), BUCKET, "isos/deep/Windows 11.ISO")
    answer = stack.wait_for_answer("isos/deep/Windows 11.ISO", timeout=60)
    # Then
    found = states.list_executions(stateMachineArn=outputs["ImportStateMachineArn"])["executions"]
    responses = [
        states.describe_execution(executionArn=each["executionArn"])["input"] for each in found
    ]
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert answer["detail"]["metadata"]["stack"] == NAME
    assert [json.loads(each)["detail"]["object"]["key"] for each in responses] == [
        "isos/deep/Windows 11.ISO"
    ]


def test_an_object_that_is_not_an_iso_ends_without_an_answer(
    stack: EmulatedStack, outputs: dict[str, str]
) -> None:
    # Given
    s3, states = stack.client("s3"), stack.client("stepfunctions")
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    published = len(stack.events())
    # When
    s3.put_object(Bucket=BUCKET, Key="isos/README.Pluto", Body=b"a planet")

    def ended() -> str | None:
        listed = states.list_executions(stateMachineArn=outputs["ImportStateMachineArn"])
        for each in listed["executions"]:
            response = states.describe_execution(executionArn=each["executionArn"])
            if "README.Pluto" in response["input"] and response["status"] != "RUNNING":
                return str(response["status"])
        return None

    # Then
    assert stack.wait_for(ended) == "SUCCEEDED"
    assert len(stack.events()) == published
    items = stack.client("dynamodb").scan(TableName=outputs["LedgerTableName"])["Items"]
    assert "README.Pluto" not in json.dumps(items)


def test_an_image_is_distributed_once_before_its_answer(
    stack: EmulatedStack, outputs: dict[str, str], iso: MakeIso
) -> None:
    # Given
    assert outputs["UploadUri"] == f"s3://{BUCKET}/isos/"
    published = len(stack.events())
    stack.fail_next(
        "imagebuilder", "DistributeImage", code=LOST_RESPONSE, committed=True, kill_caller=True
    )
    stack.image_builder.hold("DISTRIBUTING", kind="distribution")

    def distribution_arns() -> list[str]:
        """The ARNs in Progressed events, apart from builds' own."""
        datas = [event["detail"]["data"] for event in stack.events()[published:]]
        return [arn for data in datas if (arn := data.get("distributionArn"))]

    # When
    stack.client("s3").upload_file(str(iso()), BUCKET, "isos/far.iso")
    stack.wait_for(distribution_arns, timeout=60)
    assert not stack.answers("isos/far.iso")
    stack.image_builder.release()
    answer = stack.wait_for_answer("isos/far.iso", timeout=60)
    # Then
    data = answer["detail"]["data"]
    made = [
        each
        for each in stack.image_builder.builds("distribution")
        if each["source"] == data["buildArn"]
    ]
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert [(ami["region"], ami["account"]) for ami in data["amis"]] == [
        (REGION, ACCOUNT),
        ("us-west-2", ACCOUNT),
        ("us-west-2", "210987654321"),
    ]
    assert [each["arn"] for each in made] == [data["distributionArn"]]
    assert set(distribution_arns()) == {data["distributionArn"]}
    assert stack.faults_left() == 0


def test_old_images_of_this_stack_are_deleted_by_a_policy(
    stack: EmulatedStack, outputs: dict[str, str]
) -> None:
    assert outputs
    imagebuilder = stack.client("imagebuilder")
    (listed,) = imagebuilder.list_lifecycle_policies()["lifecyclePolicySummaryList"]
    policy = imagebuilder.get_lifecycle_policy(lifecyclePolicyArn=listed["arn"])["lifecyclePolicy"]
    assert policy["resourceSelection"] == {"tagMap": {"isodrop:stack": NAME}}
    assert policy["policyDetails"][0]["filter"] == {
        "type": "AGE",
        "value": 90,
        "unit": "DAYS",
        "retainAtLeast": 3,
    }


def test_doctor_reports_where_images_go_and_lost_notifications(
    stack: EmulatedStack,
    outputs: dict[str, str],
    elsewhere: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given
    assert outputs
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")

    def found() -> dict[str, str]:
        main(["doctor", "--stack", NAME, "--json"])
        checks = json.loads(capsys.readouterr().out)["checks"]
        return {each["check"]: f"{each['level']} {each['message']}" for each in checks}

    # When
    healthy = found()
    stack.client("imagebuilder").delete_distribution_configuration(
        distributionConfigurationArn=elsewhere
    )
    # Then
    assert healthy["distribution"] == "ok images are distributed to us-west-2 by elsewhere"
    assert found()["distribution"].startswith("error")
    assert elsewhere in found()["distribution"]


def test_exclusive_parameters_are_refused_before_anything_is_created(
    stack: EmulatedStack,
) -> None:
    with pytest.raises(ClientError, match="SubnetId requires SecurityGroupIds, with at least one"):
        deploy(
            stack.client("cloudformation"),
            stack.client("s3"),
            "nowhere",
            {"SubnetId": "subnet-0123456789abcdef0"},
        )
    with pytest.raises(ClientError, match="does not exist"):
        stack.client("cloudformation").describe_stacks(StackName="nowhere")
