"""What is said of an upload: two notices on the way, and exactly one answer.

An answer is written into the ledger before it is published and published as it was written,
so it is the same answer however often somebody has to come back to it. Between the two, when
nothing can change it any more, AMI, object and parameters are annotated, once: the notes on what
could not be written are kept beside the answer and published with it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from isodrop.aws.event_bus import Publisher
from isodrop.aws.image_builder import Builder
from isodrop.aws.ledger import Ledger
from isodrop.codes import TABLE, Code, Kind, Rejection, section
from isodrop.domain.build import Build, Phase
from isodrop.domain.model import FIRST_ASK, Ask, ImportPlan, Upload
from isodrop.domain.results import plan_of, source_of
from isodrop.domain.run import Attempt, Bond, Drop, Stage, Standing, Trouble
from isodrop.errors import CredentialsError, QuotaError, RefusedError, TransientError
from isodrop.events import (
    SCHEMA_VERSION,
    Data,
    Event,
    FailedData,
    Metadata,
    ProducedAmi,
    ProgressedData,
    RejectedData,
    StartedData,
    SucceededData,
    event_id,
)
from isodrop.services.annotations import BROKEN_OFF, Annotator
from isodrop.services.distribution import Distributor
from isodrop.services.staging import Stager
from isodrop.services.submission import is_just_available, is_just_submitted
from isodrop.text import one_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_WAITED_FOR: Final = frozenset(
    {
        TransientError.__name__,
        QuotaError.__name__,
        # Step Functions' names for what Image Builder and Lambda answer when they are busy:
        # https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
        "Imagebuilder.CallRateLimitExceededException",
        "Imagebuilder.ServiceException",
        "Imagebuilder.ServiceUnavailableException",
        "Lambda.ServiceException",
        "Lambda.TooManyRequestsException",
    }
)
"""Errors that the state machine retried until its patience ended."""
_FORBIDDEN: Final = frozenset(
    {
        CredentialsError.__name__,
        "Imagebuilder.ForbiddenException",
        "Imagebuilder.AccessDeniedException",
    }
)


@dataclass(frozen=True, slots=True)
class Caught:
    """What the state machine caught: Step Functions' ``Error`` and ``Cause``."""

    error: str
    cause: str


