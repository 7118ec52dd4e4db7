"""The checks of the upload bucket and its key."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from isodrop_cli.doctor.results import Level
from tests.support.doctor_responses import (
    ACCOUNT,
    ARN,
    KEY,
    REGION,
    STACK,
    context,
    refusal,
    run_check,
    with_parameters,
)


@pytest.mark.parametrize(
    "check", ["bucket", "event-notifications", "versioning", "can-read-upload"]
)
def test_a_partly_created_stack_lacks_its_bucket(check: str) -> None:
    half = {**STACK, "StackStatus": "ROLLBACK_COMPLETE", "Outputs": []}
    result = run_check(check, context(half))
    assert result.level is Level.ERROR
    assert result.message == "the stack has no output UploadBucketName"


def owned_by_another(parameters: Mapping[str, Any]) -> Any:
    owner = parameters.get("ExpectedBucketOwner")
    return refusal("403", 403) if owner else {"BucketRegion": REGION}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (owned_by_another, f"uploads does not belong to the account {ACCOUNT}"),
        ({"BucketRegion": "us-east-1"}, "uploads is in us-east-1, the stack in eu-central-1"),
        (refusal("404", 404), "there is no bucket uploads"),
    ],
)
def test_a_bucket_that_image_builder_refuses_is_an_error(answer: Any, words: str) -> None:
    result = run_check("bucket", context(HeadBucket=answer))
    assert result.level is Level.ERROR
    assert words in result.message


def test_the_remedy_keeps_other_notifications() -> None:
    kept = {"TopicConfigurations": [{"TopicArn": "t", "Events": ["s3:ObjectCreated:*"]}]}
    answer = {**kept, "ResponseMetadata": {}}
    remedy = run_check(
        "event-notifications", context(GetBucketNotificationConfiguration=answer)
    ).remedy
    assert remedy is not None
    assert json.dumps({**kept, "EventBridgeConfiguration": {}}) in remedy


def encrypted(key: str | None) -> dict[str, Any]:
    chosen = {"SSEAlgorithm": "aws:kms"} | ({"KMSMasterKeyID": key} if key else {})
    rule = {"ApplyServerSideEncryptionByDefault": chosen}
    return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}


@pytest.mark.parametrize(
    ("key", "parameter", "level"),
    [
        (None, "", Level.OK),
        (ARN.format("kms", "alias/aws/s3"), "", Level.OK),
        (KEY, KEY, Level.OK),
        ("1b2c3d4e", KEY, Level.OK),
        (KEY, "", Level.ERROR),
        (ARN.format("kms", "key/another"), KEY, Level.ERROR),
    ],
)
def test_the_stack_must_know_a_buckets_key_unless_aws_owns_it(
    key: str | None, parameter: str, level: Level
) -> None:
    at = context(with_parameters(KmsKeyArn=parameter), GetBucketEncryption=encrypted(key))
    assert run_check("encryption", at).level is level


def key_policy(root: bool, *services: str) -> dict[str, Any]:
    allow: list[Any] = [
        {"Effect": "Allow", "Action": "kms:*", "Principal": {"Service": each}} for each in services
    ]
    if root:
        owner = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        allow.append({"Effect": "Allow", "Action": "kms:*", "Principal": owner})
    return {"Policy": json.dumps({"Statement": allow})}


LOGS, EVENTS = f"logs.{REGION}.amazonaws.com", "events.amazonaws.com"


@pytest.mark.parametrize(
    ("state", "policy", "level", "words"),
    [
        ("Enabled", key_policy(True, LOGS, EVENTS), Level.OK, "enabled"),
        ("Enabled", key_policy(False, LOGS, EVENTS), Level.WARNING, "does not enable IAM policies"),
        ("Enabled", key_policy(True, EVENTS), Level.WARNING, f"does not name {LOGS}"),
        ("Disabled", {}, Level.ERROR, "is Disabled"),
        ("PendingDeletion", {}, Level.ERROR, "is PendingDeletion"),
    ],
)
def test_the_state_and_policy_of_a_customer_key_are_checked(
    state: str, policy: Any, level: Level, words: str
) -> None:
    at = context(
        with_parameters(KmsKeyArn=KEY),
        DescribeKey={"KeyMetadata": {"KeyState": state}},
        GetKeyPolicy=policy,
    )
    result = run_check("kms-key", at)
    assert result.level is level
    assert words in result.message
