"""S3's ``Object Created`` event, as EventBridge delivers it, made an upload."""

from typing import Any

from aws_lambda_powertools.utilities.parser.models import S3EventNotificationEventBridgeModel
from pydantic import ValidationError

from isodrop.codes import IsodropError
from isodrop.plan import Upload


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
        wrong = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        raise NotAnUploadError(f"not an event that S3 sends: look at {wrong}") from None
    found = parsed.detail.object
    if parsed.detail_type != "Object Created" or not (
        found.key and found.etag and found.sequencer and found.size is not None
    ):
        raise NotAnUploadError("not S3's Object Created event with key, etag, size and sequencer")
    return Upload(
        bucket=parsed.detail.bucket.name,
        key=found.key,
        etag=found.etag.strip('"'),
        size=int(found.size),
        sequencer=found.sequencer,
        version_id=found.version_id,
    )
