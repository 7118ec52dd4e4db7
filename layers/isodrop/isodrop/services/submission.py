"""Once and only once: a request that starts a build of Image Builder's, and which drops share it.

An import is such a request, and so is the distribution of its image. Each is frozen in the ledger
before it is first sent, and that it is sent is written before it is; a crash anywhere, a repeat or
a race ends with the same build.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.codes import CODES, Code
from isodrop.domain.budget import BuildLimits, day_of
from isodrop.domain.build import SETTLING_TIME, Build, BuildPhase
from isodrop.domain.build_requests import Request
from isodrop.domain.ids import client_token
from isodrop.domain.model import Upload
from isodrop.domain.run import Attempt, AttemptStatus, BuildKind, Run
from isodrop.errors import PermanentError, RejectedError, TransientError

_ROUNDS: Final = 5
"""How often a drop may lose the race for an attempt before it waits and asks again."""


@dataclass(frozen=True, slots=True)
class BuildTask:
    """What is to be done once.

    Attributes
    ----------
    stage : Stage
        Which part of a drop's way it is.
    identity : str
        Drops whose tasks have the same one share its builds.
    source : Upload
        The object that it goes back to; its ETag is in the client token.
    title : str
        What it is, for people: several builds of it.
    request : callable
        Makes the request of a token and of tags, when there is to be one.
    send : callable
        Sends a request, and says which build it led to.
    is_ready : callable
        Whether what an attempt's request names is there.
    is_there : callable
        Whether what a build that ended well has made is still to be had.
    """

    stage: BuildKind
    identity: str
    source: Upload
    title: str
    request: Callable[[str, Mapping[str, str]], Request]
    send: Callable[[Request], str]
    is_ready: Callable[[Attempt], bool]
    is_there: Callable[[Build], bool]


@dataclass(frozen=True, slots=True)
class BuildSubmitter:
    """Everything that it takes.

    Attributes
    ----------
    builder, ledger
        What it talks to.
    stack : str
        The stack's name; part of every client token.
    max_consecutive_failures : int
        How many builds in a row a task may lose before drops of it are turned away.
    now : callable
        The time, with a time zone.
    limits : BuildLimits or None
        How many imports may be built at once and in a day; a distribution builds nothing.
    """

    builder: ImageBuilder
    ledger: Ledger
    stack: str
    max_consecutive_failures: int
    now: Callable[[], datetime]
    limits: BuildLimits | None = None

    def submit(self, run: Run, task: BuildTask) -> str:
        """Bring a drop to the build that its task leads to: its own, one that lives, or a new one.

        Returns
        -------
        str
            The image build version's ARN; that the drop follows it is yet to be written.

        Raises
        ------
        TransientError, QuotaError
            Not now; ask again later.
        RejectedError, RefusedError
            There will be no build for this drop.
        """
        attempt = self._find_attempt(run, task)
        return attempt.build_arn or self._submit_once(attempt, task)

    def _find_attempt(self, run: Run, task: BuildTask) -> Attempt:
        """Find the attempt to follow."""
        attempts = self.ledger.list_attempts(task.identity)
        bound = run.build(task.stage).attempt
        if bound is not None:
            return attempts[bound]
        for _ in range(_ROUNDS):
            if attempts and (attempts[-1].belongs_to(run) or self._is_reusable(attempts[-1], task)):
                number = self.ledger.link_attempt(run, attempts[-1], task.stage)
                return self.ledger.list_attempts(task.identity)[number]
            self._create_attempt(run, task, attempts)
            attempts = self.ledger.list_attempts(task.identity)
        raise TransientError("many drops of one import compete; this one waits")

    def _is_reusable(self, attempt: Attempt, task: BuildTask) -> bool:
        """Whether another drop's attempt is worth following: it runs, or what it made is there."""
        try:
            # Its own drop may have been killed before it could send or write: the token makes
            # it safe to do that in its stead.
            build_arn = attempt.build_arn or self._submit_once(attempt, task)
        except (RejectedError, PermanentError):
            status = self.ledger.list_attempts(attempt.import_key)[attempt.number].status
            if status in {AttemptStatus.REFUSED, AttemptStatus.LOST}:
                return False
            raise  # it may still be sent
        build = self.builder.get_build(build_arn)
        if build is None and is_just_submitted(attempt, self.now()):
            raise TransientError(f"Image Builder does not know {build_arn} yet; it is new")
        if build is None or build.phase is BuildPhase.FAILED:
            return False
        if build.phase is BuildPhase.RUNNING or task.is_there(build):
            return True
        if is_just_available(self.ledger, attempt, build, self.now()):
            raise TransientError(f"EC2 does not know the AMIs of {build_arn} yet; they are new")
        return False

    def _create_attempt(self, run: Run, task: BuildTask, earlier: Sequence[Attempt]) -> None:
        """Freeze a new request, unless the task has lost too many builds already."""
        lost = _consecutive_failures(earlier)
        if lost >= self.max_consecutive_failures:
            raise RejectedError(
                Code.TOO_MANY_ATTEMPTS,
                f"{lost} {task.title} came to nothing, which is as many as this stack allows; none"
                " is started any more.",
            )
        number = len(earlier)
        token = client_token(task.source.etag, task.identity, self.stack, number)
        tags = {
            f"isodrop:{task.stage}": task.identity,
            "isodrop:attempt": str(number),
            "isodrop:drop": run.upload_id,
        }
        limits = self.limits if task.stage is BuildKind.IMPORT else None
        self.ledger.create_attempt(
            Attempt(
                import_key=task.identity,
                number=number,
                upload_id=run.upload_id,
                run_number=run.request.number,
                source=task.source,
                request=task.request(token, tags),
                build_arn=None,
                status=AttemptStatus.PREPARED,
                day=None if limits is None else day_of(self.now()),
            ),
            limits,
        )

    def _submit_once(self, attempt: Attempt, task: BuildTask) -> str:
        """Send an attempt's frozen request, once what it names was seen to be there.

        That it is sent is written before it is: who comes later must not think that there is no
        build.
        """
        status = attempt.status
        if status is AttemptStatus.PREPARED:
            wanted = AttemptStatus.SUBMITTED if task.is_ready(attempt) else AttemptStatus.LOST
            status = self.ledger.set_attempt_status(attempt, wanted)
        if status is AttemptStatus.LOST:
            raise PermanentError(CODES[Code.STAGING_LOST].meaning, code=Code.STAGING_LOST)
        if status is AttemptStatus.REFUSED:
            raise PermanentError(
                "Image Builder has refused this very request before", code=Code.IMPORT_REFUSED
            )
        again = attempt.status is AttemptStatus.SUBMITTED
        earlier = self.builder.find_build_by_tags(attempt.request) if again else None
        try:
            build_arn = earlier or task.send(attempt.request)
        except PermanentError:
            self.ledger.set_attempt_status(
                replace(attempt, status=AttemptStatus.SUBMITTED), AttemptStatus.REFUSED
            )
            raise
        self.ledger.record_build(attempt, build_arn, _iso(self.now()))
        return build_arn


def is_just_submitted(attempt: Attempt, now: datetime) -> bool:
    """Whether an attempt's request was answered a moment ago, or only now.

    Image Builder may not know its build yet, so one that is not found is not gone.
    """
    if attempt.submitted_at is None:
        return attempt.build_arn is None
    return now - datetime.fromisoformat(attempt.submitted_at) < SETTLING_TIME


def is_just_available(ledger: Ledger, attempt: Attempt, build: Build, now: datetime) -> bool:
    """Whether an attempt's build, which has ended well, was first seen so a moment ago.

    AWS may not know yet what it made, so nothing that is missing is gone.
    """
    seen = ledger.record_available(attempt, _iso(now))
    return build.status == "AVAILABLE" and now - datetime.fromisoformat(seen) < SETTLING_TIME


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds")


def _consecutive_failures(attempts: Sequence[Attempt]) -> int:
    """Count the builds since the last one that ended well."""
    lost = 0
    for attempt in reversed(attempts):
        if attempt.status is AttemptStatus.SUCCEEDED:
            break
        lost += attempt.build_arn is not None
    return lost
