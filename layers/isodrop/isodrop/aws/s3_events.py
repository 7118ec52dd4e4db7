"""S3's ``Object Created`` event, as EventBridge delivers it, made an upload; and the way back.

An execution's input is always such an event. Who starts one for an upload that S3 told nobody of,
or asks anew for one, makes the event that S3 would have sent, and an ask beside it.
"""

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from aws_lambda_powertools.utilities.parser.models import S3EventNotificationEventBridgeModel
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isodrop.domain.ids import drop_id
from isodrop.domain.model import FIRST_ASK, Ask, Upload
from isodrop.errors import IsodropError

Reason = Literal["PutObject", "CompleteMultipartUpload", "isodrop sweep", "isodrop retry"]
"""Which of S3's operations made the object; in the same place, who else made the event."""


class _Ask(BaseModel):
    """How an ask stands in an execution's input."""

    model_config = ConfigDict(extra="forbid")

    number: int = Field(ge=0)
    overrides: dict[str, str] = Field(default_factory=dict)


class NotAnUploadError(IsodropError):
    """The event is not one that S3 sends for a new object."""


def read_upload(event: dict[str, Any]) -> Upload:
    """Read an upload from S3's event; keys stay raw, as the event has them.

    Raises
    ------
    NotAnUploadError
        When it is no ``Object Created`` event, or lacks what tells one upload from another.

    See Also
    --------
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    """
    try:
        parsed = S3EventNotificationEventBridgeModel.model_validate(event)
    except ValidationError as error:
        raise NotAnUploadError(f"not an event that S3 sends: look at {_wrong(error)}") from None
    found = parsed.detail.object
    if parsed.detail_type != "Object Created" or not (
        found.key and found.etag and found.size is not None
    ):
        raise NotAnUploadError("not S3's Object Created event with key, etag and size")
    upload = Upload(
        bucket=parsed.detail.bucket.name,
        key=found.key,
        etag=found.etag.strip('"'),
        size=int(found.size),
        sequencer=found.sequencer or "",
        version_id=found.version_id,
    )
    if not (upload.version or upload.sequencer):
        raise NotAnUploadError("an Object Created event without a version id and a sequencer")
    return upload


def read_ask(event: dict[str, Any]) -> Ask:
    """Read which asking an execution's input is; S3's own event is the first.

    Raises
    ------
    NotAnUploadError
        When there is something under ``ask`` that is none.
    """
    if "ask" not in event:
        return FIRST_ASK
    try:
        parsed = _Ask.model_validate(event["ask"])
    except ValidationError as error:
        raise NotAnUploadError(f"not an ask: look at {_wrong(error)}") from None
    return Ask(parsed.number, parsed.overrides)


def object_created(
    upload: Upload, when: datetime, near: str, reason: Reason, ask: Ask = FIRST_ASK
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
    ask : Ask, optional
        What is asked, if it is not the first time.
    """
    partition, _, region, account = near.split(":")[1:5]
    seen: dict[str, Any] = {"key": upload.key, "size": upload.size, "etag": upload.etag}
    if upload.version_id is not None:
        seen["version-id"] = upload.version_id
    if upload.sequencer:
        seen["sequencer"] = upload.sequencer
    event: dict[str, Any] = {
        "version": "0",
        "id": str(UUID(hex=drop_id(upload))),
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
    if ask != FIRST_ASK:
        event["ask"] = {"number": ask.number, "overrides": dict(ask.overrides)}
    return event


def _wrong(error: ValidationError) -> str:
    return ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
