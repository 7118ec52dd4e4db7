"""Starts at most one build for each request to Image Builder, and lets several runs share it.

A task is an import, or the distribution of its image; each attempt at a task is one request. It is
stored in the ledger before it is first sent, and marked as submitted before it is sent. So a crash
at any point, a repeated event or a race leads to the same build.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.codes import CODES, Code
from isodrop.domain.build import SETTLING_TIME, Build, BuildPhase
from isodrop.domain.build_limits import BuildLimits, utc_day
from isodrop.domain.build_requests import Request
from isodrop.domain.ids import client_token
from isodrop.domain.model import Upload
from isodrop.domain.run import Attempt, AttemptStatus, BuildKind, Run
from isodrop.errors import PermanentError, RejectedError, TransientError
from isodrop.text import timestamp

_ROUNDS: Final = 5
"""How many times a run may lose the race for an attempt before it is retried later."""


class BuildTask(Protocol):
    """An import or a distribution; runs whose tasks have the same key share its builds."""

    @property
    def kind(self) -> BuildKind:
        """Whether this is an import or a distribution."""

    @property
    def key(self) -> str:
        """The import key or distribution key that its attempts are stored under."""

    @property
    def source(self) -> Upload:
        """The uploaded object; its ETag is part of the client token."""

    @property
    def title(self) -> str:
        """A noun phrase in the plural for its builds, for messages."""

    def make_request(self, token: str, tags: Mapping[str, str]) -> Request:
        """Make the request for a new attempt, with these tags in addition to its own."""

    def send(self, request: Request) -> str:
        """Send a request; returns the ARN of the build that it started.

        Raises
        ------
        TransientError, QuotaError
            Temporary; a build may have been started.
        PermanentError
            Image Builder refused the request.
        """

    def ensure_ready(self, attempt: Attempt) -> bool:
        """Whether the copy of a request exists, if it has one; the run's own is made again."""

    def has_result(self, build: Build) -> bool:
        """Whether the AMIs of a build that succeeded still exist."""


