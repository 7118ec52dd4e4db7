"""One build in, one notice or answer out. The state machine's voice; wiring only.

Takes S3's event, the execution, and what is to be reported:
``{"report": {"kind": "started" | "progressed" | "answer", "status", "previous",
"trackedBuildArn", "error"}}``.
"""

import os
from functools import cache
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, Field

from isodrop.aws.s3_events import parse_run_request, parse_upload
from isodrop.bootstrap import make_reporter
from isodrop.domain.ids import upload_id
from isodrop.services.reporting import ExecutionError, Reporter

logger = Logger(service="isodrop")


class ExecutionErrorInput(BaseModel):
    """What a Catch of the state machine hands on."""

    error: str = Field("States.TaskFailed", alias="Error")
    cause: str = Field("", alias="Cause")


class Report(BaseModel):
    """What is to be reported."""

    kind: Literal["started", "progressed", "answer"]
    status: str = ""
    previous: str | None = None
    tracked_build_arn: str | None = Field(None, alias="trackedBuildArn")
    error: ExecutionErrorInput | None = None


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
        to track before it, the ARN of that as ``buildToTrack``; else empty.

    Raises
    ------
    TransientError, RefusedError
        Asked again by the state machine.
    """
    upload = parse_upload(event)
    logger.append_keys(
        uploadId=upload_id(upload), bucket=upload.bucket, key=upload.key, etag=upload.etag
    )
    report = Report.model_validate(event["report"])
    speaker = reporter()
    run = speaker.claim_run(
        upload, event.get("executionArn", f"event:{event['id']}"), parse_run_request(event)
    )
    if run is None:
        return {}
    match report.kind:
        case "started":
            speaker.publish_started(run)
        case "progressed":
            speaker.publish_progress(run, report.status, report.previous)
        case "answer":
            told = report.error
            caught = None if told is None else ExecutionError(told.error, told.cause)
            if caught is None and (
                onward := speaker.next_build_to_track(run, report.tracked_build_arn)
            ):
                logger.info("onward", extra={"buildToTrack": onward})
                return {"buildToTrack": onward}
            answer = speaker.publish_answer(run, caught)
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
