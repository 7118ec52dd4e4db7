"""Processes an upload and returns the next step. The first function of the state machine.

The input is S3's ``Object Created`` event (or GuardDuty's scan result) as delivered by EventBridge,
to which the state machine adds the ARN of its execution; ``sam local invoke`` does not.
"""

from isodrop import startup  # pauses garbage collection while the rest is imported

# isort: split
import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from isodrop.aws.s3_events import parse_event
from isodrop.bootstrap import make_intake, make_metrics
from isodrop.domain.ids import upload_id
from isodrop.services.intake import Intake, NextStep

logger = Logger(service="isodrop")


@startup.once
def intake() -> Intake:
    """Create the service, once per execution environment."""
    return make_intake(os.environ)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Process one upload.

    Returns
    -------
    dict
        ``nextStep`` (``track``, ``answer`` or ``skip``) and the ``buildArn`` to track.

    Raises
    ------
    TransientError, QuotaError
        Retried by the state machine, for hours.
    """
    upload, run_request, malware_scan = parse_event(event)
    logger.append_keys(
        uploadId=upload_id(upload), bucket=upload.bucket, key=upload.key, etag=upload.etag
    )
    execution = event.get("executionArn", f"event:{event['id']}")
    result = intake().process(upload, execution, run_request, malware_scan)
    if result.next_step is not NextStep.SKIP:
        make_metrics(os.environ).record_run()
    logger.info("processed", extra={"nextStep": result.next_step, "buildArn": result.build_arn})
    return {"nextStep": result.next_step.value, "buildArn": result.build_arn}
