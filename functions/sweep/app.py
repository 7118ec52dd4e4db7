"""Every few minutes: answer what nobody answered, start what was never started; wiring only.

Whoever invokes it by hand may say from which age on: ``{"graceMinutes": 0}`` takes all there is.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from isodrop.bootstrap import make_metrics, make_sweep
from isodrop.services.sweep import MIN_AGE, Sweeper

logger = Logger(service="isodrop")

TIME_RESERVE_MS: Final = 90_000
"""What one more thing may take at the worst: a call with all its retries."""


@cache
def sweep() -> Sweeper:
    """Wire the sweep, once for each execution environment."""
    return make_sweep(os.environ, tell)


def tell(word: str, particulars: Mapping[str, Any]) -> None:
    """Log what was found."""
    logger.info(word, extra=dict(particulars))


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Sweep once.

    Returns
    -------
    dict
        The :class:`~isodrop.domain.sweep_summary.SweepSummary`.

    Raises
    ------
    TransientError, PermanentError
        The ledger or the bucket cannot be looked at; the next sweep tries again.
    """
    grace = timedelta(minutes=event["graceMinutes"]) if "graceMinutes" in event else MIN_AGE
    found = replace(
        sweep(),
        min_age=grace,
        has_time=lambda: context.get_remaining_time_in_millis() > TIME_RESERVE_MS,
    ).run()
    make_metrics(os.environ).record_sweep(found)
    summary = found.to_dict()
    logger.info("swept", extra=summary)
    return summary
