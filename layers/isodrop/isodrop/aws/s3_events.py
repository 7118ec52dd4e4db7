"""Parses the event of an upload, as delivered by EventBridge, and makes such events.

The input of an execution is always such an event: S3's ``Object Created`` or, if the stack waits
for malware scans, GuardDuty's scan result. To start a run of an upload whose event was not
delivered, or to retry one, isodrop makes the event that S3 would have sent; for a run other than
the first, it adds the request for that run.

Only fields that are used are required, so other fields may be missing or added.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isodrop.domain.arn import Arn
from isodrop.domain.ids import upload_id
from isodrop.domain.model import FIRST_RUN, RunRequest, Upload
from isodrop.errors import IsodropError

Reason = Literal["PutObject", "CompleteMultipartUpload", "isodrop sweep", "isodrop retry"]
"""The S3 operation that created the object, or the part of isodrop that made the event."""

_CREATED: Final = "Object Created"
_SCANNED: Final = "GuardDuty Malware Protection Object Scan Result"
_MAX_REQUESTER: Final = 256


class _Model(BaseModel):
    model_config = ConfigDict(defer_build=True)


class _Bucket(_Model):
    name: str = Field(min_length=1)


class _Object(_Model):
    key: str = Field(min_length=1)
    etag: str = Field(min_length=1)
    size: int = Field(ge=0)
    version_id: str | None = Field(None, alias="version-id")
    sequencer: str | None = None


class _Created(_Model):
    """The detail of S3's event: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html."""

    bucket: _Bucket
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
    """The request for a run in an execution's input."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    number: int = Field(ge=0, lt=1_000_000)
    overrides: dict[str, str] = Field(default_factory=dict)


class UploadEvent(NamedTuple):
    """The input of an execution.

    Attributes
    ----------
    upload : Upload
    run_request : RunRequest
        The request for a run of the upload.
    malware_scan : str or None
        The result of its malware scan, such as ``THREATS_FOUND``; ``None`` if the event has none.
    """

    upload: Upload
    run_request: RunRequest
    malware_scan: str | None


class InvalidEventError(IsodropError):
    """It is not an event that S3 or GuardDuty sends for a new object, or its run is not valid."""


def parse_event(event: dict[str, Any]) -> UploadEvent:
    """Parse the event of an upload.

    Object keys in it are not URL-encoded, unlike those in S3's own notifications.

    GuardDuty's event does not contain the size of the object; the upload's size is then 0, which
    means unknown.

    Raises
    ------
    InvalidEventError
        It is not such an event, lacks a field that identifies the upload, or its request for a run
        is not valid.
    """
    upload, malware_scan = _parse_upload(event)
    return UploadEvent(upload, _parse_run_request(event), malware_scan)


def _parse_upload(event: dict[str, Any]) -> tuple[Upload, str | None]:
    if not isinstance(event, dict):
        raise InvalidEventError("not a JSON object")
    try:
        if event.get("detail-type") == _SCANNED:
            return _parse_scanned(event)
        parsed = _Created.model_validate(event.get("detail"))
    except ValidationError as error:
        raise InvalidEventError(
            f"not an event that AWS sends; missing or invalid: {_list_fields(error, 'detail')}"
        ) from None
    if event.get("detail-type") != _CREATED:
        raise InvalidEventError(f"not an event of type {_CREATED} or {_SCANNED}")
    s3_object = parsed.object
    upload = Upload(
        bucket=parsed.bucket.name,
        key=s3_object.key,
        etag=s3_object.etag.strip('"'),
        size=s3_object.size,
        sequencer=s3_object.sequencer or "",
        version_id=s3_object.version_id,
    )
    if not (upload.unique_version_id or upload.sequencer):
        raise InvalidEventError(f"an {_CREATED} event with neither a version id nor a sequencer")
    return upload, None


def _parse_scanned(event: Mapping[str, Any]) -> tuple[Upload, str]:
    scanned = _Scanned.model_validate(event.get("detail"))
    s3_object = scanned.object
    upload = Upload(
        bucket=s3_object.bucket,
        key=s3_object.key,
        etag=s3_object.etag.strip('"'),
        size=0,
        # Without versioning only the event's id distinguishes two scan results. A repeated delivery
        # has the same id.
        sequencer=str(event.get("id", "")),
        version_id=s3_object.version_id,
    )
    return upload, scanned.result.status


def _parse_run_request(event: dict[str, Any]) -> RunRequest:
    """Parse the request for a run. Without one, as in S3's own event, it is the first run."""
    uploader = _read_uploader(event)
    if "run" not in event:
        return RunRequest(uploader=uploader)
    try:
        parsed = _RunRequest.model_validate(event["run"])
    except ValidationError as error:
        raise InvalidEventError(
            f"not a valid run; missing or invalid: {_list_fields(error, 'run')}"
        ) from None
    return RunRequest(parsed.number, parsed.overrides, uploader)


def _read_uploader(event: Mapping[str, Any]) -> str | None:
    """Read who uploaded the object, if the event is from S3; ``None`` for an invalid value."""
    detail = event.get("detail")
    if not isinstance(detail, Mapping) or str(detail.get("reason", "")).startswith("isodrop"):
        return None
    uploader = detail.get("requester")
    is_valid = isinstance(uploader, str) and 0 < len(uploader) <= _MAX_REQUESTER
    return uploader if is_valid else None


def make_object_created_event(
    upload: Upload,
    when: datetime,
    reference: Arn,
    reason: Reason,
    run_request: RunRequest = FIRST_RUN,
) -> dict[str, Any]:
    """Make the event that S3 would have sent for an upload, as the input of an execution.

    Parameters
    ----------
    upload : Upload
        With a version id or a sequencer.
    when : datetime
        When the object was last modified, with a time zone. Not the current time, so that the event
        of an upload is always the same.
    reference : Arn
        Any ARN in the account and Region, such as the state machine's.
    reason : Reason
    run_request : RunRequest, optional
        The run, if it is not the first one.
    """
    s3_object: dict[str, Any] = {"key": upload.key, "size": upload.size, "etag": upload.etag}
    if upload.version_id is not None:
        s3_object["version-id"] = upload.version_id
    if upload.sequencer:
        s3_object["sequencer"] = upload.sequencer
    event: dict[str, Any] = {
        "version": "0",
        "id": str(UUID(hex=upload_id(upload))),
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": reference.account,
        "time": when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": reference.region,
        "resources": [str(Arn(reference.partition, "s3", "", "", upload.bucket))],
        "detail": {
            "version": "0",
            "bucket": {"name": upload.bucket},
            "object": s3_object,
            "request-id": "none",
            "requester": reference.account,
            "reason": reason,
        },
    }
    if run_request != FIRST_RUN:
        event["run"] = {"number": run_request.number, "overrides": dict(run_request.overrides)}
    return event


def _list_fields(error: ValidationError, parent: str) -> str:
    return ", ".join(".".join((parent, *map(str, each["loc"]))) for each in error.errors())
