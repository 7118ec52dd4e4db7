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
class Verdict:
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


class UnseenError(IsodropError):
    """AWS does not say; the message tells what it had against it.

    Attributes
    ----------
    permission : str or None
        The IAM action that is missing, where that is the reason.
    """

    def __init__(self, message: str, permission: str | None = None) -> None:
        super().__init__(message)
        self.permission = permission


class GoneError(IsodropError):
    """What was asked for is not there; the message names it."""


def well(message: str) -> Verdict:
    """Say that it is as it should be."""
    return Verdict(Level.OK, message)


def doubtful(message: str, remedy: str | None = None) -> Verdict:
    """Say that it may do harm."""
    return Verdict(Level.WARNING, message, remedy)


def broken(message: str, remedy: str) -> Verdict:
    """Say that it does harm, and what mends it."""
    return Verdict(Level.BROKEN, message, remedy)
