"""What goes wrong on demand, and the records that oracles read afterwards."""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tests.emulator.faults import Fault, Faults
from tests.emulator.imagebuilder.lifecycle import MESSAGE, PATH, Doom
from tests.emulator.imagebuilder.values import Call, folded


@dataclass(frozen=True, slots=True)
class FailingBuilds:
    """The next builds (of a name, or of any) fail."""

    doom: Doom
    name: str | None
    times: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Builds (of a name, or all) stay in a state until they are released."""

    status: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Future:
    """A state that today's service model does not know, and where builds pass through it."""

    status: str
    after: str | None
    seconds: float


@dataclass(slots=True)
class Controls:
    """The knobs and the records; the same in process and behind the server.

    Attributes
    ----------
    calls : list of Call
        Every call, in order.
    violations : list of str
        What no caller of ours may ever do: a malformed request, a client token with other
        parameters. Tests assert that it stays empty.
    """

    calls: list[Call] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    failing: list[FailingBuilds] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    futures: list[Future] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fail_next(self, operation: str, code: str = "ServiceException", **how: Any) -> None:
        """Let the next calls of an operation go wrong; see :class:`Fault` for how."""
        self.faults.add(Fault(operation, code, **how))

    def fail_next_build(
        self,
        times: int = 1,
        *,
        status: str | None = None,
        step: str = "",
        message: str = MESSAGE,
        name: str | None = None,
    ) -> None:
        """Let the next imports' builds, of an image's name or of any, fail.

        Parameters
        ----------
        times : int
            How many builds.
        status : str, optional
            The state they fail in; otherwise the one whose workflow has the step.
        step, message : str
            See :class:`~tests.emulator.imagebuilder.lifecycle.Doom`.
        name : str, optional
            Only builds of this image.
        """
        doom = Doom(status, step, message) if status else Doom.at(step, message)
        if doom.status not in self.path()[:-1]:
            raise ValueError(f"no build passes through {doom.status!r}")
        with self.lock:
            self.failing.append(FailingBuilds(doom, name, times))

    def hold(self, status: str, *, name: str | None = None) -> None:
        """Keep builds that are in a state, or come into it, there."""
        with self.lock:
            self.holds.append(Hold(status, name))

    def release(self, status: str | None = None, *, name: str | None = None) -> None:
        """Let builds go on: from a state or from all, of a name or of any."""
        with self.lock:
            self.holds = [
                hold
                for hold in self.holds
                if (status and hold.status != status) or (name and hold.name != name)
            ]

    def pass_through(self, status: str, *, after: str = "CREATING", seconds: float = 0.0) -> None:
        """Let later builds pass through a state that nobody knows yet."""
        with self.lock:
            self.futures.append(Future(status, after, seconds))

    def reset(self) -> None:
        """Forget all that was ordered and recorded; builds stay as they are."""
        with self.lock:
            for each in (self.calls, self.violations, self.failing, self.holds):
                each.clear()
            self.faults.clear()
            # Builds that are in such a state stay in it, and must be allowed to say so.
            self.futures = [replace(future, after=None) for future in self.futures]

    def calls_of(self, operation: str | None = None) -> list[dict[str, Any]]:
        """List the recorded calls, of one operation or all."""
        with self.lock:
            return [asdict(call) for call in self.calls if operation in (None, call.operation)]

    def accuse(self, violation: str) -> None:
        """Write down what no caller of ours may do."""
        with self.lock:
            self.violations.append(violation)

    def next_doom(self, name: str) -> Doom | None:
        """Take the failure that a new build is due, if any."""
        with self.lock:
            for place, failing in enumerate(self.failing):
                if _same(failing.name, name):
                    left = replace(failing, times=failing.times - 1)
                    self.failing[place : place + 1] = [left] if left.times > 0 else []
                    return failing.doom
        return None

    def holds_in(self, status: str, name: str) -> bool:
        """Whether a build of that name is kept in a state."""
        return any(hold.status == status and _same(hold.name, name) for hold in self.holds)

    def path(self) -> tuple[str, ...]:
        """List the states that a build beginning now will pass through."""
        path = list(PATH)
        for future in self.futures:
            if future.after:
                path.insert(path.index(future.after) + 1, future.status)
        return tuple(path)

    def duration(self, status: str, timings: Mapping[str, float]) -> float:
        """Say how long a state lasts; one that nobody speaks of lasts no time."""
        futures = {future.status: future.seconds for future in self.futures}
        return futures.get(status, timings.get(status, 0.0))


def _same(wanted: str | None, name: str) -> bool:
    return wanted is None or folded(wanted) == folded(name)
