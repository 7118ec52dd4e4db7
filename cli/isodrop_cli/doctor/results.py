"""The result of a check: ok, warning or error, and its remedy. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from isodrop.errors import IsodropError


class Level(StrEnum):
    """The severity of a result."""

    OK = "ok"
    WARNING = "warning"
    """Imports may work, or the check was skipped."""
    ERROR = "error"
    """Imports do not work, or not every upload gets its answer."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes
    ----------
    level : Level
    message : str
        The state, in a sentence.
    remedy : str or None
        How to fix it; a command if there is one.
    """

    level: Level
    message: str
    remedy: str | None = None


class CheckSkippedError(IsodropError):
    """The check was not possible; the message says why.

    Attributes
    ----------
    permission : str or None
        The missing IAM action, if that is the reason.
    """

    def __init__(self, message: str, permission: str | None = None) -> None:
        super().__init__(message)
        self.permission = permission


class NotFoundError(IsodropError):
    """A resource does not exist; the message names it."""


def passed(message: str) -> CheckResult:
    """Return a result without a problem."""
    return CheckResult(Level.OK, message)


def warned(message: str, remedy: str | None = None) -> CheckResult:
    """Return a warning."""
    return CheckResult(Level.WARNING, message, remedy)


def failed(message: str, remedy: str) -> CheckResult:
    """Return an error and its remedy."""
    return CheckResult(Level.ERROR, message, remedy)
