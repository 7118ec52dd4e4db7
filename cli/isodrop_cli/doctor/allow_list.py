"""Checks of the allow-list: it is readable, valid, and protected."""

from isodrop.aws.allow_list import SSM
from isodrop.domain.allow_list import AllowList, AllowListMode, parse_allow_list
from isodrop.domain.s3_uri import S3Uri
from isodrop_cli.doctor.context import CheckContext
from isodrop_cli.doctor.results import CheckResult, NotFoundError, failed, passed, warned


def allow_list(context: CheckContext) -> CheckResult:
    """Check that the list has entries; it is read as ImportIso reads it."""
    mode, uri = context.parameter("AllowListMode"), context.parameter("AllowListUri")
    if name := context.parameter("AllowListParameter"):
        uri = f"{SSM}{name}"
    if mode in ("", AllowListMode.OFF):
        return passed("every ISO can be imported: AllowListMode is off")
    redeploy = f"deploy the stack {context.name} with the AllowListUri of your list"
    if not uri:
        return failed(f"AllowListMode is {mode}, but no list is set: {_effect(mode)}", redeploy)
    try:
        found = _read(context, uri)
    except NotFoundError:
        waits = "imports wait for it" if mode == AllowListMode.ENFORCE else "each answer has a note"
        return failed(f"there is no allow-list {uri}: {waits}", f"create it, or {redeploy}")
    if not found.names_by_hash:
        return failed(f"{uri} has {found.describe()}: {_effect(mode)}", f"correct {uri}")
    if found.invalid_lines:
        return warned(f"{uri} has {found.describe()}", f"correct {uri}")
    return _check_bucket(context, uri) or passed(
        f"{uri} has {found.describe()}; the mode is {mode}"
    )


def _effect(mode: str) -> str:
    if mode == AllowListMode.ENFORCE:
        return "every ISO is rejected"
    return "each answer has a note"


def _read(context: CheckContext, uri: str) -> AllowList:
    if uri.startswith(SSM):
        name = uri.removeprefix(SSM)
        response = context.call("ssm", "GetParameter", Name=name, WithDecryption=True)
        return parse_allow_list(response["Parameter"]["Value"].encode())
    location = S3Uri.parse(uri)
    response = context.call("s3", "GetObject", Bucket=location.bucket, Key=location.key)
    return parse_allow_list(response["Body"].read())


def _check_bucket(context: CheckContext, uri: str) -> CheckResult | None:
    """Check that the list is not below the upload prefix, and that its bucket is versioned."""
    if uri.startswith(SSM):
        return None
    location = S3Uri.parse(uri)
    bucket = location.bucket
    if bucket == context.bucket and location.key.startswith(context.parameter("KeyPrefix")):
        return failed(
            f"{uri} is under the upload prefix: uploaders can overwrite the list",
            "move it to another bucket, and deploy with that AllowListUri",
        )
    if context.call("s3", "GetBucketVersioning", Bucket=bucket).get("Status") != "Enabled":
        return warned(
            f"the bucket {bucket} of the allow-list is not versioned: changes to the list leave no"
            " trace",
            context.command(
                *("s3api", "put-bucket-versioning", "--bucket", bucket),
                *("--versioning-configuration", "Status=Enabled"),
            ),
        )
    return None
