"""The budget of builds that the operator allows. Pure."""

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
        How many imports may start in a day (UTC); more are rejected with ``budget-used-up``.
    """

    at_once: int
    per_day: int


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How much of the budget is used.

    Attributes
    ----------
    at_once, today : int
        Builds that are under way, and builds that started today.
    limits : BuildLimits or None
        The limits when the last build started; ``None`` before the first build.
    """

    at_once: int
    today: int
    limits: BuildLimits | None


def budget_day(when: datetime) -> str:
    """Return the day (UTC) whose budget a build counts toward.

    Examples
    --------
    >>> budget_day(datetime.fromisoformat("2026-11-26T00:30:00+01:00"))
    '2026-11-25'
    """
    return when.astimezone(UTC).date().isoformat()
