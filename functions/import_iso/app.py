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

from isodrop.aws.s3_events import read_ask, read_malware_scan, read_upload
from isodrop.bootstrap import make_counter, make_intake
from isodrop.domain.ids import drop_id
from isodrop.services.intake import Decision, Intake

logger = Logger(service="isodrop")


@cache
def intake() -> Intake:
    """Wire the intake, once for each execution environment."""
    return make_intake(os.environ)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Take one upload.

    Returns
    -------
    dict
        ``decision`` (``follow``, ``answer`` or ``nothing``) and the ``buildArn`` to follow.

    Raises
    ------
    TransientError, QuotaError
        Asked again by the state machine, for hours.
    """
    upload = read_upload(event)
    logger.append_keys(
        dropId=drop_id(upload), bucket=upload.bucket, key=upload.key, etag=upload.etag
    )
    execution = event.get("execution", f"event:{event['id']}")
    outcome = intake().take(upload, execution, read_ask(event), read_malware_scan(event))
    if outcome.decision is not Decision.NOTHING:
        make_counter(os.environ).dropped()
    logger.info("decided", extra={"decision": outcome.decision, "build": outcome.build_arn})
    return {"decision": outcome.decision.value, "buildArn": outcome.build_arn}
