"""One build in, one notice or answer out. The state machine's voice; wiring only.

Takes S3's event, the execution, and what is to be reported:
``{"report": {"kind": "started" | "progressed" | "answer", "status", "previous", "followed",
"caught"}}``.
"""

import os
from functools import cache
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, Field

from isodrop.aws.s3_events import read_ask, read_upload
from isodrop.bootstrap import make_reporter
from isodrop.domain.ids import drop_id
from isodrop.services.reporting import Caught, Reporter

logger = Logger(service="isodrop")


class CaughtError(BaseModel):
    """What a Catch of the state machine hands on."""

    error: str = Field("States.TaskFailed", alias="Error")
    cause: str = Field("", alias="Cause")


class Report(BaseModel):
    """What is to be reported."""

    kind: Literal["started", "progressed", "answer"]
    status: str = ""
    previous: str | None = None
    followed: str | None = None
    caught: CaughtError | None = None


@cache
def reporter() -> Reporter:
    """Wire the reporter, once for each execution environment."""
    return make_reporter(os.environ)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Report on one upload.

    Returns
    -------
    dict
        For an answer its ``detailType``, ``eventId`` and ``code``; where there is something else
        to follow before it, the ARN of that as ``follow``; else empty.

    Raises
    ------
    TransientError, RefusedError
        Asked again by the state machine.
    """
    upload = read_upload(event)
    logger.append_keys(
        dropId=drop_id(upload), bucket=upload.bucket, key=upload.key, etag=upload.etag
    )
    report = Report.model_validate(event["report"])
    speaker = reporter()
    drop = speaker.claimed(upload, event.get("execution", f"event:{event['id']}"), read_ask(event))
    if drop is None:
        return {}
    match report.kind:
        case "started":
            speaker.started(drop)
        case "progressed":
            speaker.progressed(drop, report.status, report.previous)
        case "answer":
            told = report.caught
            caught = None if told is None else Caught(told.error, told.cause)
            if caught is None and (onward := speaker.onward(drop, report.followed)):
                logger.info("onward", extra={"follow": onward})
                return {"follow": onward}
            answer = speaker.answer(drop, caught)
            code = getattr(answer.data, "code", None)
            notes = getattr(answer.data, "notes", ())
            logger.info(
                "answered", extra={"answer": answer.detail_type, "code": code, "notes": notes}
            )
            return {
                "detailType": answer.detail_type,
                "eventId": answer.metadata.event_id,
                "code": code,
            }
    return {}
