"""The allow-list: whether it can be read, what of it cannot, and who else may write it."""

from isodrop.aws.allow_list import SSM
from isodrop.aws.s3 import parse_uri
from isodrop.domain.allow_list import AllowList, AllowListMode, parse_allow_list
from isodrop_cli.doctor.context import Ground
from isodrop_cli.doctor.results import GoneError, Verdict, broken, doubtful, well


def allow_list(ground: Ground) -> Verdict:
    """Read the list as ImportIso does: one without entries lets nothing in."""
    mode, uri = ground.parameter("AllowListMode"), ground.parameter("AllowListUri")
    if name := ground.parameter("AllowListParameter"):
        uri = f"{SSM}{name}"
    if mode in ("", AllowListMode.OFF):
        return well("every ISO may be imported: AllowListMode is off")
    anew = f"sam deploy the stack {ground.name} with the AllowListUri of your list"
    if not uri:
        return broken(f"AllowListMode is {mode}, and there is no list: {_effect(mode)}", anew)
    try:
        found = _read(ground, uri)
    except GoneError:
        waits = "imports wait for it" if mode == AllowListMode.ENFORCE else "notes say so"
        return broken(f"there is no allow-list {uri}: {waits}", f"write it there, or {anew}")
    if not found.names:
        return broken(f"{uri} has {found.describe()}: {_effect(mode)}", f"correct {uri}")
    if found.wrong_lines:
        return doubtful(f"{uri} has {found.describe()}", f"correct {uri}")
    return _judge_bucket(ground, uri) or well(f"{uri} has {found.describe()}; the mode is {mode}")


def _effect(mode: str) -> str:
    if mode == AllowListMode.ENFORCE:
        return "every ISO is rejected"
    return "every ISO has a note"


def _read(ground: Ground, uri: str) -> AllowList:
    if uri.startswith(SSM):
        name = uri.removeprefix(SSM)
        told = ground.ask("ssm", "GetParameter", Name=name, WithDecryption=True)
        return parse_allow_list(told["Parameter"]["Value"].encode())
    bucket, key = parse_uri(uri)
    told = ground.ask("s3", "GetObject", Bucket=bucket, Key=key)
    return parse_allow_list(told["Body"].read())


def _judge_bucket(ground: Ground, uri: str) -> Verdict | None:
    """Tell of a bucket that uploaders write to, or that forgets what stood there before."""
    if uri.startswith(SSM):
        return None
    bucket, key = parse_uri(uri)
    if bucket == ground.bucket and key.startswith(ground.parameter("KeyPrefix")):
        return broken(
            f"{uri} lies where ISOs are dropped: who may upload may write the list",
            "keep it in another bucket, and deploy with that AllowListUri",
        )
    if ground.ask("s3", "GetBucketVersioning", Bucket=bucket).get("Status") != "Enabled":
        return doubtful(
            f"the bucket {bucket} of the allow-list keeps no versions: nobody can see what it was",
            ground.command(
                *("s3api", "put-bucket-versioning", "--bucket", bucket),
                *("--versioning-configuration", "Status=Enabled"),
            ),
        )
    return None
