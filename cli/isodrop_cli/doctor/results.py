"""What a check says: well, doubtful or broken, and what to do about it. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from isodrop.errors import IsodropError


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """An import may go through; or nobody could look."""
    BROKEN = "broken"
    """No import goes through, or not every upload gets its answer."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check has found.

    Attributes
    ----------
    level : Level
    message : str
        What is so, in a sentence.
    remedy : str or None
        What mends it, a command where there is one.
    """

    level: Level
    message: str
    remedy: str | None = None


class CheckSkippedError(IsodropError):
    """AWS does not say; the message tells what it had against it.

    Attributes
    ----------
    permission : str or None
        The IAM action that is missing, where that is the reason.
    """

    def __init__(self, message: str, permission: str | None = None) -> None:
        super().__init__(message)
        self.permission = permission


class NotFoundError(IsodropError):
    """What was asked for is not there; the message names it."""


def passed(message: str) -> CheckResult:
    """Say that it is as it should be."""
    return CheckResult(Level.OK, message)


def warned(message: str, remedy: str | None = None) -> CheckResult:
    """Say that it may do harm."""
    return CheckResult(Level.WARNING, message, remedy)


def failed(message: str, remedy: str) -> CheckResult:
    """Say that it does harm, and what mends it."""
    return CheckResult(Level.BROKEN, message, remedy)
