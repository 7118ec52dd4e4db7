"""The cached values equal those that botocore and moto compute each time."""

from typing import Any

import boto3
import pytest
from moto.core import serialize

from tests.support import sdk_caches
from tests.support.harness import refuse


def moto_responses(session: boto3.Session) -> list[dict[str, Any]]:
    """Responses of some services, in all protocols, without values that change each time."""
    ec2, states = session.client("ec2"), session.client("stepfunctions")
    dynamodb, s3 = session.client("dynamodb"), session.client("s3")
    responses: list[Any] = [
        ec2.describe_images(Owners=["self"]),
        ec2.describe_regions(),
        states.list_state_machines(),
        session.client("iam").list_roles(),
        session.client("sqs").list_queues(),
        dynamodb.describe_table(TableName="ledger"),
        dynamodb.scan(TableName="ledger"),
        s3.list_objects_v2(Bucket="isodrop-upload"),
        s3.list_object_versions(Bucket="isodrop-upload"),
        s3.get_bucket_versioning(Bucket="isodrop-upload"),
    ]
    return [{key: each[key] for key in each if key != "ResponseMetadata"} for each in responses]


@pytest.mark.usefixtures("ledger")
def test_motos_responses_are_the_same_without_the_caches(
    session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.client("ec2").register_image(Name="an image", RootDeviceName="/dev/sda1")
    session.client("s3").put_object(Bucket="isodrop-upload", Key="a.iso", Body=b"an ISO")
    item: Any = {"pk": {"S": "a"}, "sk": {"S": "b"}, "more": {"L": [{"M": {"x": {"N": "1"}}}]}}
    session.client("dynamodb").put_item(TableName="ledger", Item=item)
    session.client("stepfunctions").create_state_machine(
        name="machine", definition="{}", roleArn="arn:aws:iam::123456789012:role/machine"
    )
    session.client("sqs").create_queue(QueueName="queue")
    first, second = moto_responses(session), moto_responses(session)

    monkeypatch.setattr(serialize.ResponseSerializer, "get_value", sdk_caches.get_value)

    assert moto_responses(session) == first == second
    assert len(str(first)) > 2000


def test_clients_share_their_classes_but_no_handlers(session: boto3.Session) -> None:
    one, another = session.client("s3"), boto3.Session().client("s3", region_name="us-west-2")

    refuse(one, "ListBuckets")

    assert type(one) is type(another)
    with pytest.raises(one.exceptions.ClientError, match="AccessDenied"):
        one.list_buckets()
    assert another.list_buckets()["Buckets"]
    assert one.meta.region_name != another.meta.region_name
    assert one.meta.endpoint_url != another.meta.endpoint_url
