"""Runs a sweep: answers ended runs that have no answer, starts executions of missed uploads.

When you invoke it by hand, its event may set a minimum age: ``{"minAgeMinutes": 0}`` includes
everything.
"""

from isodrop import startup  # pauses garbage collection while the rest is imported

# isort: split
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from isodrop.bootstrap import make_metrics, make_sweeper
from isodrop.services.sweep import MIN_AGE, Sweeper

logger = Logger(service="isodrop")

TIME_RESERVE_MS: Final = 90_000
"""The longest time that one more item may take: a call with all its retries."""


@startup.once
def sweeper() -> Sweeper:
    """Create the service, once per execution environment."""
    return make_sweeper(os.environ, log)


def log(message: str, fields: Mapping[str, Any]) -> None:
    """Log a message with its fields."""
    logger.info(message, extra=dict(fields))


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Run one sweep.

    Returns
    -------
    dict
        The :class:`~isodrop.domain.sweep_summary.SweepSummary`.

    Raises
    ------
    TransientError, PermanentError
        The ledger or the bucket cannot be read; the next sweep tries again.
    """
    min_age = timedelta(minutes=event["minAgeMinutes"]) if "minAgeMinutes" in event else MIN_AGE
    summary = replace(
        sweeper(),
        min_age=min_age,
        has_time=lambda: context.get_remaining_time_in_millis() > TIME_RESERVE_MS,
    ).run()
    make_metrics(os.environ).record_sweep(summary)
    counts = summary.to_dict()
    logger.info("swept", extra=counts)
    return counts
