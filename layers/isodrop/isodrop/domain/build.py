"""A build in Image Builder: its phase, its AMIs and its progress."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol, TypeVar

SETTLING_TIME: Final = timedelta(minutes=10)
"""How long AWS may take to return a new resource: a build that was just submitted, or the AMIs of
one that has just become AVAILABLE. EC2 was observed not to return a new AMI for minutes.
https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html"""


class BuildPhase(StrEnum):
    """What a status in Image Builder means for isodrop."""

    RUNNING = "running"
    """The build is running, or has a status that is not known here."""
    SUCCEEDED = "succeeded"
    """There is a usable image."""
    FAILED = "failed"
    """The build has ended, and there is no usable image, or no longer one."""


_PHASES: Final = {
    "AVAILABLE": BuildPhase.SUCCEEDED,
    "DEPRECATED": BuildPhase.SUCCEEDED,  # its AMI can still be used
    "FAILED": BuildPhase.FAILED,
    "CANCELLED": BuildPhase.FAILED,
    "DELETED": BuildPhase.FAILED,
    "DISABLED": BuildPhase.FAILED,  # its AMI cannot be launched
}


FINAL_STATUSES: Final = frozenset(_PHASES)
"""The statuses of a build that has ended. A test compares the state machine with this table."""


@dataclass(frozen=True, slots=True)
class Ami:
    """An AMI that a build created."""

    id: str
    region: str
    account: str
    name: str


class _HasLocation(Protocol):
    """An AMI with its Region and account."""

    @property
    def region(self) -> str: ...

    @property
    def account(self) -> str: ...


AmiLike = TypeVar("AmiLike", bound=_HasLocation)


@dataclass(frozen=True, slots=True)
class Build:
    """One image build version, as GetImage returns it.

    Attributes
    ----------
    arn : str
        The image build version's ARN.
    status : str
        One of Image Builder's statuses, or one that is not known here.
    reason, failed_step, error : str or None
        The details of a failure: Image Builder's reason for the status, the workflow step, and the
        message of the component or distribution; escaped and of limited length.
    amis : tuple of Ami
    log_group, log_stream : str
        Where Image Builder writes the log when the build ends.
    tags : mapping of str to str
        The tags of the image build version, without those of AWS.
    """

    arn: str
    status: str
    reason: str | None
    failed_step: str | None
    error: str | None
    amis: tuple[Ami, ...]
    log_group: str
    log_stream: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def phase(self) -> BuildPhase:
        """What the status means for isodrop."""
        return _PHASES.get(self.status, BuildPhase.RUNNING)


@dataclass(frozen=True, slots=True)
class StepCount:
    """The progress of a build's workflows: steps done, and steps in total (0 if unknown)."""

    done: int
    total: int
