"""How many paid builds the operator allows. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """What the stack's parameters allow.

    Attributes
    ----------
    at_once : int
        Imports that may be built at the same time; more wait.
    per_day : int
        Imports that may be begun in a day, which is UTC's; more are answered
        ``budget-used-up``.
    """

    at_once: int
    per_day: int


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How much of it is used.

    Attributes
    ----------
    at_once, today : int
        Builds that are under way, and those that were begun today.
    limits : BuildLimits or None
        As they were when a build was last begun; ``None`` before the first.
    """

    at_once: int
    today: int
    limits: BuildLimits | None


def day_of(when: datetime) -> str:
    """Name the day that a build counts for.

    Examples
    --------
    >>> day_of(datetime.fromisoformat("2026-11-26T00:30:00+01:00"))
    '2026-11-25'
    """
    return when.astimezone(UTC).date().isoformat()
