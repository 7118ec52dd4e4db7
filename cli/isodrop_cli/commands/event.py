"""``isodrop event``: the event that S3 sends for an object, to invoke a function with."""

import hashlib
import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from isodrop.domain.s3_uri import S3Uri
from isodrop_cli.errors import ExplainedError
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.console import print_json
from isodrop_cli.stack import add_stack_options, open_stack
from isodrop_cli.upload_args import add_address

if TYPE_CHECKING:
    from argparse import _SubParsersAction

ACCOUNT: Final = "123456789012"
"""An example account; isodrop does not read it."""
REGION: Final = "us-east-1"
"""The default Region."""
PART_SIZE: Final = 8 * 1024 * 1024
"""Part size and multipart threshold in bytes, as in ``aws s3 cp`` and boto3."""

_EPILOG: Final = """\
By default the object's ETag, size and version are read from S3. The same
object always gives the same event, so invoking ImportIso twice acts like a
repeated delivery: it returns the nextStep "skip" once the stack has processed
the upload. --sequencer
simulates another upload of the object; pass a different value each time. The
event then has no version id, because that would identify the upload. --report
prints the event that the state machine sends to ReportBuild after ImportIso has
handled the upload.

examples:
  isodrop event Win11.iso > event.json
  isodrop event s3://my-bucket/Win11.iso --sequencer 1 > event.json
  isodrop env > env.json
  sam local invoke ImportIso --event event.json --env-vars env.json
  sam remote invoke ImportIso --event-file event.json --stack-name isodrop
  aws stepfunctions start-execution --input file://event.json \\
    --state-machine-arn ARN
  isodrop event s3://my-bucket/Win11.iso --file Win11.iso   # without AWS

exit status: 0 printed, 1 could not read the object, 2 usage error,
130 interrupted
"""
_HEADERS: Final = frozenset({"ETag", "ContentLength", "LastModified"})
_OFFLINE: Final = "with --file FILE, or --etag ETAG --size BYTES, the object is not read"

REPORTS: Final = ("started", "answer")
"""The reports of the state machine that need nothing but the upload."""


class NoEventError(ExplainedError):
    """The event cannot be made; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """The properties of an object in S3.

    Attributes
    ----------
    etag : str
        Without quotes.
    size : int
        In bytes.
    modified : datetime.datetime
        When it was uploaded, with a time zone.
    region : str
    version_id : str or None
        ``None`` if the bucket is not versioned.
    """

    etag: str
    size: int
    modified: datetime
    region: str
    version_id: str | None = None


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "event",
        help=summary,
        description="Print the Object Created event that S3 sends for an object, to invoke a\n"
        "function with.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_address(command)
    command.add_argument(
        "--file", metavar="FILE", type=Path, help="compute ETag and size from this file"
    )
    command.add_argument("--etag", help="the object's ETag; with --size")
    command.add_argument(
        "--size", metavar="BYTES", type=_parse_size, help="the object's size; with --etag"
    )
    command.add_argument("--version-id", metavar="ID", help="an earlier version of the object")
    command.add_argument("--sequencer", help="simulate another upload of the object")
    add_stack_options(command)
    command.add_argument(
        "--report", choices=REPORTS, help="print the state machine's event for ReportBuild instead"
    )
    command.set_defaults(run=run, refuse=command.error)
    return command


def run(options: Namespace) -> ExitCode:
    """Print the event, and return the exit status."""
    if (options.etag is None) != (options.size is None):
        options.refuse("--etag and --size must be used together")
    if options.file and options.etag:
        options.refuse("--file and --etag cannot be used together")
    bucket, key = _resolve_bucket(options), options.upload.key
    stored = _object_info(bucket, key, options)
    event = _make_event(bucket, key, stored, options.sequencer)
    print_json(event if options.report is None else {**event, "report": {"kind": options.report}})
    return ExitCode.OK


def _resolve_bucket(options: Namespace) -> str:
    """Return the bucket of the object; the stack's own by default."""
    if options.upload.bucket is not None:
        return str(options.upload.bucket)
    with open_stack(options) as stack:
        return stack.bucket


