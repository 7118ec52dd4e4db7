"""The event that tells of an upload, as EventBridge delivers it; and the way back.

An execution's input is always such an event: S3's own ``Object Created``, or where a malware scan
goes first, GuardDuty's result. Who starts one for an upload that nobody was told of, or asks anew
for one, makes the event that S3 would have sent, and an ask beside it.

Only what is used is required: a field that AWS leaves out or adds changes nothing.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isodrop.domain.ids import upload_id
from isodrop.domain.model import FIRST_RUN, RunRequest, Upload
from isodrop.errors import IsodropError

Reason = Literal["PutObject", "CompleteMultipartUpload", "isodrop sweep", "isodrop retry"]
"""Which of S3's operations made the object; in the same place, who else made the event."""

_CREATED: Final = "Object Created"
_SCANNED: Final = "GuardDuty Malware Protection Object Scan Result"
_SCAN: Final = "malwareScan"
"""Where an event that the sweep made has the scan's result."""


class _Model(BaseModel):
    model_config = ConfigDict(defer_build=True)


class _Named(_Model):
    name: str = Field(min_length=1)


class _Object(_Model):
    key: str = Field(min_length=1)
    etag: str = Field(min_length=1)
    size: int = Field(ge=0)
    version_id: str | None = Field(None, alias="version-id")
    sequencer: str | None = None


class _Created(_Model):
    """The detail of S3's event: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html."""

    bucket: _Named
    object: _Object


class _ScannedObject(_Model):
    bucket: str = Field(alias="bucketName", min_length=1)
    key: str = Field(alias="objectKey", min_length=1)
    etag: str = Field(alias="eTag", min_length=1)
    version_id: str | None = Field(None, alias="versionId")


class _ScanResult(_Model):
    status: str = Field(alias="scanResultStatus", min_length=1)


class _Scanned(_Model):
    """The detail of GuardDuty's event.

    https://docs.aws.amazon.com/guardduty/latest/ug/monitor-with-eventbridge-s3-malware-protection.html
    """

    object: _ScannedObject = Field(alias="s3ObjectDetails")
    result: _ScanResult = Field(alias="scanResultDetails")


class _RunRequest(_Model):
    """How an ask stands in an execution's input."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    number: int = Field(ge=0)
    overrides: dict[str, str] = Field(default_factory=dict)


class InvalidEventError(IsodropError):
    """The event is not one that S3 or GuardDuty sends for a new object."""


def parse_upload(event: dict[str, Any]) -> Upload:
    """Read an upload from its event; keys stay raw, as the event has them.

    GuardDuty does not say how large the object is: its size is 0 then.

    Raises
    ------
    InvalidEventError
        When it is no such event, or lacks what tells one upload from another.
    """
    if not isinstance(event, dict):
        raise InvalidEventError("not an event at all: no JSON object")
    try:
        if event.get("detail-type") == _SCANNED:
            return _read_scanned(event)
        parsed = _Created.model_validate(event.get("detail"))
    except ValidationError as error:
        raise InvalidEventError(f"not an event that AWS sends: look at {_wrong(error)}") from None
    if event.get("detail-type") != _CREATED:
        raise InvalidEventError(f"not an event that is called {_CREATED} or {_SCANNED}")
    found = parsed.object
    upload = Upload(
        bucket=parsed.bucket.name,
        key=found.key,
        etag=found.etag.strip('"'),
        size=found.size,
        sequencer=found.sequencer or "",
        version_id=found.version_id,
    )
    if not (upload.version or upload.sequencer):
        raise InvalidEventError(f"an {_CREATED} event without a version id and a sequencer")
    return upload


def _read_scanned(event: Mapping[str, Any]) -> Upload:
    found = _Scanned.model_validate(event.get("detail")).object
    return Upload(
        bucket=found.bucket,
        key=found.key,
        etag=found.etag.strip('"'),
        size=0,
        # Without versions one scan's result is told from another's by the event alone; EventBridge
        # repeats it with the same id.
        sequencer=str(event.get("id", "")),
        version_id=found.version_id,
    )


def read_malware_scan(event: Mapping[str, Any]) -> str | None:
    """Read how the malware scan of an upload ended, such as ``THREATS_FOUND``.

    Returns
    -------
    str or None
        ``None`` where the event tells of no scan.
    """
    if event.get("detail-type") == _SCANNED:
        return _Scanned.model_validate(event.get("detail")).result.status
    told = event.get(_SCAN)
    return None if told is None else str(told)


def with_malware_scan(event: Mapping[str, Any], result: str) -> dict[str, Any]:
    """Say in an event that was made how the malware scan ended."""
    return {**event, _SCAN: result}


def parse_run_request(event: dict[str, Any]) -> RunRequest:
    """Read which asking an execution's input is; S3's own event is the first.

    Raises
    ------
    InvalidEventError
        When there is something under ``ask`` that is none.
    """
    if "run" not in event:
        return FIRST_RUN
    try:
        parsed = _RunRequest.model_validate(event["run"])
    except ValidationError as error:
        raise InvalidEventError(f"not a run: look at {_wrong(error)}") from None
    return RunRequest(parsed.number, parsed.overrides)


def make_object_created_event(
    upload: Upload,
    when: datetime,
    reference_arn: str,
    reason: Reason,
    request: RunRequest = FIRST_RUN,
) -> dict[str, Any]:
    """Make the event that S3 would have sent for an upload: the input of an execution.

    Parameters
    ----------
    upload : Upload
        Told from other writes of its key by version or sequencer.
    when : datetime
        When the object was last modified, with a time zone: of the upload, not of now, so that
        the event of one upload is always the same.
    near : str
        Any ARN of the account and Region, such as the state machine's.
    reason : Reason
    request : RunRequest, optional
        What is asked, if it is not the first time.
    """
    partition, _, region, account = reference_arn.split(":")[1:5]
    seen: dict[str, Any] = {"key": upload.key, "size": upload.size, "etag": upload.etag}
    if upload.version_id is not None:
        seen["version-id"] = upload.version_id
    if upload.sequencer:
        seen["sequencer"] = upload.sequencer
    event: dict[str, Any] = {
        "version": "0",
        "id": str(UUID(hex=upload_id(upload))),
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": account,
        "time": when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [f"arn:{partition}:s3:::{upload.bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": upload.bucket},
            "object": seen,
            "request-id": "none",
            "requester": account,
            "reason": reason,
        },
    }
    if request != FIRST_RUN:
        event["run"] = {"number": request.number, "overrides": dict(request.overrides)}
    return event


def _wrong(error: ValidationError) -> str:
    return ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