@dataclass(frozen=True, slots=True)
class Reporter:
    """Everything that a report needs.

    Attributes
    ----------
    s3, builder, ledger, publisher
        What it talks to.
    stager : Stager
        Deletes copies that are needed no more.
    annotator : Annotator
        Writes what came of it where people look.
    distributor : Distributor
        Takes images to other Regions and accounts, where the stack has that.
    stack : str
        The stack's name, told in every event.
    now : callable
        The time, with a time zone.
    count : callable
        Takes a drop, the answer that was published for it, and when: at least once for each.
    """

    s3: "S3Client"
    builder: Builder
    ledger: Ledger
    publisher: Publisher
    stager: Stager
    annotator: Annotator
    distributor: Distributor
    stack: str
    now: Callable[[], datetime]
    count: Callable[[Drop, Event, datetime], None] = lambda _drop, _answer, _now: None

    def claimed(self, upload: Upload, execution: str, ask: Ask = FIRST_ASK) -> Drop | None:
        """Get the drop of an upload, if it is this execution's; claimed now if nobody has yet.

        An execution whose very first function was broken has claimed nothing, and still owes
        an answer; unless the object is no ISO by its name.
        """
        return (
            self.ledger.claim(upload, execution, _iso(self.now()), ask) if upload.is_iso else None
        )

    def started(self, drop: Drop) -> None:
        """Tell that there is a build, and that it is being followed."""
        attempt = self._attempt(drop)
        plan, build_arn = _of_a_build(drop)
        data = StartedData(
            source=source_of(drop.upload, drop.content, drop.sha256),
            plan=plan_of(plan),
            build_arn=build_arn,
            reused=not attempt.is_of(drop),
            attempt=attempt.number,
        )
        self._publish(self._event(drop, data, attempt, "started"), drop)

    def progressed(self, drop: Drop, status: str, previous: str | None) -> None:
        """Tell that build or distribution has moved to another status or another step."""
        attempt = self._attempt(drop)
        _, build_arn = _of_a_build(drop)
        distribution_arn = drop.distribution.build_arn
        if distribution_arn is None:
            self.ledger.saw(drop, status, _iso(self.now()))
        steps = self.builder.steps(distribution_arn or build_arn)
        data = ProgressedData(
            source=source_of(drop.upload, drop.content, drop.sha256),
            build_arn=build_arn,
            distribution_arn=distribution_arn,
            status=status,
            previous_status=previous,
            steps_done=steps.done,
            steps_total=steps.total,
        )
        stage = (Stage.DISTRIBUTION,) if distribution_arn else ()
        what = ("progressed", status, str(steps.done), str(steps.total), *stage)
        self._publish(self._event(drop, data, attempt, *what), drop)

    def onward(self, drop: Drop, followed: str | None = None) -> str | None:
        """Say which build is to be followed next, if there is no answer yet: the distribution's.

        Parameters
        ----------
        drop : Drop
            As the ledger has it.
        followed : str, optional
            The ARN of what was followed until now, to its end or for as long as the stack does.

        Returns
        -------
        str or None
            The ARN to follow; ``None`` when it is time for the answer.

        Raises
        ------
        TransientError, QuotaError, RefusedError
            Something that it needs is not to be had; come again.
        """
        if drop.answer is not None or drop.build_arn is None or not self.distributor.wants(drop):
            return None
        arn = drop.distribution.build_arn or self._distribution_of(drop, drop.build_arn)
        return None if arn == followed else arn

    def _distribution_of(self, drop: Drop, build_arn: str) -> str | None:
        """Begin to distribute an image that is there; else ``None``."""
        build = self.builder.describe(build_arn)
        if build is None or build.phase is not Phase.GOOD or not build.amis:
            return None
        plan, _ = _of_a_build(drop)
        arn = self.distributor.begin(drop, plan, self._attempt(drop))
        self.ledger.saw(drop, Stage.DISTRIBUTION, _iso(self.now()))
        return arn

    def is_settling(self, drop: Drop) -> bool:
        """Whether a drop's build is so new that AWS does not know it yet, or not what it made.

        Raises
        ------
        TransientError, RefusedError
            Image Builder does not say; come again.
        """
        if drop.answer is not None or drop.build_arn is None:
            return False
        attempt, build = self._attempt(drop), self.builder.describe(drop.build_arn)
        if build is None:
            return is_just_submitted(attempt, self.now())
        return build.phase is Phase.GOOD and self._is_settling(attempt, build)

    def _is_settling(self, attempt: Attempt, build: Build) -> bool:
        # Asked first, for it writes down when: whoever comes to this build later is to know.
        if not is_just_available(self.ledger, attempt, build, self.now()):
            return False
        try:
            return not self.builder.has_its_amis(build)
        except RefusedError:
            return False  # whoever may not ask EC2 does not wait for it

    def answer(self, drop: Drop, caught: Caught | None = None) -> Event:
        """Give an upload its one answer; again, if it was not certain to have been published.

        Parameters
        ----------
        drop : Drop
            As the ledger has it.
        caught : Caught, optional
            What ended the execution, when it did not come to its end by itself.

        Returns
        -------
        Event
            The answer that stands.

        Raises
        ------
        TransientError, RefusedError
            Something that it needs is not to be had yet, such as an AMI that EC2 does not know;
            come again.
        """
        words = drop.answer
        if words is None:
            if self.distributor.wants(drop):
                # What came in the way of a distribution was written a moment ago.
                drop = self.ledger.drop(drop.id, drop.ask.number) or drop
            attempt = None if drop.attempt is None else self._attempt(drop)
            data = self._data(drop, attempt) if caught is None else _broken(drop, caught)
            # Derived from upload and ask alone: the second answer, if there ever were one, would
            # be known as a repeat of the first.
            event = self._event(drop, data, attempt)
            words = self.ledger.answer(drop, _frozen(event))
        event = _thawed(words)
        if drop.answered is not None:
            return event.noted(drop.notes or ())
        event = event.noted(self._annotated(drop, event))
        self._publish(event, drop)
        # Before the ledger says that all is done: killed in between, it is told and counted again.
        self.count(drop, event, self.now())
        self.ledger.answered(drop, _iso(self.now()))
        if drop.staging is not None:
            self.stager.discard(drop)
        return event

    def _annotated(self, drop: Drop, answer: Event) -> tuple[str, ...]:
        """Annotate AMI, object and parameters, unless that was begun before: get the notes.

        Once, because what it may have been that ended the function could end it again.
        """
        if drop.notes is not None:
            return drop.notes
        notes: tuple[str, ...] = (BROKEN_OFF,)
        if self.ledger.annotating(drop, _iso(self.now())):
            notes = self.annotator.annotate(drop, answer)
        return self.ledger.annotated(drop, notes)

    def _data(self, drop: Drop, attempt: Attempt | None) -> Data:
        if isinstance(drop.verdict, Rejection):
            rejection = drop.verdict
            return _rejected(drop, rejection.code, rejection.message, rejection.remedy)
        if drop.trouble is not None and drop.build_arn is None:
            # A build that came to be while trouble was written is followed: it was paid for.
            return _hindered(drop, drop.trouble, attempt)
        if attempt is None or drop.build_arn is None:
            return _broken(drop, Caught("NoBuild", "asked for an answer before there was a build"))
        build = self._described(drop.build_arn, attempt)
        if build is None or build.phase is not Phase.RUNNING:
            self.ledger.release(attempt)  # before the answer is written: after it nobody comes here
        if build is not None and build.phase is Phase.GOOD:
            return self._good(drop, attempt, build)
        return _bad(drop, attempt, build)

    def _described(self, arn: str, attempt: Attempt) -> Build | None:
        """Look at a build; that a new one is not known yet does not mean that it is gone."""
        build = self.builder.describe(arn)
        if build is None and is_just_submitted(attempt, self.now()):
            raise TransientError(f"Image Builder does not know {arn} yet; it is new")
        return build

    def _good(self, drop: Drop, attempt: Attempt, build: Build) -> Data:
        """Tell of the image there is."""
        if self._is_settling(attempt, build):
            raise TransientError(f"the AMIs of {build.arn} are new, and EC2 does not know them yet")
        if not build.amis:
            message = f"The build is {build.status}, but Image Builder names no AMI of it."
            return _hindered(drop, Trouble(Code.BUILD_GONE, message), attempt)
        self.ledger.stand(attempt, Standing.GOOD)
        plan, build_arn = _of_a_build(drop)
        bond = drop.distribution
        amis = _amis(build)
        if bond.build_arn is not None:
            distributed = self._distributed(bond)
            if distributed is None or distributed.phase is not Phase.GOOD:
                return _undistributed(drop, attempt, amis, distributed)
            amis += tuple(ami for ami in _amis(distributed) if ami not in amis)
        elif bond.trouble is not None:
            trouble = bond.trouble
            return _failed(drop, trouble.code, trouble.message, attempt, amis=amis)
        return SucceededData(
            source=source_of(drop.upload, drop.content, drop.sha256),
            plan=plan_of(plan),
            build_arn=build_arn,
            distribution_arn=bond.build_arn,
            reused=not attempt.is_of(drop),
            attempt=attempt.number,
            amis=amis,
            minutes=_minutes(drop, self.now()),
        )

    def _distributed(self, bond: Bond) -> Build | None:
        """Look at a distribution; one that ended well is kept in mind as such."""
        assert bond.build_arn is not None  # noqa: S101 - for the type checker: it was begun
        assert bond.identity is not None  # noqa: S101 - likewise
        assert bond.attempt is not None  # noqa: S101 - likewise
        attempt = self.ledger.attempts(bond.identity)[bond.attempt]
        found = self._described(bond.build_arn, attempt)
        if found is not None and found.phase is Phase.GOOD:
            self.ledger.stand(attempt, Standing.GOOD)
        return found

    def _attempt(self, drop: Drop) -> Attempt:
        assert drop.identity is not None  # noqa: S101 - for the type checker: bound before a build
        assert drop.attempt is not None  # noqa: S101 - likewise
        return self.ledger.attempts(drop.identity)[drop.attempt]

    def _event(self, drop: Drop, data: Data, attempt: Attempt | None, *what: str) -> Event:
        metadata = Metadata(
            schema_version=SCHEMA_VERSION,
            event_id=event_id(drop.id, drop.ask.number, *what),
            drop_id=drop.id,
            ask=drop.ask.number,
            import_id=None if attempt is None else attempt.token,
            stack=self.stack,
            time=self.now(),
        )
        return Event(metadata=metadata, data=data)

    def _publish(self, event: Event, drop: Drop) -> None:
        resources = [arn for arn in (drop.build_arn, drop.distribution.build_arn) if arn]
        self.publisher.publish(event.detail_type, event.detail(), event.metadata.time, resources)


