"""The service's clock: the local clock, corrected by the Date headers of AWS's responses.

The times of claims and answers come from AWS's clock. With a local clock that is minutes ahead,
`watch` would miss recent runs; with one that is behind, durations would be negative.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

TOLERANCE: Final = timedelta(seconds=5)
"""A Date header has whole seconds, and a response takes time to arrive: ignore less than this."""


class ServiceClock:
    """The time as the service sees it."""

    def __init__(self) -> None:
        self._offset = timedelta(0)

    def now(self) -> datetime:
        """Return the time, with a time zone."""
        return datetime.now(UTC) + self._offset

    def synchronize(self, headers: Mapping[str, str]) -> None:
        """Correct the clock from the Date header of a response that has just arrived."""
        try:
            date = parsedate_to_datetime(headers.get("date", ""))
        except ValueError:
            return  # the response has no date
        if date.tzinfo is None:
            return
        ahead = date - datetime.now(UTC)
        self._offset = ahead if abs(ahead) > TOLERANCE else timedelta(0)


CLOCK: Final = ServiceClock()
"""The clock that commands use."""


def utc_now() -> datetime:
    """Return the time by the service's clock, as far as it is known."""
    return CLOCK.now()
