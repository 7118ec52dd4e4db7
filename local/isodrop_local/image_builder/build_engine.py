"""The progress of builds over time: the half of the fake that depends on time and not on requests.

Nothing runs in the background: at every request and every :meth:`BuildEngine.tick`, all
transitions that are due happen, each with its own time.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from isodrop_local.image_builder.checks import location
from isodrop_local.image_builder.controls import Controls, FutureState
from isodrop_local.image_builder.distribution import Distribution
from isodrop_local.image_builder.environment import AwsEnvironment, InMemoryEnvironment
from isodrop_local.image_builder.lifecycle import (
    MESSAGE,
    PATH,
    Ami,
    Build,
    Entered,
    Kind,
    PlannedFailure,
    scaled,
)
from isodrop_local.image_builder.values import Json, invalid, not_found, timestamp


class BuildEngine:
    """The builds of one account in one Region.

    Parameters
    ----------
    environment : AwsEnvironment, optional
        The services that it uses.
    clock : callable
        Returns seconds since the epoch. It is the only source of time.
    speed : float
        How many times faster than the real service builds go.
    timings : mapping of str to float, optional
        Seconds that a build stays in each state, and from a cancellation to CANCELLED, instead of
        the real ones at that speed. A missing state takes no time.
    account, region : str
        The account and Region.
    quota : int
        How many builds run at once; the others stay PENDING. How the real service shows a used-up
        quota, and whether distributions count, is not documented: here they count.
        https://docs.aws.amazon.com/general/latest/gr/imagebuilder.html

    Attributes
    ----------
    controls : Controls
        The faults that are due, and the records.
    builds : dict of str to Build
        By ARN, with deleted ones, which an oracle needs, too.
    """

    def __init__(
        self,
        environment: AwsEnvironment | None = None,
        clock: Callable[[], float] = time.time,
        *,
        speed: float = 1.0,
        timings: Mapping[str, float] | None = None,
        account: str = "123456789012",
        region: str = "us-east-1",
        quota: int = 100,
    ) -> None:
        self.environment: AwsEnvironment = environment or InMemoryEnvironment()
        self.clock = clock
        self.timings = scaled(1 / speed) if timings is None else timings
        self.account = account
        self.region = region
        self.quota = quota
        self.controls = Controls()
        self.builds: dict[str, Build] = {}
        self._deleted: set[str] = set()
        self._moment = clock()
        self._pending_events: list[Json] = []
        self._lock = self.controls.lock

    def tick(self) -> None:
        """Apply all transitions that are due, in order; then publish their events."""
        with self._lock:
            now = self.clock()
            while (build := min(self.builds.values(), key=self._due, default=None)) is not None:
                due = max(self._due(build), self._moment)
                if due > now:
                    break
                self._moment = due
                self._step(build)
            self._moment = max(self._moment, now)
            pending, self._pending_events = self._pending_events, []
        # Outside the lock: a subscriber may request the state at once.
        for event in pending:
            self.environment.publish(event)

    def _due(self, build: Build) -> float:
        """Return when a build's next transition is due."""
        if not build.running:
            return math.inf
        if build.cancel_at is not None:
            return build.cancel_at
        if build.status not in build.path:
            return math.inf
        if self.controls.holds_in(build.status, build.name, build.kind) or self._is_waiting(build):
            return math.inf
        share = (
            build.planned_failure.share
            if build.planned_failure and build.planned_failure.status == build.status
            else 1.0
        )
        return build.current.at + share * self.controls.duration(build.status, self.timings)

    def _is_waiting(self, build: Build) -> bool:
        active = (each.running and each.status != "PENDING" for each in self.builds.values())
        return build.status == "PENDING" and sum(active) >= self.quota

    def _step(self, build: Build) -> None:
        if build.cancel_at is not None:
            self._enter(build, "CANCELLED", "Image creation was cancelled.")
        elif build.planned_failure and build.planned_failure.status == build.status:
            self._enter(build, "FAILED", build.planned_failure.message, build.planned_failure)
        else:
            self._enter(build, build.path[build.path.index(build.status) + 1])

    def _enter(
        self,
        build: Build,
        status: str,
        reason: str = "",
        planned_failure: PlannedFailure | None = None,
    ) -> None:
        before = build.status
        build.history.append(Entered(status, self._moment, reason, planned_failure))
        if status == "BUILDING":
            self._read(build)
        if status == "AVAILABLE" and not build.amis:
            build.amis = (
                self._copy_amis(build)
                if isinstance(build, Distribution)
                else (self._register_ami(build),)
            )
        self._publish_change(build, before)

    def _read(self, build: Build) -> None:
        """Read the object only now, as the service does: the URI has no version id."""
        uri = str(build.request["uri"])
        build.etag = self.environment.object_etag(*location(uri))
        if build.etag is None:
            build.planned_failure = PlannedFailure.at("DownloadIso", f"404 Not Found: {uri}")

    def _register_ami(self, build: Build) -> Ami:
        """Register the AMI, without the import's tags: these "are attached to image resources".

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
        """
        # AMI names are unique in an account and Region, and two builds may end at the same time.
        version = "-".join(build.arn.rsplit("/", 2)[1:])
        name = f"{build.name} {version} {timestamp(self._moment).replace(':', '-')}"
        description = str(build.request.get("description", ""))
        image = self.environment.register_image(name, description)
        return Ami(self.region, image, name, description, self.account)

    def _copy_amis(self, build: Distribution) -> tuple[Ami, ...]:
        """Create a distribution's AMIs; those of this Region and account are registered in EC2."""
        # The real date has microseconds; here they distinguish builds that end at the same time.
        number = [*self.builds].index(build.arn) % 1000
        date = f"{timestamp(self._moment)[:-1].replace(':', '-')}{number:03}Z"
        here = (self.region, self.account)
        return tuple(
            replace(ami, image=self.environment.register_image(ami.name, ami.description))
            if (ami.region, ami.account) == here
            else ami
            for ami in build.copies(date)
        )

    def _publish_change(self, build: Build, before: str) -> None:
        """Publish the event of a change; best effort in the real service, and without an AMI id.

        https://docs.aws.amazon.com/imagebuilder/latest/userguide/integ-eventbridge.html
        """
        event: Json = {
            "version": "0",
            "id": build.id("event", len(build.history)).removeprefix("event-"),
            "detail-type": "EC2 Image Builder Image State Change",
            "source": "aws.imagebuilder",
            "account": self.account,
            "time": f"{timestamp(self._moment)[:19]}Z",
            "region": self.region,
            "resources": [build.arn],
            "detail": {"previous-state": {"status": before}, "state": {"status": build.status}},
        }
        self._pending_events.append(event)

    # Actions of other users, of a lifecycle policy, or of a newer version of the service.

    def fail(self, arn: str, step: str = "", message: str = MESSAGE) -> None:
        """Make a running build fail in its current state."""
        self.tick()
        with self._lock:
            build = self._running(arn)
            planned_failure = PlannedFailure(build.status, step, message)
            self._enter(build, "FAILED", planned_failure.message, planned_failure)
        self.tick()

    def cancel(self, arn: str) -> None:
        """Start cancelling a running build."""
        self.tick()
        with self._lock:
            self._cancel(arn)
        self.tick()

    def _cancel(self, arn: str) -> None:
        self._running(arn).cancel_at = self._moment + self.timings.get("CANCELLED", 0.0)

    def delete(self, arn: str) -> None:
        """Delete an image in any state; its AMI stays."""
        self.tick()
        with self._lock:
            self._build(arn).history.append(Entered("DELETED", self._moment))
            self._deleted.add(arn)

    def set_status(self, arn: str, status: str, reason: str | None = None) -> None:
        """Put a build into a state, which need not be in the service model."""
        self.tick()
        with self._lock:
            if status not in {*PATH, *(future.status for future in self.controls.futures)}:
                self.controls.futures.append(FutureState(status, None, 0.0))
            self._enter(self._build(arn), status, reason or "")
        self.tick()

    def set_quota(self, quota: int) -> None:
        """Set how many builds may run at once."""
        self.tick()
        self.quota = quota
        self.tick()

    def history(self, kind: Kind = "import") -> list[Json]:
        """Describe all builds of a kind for the tests' oracle, oldest first."""
        self.tick()
        with self._lock:
            return [_describe_build(build) for build in self.builds.values() if build.kind == kind]

    def _running(self, arn: str) -> Build:
        build = self._build(arn)
        if not build.running:
            raise invalid(f"The image '{arn}' is in the terminal state {build.status}.")
        return build

    def _build(self, arn: str) -> Build:
        if arn not in self.builds or arn in self._deleted:
            raise not_found(arn)
        return self.builds[arn]

    def _existing_builds(self) -> list[Build]:
        return [build for arn, build in self.builds.items() if arn not in self._deleted]


def _describe_build(build: Build) -> Json:
    if isinstance(build, Distribution):
        origin: Json = {"source": build.source.arn}
    else:
        origin = {"source": None, "uri": build.request["uri"], "etagRead": build.etag}
    return (
        build.summary()
        | origin
        | {
            "kind": build.kind,
            "request": dict(build.request),
            "token": build.token,
            "history": [{"status": each.status, "at": each.at} for each in build.history],
        }
    )