def _of_a_build(drop: Drop) -> tuple[ImportPlan, str]:
    """Get the plan and the build of a drop that has both."""
    assert isinstance(drop.verdict, ImportPlan)  # noqa: S101 - for the type checker: submitted
    assert drop.build_arn is not None  # noqa: S101 - likewise
    plan = drop.verdict
    if drop.content_note is not None:
        plan = replace(plan, notes=(*plan.notes, drop.content_note))
    return plan, drop.build_arn


def _rejected(drop: Drop, code: Code, message: str, remedy: str) -> RejectedData:
    return RejectedData(
        source=source_of(drop.upload, drop.content, drop.sha256),
        code=code.value,
        message=message,
        remedy=remedy,
        docs=section(code),
    )


def _hindered(drop: Drop, trouble: Trouble, attempt: Attempt | None) -> Data:
    """Tell what came in the way: a rejection while nothing was spent, a failure after that."""
    entry = TABLE[trouble.code]
    if entry.kind is Kind.REJECTED and drop.build_arn is None:
        return _rejected(drop, trouble.code, trouble.message, entry.remedy)
    return _failed(drop, trouble.code, trouble.message, attempt)


def _bad(drop: Drop, attempt: Attempt, build: Build | None) -> FailedData:
    """Tell why there is no image."""
    if build is None:
        message = f"Image Builder no longer knows the build {drop.build_arn}."
        return _failed(drop, Code.BUILD_GONE, message, attempt)
    code = {
        "FAILED": Code.BUILD_FAILED,
        "CANCELLED": Code.BUILD_CANCELLED,
        "DELETED": Code.BUILD_GONE,
        "DISABLED": Code.BUILD_GONE,
    }.get(build.status, Code.BUILD_TIMED_OUT)
    return _failed(drop, code, _said(f"The build is {build.status}", build), attempt, build=build)


