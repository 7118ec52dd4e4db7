"""AWS in process: moto's S3, DynamoDB, EventBridge and EC2. Nothing leaves the machine."""

import os
from collections.abc import Iterator
from unittest.mock import patch

import boto3
import pytest
from moto import mock_aws

from isodrop.ledger import Ledger

ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "PATH": os.environ["PATH"],
}
BUCKET = "isodrop-upload"


@pytest.fixture
def session() -> Iterator[boto3.Session]:
    """A boto3 session in an account that exists in this process only."""
    with patch.dict(os.environ, ACCOUNT, clear=True), mock_aws():
        made = boto3.Session()
        s3 = made.client("s3")
        s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield made


@pytest.fixture
def ledger(session: boto3.Session) -> Ledger:
    """An empty ledger."""
    keys = [("pk", "HASH"), ("sk", "RANGE")]
    session.client("dynamodb").create_table(
        TableName="ledger",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],  # type: ignore[typeddict-item] # the stubs want literals
    )
    return Ledger.connect(session, "ledger")
