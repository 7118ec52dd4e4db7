"""Checks of the buckets: ownership, notifications, versioning, encryption, policies."""

import json
from typing import Final

from isodrop_cli.doctor.context import CheckContext
from isodrop_cli.doctor.policies import covers, principals, statements
from isodrop_cli.doctor.results import (
    CheckResult,
    CheckSkippedError,
    NotFoundError,
    failed,
    passed,
    warned,
)

_KMS: Final = ("aws:kms", "aws:kms:dsse")
_DIRECTORY: Final = "--x-s3"
_AWS_MANAGED: Final = ":alias/aws/"


def bucket(context: CheckContext) -> CheckResult:
    """Check that the bucket is in the stack's account and Region."""
    name = context.bucket
    if name.endswith(_DIRECTORY):
        return failed(
            f"{name} is a directory bucket: it supports neither versioning nor event notifications",
            "deploy with another ExistingBucketName",
        )
    elsewhere = "use a bucket of this account: deploy with another ExistingBucketName"
    try:
        response = context.call(
            "s3", "HeadBucket", Bucket=name, ExpectedBucketOwner=context.account
        )
    except NotFoundError:
        return failed(
            f"there is no bucket {name}",
            f"{context.command('s3', 'mb', f's3://{name}')}, or deploy with another"
            " ExistingBucketName",
        )
    except CheckSkippedError as error:
        if error.permission is None:
            raise
        # S3 returns 403 both for another account's bucket and for a missing permission.
        context.call("s3", "HeadBucket", Bucket=name)
        return failed(f"{name} does not belong to the account {context.account}", elsewhere)
    region = response.get("BucketRegion", context.region)
    if region != context.region:
        return failed(
            f"{name} is in {region}, the stack in {context.region}; its events do not reach the"
            " stack",
            f"deploy the stack in {region}, or with a bucket in {context.region}",
        )
    return passed(f"{name} exists in {region}")


def notification(context: CheckContext) -> CheckResult:
    """Check that the bucket sends events to EventBridge; otherwise only the sweep finds uploads."""
    response = context.call("s3", "GetBucketNotificationConfiguration", Bucket=context.bucket)
    settings = {name: value for name, value in response.items() if name != "ResponseMetadata"}
    if "EventBridgeConfiguration" in settings:
        return passed("the bucket sends events to EventBridge")
    return failed(
        "the bucket does not send events to EventBridge",
        context.command(
            *("s3api", "put-bucket-notification-configuration", "--bucket", context.bucket),
            # Otherwise S3 sends a test message to each destination, and one failure rejects all.
            "--skip-destination-validation",
            *(
                "--notification-configuration",
                json.dumps({**settings, "EventBridgeConfiguration": {}}),
            ),
        ),
    )


def versioning(context: CheckContext) -> CheckResult:
    """Check versioning: status, watch, retry and cancel need version ids."""
    status = context.call("s3", "GetBucketVersioning", Bucket=context.bucket).get("Status", "off")
    if status == "Enabled":
        return passed("versioning is enabled for the bucket")
    return warned(
        f"the bucket's versioning is {status.lower()}: isodrop status, watch, retry and cancel need"
        " version ids",
        context.command(
            *("s3api", "put-bucket-versioning", "--bucket", context.bucket),
            *("--versioning-configuration", "Status=Enabled"),
        ),
    )


def staging(context: CheckContext) -> CheckResult:
    """Check the staging bucket: whoever can write to it decides what is imported."""
    name = context.output("StagingBucketName")
    if name is None:
        raise NotFoundError("the stack has no output StagingBucketName")
    context.call("s3", "HeadBucket", Bucket=name, ExpectedBucketOwner=context.account)
    try:
        policy = context.call("s3", "GetBucketPolicy", Bucket=name)["Policy"]
    except NotFoundError:
        policy = None
    if not any(
        each.get("Effect") == "Deny"
        and covers(each, "s3:PutObject")
        and "ArnNotEquals" in each.get("Condition", {})
        for each in statements(policy)
    ):
        return failed(
            f"the policy of {name} allows principals other than the stack's roles to write to it",
            "restore the stack's own policy with sam deploy",
        )
    return passed(f"{name} exists, and only the stack's roles can write to it")


def encryption(context: CheckContext) -> CheckResult:
    """Check the bucket's encryption: the stack's roles must be able to use the KMS key."""
    try:
        response = context.call("s3", "GetBucketEncryption", Bucket=context.bucket)
    except NotFoundError:
        response = {}
    rules = response.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    default = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
    key = default.get("KMSMasterKeyID")
    if default.get("SSEAlgorithm") not in _KMS or not key or _AWS_MANAGED in f":{key}":
        return passed(
            f"ISOs are encrypted with AWS's own keys ({default.get('SSEAlgorithm', 'AES256')})"
        )
    stack_key = context.parameter("KmsKeyArn")
    if stack_key and key.rsplit("/", 1)[-1] == stack_key.rsplit("/", 1)[-1]:
        return passed("ISOs are encrypted with the stack's KmsKeyArn, which its roles may use")
    return failed(
        f"ISOs are encrypted with the KMS key {key}, which the stack's roles are not allowed to"
        " use",
        f"deploy with KmsKeyArn={_key_arn(context, key)}",
    )


def kms_key(context: CheckContext) -> CheckResult:
    """Check that the KMS key is enabled, and usable through IAM policies and AWS services."""
    arn = context.parameter("KmsKeyArn")
    if not arn:
        return passed("stored data is encrypted with AWS's own keys")
    state = context.call("kms", "DescribeKey", KeyId=arn)["KeyMetadata"]["KeyState"]
    if state != "Enabled":
        remedy = {
            "Disabled": context.command("kms", "enable-key", "--key-id", arn),
            "PendingDeletion": context.command("kms", "cancel-key-deletion", "--key-id", arn),
        }.get(state, "deploy with another KmsKeyArn")
        return failed(f"the KMS key {arn} is {state}", remedy)
    policy = context.call("kms", "GetKeyPolicy", KeyId=arn, PolicyName="default")["Policy"]
    allowing = [each for each in statements(policy) if each.get("Effect") == "Allow"]
    root = {f"arn:{context.partition}:iam::{context.account}:root", context.account, "*"}
    if not any(root.intersection(principals(each, "AWS")) for each in allowing):
        return warned(
            "the key's policy does not enable IAM policies, so it must name each of the stack's"
            " roles",
            f"allow arn:{context.partition}:iam::{context.account}:root to use it"
            f" ({context.command('kms', 'put-key-policy', '--key-id', arn)} …)",
        )
    services = {each for statement in allowing for each in principals(statement, "Service")}
    wanted = ("events.amazonaws.com", f"logs.{context.region}.amazonaws.com")
    missing = [each for each in wanted if not services.intersection({each, "*"})]
    if missing:
        return warned(
            f"the key's policy does not name {' and '.join(missing)}: undeliverable events or log"
            " entries would be lost",
            f"allow them kms:Decrypt, kms:Encrypt* and kms:GenerateDataKey*"
            f" ({context.command('kms', 'put-key-policy', '--key-id', arn)} …)",
        )
    return passed("the KMS key is enabled, and its policy allows IAM policies and the services")


def _key_arn(context: CheckContext, key: str) -> str:
    return key if key.startswith("arn:") else context.arn("kms", f"key/{key}")
