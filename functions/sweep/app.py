"""Every few minutes: answer what nobody answered, start what was never started; wiring only.

Whoever invokes it by hand may say from which age on: ``{"graceMinutes": 0}`` takes all there is.
"""

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from isodrop.aws.metrics import Counter
from isodrop.aws.step_functions import Executions
from isodrop.services.reporting import Reporter
from isodrop.services.sweep import GRACE, Sweep
from isodrop.settings import SweepSettings

logger = Logger(service="isodrop")

RESERVE_MS: Final = 90_000
"""What one more thing may take at the worst: a call with all its retries."""


@cache
def reporter() -> Reporter:
    """Wire the reporter, once for each execution environment."""
    settings = SweepSettings.read(os.environ)
    return Reporter.connect(
        boto3.Session(),
        settings,
        now=lambda: datetime.now(UTC),
        clock=time.monotonic,
        count=Counter(settings.stack_name).answered,
    )


@cache
def executions() -> Executions:
    """Wire the state machine, once for each execution environment."""
    return Executions.connect(boto3.Session(), SweepSettings.read(os.environ).import_machine_arn)


def sweep(grace: timedelta, has_time: Callable[[], bool]) -> Sweep:
    """Wire one sweep."""
    settings, speaker = SweepSettings.read(os.environ), reporter()
    return Sweep(
        s3=speaker.s3,
        builder=speaker.builder,
        ledger=speaker.ledger,
        executions=executions(),
        reporter=speaker,
        bucket=settings.upload_bucket,
        prefix=settings.key_prefix,
        waits_for_malware_scan=settings.malware_scan != "none",
        tracking=timedelta(hours=settings.tracking_hours),
        now=speaker.now,
        has_time=has_time,
        tell=tell,
        grace=grace,
    )


def tell(word: str, particulars: Mapping[str, Any]) -> None:
    """Log what was found."""
    logger.info(word, extra=dict(particulars))


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Sweep once.

    Returns
    -------
    dict
        The :class:`~isodrop.domain.sweep_summary.Tally`.

    Raises
    ------
    TransientError, RefusedError
        The ledger or the bucket cannot be looked at; the next sweep tries again.
    """
    grace = timedelta(minutes=event["graceMinutes"]) if "graceMinutes" in event else GRACE
    one = sweep(grace, lambda: context.get_remaining_time_in_millis() > RESERVE_MS)
    found = one.run()
    Counter(one.reporter.stack).swept(found)
    tally = found.told()
    logger.info("swept", extra=tally)
    return tally
