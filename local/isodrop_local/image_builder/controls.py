"""Faults on demand, and the records that oracles read afterwards."""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from isodrop_local.faults import Fault, Faults
from isodrop_local.image_builder.lifecycle import MESSAGE, PATHS, Kind, PlannedFailure
from isodrop_local.image_builder.values import Call, normalize_name


@dataclass(frozen=True, slots=True)
class FailingBuilds:
    """The next builds, of a name or of any, fail."""

    planned_failure: PlannedFailure
    name: str | None
    times: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Hold:
    """Builds (of a name, or all) stay in a state until they are released."""

    status: str
    name: str | None
    kind: Kind


@dataclass(frozen=True, slots=True)
class FutureState:
    """A state that is not in the service model, and its position among the states of builds."""

    status: str
    after: str | None
    seconds: float
    kind: Kind = "import"


@dataclass(slots=True)
class Controls:
    """The controls and records; the same in process and behind the server.

    Attributes
    ----------
    calls : list of Call
        Every call, in order.
    violations : list of str
        What must never happen: isodrop sends a malformed request, or a client token with other
        parameters; or the fake has a defect. Tests assert that it is empty.
    """

    calls: list[Call] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    failing: list[FailingBuilds] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    futures: list[FutureState] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fail_next(self, operation: str, code: str = "ServiceException", **how: Any) -> None:
        """Make the next calls of an operation fail; see :class:`Fault`."""
        self.faults.add(Fault(operation, code, **how))

    def fail_next_build(
        self,
        times: int = 1,
        *,
        status: str | None = None,
        step: str = "",
        message: str = MESSAGE,
        name: str | None = None,
        kind: Kind = "import",
    ) -> None:
        """Make the next builds, of an image's name or of any, fail.

        Parameters
        ----------
        times : int
            How many builds.
        status : str, optional
            The state in which they fail; by default the one whose workflow has the step, and for
            distributions always DISTRIBUTING.
        step, message : str
            See :class:`~isodrop_local.image_builder.lifecycle.PlannedFailure`.
        name : str, optional
            Only builds of this image; a distribution has its source's name.
        kind : Kind
            Only imports, or only distributions.
        """
        if kind == "distribution":
            status = status or "DISTRIBUTING"
        planned_failure = (
            PlannedFailure(status, step, message) if status else PlannedFailure.at(step, message)
        )
        self._check_path(kind, planned_failure.status)
        with self.lock:
            self.failing.append(FailingBuilds(planned_failure, name, times, kind))

    def hold(self, status: str, *, name: str | None = None, kind: Kind = "import") -> None:
        """Keep builds of a kind in a state that they are in or enter."""
        with self.lock:
            self.holds.append(Hold(status, name, kind))

    def release(
        self, status: str | None = None, *, name: str | None = None, kind: Kind | None = None
    ) -> None:
        """Release builds: from a state or all, of a name or any, of a kind or both."""
        with self.lock:
            self.holds = [
                hold
                for hold in self.holds
                if (status and hold.status != status)
                or (name and hold.name != name)
                or (kind and hold.kind != kind)
            ]

    def pass_through(
        self,
        status: str,
        *,
        after: str = "CREATING",
        seconds: float = 0.0,
        kind: Kind = "import",
    ) -> None:
        """Add a state that is not in the service model to later builds of a kind."""
        self._check_path(kind, after)
        with self.lock:
            self.futures.append(FutureState(status, after, seconds, kind))

    def _check_path(self, kind: Kind, status: str) -> None:
        """Refuse an impossible fault, so that no test waits for it."""
        if kind not in PATHS or status not in self.path(kind)[:-1]:
            raise ValueError(f"no build of kind {kind!r} passes through {status!r}")

    def reset(self) -> None:
        """Remove all faults and records; builds stay as they are."""
        with self.lock:
            for each in (self.calls, self.violations, self.failing, self.holds):
                each.clear()
            self.faults.clear()
            # Builds in a future state stay in it, and may report it.
            self.futures = [replace(future, after=None) for future in self.futures]

    def calls_of(self, operation: str | None = None) -> list[dict[str, Any]]:
        """List the recorded calls, of one operation or all."""
        with self.lock:
            return [asdict(call) for call in self.calls if operation in (None, call.operation)]

    def record_violation(self, violation: str) -> None:
        """Record what isodrop must never do."""
        with self.lock:
            self.violations.append(violation)

    def next_planned_failure(self, name: str, kind: Kind = "import") -> PlannedFailure | None:
        """Take the failure that is due for a new build, if any."""
        with self.lock:
            for place, failing in enumerate(self.failing):
                if failing.kind == kind and _matches(failing.name, name):
                    left = replace(failing, times=failing.times - 1)
                    self.failing[place : place + 1] = [left] if left.times > 0 else []
                    return failing.planned_failure
        return None

    def holds_in(self, status: str, name: str, kind: Kind) -> bool:
        """Whether a build of that name and kind is kept in a state."""
        return any(
            (hold.status, hold.kind) == (status, kind) and _matches(hold.name, name)
            for hold in self.holds
        )

    def path(self, kind: Kind = "import") -> tuple[str, ...]:
        """Return the states of a build that starts now."""
        path = list(PATHS[kind])
        for future in self.futures:
            if future.after and future.kind == kind:
                path.insert(path.index(future.after) + 1, future.status)
        return tuple(path)

    def duration(self, status: str, timings: Mapping[str, float]) -> float:
        """Return how long a state lasts; 0 if nothing is set for it."""
        futures = {future.status: future.seconds for future in self.futures}
        return futures.get(status, timings.get(status, 0.0))


def _matches(wanted: str | None, name: str) -> bool:
    return wanted is None or normalize_name(wanted) == normalize_name(name)
