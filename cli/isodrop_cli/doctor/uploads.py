"""The bucket: whether it is there, is ours, tells of its objects, and lets its ISOs be read."""

import json
from typing import Final

from isodrop_cli.doctor.context import Ground
from isodrop_cli.doctor.policies import covers, principals, statements
from isodrop_cli.doctor.results import GoneError, UnseenError, Verdict, broken, doubtful, well

_KMS: Final = ("aws:kms", "aws:kms:dsse")
_DIRECTORY: Final = "--x-s3"
_AWS_OWN: Final = ":alias/aws/"


def bucket(ground: Ground) -> Verdict:
    """ImportDiskImage takes ISOs of its own account and Region only."""
    name = ground.bucket
    if name.endswith(_DIRECTORY):
        return broken(
            f"{name} is a directory bucket: it has no versions and tells nobody of its objects",
            "deploy with another ExistingBucketName",
        )
    elsewhere = "drop ISOs into a bucket of this account: deploy with another ExistingBucketName"
    try:
        told = ground.ask("s3", "HeadBucket", Bucket=name, ExpectedBucketOwner=ground.account)
    except GoneError:
        return broken(
            f"there is no bucket {name}",
            f"{ground.command('s3', 'mb', f's3://{name}')}, or deploy with another"
            " ExistingBucketName",
        )
    except UnseenError as error:
        if error.permission is None:
            raise
        # S3 says 403 both of somebody else's bucket and of one that may not be seen.
        ground.ask("s3", "HeadBucket", Bucket=name)
        return broken(f"{name} is not of the account {ground.account}", elsewhere)
    region = told.get("BucketRegion", ground.region)
    if region != ground.region:
        return broken(
            f"{name} is in {region}, the stack in {ground.region}; Image Builder takes ISOs of its"
            " own Region only",
            f"deploy the stack in {region}, or with a bucket in {ground.region}",
        )
    return well(f"{name} is here, in {region}")


def notification(ground: Ground) -> Verdict:
    """Without EventBridge's notification nobody hears of an upload, until the sweep looks."""
    told = ground.ask("s3", "GetBucketNotificationConfiguration", Bucket=ground.bucket)
    kept = {name: value for name, value in told.items() if name != "ResponseMetadata"}
    if "EventBridgeConfiguration" in kept:
        return well("the bucket tells EventBridge of its objects")
    return broken(
        "the bucket does not tell EventBridge of its objects",
        ground.command(
            *("s3api", "put-bucket-notification-configuration", "--bucket", ground.bucket),
            # Else S3 sends each destination a test message, and refuses all for one that is broken.
            "--skip-destination-validation",
            *("--notification-configuration", json.dumps({**kept, "EventBridgeConfiguration": {}})),
        ),
    )


def versioning(ground: Ground) -> Verdict:
    """Look for version ids: without one, operators cannot ask anew for an upload."""
    status = ground.ask("s3", "GetBucketVersioning", Bucket=ground.bucket).get("Status", "off")
    if status == "Enabled":
        return well("the bucket keeps versions")
    return doubtful(
        f"the bucket's versioning is {status.lower()}: isodrop retry and cancel need version ids",
        ground.command(
            *("s3api", "put-bucket-versioning", "--bucket", ground.bucket),
            *("--versioning-configuration", "Status=Enabled"),
        ),
    )


def staging(ground: Ground) -> Verdict:
    """Look for the copies' bucket: who else could write there would decide what is imported."""
    name = ground.output("StagingBucketName")
    if name is None:
        raise GoneError("the stack has no output StagingBucketName")
    ground.ask("s3", "HeadBucket", Bucket=name, ExpectedBucketOwner=ground.account)
    try:
        policy = ground.ask("s3", "GetBucketPolicy", Bucket=name)["Policy"]
    except GoneError:
        policy = None
    if not any(
        each.get("Effect") == "Deny"
        and covers(each, "s3:PutObject")
        and "ArnNotEquals" in each.get("Condition", {})
        for each in statements(policy)
    ):
        return broken(
            f"the policy of {name} lets others than the stack's roles write there",
            "sam deploy puts the stack's own back",
        )
    return well(f"{name} is here, and only the stack's roles write there")


def encryption(ground: Ground) -> Verdict:
    """Look whose key ISOs are under: a customer's takes grants for each role that reads them."""
    try:
        told = ground.ask("s3", "GetBucketEncryption", Bucket=ground.bucket)
    except GoneError:
        told = {}
    rules = told.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    chosen = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
    key = chosen.get("KMSMasterKeyID")
    if chosen.get("SSEAlgorithm") not in _KMS or not key or _AWS_OWN in f":{key}":
        return well(f"ISOs are under AWS's own keys ({chosen.get('SSEAlgorithm', 'AES256')})")
    known = ground.parameter("KmsKeyArn")
    if known and key.rsplit("/", 1)[-1] == known.rsplit("/", 1)[-1]:
        return well("ISOs are under the stack's KmsKeyArn, which its roles may use")
    return broken(
        f"ISOs are under the KMS key {key}, which the stack's roles may not use",
        f"sam deploy with KmsKeyArn={_key_arn(ground, key)}",
    )


def key(ground: Ground) -> Verdict:
    """See that a key of yours is on, and lets the account's policies and services use it."""
    arn = ground.parameter("KmsKeyArn")
    if not arn:
        return well("all that is kept is under AWS's own keys")
    state = ground.ask("kms", "DescribeKey", KeyId=arn)["KeyMetadata"]["KeyState"]
    if state != "Enabled":
        remedy = {
            "Disabled": ground.command("kms", "enable-key", "--key-id", arn),
            "PendingDeletion": ground.command("kms", "cancel-key-deletion", "--key-id", arn),
        }.get(state, "deploy with another KmsKeyArn")
        return broken(f"the KMS key {arn} is {state}", remedy)
    policy = ground.ask("kms", "GetKeyPolicy", KeyId=arn, PolicyName="default")["Policy"]
    allowing = [each for each in statements(policy) if each.get("Effect") == "Allow"]
    root = {f"arn:{ground.partition}:iam::{ground.account}:root", ground.account, "*"}
    if not any(root.intersection(principals(each, "AWS")) for each in allowing):
        return doubtful(
            "the key's policy leaves nothing to IAM, so each of the stack's roles must be named"
            " in it",
            f"let arn:{ground.partition}:iam::{ground.account}:root use it"
            f" ({ground.command('kms', 'put-key-policy', '--key-id', arn)} …)",
        )
    named = {each for one in allowing for each in principals(one, "Service")}
    wanted = ("events.amazonaws.com", f"logs.{ground.region}.amazonaws.com")
    lacking = [each for each in wanted if not named.intersection({each, "*"})]
    if lacking:
        return doubtful(
            f"the key's policy does not name {' and '.join(lacking)}: what EventBridge cannot"
            " deliver, or what is logged, would be lost",
            f"let them use kms:Decrypt, kms:Encrypt* and kms:GenerateDataKey*"
            f" ({ground.command('kms', 'put-key-policy', '--key-id', arn)} …)",
        )
    return well("the KMS key is enabled, and its policy lets IAM and the services use it")


def _key_arn(ground: Ground, key: str) -> str:
    return key if key.startswith("arn:") else ground.arn("kms", f"key/{key}")
