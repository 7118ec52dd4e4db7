"""The event of an upload, as EventBridge delivers it; read, and made.

An execution's input is always such an event: S3's own ``Object Created``, or where a malware scan
goes first, GuardDuty's result. Whoever starts one for an upload whose event was not delivered, or
retries one, makes the event that S3 would have sent, and the run's request beside it.

Only what is used is required: a field that AWS leaves out or adds changes nothing.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isodrop.domain.ids import upload_id
from isodrop.domain.model import FIRST_RUN, RunRequest, Upload
from isodrop.errors import IsodropError

Reason = Literal["PutObject", "CompleteMultipartUpload", "isodrop sweep", "isodrop retry"]
"""Which of S3's operations made the object; in the same place, who else made the event."""

_CREATED: Final = "Object Created"
_SCANNED: Final = "GuardDuty Malware Protection Object Scan Result"
_MAX_REQUESTER: Final = 256


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
    """How the request of a run is written in an execution's input."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    number: int = Field(ge=0, lt=1_000_000)
    overrides: dict[str, str] = Field(default_factory=dict)


class UploadEvent(NamedTuple):
    """What an execution's input says.

    Attributes
    ----------
    upload : Upload
    request : RunRequest
        Which run of it.
    malware_scan : str or None
        How its malware scan ended, such as ``THREATS_FOUND``; ``None`` where there was none.
    """

    upload: Upload
    request: RunRequest
    malware_scan: str | None


class InvalidEventError(IsodropError):
    """The event is not one that S3 or GuardDuty sends for a new object."""


def parse_event(event: dict[str, Any]) -> UploadEvent:
    """Read an execution's input, or S3's bare event; keys stay raw, as the event has them.

    GuardDuty does not say how large the object is: its size is 0 then.

    Raises
    ------
    InvalidEventError
        It is no such event, or lacks what distinguishes one upload from another.
    """
    upload, malware_scan = _parse_upload(event)
    return UploadEvent(upload, _parse_run_request(event), malware_scan)


def _parse_upload(event: dict[str, Any]) -> tuple[Upload, str | None]:
    if not isinstance(event, dict):
        raise InvalidEventError("not an event at all: no JSON object")
    try:
        if event.get("detail-type") == _SCANNED:
            return _parse_scanned(event)
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
    return upload, None


def _parse_scanned(event: Mapping[str, Any]) -> tuple[Upload, str]:
    scanned = _Scanned.model_validate(event.get("detail"))
    found = scanned.object
    upload = Upload(
        bucket=found.bucket,
        key=found.key,
        etag=found.etag.strip('"'),
        size=0,
        # Without versions one scan's result is told from another's by the event alone; EventBridge
        # repeats it with the same id.
        sequencer=str(event.get("id", "")),
        version_id=found.version_id,
    )
    return upload, scanned.result.status


def _parse_run_request(event: dict[str, Any]) -> RunRequest:
    """Read which run of an upload it is; S3's own event is the first."""
    requester = _read_requester(event)
    if "run" not in event:
        return RunRequest(requester=requester)
    try:
        parsed = _RunRequest.model_validate(event["run"])
    except ValidationError as error:
        raise InvalidEventError(f"not a run: look at {_wrong(error)}") from None
    return RunRequest(parsed.number, parsed.overrides, requester)


def _read_requester(event: Mapping[str, Any]) -> str | None:
    """Read who uploaded the object, where S3 itself says so; whatever else is there is left."""
    detail = event.get("detail")
    if not isinstance(detail, Mapping) or str(detail.get("reason", "")).startswith("isodrop"):
        return None
    requester = detail.get("requester")
    fits = isinstance(requester, str) and 0 < len(requester) <= _MAX_REQUESTER
    return requester if fits else None


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
        Distinguished from other writes of its key by version or sequencer.
    when : datetime
        When the object was last modified, with a time zone: of the upload, not of now, so that
        the event of one upload is always the same.
    reference_arn : str
        Any ARN of the account and Region, such as the state machine's.
    reason : Reason
    request : RunRequest, optional
        Which run it is, if not the first.
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
