"""Publishes a notification or the answer of a run, or starts its distribution.

The input is the event of the upload, the ARN of the execution, and what to report:
``{"report": {"kind": "started" | "progressed" | "distribute" | "answer", "status", "previous",
"stepsDone", "stepsTotal", "error"}}``.
"""

from isodrop import startup  # pauses garbage collection while the rest is imported

# isort: split
import os
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, Field

from isodrop.aws.s3_events import parse_event
from isodrop.bootstrap import make_report_services
from isodrop.domain.build import StepCount
from isodrop.domain.ids import upload_id
from isodrop.domain.results import ExecutionError
from isodrop.domain.run import Run
from isodrop.services.distribution import Distributor
from isodrop.services.reporting import Reporter

logger = Logger(service="isodrop")


class ExecutionErrorInput(BaseModel):
    """The error output of a Catch in the state machine."""

    error: str = Field("States.TaskFailed", alias="Error")
    cause: str = Field("", alias="Cause")


class ReportRequest(BaseModel):
    """What to publish or start."""

    kind: Literal["started", "progressed", "distribute", "answer"]
    status: str = ""
    previous: str | None = None
    steps_done: int = Field(0, alias="stepsDone")
    steps_total: int = Field(0, alias="stepsTotal")
    error: ExecutionErrorInput | None = None

    def steps(self) -> StepCount | None:
        """Return the steps that the state machine counted; ``None`` if it could not."""
        return StepCount(self.steps_done, self.steps_total) if self.steps_total else None


@startup.once
def services() -> tuple[Reporter, Distributor]:
    """Create the services, once per execution environment."""
    return make_report_services(os.environ)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Publish an event of a run, or start its distribution.

    Returns
    -------
    dict
        For an answer its ``detailType``, ``eventId`` and ``code``; for a distribution its
        ``buildArn``, which is null if there is none to track; otherwise empty.

    Raises
    ------
    TransientError, PermanentError
        Retried by the state machine.
    """
    upload, run_request, _ = parse_event(event)
    logger.append_keys(
        uploadId=upload_id(upload), bucket=upload.bucket, key=upload.key, etag=upload.etag
    )
    report = ReportRequest.model_validate(event["report"])
    reporter, distributor = services()
    execution = event.get("executionArn", f"event:{event['id']}")
    match report.kind:
        case "answer":
            run = reporter.claim_run(upload, execution, run_request)
        case "progressed":
            run = reporter.record_status(upload, execution, run_request, report.status)
        case _:
            run = reporter.get_run(upload, execution, run_request)
    if run is None:
        return {}
    match report.kind:
        case "started":
            reporter.publish_started(run)
        case "progressed":
            reporter.publish_progress(run, report.status, report.previous, report.steps())
        case "distribute":
            build_arn = distributor.start_distribution(run).distribution.arn
            message = "distribution started" if build_arn else "nothing to distribute"
            logger.info(message, extra={"buildArn": build_arn})
            return {"buildArn": build_arn}
        case "answer":
            return _answer(reporter, run, report.error)
    return {}


def _answer(reporter: Reporter, run: Run, error: ExecutionErrorInput | None) -> dict[str, Any]:
    caught = None if error is None else ExecutionError(error.error, error.cause)
    answer = reporter.publish_answer(run, caught)
    code = getattr(answer.data, "code", None)
    notes = getattr(answer.data, "notes", ())
    logger.info("answered", extra={"answer": answer.detail_type, "code": code, "notes": notes})
    return {"detailType": answer.detail_type, "eventId": answer.metadata.event_id, "code": code}
