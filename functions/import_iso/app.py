"""One upload in, one decision out. The state machine's first step; wiring only.

Takes S3's ``Object Created`` event as EventBridge delivers it (or GuardDuty's scan result), with
the execution that follows it merged in by the state machine; ``sam local invoke`` passes the bare
event.
"""

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from isodrop.aws.s3_events import parse_event
from isodrop.bootstrap import make_intake, make_metrics
from isodrop.domain.ids import upload_id
from isodrop.services.intake import Intake, NextStep

logger = Logger(service="isodrop")


@cache
def intake() -> Intake:
    """Wire the intake, once for each execution environment."""
    return make_intake(os.environ)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Handle one upload.

    Returns
    -------
    dict
        ``nextStep`` (``track``, ``report`` or ``skip``) and the ``buildArn`` to track.

    Raises
    ------
    TransientError, QuotaError
        Retried by the state machine, for hours.
    """
    upload, request, malware_scan = parse_event(event)
    logger.append_keys(
        uploadId=upload_id(upload), bucket=upload.bucket, key=upload.key, etag=upload.etag
    )
    execution = event.get("executionArn", f"event:{event['id']}")
    result = intake().process(upload, execution, request, malware_scan)
    if result.next_step is not NextStep.SKIP:
        make_metrics(os.environ).record_upload()
    logger.info("decided", extra={"nextStep": result.next_step, "buildArn": result.build_arn})
    return {"nextStep": result.next_step.value, "buildArn": result.build_arn}
