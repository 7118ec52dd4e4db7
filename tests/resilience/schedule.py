"""Schedules: the uploads, faults and operators' actions of one run, made from a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import Final

from isodrop_local.faults import LOST_RESPONSE, NO_ENTRY_ACCEPTED, Fault

KEYS: Final = ("a.iso", "b.iso", "Büro 100%+.ISO")
IMPORTABLE_ISOS: Final = ("one", "two", "twin")
REJECTED_ISOS: Final = ("server", "text")
MAX_CONSECUTIVE_FAILURES: Final = 3
MAX_DEATHS: Final = 4
"""How often the state machine retries a function that died."""


class FaultKind(StrEnum):
    """How a call goes wrong."""

    THROTTLED = "is throttled"
    BROKEN = "returns 500"
    BUSY = "returns 503"
    LOST = "is lost before it takes effect"
    RESPONSE_LOST = "takes effect, but its response is lost"
    RESPONSE_BROKEN = "takes effect, but returns 500"
    NOTHING_ACCEPTED = "returns 200, but accepts nothing"
    OUT_OF_QUOTA = "is out of quota"
    EXPIRED = "has an expired token"
    SKEWED = "has a clock that is wrong"
    REFUSED = "is refused permanently"
    UNLOADABLE = "finds a function that cannot be loaded"
    KILLED_BEFORE = "is never sent: the function is killed before it"
    KILLED_AFTER = "takes effect, and the function is killed"


_THROTTLES: Final = {
    "s3": "SlowDown",
    "dynamodb": "ThrottlingException",
    "events": "ThrottlingException",
    "ec2": "RequestLimitExceeded",
}
_WRITES: Final = (
    "dynamodb.PutItem",
    "dynamodb.UpdateItem",
    "dynamodb.TransactWriteItems",
    "imagebuilder.ImportDiskImage",
)
_COPY_CALLS: Final = (
    "s3.CreateMultipartUpload",
    "s3.UploadPartCopy",
    "s3.ListParts",
    "s3.CompleteMultipartUpload",
    "s3.HeadObject",
    "s3.DeleteObject",
)
CALLS: Final = (
    "s3.GetObject",
    *_COPY_CALLS,
    "dynamodb.GetItem",
    "dynamodb.Query",
    *_WRITES,
    "imagebuilder.GetImage",
    "imagebuilder.ListWorkflowExecutions",
    "events.PutEvents",
    "lambda.Invoke",
)
"""The calls of the functions and the state machine, except EC2's, which are rare."""
_DISTRIBUTION_CALLS: Final = ("imagebuilder.DistributeImage",) * 3
"""Chosen more often, because it is called only once for an image."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault of some calls of an operation."""

    call: str
    kind: FaultKind
    skip: int
    times: int = 1

    def fault(self) -> Fault:
        """Convert to the fault that the emulator and the simulation inject."""
        service, operation = self.call.split(".")
        code, status = {
            FaultKind.THROTTLED: (_throttle(service, operation), 429 if service != "s3" else 503),
            FaultKind.BROKEN: ("InternalFailure", 500),
            FaultKind.BUSY: ("ServiceUnavailable", 503),
            FaultKind.RESPONSE_BROKEN: ("InternalFailure", 500),
            FaultKind.NOTHING_ACCEPTED: (NO_ENTRY_ACCEPTED, None),
            FaultKind.OUT_OF_QUOTA: ("ServiceQuotaExceededException", 402),
            FaultKind.EXPIRED: (
                "ExpiredTokenException" if service != "s3" else "ExpiredToken",
                400,
            ),
            FaultKind.SKEWED: ("RequestTimeTooSkewed", 403),
            FaultKind.REFUSED: ("ClientException", 400),
            FaultKind.UNLOADABLE: ("Runtime.ImportModuleError", 500),
        }.get(self.kind, (LOST_RESPONSE, None))
        if service == "imagebuilder" and self.kind in {FaultKind.BROKEN, FaultKind.RESPONSE_BROKEN}:
            code, status = "ServiceException", None
        if service == "imagebuilder" and self.kind is FaultKind.BUSY:
            code, status = "ServiceUnavailableException", None
        return Fault(
            operation,
            code,
            status=status,
            service=service,
            committed=self.kind
            in {FaultKind.RESPONSE_LOST, FaultKind.RESPONSE_BROKEN, FaultKind.KILLED_AFTER},
            kill_caller=self.kind in {FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER},
            times=self.times,
            skip=self.skip,
        )