def _undistributed(
    drop: Drop, attempt: Attempt, amis: tuple[ProducedAmi, ...], found: Build | None
) -> FailedData:
    """Tell why the image did not come to where it is to be."""
    arn = drop.distribution.build_arn
    if found is None:
        message = f"Image Builder no longer knows the distribution {arn}."
    elif found.phase is Phase.RUNNING:
        message = (
            f"The distribution was still {found.status} when the stack's TrackingHours were over."
        )
    else:
        message = _said(f"The distribution is {found.status}", found)
    return _failed(drop, Code.DISTRIBUTION_FAILED, message, attempt, build=found, amis=amis)


def _amis(build: Build) -> tuple[ProducedAmi, ...]:
    return tuple(
        ProducedAmi(id=ami.id, region=ami.region, account=ami.account, name=ami.name)
        for ami in build.amis
    )


def _said(what: str, build: Build) -> str:
    """Say how a build ended, and what it says of it."""
    said = " ".join(dict.fromkeys(part for part in (build.reason, build.error) if part))
    where = f" in step {build.failed_step}" if build.failed_step else ""
    return f"{what}{where}" + (f": {said}" if said else ".")


def _failed(
    drop: Drop,
    code: Code,
    message: str,
    attempt: Attempt | None,
    *,
    build: Build | None = None,
    amis: tuple[ProducedAmi, ...] = (),
) -> FailedData:
    entry = TABLE[code]
    return FailedData(
        source=source_of(drop.upload, drop.content, drop.sha256),
        code=code.value,
        message=message,
        remedy=entry.remedy,
        drop_again=entry.drop_again,
        build_arn=drop.build_arn,
        distribution_arn=drop.distribution.build_arn,
        amis=amis,
        status=None if build is None else build.status,
        failed_step=None if build is None else build.failed_step,
        log_group=None if build is None else build.log_group,
        log_stream=None if build is None else build.log_stream,
        attempt=None if attempt is None else attempt.number,
        execution=drop.execution,
        docs=section(code),
    )


def _broken(drop: Drop, caught: Caught) -> FailedData:
    """Tell how the execution itself came to grief; the error's name says whose fault it was."""
    code = Code.INTERNAL_ERROR
    if caught.error in _WAITED_FOR:
        code = Code.SERVICE_UNAVAILABLE
    elif caught.error in _FORBIDDEN:
        code = Code.ACCESS_DENIED
    return _failed(drop, code, one_line(f"{caught.error}: {caught.cause}"), None)


def _minutes(drop: Drop, end: datetime) -> dict[str, float]:
    """Minutes in each status, from when it was first seen to when the next one was."""
    seen = sorted((datetime.fromisoformat(when), name) for name, when in drop.timeline.items())
    ends = [when for when, _ in [*seen, (end, "")]][1:]
    return {
        name: round((until - when).total_seconds() / 60, 2)
        for (when, name), until in zip(seen, ends, strict=True)
    }


def _frozen(event: Event) -> str:
    return json.dumps({"detail-type": event.detail_type, "detail": json.loads(event.detail())})


def _thawed(words: str) -> Event:
    found = json.loads(words)
    return Event.parse_as(found["detail-type"], found["detail"])


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds")
