"""AWS in process: moto's S3, DynamoDB, EventBridge and EC2. Nothing leaves the machine."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import botocore.session
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from moto import mock_aws
from samtranslator.yaml_helper import yaml_parse

from isodrop.aws.ledger import Ledger
from isodrop_local.s3_multipart import Behavior
from tests.support import sdk_caches
from tests.support.moto_s3 import real_multipart

sdk_caches.apply()

ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "PATH": os.environ["PATH"],
    # Otherwise moto's EC2 creates a thousand public images for each test.
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
}
BUCKET = "isodrop-upload"
STAGING = "isodrop-staging"
TEMPLATE = Path(__file__).parents[2] / "template.yaml"
LEDGER_PROPERTIES = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")


@pytest.fixture(scope="session")
def models() -> Loader:
    """The services' models, read once, because that takes longer than most calls."""
    loader: Loader = botocore.session.get_session().get_component("data_loader")
    return loader


@pytest.fixture
def s3_behavior() -> Iterator[Behavior]:
    """Variants of S3's behavior with multipart uploads; the default is that of S3."""
    with real_multipart() as behavior:
        yield behavior


@pytest.fixture
def session(models: Loader, s3_behavior: Behavior) -> Iterator[boto3.Session]:  # noqa: ARG001
    """A boto3 session in an account that exists in this process only."""
    with patch.dict(os.environ, ACCOUNT, clear=True), mock_aws():
        inner = botocore.session.get_session()
        inner.register_component("data_loader", models)
        made = boto3.Session(botocore_session=inner)
        s3 = made.client("s3")
        s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        s3.create_bucket(
            Bucket=STAGING, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield made


@pytest.fixture
def ledger(session: boto3.Session) -> Ledger:
    """An empty ledger, created as in the template."""
    session.client("dynamodb").create_table(TableName="ledger", **ledger_properties())
    return Ledger.connect(session, "ledger")


@cache
def ledger_properties() -> Any:
    """Read the ledger's properties from the template."""
    as_deployed = yaml_parse(TEMPLATE.read_text())["Resources"]["LedgerTable"]["Properties"]
    return {name: as_deployed[name] for name in LEDGER_PROPERTIES}


# Operations for operators that moto lacks


@pytest.fixture
def refused() -> dict[str, str]:
    """The operations that AWS refuses, with the error codes."""
    return {}


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment variables of ImportIso."""
    return {
        "STACK_NAME": "isodrop",
        "LEDGER_TABLE": "ledger",
        "STAGING_BUCKET": "staging",
        "INFRASTRUCTURE_CONFIGURATION_ARN": "arn:infrastructure",
        "SUPPORTED_WINDOWS_BUILDS": "26100",
        "MAX_CONSECUTIVE_FAILURES": "2",
    }


@pytest.fixture
def stacks(
    monkeypatch: pytest.MonkeyPatch, refused: dict[str, str], environment: dict[str, str]
) -> dict[str, dict[str, str]]:
    """The outputs of stacks, by name; moto's CloudFormation needs too many packages."""
    found: dict[str, dict[str, str]] = {}
    request = BaseClient._make_api_call  # type: ignore[attr-defined] # every call goes through it

    def call(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation in refused:
            raise ClientError({"Error": {"Code": refused[operation]}}, operation)
        if operation == "GetFunctionConfiguration":
            return {"Environment": {"Variables": environment}}
        if operation != "DescribeStacks":
            return request(self, operation, arguments)
        outputs = found.get(arguments["StackName"])
        if outputs is None:
            raise ClientError({"Error": {"Code": "ValidationError"}}, operation)
        listed = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": listed}]}

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    return found
