"""A build of Image Builder's: its phase, its AMIs, how far it has come."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol, TypeVar

SETTLING_TIME: Final = timedelta(minutes=10)
"""How long AWS may not know what is new: a build that was just submitted, or the AMIs of one that
has just become AVAILABLE. EC2 was seen not to know a new AMI for minutes.
https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html"""


class BuildPhase(StrEnum):
    """What one of Image Builder's twelve statuses means for an import."""

    RUNNING = "running"
    """The build is under way; so is one with a status that is not known here."""
    SUCCEEDED = "succeeded"
    """There is an image that can be used."""
    FAILED = "failed"
    """There is no image, and from this build there will be none."""


_PHASES: Final = {
    "AVAILABLE": BuildPhase.SUCCEEDED,
    "DEPRECATED": BuildPhase.SUCCEEDED,  # its AMI can still be used
    "FAILED": BuildPhase.FAILED,
    "CANCELLED": BuildPhase.FAILED,
    "DELETED": BuildPhase.FAILED,
    "DISABLED": BuildPhase.FAILED,  # its AMI cannot be launched
}


FINAL_STATUSES: Final = frozenset(_PHASES)
"""The statuses with which a build is over: the one table of them, for the state machine, too."""


@dataclass(frozen=True, slots=True)
class Ami:
    """One AMI that came of a build."""

    id: str
    region: str
    account: str
    name: str


class _Placed(Protocol):
    """What says where an AMI is."""

    @property
    def region(self) -> str: ...

    @property
    def account(self) -> str: ...


AnAmi = TypeVar("AnAmi", bound=_Placed)


@dataclass(frozen=True, slots=True)
class Build:
    """One image build version, as GetImage describes it.

    Attributes
    ----------
    arn : str
        The image build version's ARN.
    status : str
        One of Image Builder's statuses, or one we do not know yet.
    reason, failed_step, error : str or None
        What it says of a failure: the state's reason, the workflow step, and the
        component's or the distribution's own message; escaped and bounded.
    amis : tuple of Ami
    log_group, log_stream : str
        Where the build writes its log, once it ends.
    """

    arn: str
    status: str
    reason: str | None
    failed_step: str | None
    error: str | None
    amis: tuple[Ami, ...]
    log_group: str
    log_stream: str

    @property
    def phase(self) -> BuildPhase:
        """What the status means for an import."""
        return _PHASES.get(self.status, BuildPhase.RUNNING)


@dataclass(frozen=True, slots=True)
class StepCount:
    """How far a build's workflows have come: steps done, and steps in all (0 if unknown)."""

    done: int
    total: int
