"""``isodrop event``: the event that S3 sends for an object, to try a function with."""

import hashlib
import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from isodrop_cli.args import add_address
from isodrop_cli.failures import ExplainedError
from isodrop_cli.output.console import print_json
from isodrop_cli.stack import add_options, stack

if TYPE_CHECKING:
    from argparse import _SubParsersAction

ACCOUNT: Final = "123456789012"
"""An account that is nobody's; isodrop does not look at it."""
REGION: Final = "us-east-1"
"""Told where nothing says another."""
PART: Final = 8 * 1024 * 1024
"""Bytes of a part, and from where on there are parts: what ``aws s3 cp`` and boto3 do."""

_EPILOG: Final = """\
By default S3 is asked for the object's ETag, size and version. The same object
gives the same event, so trying twice is a repeated delivery, and of what the
stack has taken already comes "nothing". --sequencer pretends another upload:
any word does, and the event names no version, by which it would be known again.
--report asks the function ReportBuild for what is to be told of an upload that
ImportIso was given, with the same event, before.

examples:
  isodrop event s3://my-bucket/Win11.iso > event.json
  isodrop event s3://my-bucket/Win11.iso --sequencer 1 > event.json
  isodrop env > env.json
  sam local invoke ImportIso --event event.json --env-vars env.json
  sam remote invoke ImportIso --event-file event.json --stack-name isodrop
  aws stepfunctions start-execution --input file://event.json \\
    --state-machine-arn ARN
  isodrop event s3://my-bucket/Win11.iso --file Win11.iso   # without AWS

exit status: 0 printed, 1 the object could not be looked at, 2 wrong usage
"""
_HEADERS: Final = frozenset({"ETag", "ContentLength", "LastModified"})
_WITHOUT: Final = "say --file FILE, or --etag ETAG --size BYTES, and AWS is not asked"

REPORTS: Final = ("started", "answer")
"""What the state machine has reported of an upload, without a particular of its own."""


class NoEventError(ExplainedError):
    """There is no event for this object; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as S3 has it.

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
        None where the bucket has no versions.
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
        description="Print S3's Object Created event for an object of yours, to try it out.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_address(command)
    command.add_argument("--file", metavar="FILE", type=Path, help="take ETag and size from it")
    command.add_argument("--etag", help="the object's ETag; with --size")
    command.add_argument("--size", metavar="BYTES", type=_size, help="its size; with --etag")
    command.add_argument("--version-id", metavar="ID", help="of which version, if not the newest")
    command.add_argument("--sequencer", help="pretend another upload of the object")
    add_options(command)
    command.add_argument(
        "--report", choices=REPORTS, help="the state machine's event for ReportBuild about it"
    )
    command.set_defaults(run=run, refuse=command.error)
    return command


def run(options: Namespace) -> int:
    """Print the event, and answer with the exit status."""
    if (options.etag is None) != (options.size is None):
        options.refuse("--etag and --size go together")
    if options.file and options.etag:
        options.refuse("--file and --etag exclude each other")
    bucket, key = _bucket(options), options.upload.key
    stored = _stored(bucket, key, options)
    event = _event(bucket, key, stored, options.sequencer)
    print_json(event if options.report is None else {**event, "report": {"kind": options.report}})
    return 0


def _bucket(options: Namespace) -> str:
    """Say in which bucket the object is; the stack knows its own."""
    if options.upload.bucket is not None:
        return str(options.upload.bucket)
    with stack(options) as found:
        return found.bucket


def _event(bucket: str, key: str, stored: Stored, sequencer: str | None) -> dict[str, Any]:
    """Write S3's event for an object.

    Its sequencer is made of the object. One that is given makes it another upload of that object,
    which in a bucket with versions it is only if no version is named: see ``upload_id``.
    """
    from isodrop.aws.s3_events import make_object_created_event  # noqa: PLC0415 - likewise
    from isodrop.domain.model import Upload  # noqa: PLC0415 - only here does the command need the rest

    made_of = f"s3://{bucket}/{key} {stored.version_id} {stored.etag} {stored.modified}"
    # As S3's own do, it begins with the time, so that a later upload has a greater one.
    digest = hashlib.sha256(made_of.encode()).hexdigest()
    made = f"{int(stored.modified.timestamp()):010X}{digest[:8].upper()}"
    return make_object_created_event(
        Upload(
            bucket=bucket,
            key=key,
            etag=stored.etag,
            size=stored.size,
            sequencer=sequencer or made,
            version_id=None if sequencer else stored.version_id,
        ),
        stored.modified,
        f"arn:aws:s3:{stored.region}:{ACCOUNT}:",
        "CompleteMultipartUpload" if "-" in stored.etag else "PutObject",
    )


def etag_of(path: Path) -> str:
    """Compute the ETag that a file gets when ``aws s3 cp`` or boto3 uploads it.

    True for S3's own encryption; under a KMS key an ETag says nothing of the bytes.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    parts = []
    with path.open("rb") as file:
        while part := file.read(PART):
            parts.append(hashlib.md5(part, usedforsecurity=False))
    if path.stat().st_size < PART:
        return (parts or [hashlib.md5(usedforsecurity=False)])[0].hexdigest()
    whole = hashlib.md5(b"".join(part.digest() for part in parts), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(parts)}"


def _stored(bucket: str, key: str, options: Namespace) -> Stored:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    if options.file:
        try:
            status = options.file.stat()
            modified = datetime.fromtimestamp(status.st_mtime, UTC)
            etag = etag_of(options.file)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise NoEventError(f"s3://{bucket}/{key}: {options.file}: {reason}") from error
        return Stored(etag, status.st_size, modified, region, options.version_id)
    if options.etag:
        # Of an object that nobody looks at: any time will do, as long as it is always the same.
        modified = datetime.fromtimestamp(0, UTC)
        return Stored(options.etag.strip('"'), options.size, modified, region, options.version_id)
    return _asked(bucket, key, options)


def _asked(bucket: str, key: str, options: Namespace) -> Stored:
    """Ask S3, which takes an SDK; only here, so that the rest starts without one."""
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - see above

    from isodrop_cli.aws_errors import OBJECT, explained, s3_client  # noqa: PLC0415 - see above

    version: dict[str, Any] = (
        {} if options.version_id is None else {"VersionId": options.version_id}
    )
    try:
        with explained(OBJECT, NoEventError, f"s3://{bucket}/{key}"):
            client = s3_client(options.profile, options.region)
            head: Mapping[str, Any] = client.head_object(Bucket=bucket, Key=key, **version)
            if not head.keys() >= _HEADERS:
                raise ResponseParserError("HeadObject: no answer of S3's")
    except NoEventError as error:
        raise NoEventError(f"{error}; {_WITHOUT}") from error
    region = client.meta.region_name
    return Stored(
        etag=head["ETag"].strip('"'),
        size=head["ContentLength"],
        modified=head["LastModified"],
        region=REGION if region == "aws-global" else region,
        # S3 says "null" of what was there before the bucket had versions.
        version_id=head.get("VersionId"),
    )


def _size(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"not a number of bytes: {text!r}")
    return int(text)
