"""What is computed once for all tests equals what botocore and moto compute each time."""

from typing import Any

import boto3
import pytest
from moto.core import serialize

from tests.support import remembered
from tests.support.harness import refuse


def said_by_moto(session: boto3.Session) -> list[dict[str, Any]]:
    """Responses of some services, in all protocols, without values that change each time."""
    ec2, states = session.client("ec2"), session.client("stepfunctions")
    dynamodb, s3 = session.client("dynamodb"), session.client("s3")
    answers: list[Any] = [
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
    return [{key: each[key] for key in each if key != "ResponseMetadata"} for each in answers]


@pytest.mark.usefixtures("ledger")
def test_motos_responses_are_the_same_without_it(
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
    first, second = said_by_moto(session), said_by_moto(session)

    monkeypatch.setattr(serialize.ResponseSerializer, "get_value", remembered.get_value)

    assert said_by_moto(session) == first == second
    assert len(str(first)) > 2000


def test_clients_share_what_they_are_made_of_but_no_handlers(session: boto3.Session) -> None:
    one, another = session.client("s3"), boto3.Session().client("s3", region_name="us-west-2")

    refuse(one, "ListBuckets")

    assert type(one) is type(another)
    with pytest.raises(one.exceptions.ClientError, match="AccessDenied"):
        one.list_buckets()
    assert another.list_buckets()["Buckets"]
    assert one.meta.region_name != another.meta.region_name
    assert one.meta.endpoint_url != another.meta.endpoint_url
