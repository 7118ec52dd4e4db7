"""How long Step Functions waits before it retries a state."""

from collections.abc import Mapping
from random import Random
from typing import Any


def retry_delay(retrier: Mapping[str, Any], retried: int, random: Random) -> float:
    """Return the seconds before the next retry.

    Parameters
    ----------
    retrier : mapping
        An element of a state's ``Retry``.
    retried : int
        How many retries it has made.
    random : Random
        Decides where ``JitterStrategy`` is ``FULL``: "a random value between 0 and the delay".

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """
    rate: float = retrier.get("BackoffRate", 2.0)
    seconds: float = retrier.get("IntervalSeconds", 1) * rate**retried
    seconds = min(seconds, retrier.get("MaxDelaySeconds", seconds))
    return random.uniform(0, seconds) if retrier.get("JitterStrategy") == "FULL" else seconds