@dataclass(frozen=True, slots=True)
class BuildSubmitter:
    """Starts the builds of tasks, one for each attempt.

    Attributes
    ----------
    builder, ledger
        The adapters that it uses.
    stack : str
        The stack's name; part of every client token.
    max_consecutive_failures : int
        How many builds of a task may fail in a row before no more are started.
    now : callable
        Returns the current time, with a time zone.
    limits : BuildLimits or None
        How many imports may run at once and start in a day. Distributions do not count.
    """

    builder: ImageBuilder
    ledger: Ledger
    stack: str
    max_consecutive_failures: int
    now: Callable[[], datetime]
    limits: BuildLimits | None = None

    def submit(self, run: Run, task: BuildTask) -> Run:
        """Find or start the build for a run's task: the one it is linked to, a shared or a new one.

        Returns
        -------
        Run
            The run with its attempt and build.

        Raises
        ------
        TransientError, QuotaError
            Temporary; try again later.
        RejectedError, PermanentError
            There will be no build for this run.
        """
        run, attempt = self._link_to_attempt(run, task)
        if run.build_record(task.kind).arn is not None:
            return run
        if attempt.build_arn is not None:
            return self.ledger.link_build(run, attempt.build_arn, task.kind)
        build_arn = self._send_once(attempt, task)
        now = timestamp(self.now())
        return self.ledger.record_and_link_build(run, attempt, build_arn, now, task.kind)

    def _link_to_attempt(self, run: Run, task: BuildTask) -> tuple[Run, Attempt]:
        """Link the run to an attempt, unless it is linked already."""
        key = run.build_record(task.kind).attempt
        if key is not None:
            return run, self.ledger.get_attempt(key)
        for _ in range(_ROUNDS):
            attempts = self.ledger.list_attempts(task.key)
            attempt = self._find_reusable(run, attempts[-1], task) if attempts else None
            if attempt is not None:
                linked = self.ledger.link_attempt(run, attempt, task.kind)
            else:
                attempt = self._new_attempt(run, task, attempts)
                limits = None if attempt.day is None else self.limits
                created = self.ledger.create_attempt(run, attempt, task.kind, limits)
                if created is None:
                    continue  # another run was first
                linked = created
            key = linked.build_record(task.kind).attempt
            if key is None:
                raise TransientError(
                    "the run was stopped or answered in the meantime; the next try reads the result"
                )
            # Another invocation for the same run may have linked another attempt first.
            return linked, attempt if key == attempt.key else self.ledger.get_attempt(key)
        raise TransientError("several runs of the same task are competing; this one is retried")

    def _find_reusable(self, run: Run, attempt: Attempt, task: BuildTask) -> Attempt | None:
        """Return the last attempt if the run can use it.

        It can if it created the attempt, or if the attempt's build is running or has succeeded.
        """
        if attempt.belongs_to(run):
            return attempt
        try:
            # The run that created it may have stopped before it sent the request or recorded the
            # build. The client token makes it safe to send the request on its behalf.
            build_arn = attempt.build_arn or self._send_and_record(attempt, task)
        except (RejectedError, PermanentError):
            status = self.ledger.get_attempt(attempt.key).status
            if status in {AttemptStatus.REFUSED, AttemptStatus.LOST}:
                return None
            raise  # another invocation may still send the request, so no new attempt is made
        if not self._is_usable(attempt, build_arn, task):
            return None
        return replace(attempt, build_arn=build_arn)

    def _is_usable(self, attempt: Attempt, build_arn: str, task: BuildTask) -> bool:
        """Whether an attempt's build is running, or its result exists."""
        build = get_attempt_build(self.builder, build_arn, lambda: attempt, self.now())
        if build is None or build.phase is BuildPhase.FAILED:
            return False
        if build.phase is BuildPhase.RUNNING or task.has_result(build):
            return True
        if check_just_available(self.ledger, attempt, build, self.now()):
            raise TransientError(f"EC2 does not return the AMIs of {build_arn} yet; they are new")
        return False

    def _new_attempt(self, run: Run, task: BuildTask, earlier: Sequence[Attempt]) -> Attempt:
        """Make a new attempt, unless too many builds failed in a row."""
        failures = _count_consecutive_failures(earlier)
        if failures >= self.max_consecutive_failures:
            raise RejectedError(
                Code.TOO_MANY_ATTEMPTS,
                f"The stack's limit of {self.max_consecutive_failures} failed {task.title} in a row"
                " has been reached; no more are started.",
            )
        number = len(earlier)
        token = client_token(task.source.etag, task.key, self.stack, number)
        tags = {
            f"isodrop:{task.kind}": task.key,
            "isodrop:attempt": str(number),
            "isodrop:upload": run.upload_id,
        }
        is_limited = self.limits is not None and task.kind is BuildKind.IMPORT
        return Attempt(
            task_key=task.key,
            number=number,
            upload_id=run.upload_id,
            run_number=run.run_request.number,
            source=task.source,
            request=task.make_request(token, tags),
            build_arn=None,
            status=AttemptStatus.PREPARED,
            day=utc_day(self.now()) if is_limited else None,
        )

    def _send_and_record(self, attempt: Attempt, task: BuildTask) -> str:
        """Send an attempt's stored request and record its build."""
        build_arn = self._send_once(attempt, task)
        self.ledger.record_build(attempt, build_arn, timestamp(self.now()))
        return build_arn

    def _send_once(self, attempt: Attempt, task: BuildTask) -> str:
        """Send an attempt's stored request; before it is first sent, check that its copy exists.

        The attempt is marked as submitted first: a later invocation must not assume that there is
        no build.
        """
        status = attempt.status
        if status is AttemptStatus.PREPARED:
            new_status = (
                AttemptStatus.SUBMITTED if task.ensure_ready(attempt) else AttemptStatus.LOST
            )
            status = self.ledger.set_attempt_status(attempt, new_status).status
        if status is AttemptStatus.LOST:
            raise PermanentError(CODES[Code.STAGING_LOST].meaning, code=Code.STAGING_LOST)
        if status is AttemptStatus.REFUSED:
            raise PermanentError(
                "Image Builder already refused this request", code=Code.IMPORT_REFUSED
            )
        was_submitted = attempt.status is AttemptStatus.SUBMITTED
        found_arn = self.builder.find_build_by_tags(attempt.request) if was_submitted else None
        try:
            return found_arn or task.send(attempt.request)
        except PermanentError:
            self.ledger.set_attempt_status(
                replace(attempt, status=AttemptStatus.SUBMITTED), AttemptStatus.REFUSED
            )
            raise


def get_attempt_build(
    builder: ImageBuilder, build_arn: str, read_attempt: Callable[[], Attempt], now: datetime
) -> Build | None:
    """Get the build of an attempt; ``None`` if it no longer exists.

    Parameters
    ----------
    builder : ImageBuilder
    build_arn : str
    read_attempt : callable
        Returns the attempt; called only if Image Builder does not return the build.
    now : datetime

    Raises
    ------
    TransientError
        It was not found, but it is so new that Image Builder may not return it yet.
    """
    build = builder.get_build(build_arn)
    if build is None and may_have_unseen_build(read_attempt(), now):
        raise TransientError(f"Image Builder does not return {build_arn} yet; it is new")
    return build


def may_have_unseen_build(attempt: Attempt, now: datetime) -> bool:
    """Whether an attempt may have a build that Image Builder does not return yet.

    That is so if no build is recorded, or if it was recorded less than ten minutes ago.
    """
    if attempt.build_recorded_at is None:
        return attempt.build_arn is None
    return now - datetime.fromisoformat(attempt.build_recorded_at) < SETTLING_TIME


def check_just_available(ledger: Ledger, attempt: Attempt, build: Build, now: datetime) -> bool:
    """Check whether an attempt's build was first seen as succeeded less than ten minutes ago.

    EC2 may not return its AMIs yet, so an AMI that is not found may still exist. If this is the
    first time, that is recorded.
    """
    seen = ledger.record_available(attempt, timestamp(now)).available_at or timestamp(now)
    return build.status == "AVAILABLE" and now - datetime.fromisoformat(seen) < SETTLING_TIME


def _count_consecutive_failures(attempts: Sequence[Attempt]) -> int:
    """Count the failed builds since the last one that succeeded."""
    failures = 0
    for attempt in reversed(attempts):
        if attempt.status is AttemptStatus.SUCCEEDED:
            break
        failures += attempt.build_arn is not None
    return failures
