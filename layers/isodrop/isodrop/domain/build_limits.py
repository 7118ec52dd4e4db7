"""The operator's limits on builds, and how many builds count toward them. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """The stack's limits.

    Attributes
    ----------
    at_once : int
        How many imports may run at the same time; more have to wait.
    per_day : int
        How many imports may start in a day (UTC); more are rejected with ``daily-limit-reached``.
    """

    at_once: int
    per_day: int


@dataclass(frozen=True, slots=True)
class BuildUsage:
    """How many builds count toward the limits.

    Attributes
    ----------
    under_way, today : int
        Imports that are under way, and imports that started today; distributions do not count.
    limits : BuildLimits or None
        The limits when today's last build started; ``None`` if none has started today.
    """

    under_way: int
    today: int
    limits: BuildLimits | None


def utc_day(when: datetime) -> str:
    """Return the day (UTC) whose limit a build counts toward.

    Examples
    --------
    >>> utc_day(datetime.fromisoformat("2026-11-26T00:30:00+01:00"))
    '2026-11-25'
    """
    return when.astimezone(UTC).date().isoformat()