def _make_event(bucket: str, key: str, stored: ObjectInfo, sequencer: str | None) -> dict[str, Any]:
    """Make S3's event for an object.

    Its sequencer is derived from the object. With a given sequencer, the event stands for another
    upload of the object, so it has no version id, which would identify the upload; see
    :func:`isodrop.domain.ids.upload_id`.
    """
    from isodrop.aws.s3_events import make_object_created_event  # noqa: PLC0415 - not needed by --help
    from isodrop.domain.arn import Arn  # noqa: PLC0415 - not needed by --help
    from isodrop.domain.model import Upload  # noqa: PLC0415 - not needed by --help

    identity = f"{S3Uri(bucket, key)} {stored.version_id} {stored.etag} {stored.modified}"
    # Like S3's, it begins with the time, so that a later upload has a greater one.
    digest = hashlib.sha256(identity.encode()).hexdigest()
    default_sequencer = f"{int(stored.modified.timestamp()):010X}{digest[:8].upper()}"
    return make_object_created_event(
        Upload(
            bucket=bucket,
            key=key,
            etag=stored.etag,
            size=stored.size,
            sequencer=sequencer or default_sequencer,
            version_id=None if sequencer else stored.version_id,
        ),
        stored.modified,
        Arn("aws", "s3", stored.region, ACCOUNT, bucket),
        "CompleteMultipartUpload" if "-" in stored.etag else "PutObject",
    )


def compute_etag(path: Path) -> str:
    """Compute the ETag that a file gets when ``aws s3 cp`` or boto3 uploads it.

    Valid for SSE-S3; under a KMS key the ETag is not a digest of the bytes.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    parts = []
    with path.open("rb") as file:
        while part := file.read(PART_SIZE):
            parts.append(hashlib.md5(part, usedforsecurity=False))
    if path.stat().st_size < PART_SIZE:
        return (parts or [hashlib.md5(usedforsecurity=False)])[0].hexdigest()
    digest = hashlib.md5(b"".join(part.digest() for part in parts), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(parts)}"


def _object_info(bucket: str, key: str, options: Namespace) -> ObjectInfo:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    if options.file:
        try:
            status = options.file.stat()
            modified = datetime.fromtimestamp(status.st_mtime, UTC)
            etag = compute_etag(options.file)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise NoEventError(f"{S3Uri(bucket, key)}: {options.file}: {reason}") from error
        return ObjectInfo(etag, status.st_size, modified, region, options.version_id)
    if options.etag:
        # The object is not read: any time will do, as long as it is always the same.
        modified = datetime.fromtimestamp(0, UTC)
        return ObjectInfo(
            options.etag.strip('"'), options.size, modified, region, options.version_id
        )
    return _head_object(bucket, key, options)


def _head_object(bucket: str, key: str, options: Namespace) -> ObjectInfo:
    """Read the object's properties from S3. Only this part needs boto3."""
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - see above

    from isodrop_cli.aws_errors import OBJECT_HINTS, explain_errors, s3_client  # noqa: PLC0415 - see above

    version: dict[str, Any] = (
        {} if options.version_id is None else {"VersionId": options.version_id}
    )
    try:
        with explain_errors(OBJECT_HINTS, NoEventError, str(S3Uri(bucket, key))):
            client = s3_client(options.profile, options.region)
            head: Mapping[str, Any] = client.head_object(Bucket=bucket, Key=key, **version)
            if not head.keys() >= _HEADERS:
                raise ResponseParserError("HeadObject: not a response from S3")
    except NoEventError as error:
        raise NoEventError(f"{error}; {_OFFLINE}") from error
    region = client.meta.region_name
    return ObjectInfo(
        etag=head["ETag"].strip('"'),
        size=head["ContentLength"],
        modified=head["LastModified"],
        region=REGION if region == "aws-global" else region,
        # S3 returns "null" for objects from before the bucket was versioned.
        version_id=head.get("VersionId"),
    )


def _parse_size(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"not a number of bytes: {text!r}")
    return int(text)
