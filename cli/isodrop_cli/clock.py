"""The service's clock: the local one, put right by the dates of AWS's own answers.

What a claim or an answer was written at is told by a clock of AWS. With a local clock that is some
minutes ahead, what is younger than that would never be "since the beginning", and with one that is
behind, steps would take less than no time.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

TOLERANCE: Final = timedelta(seconds=5)
"""A date has whole seconds, and an answer is some time on its way: less is no difference."""


class ServiceClock:
    """Tells the time as the service would."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """Tell the time, with a time zone."""
        return datetime.now(UTC) + self._ahead

    def heed(self, headers: Mapping[str, str]) -> None:
        """Put the clock right by an answer that has just come."""
        try:
            told = parsedate_to_datetime(headers.get("date", ""))
        except ValueError:
            return  # whoever answered tells no date
        if told.tzinfo is None:
            return
        ahead = told - datetime.now(UTC)
        self._ahead = ahead if abs(ahead) > TOLERANCE else timedelta(0)


CLOCK: Final = ServiceClock()
"""The one that a command goes by."""


def utc_now() -> datetime:
    """Tell the time by the service's clock, as far as it is known."""
    return CLOCK.now()