def _throttle(service: str, operation: str) -> str:
    if service == "imagebuilder":
        getting = operation.startswith(("Get", "List"))
        return "CallRateLimitExceededException" if getting else "TooManyRequestsException"
    return _THROTTLES.get(service, "TooManyRequestsException")


@dataclass(frozen=True, slots=True)
class Upload:
    """One write of one object.

    Attributes
    ----------
    at : float
        Seconds after the start.
    key, iso : str
        The object's key, and the name of the ISO.
    in_parts : bool
        Whether it is a multipart upload, which gives the same bytes another ETag.
    metadata : mapping of str to str
    delays : tuple of float
        Seconds until each delivery of its event: more than one means repeats, none that the rule
        is disabled.
    """

    at: float
    key: str
    iso: str
    in_parts: bool = False
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    delays: tuple[float, ...] = (0.5,)


class ActionKind(StrEnum):
    """A manual action, or one of Image Builder."""

    DELETE_OBJECT = "deletes the object"
    DELETE_VERSION = "deletes that version permanently"
    DELETE_COPIES = "empties the staging bucket"
    CANCEL_BUILD = "cancels the build"
    DELETE_BUILD = "deletes the build"
    FAIL_BUILD = "makes the build fail"
    DEREGISTER_AMI = "deregisters the AMI"
    BUILD_THE_SAME = "imports something of the same name and version"
    FORGET_TOKENS = "makes Image Builder forget its tokens"
    ABORT_EXECUTION = "aborts the execution"
    RETRY = "retries the upload"


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """An action of an operator, or of Image Builder at a given time.

    Attributes
    ----------
    at : float
        Seconds after the start.
    kind : ActionKind
    which : int
        The index of the object, build, AMI or execution, modulo their number.
    """

    at: float
    kind: ActionKind
    which: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule.

    Attributes
    ----------
    quota : int
        Builds that may run at once.
    distributes : bool
        Whether the simulated stack distributes its images; a deployed one has its own setting.
    at_once, per_day : int
        The limits that the simulated stack is deployed with.
    """

    seed: int
    uploads: tuple[Upload, ...]
    faults: tuple[PlannedFault, ...] = ()
    actions: tuple[OperatorAction, ...] = ()
    quota: int = 100
    distributes: bool = False
    at_once: int = 100
    per_day: int = 1000

    @property
    def kills(self) -> bool:
        """Whether processes are killed."""
        return any(each.fault().kill_caller for each in self.faults)

    @property
    def retries_suffice(self) -> bool:
        """Whether no function dies more often than the state machine retries it."""
        deaths = (each.times for each in self.faults if each.fault().kill_caller)
        return sum(deaths) <= MAX_DEATHS

    def __str__(self) -> str:
        """Describe it, a line for each part."""
        limits = f"{self.at_once} at once, {self.per_day} a day"
        lines = [f"seed {self.seed}, quota {self.quota}, {limits}"]
        if self.distributes:
            lines.append("  images are distributed")
        for upload in self.uploads:
            how = " in parts" if upload.in_parts else ""
            lines.append(
                f"  at {upload.at:.1f} {upload.iso!r} to {upload.key!r}{how}"
                f" {dict(upload.metadata)}, announced after {upload.delays}"
            )
        for fault in self.faults:
            lines.append(f"  {fault.call} {fault.skip} x{fault.times} {fault.kind}")
        for action in self.actions:
            lines.append(f"  at {action.at:.1f} somebody {action.kind} {action.which}")
        return "\n".join(lines)

    @classmethod
    def of(cls, seed: int) -> "Schedule":
        """Make the schedule of a seed, always the same."""
        random = Random(f"schedule {seed}")  # noqa: S311 # repeatable, not secret
        uploads = _uploads(random)
        distributes = random.random() < 0.5
        calls = (*CALLS, *_WRITES, *_COPY_CALLS, *(_DISTRIBUTION_CALLS if distributes else ()))
        return cls(
            seed=seed,
            uploads=uploads,
            faults=tuple(_planned_fault(random, calls) for _ in range(random.randint(2, 7))),
            actions=tuple(
                _operator_action(random, uploads) for _ in range(random.choice((0, 1, 2, 4)))
            ),
            quota=random.choice((1, 2, 100, 100)),
            distributes=distributes,
            at_once=random.choice((1, 2, 100, 100)),
            per_day=random.choice((1, 2, 1000, 1000)),
        )


def _uploads(random: Random) -> tuple[Upload, ...]:
    # With few keys and ISOs most uploads affect each other. Most come at nearly the same time, or
    # while a build runs, which takes half an hour, or after it.
    isos = random.sample(IMPORTABLE_ISOS, k=random.choice((1, 1, 2))) * 4
    isos += random.choices(REJECTED_ISOS, k=1)
    at = 0.0
    made = []
    for _ in range(random.randint(2, 5)):
        metadata: Mapping[str, str] = {}
        if random.random() < 0.1:
            metadata = random.choice(({"rebuild": "again"}, {"edition": "EnterpriseN"}, {"x": "y"}))
        delays = [random.choice((0.1, 0.5, 2.0, 30.0)) for _ in range(random.choice((1, 1, 2, 3)))]
        if random.random() < 0.08:
            delays = []
        elif random.random() < 0.1:
            delays[-1] += random.choice((600.0, 4000.0))
        made.append(
            Upload(
                at=round(at, 3),
                key=random.choice(KEYS),
                iso=random.choice(isos),
                in_parts=random.random() < 0.3,
                metadata=MappingProxyType(dict(metadata)),
                delays=tuple(delays),
            )
        )
        at += random.choice((0.0, 0.2, 1.0, 3.0, 60.0, 900.0, 2500.0)) * random.random()
    return tuple(made)


_STARTS_BUILDS: Final = ("imagebuilder.ImportDiskImage", "imagebuilder.DistributeImage")
_ONLY: Final = {
    FaultKind.NOTHING_ACCEPTED: "events.PutEvents",
    # These are permanent, so named tests cover them instead of random schedules.
    FaultKind.REFUSED: "",
    FaultKind.UNLOADABLE: "",
}


def _planned_fault(random: Random, calls: Sequence[str]) -> PlannedFault:
    call = random.choice(calls)
    kinds = [kind for kind in FaultKind if _ONLY.get(kind, call) == call]
    if call not in _STARTS_BUILDS:
        kinds.remove(FaultKind.OUT_OF_QUOTA)
    if call == "lambda.Invoke":  # Step Functions has its own credentials
        kinds = [kind for kind in kinds if kind not in {FaultKind.EXPIRED, FaultKind.SKEWED}]
    skip = int(random.expovariate(1 if call in _COPY_CALLS else 1 / 6))
    # The client itself retries each call three times.
    return PlannedFault(
        call=call,
        kind=random.choice((*kinds, FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER)),
        skip=0 if call in _DISTRIBUTION_CALLS else skip,
        times=random.choice((1, 1, 1, 2, 3, 4)),
    )


def _operator_action(random: Random, uploads: tuple[Upload, ...]) -> OperatorAction:
    kind = random.choice([*ActionKind])
    after = random.choice((0.5, 2.0, 20.0, 200.0, 2000.0, 4000.0)) * random.random()
    if kind is ActionKind.FORGET_TOKENS:
        after += 24 * 3600.0
    return OperatorAction(
        at=round(random.choice(uploads).at + after, 3),
        kind=kind,
        which=random.randint(0, 5),
    )
