"""The allow-list: whether it can be read, what of it cannot, and who else may write it."""

from isodrop.aws.allow_list import SSM
from isodrop.aws.s3 import parse_uri
from isodrop.domain.allow_list import AllowList, AllowListMode, parse_allow_list
from isodrop_cli.doctor.context import CheckContext
from isodrop_cli.doctor.results import CheckResult, NotFoundError, failed, passed, warned


def allow_list(context: CheckContext) -> CheckResult:
    """Read the list as ImportIso does: one without entries lets nothing in."""
    mode, uri = context.parameter("AllowListMode"), context.parameter("AllowListUri")
    if name := context.parameter("AllowListParameter"):
        uri = f"{SSM}{name}"
    if mode in ("", AllowListMode.OFF):
        return passed("every ISO may be imported: AllowListMode is off")
    anew = f"sam deploy the stack {context.name} with the AllowListUri of your list"
    if not uri:
        return failed(f"AllowListMode is {mode}, and there is no list: {_effect(mode)}", anew)
    try:
        found = _read(context, uri)
    except NotFoundError:
        waits = "imports wait for it" if mode == AllowListMode.ENFORCE else "notes say so"
        return failed(f"there is no allow-list {uri}: {waits}", f"write it there, or {anew}")
    if not found.names:
        return failed(f"{uri} has {found.describe()}: {_effect(mode)}", f"correct {uri}")
    if found.wrong_lines:
        return warned(f"{uri} has {found.describe()}", f"correct {uri}")
    return _judge_bucket(context, uri) or passed(
        f"{uri} has {found.describe()}; the mode is {mode}"
    )


def _effect(mode: str) -> str:
    if mode == AllowListMode.ENFORCE:
        return "every ISO is rejected"
    return "every ISO has a note"


def _read(context: CheckContext, uri: str) -> AllowList:
    if uri.startswith(SSM):
        name = uri.removeprefix(SSM)
        told = context.call("ssm", "GetParameter", Name=name, WithDecryption=True)
        return parse_allow_list(told["Parameter"]["Value"].encode())
    bucket, key = parse_uri(uri)
    told = context.call("s3", "GetObject", Bucket=bucket, Key=key)
    return parse_allow_list(told["Body"].read())


def _judge_bucket(context: CheckContext, uri: str) -> CheckResult | None:
    """Tell of a bucket that uploaders write to, or that forgets what stood there before."""
    if uri.startswith(SSM):
        return None
    bucket, key = parse_uri(uri)
    if bucket == context.bucket and key.startswith(context.parameter("KeyPrefix")):
        return failed(
            f"{uri} lies where ISOs are dropped: who may upload may write the list",
            "keep it in another bucket, and deploy with that AllowListUri",
        )
    if context.call("s3", "GetBucketVersioning", Bucket=bucket).get("Status") != "Enabled":
        return warned(
            f"the bucket {bucket} of the allow-list keeps no versions: nobody can see what it was",
            context.command(
                *("s3api", "put-bucket-versioning", "--bucket", bucket),
                *("--versioning-configuration", "Status=Enabled"),
            ),
        )
    return None
