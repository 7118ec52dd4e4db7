"""The bucket: whether it is there, is ours, tells of its objects, and lets its ISOs be read."""

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
_AWS_OWN: Final = ":alias/aws/"


def bucket(context: CheckContext) -> CheckResult:
    """ImportDiskImage takes ISOs of its own account and Region only."""
    name = context.bucket
    if name.endswith(_DIRECTORY):
        return failed(
            f"{name} is a directory bucket: it has no versions and tells nobody of its objects",
            "deploy with another ExistingBucketName",
        )
    elsewhere = "drop ISOs into a bucket of this account: deploy with another ExistingBucketName"
    try:
        told = context.call("s3", "HeadBucket", Bucket=name, ExpectedBucketOwner=context.account)
    except NotFoundError:
        return failed(
            f"there is no bucket {name}",
            f"{context.command('s3', 'mb', f's3://{name}')}, or deploy with another"
            " ExistingBucketName",
        )
    except CheckSkippedError as error:
        if error.permission is None:
            raise
        # S3 says 403 both of somebody else's bucket and of one that may not be seen.
        context.call("s3", "HeadBucket", Bucket=name)
        return failed(f"{name} is not of the account {context.account}", elsewhere)
    region = told.get("BucketRegion", context.region)
    if region != context.region:
        return failed(
            f"{name} is in {region}, the stack in {context.region}; Image Builder takes ISOs of its"
            " own Region only",
            f"deploy the stack in {region}, or with a bucket in {context.region}",
        )
    return passed(f"{name} is here, in {region}")


def notification(context: CheckContext) -> CheckResult:
    """Without EventBridge's notification nobody hears of an upload, until the sweep looks."""
    told = context.call("s3", "GetBucketNotificationConfiguration", Bucket=context.bucket)
    kept = {name: value for name, value in told.items() if name != "ResponseMetadata"}
    if "EventBridgeConfiguration" in kept:
        return passed("the bucket tells EventBridge of its objects")
    return failed(
        "the bucket does not tell EventBridge of its objects",
        context.command(
            *("s3api", "put-bucket-notification-configuration", "--bucket", context.bucket),
            # Else S3 sends each destination a test message, and refuses all for one that is broken.
            "--skip-destination-validation",
            *("--notification-configuration", json.dumps({**kept, "EventBridgeConfiguration": {}})),
        ),
    )


def versioning(context: CheckContext) -> CheckResult:
    """Look for version ids: without one, operators cannot ask anew for an upload."""
    status = context.call("s3", "GetBucketVersioning", Bucket=context.bucket).get("Status", "off")
    if status == "Enabled":
        return passed("the bucket keeps versions")
    return warned(
        f"the bucket's versioning is {status.lower()}: isodrop retry and cancel need version ids",
        context.command(
            *("s3api", "put-bucket-versioning", "--bucket", context.bucket),
            *("--versioning-configuration", "Status=Enabled"),
        ),
    )


def staging(context: CheckContext) -> CheckResult:
    """Look for the copies' bucket: who else could write there would decide what is imported."""
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
            f"the policy of {name} lets others than the stack's roles write there",
            "sam deploy puts the stack's own back",
        )
    return passed(f"{name} is here, and only the stack's roles write there")


def encryption(context: CheckContext) -> CheckResult:
    """Look whose key ISOs are under: a customer's takes grants for each role that reads them."""
    try:
        told = context.call("s3", "GetBucketEncryption", Bucket=context.bucket)
    except NotFoundError:
        told = {}
    rules = told.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    chosen = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
    key = chosen.get("KMSMasterKeyID")
    if chosen.get("SSEAlgorithm") not in _KMS or not key or _AWS_OWN in f":{key}":
        return passed(f"ISOs are under AWS's own keys ({chosen.get('SSEAlgorithm', 'AES256')})")
    known = context.parameter("KmsKeyArn")
    if known and key.rsplit("/", 1)[-1] == known.rsplit("/", 1)[-1]:
        return passed("ISOs are under the stack's KmsKeyArn, which its roles may use")
    return failed(
        f"ISOs are under the KMS key {key}, which the stack's roles may not use",
        f"sam deploy with KmsKeyArn={_key_arn(context, key)}",
    )


def key(context: CheckContext) -> CheckResult:
    """See that a key of yours is on, and lets the account's policies and services use it."""
    arn = context.parameter("KmsKeyArn")
    if not arn:
        return passed("all that is kept is under AWS's own keys")
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
            "the key's policy leaves nothing to IAM, so each of the stack's roles must be named"
            " in it",
            f"let arn:{context.partition}:iam::{context.account}:root use it"
            f" ({context.command('kms', 'put-key-policy', '--key-id', arn)} …)",
        )
    named = {each for one in allowing for each in principals(one, "Service")}
    wanted = ("events.amazonaws.com", f"logs.{context.region}.amazonaws.com")
    lacking = [each for each in wanted if not named.intersection({each, "*"})]
    if lacking:
        return warned(
            f"the key's policy does not name {' and '.join(lacking)}: what EventBridge cannot"
            " deliver, or what is logged, would be lost",
            f"let them use kms:Decrypt, kms:Encrypt* and kms:GenerateDataKey*"
            f" ({context.command('kms', 'put-key-policy', '--key-id', arn)} …)",
        )
    return passed("the KMS key is enabled, and its policy lets IAM and the services use it")


def _key_arn(context: CheckContext, key: str) -> str:
    return key if key.startswith("arn:") else context.arn("kms", f"key/{key}")
