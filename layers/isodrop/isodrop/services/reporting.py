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

from isodrop.aws.event_bus import EventPublisher
from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.codes import CODES, Code, OutcomeKind, Rejection, docs_anchor
from isodrop.domain.build import Build, BuildPhase
from isodrop.domain.model import FIRST_RUN, ImportPlan, RunRequest, Upload
from isodrop.domain.results import to_contract_plan, to_contract_source
from isodrop.domain.run import Attempt, AttemptStatus, BuildKind, BuildRecord, Failure, Run
from isodrop.errors import CredentialsError, PermanentError, QuotaError, TransientError
from isodrop.events import (
    SCHEMA_VERSION,
    ContractAmi,
    Data,
    Event,
    FailedData,
    Metadata,
    ProgressedData,
    RejectedData,
    StartedData,
    SucceededData,
    event_id,
)
from isodrop.services.annotations import INTERRUPTED_NOTE, Annotator
from isodrop.services.distribution import Distributor
from isodrop.services.staging import Stager
from isodrop.services.submission import is_just_available, is_just_submitted
from isodrop.text import single_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_TRANSIENT_ERRORS: Final = frozenset(
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
_ACCESS_ERRORS: Final = frozenset(
    {
        CredentialsError.__name__,
        "Imagebuilder.ForbiddenException",
        "Imagebuilder.AccessDeniedException",
    }
)


@dataclass(frozen=True, slots=True)
class ExecutionError:
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
    builder: ImageBuilder
    ledger: Ledger
    publisher: EventPublisher
    stager: Stager
    annotator: Annotator
    distributor: Distributor
    stack: str
    now: Callable[[], datetime]
    count: Callable[[Run, Event, datetime], None] = lambda _drop, _answer, _now: None

    def claim_run(
        self, upload: Upload, execution: str, request: RunRequest = FIRST_RUN
    ) -> Run | None:
        """Get the drop of an upload, if it is this execution's; claimed now if nobody has yet.

        An execution whose very first function was broken has claimed nothing, and still owes
        an answer; unless the object is no ISO by its name.
        """
        return (
            self.ledger.claim(upload, execution, _iso(self.now()), request)
            if upload.is_iso
            else None
        )

    def publish_started(self, run: Run) -> None:
        """Tell that there is a build, and that it is being followed."""
        attempt = self._attempt(run)
        plan, build_arn = _of_a_build(run)
        data = StartedData(
            source=to_contract_source(run.upload, run.content, run.sha256),
            plan=to_contract_plan(plan),
            build_arn=build_arn,
            reused=not attempt.belongs_to(run),
            attempt=attempt.number,
        )
        self._publish(self._event(run, data, attempt, "started"), run)

    def publish_progress(self, run: Run, status: str, previous: str | None) -> None:
        """Tell that build or distribution has moved to another status or another step."""
        attempt = self._attempt(run)
        _, build_arn = _of_a_build(run)
        distribution_arn = run.distribution.arn
        if distribution_arn is None:
            self.ledger.record_status_seen(run, status, _iso(self.now()))
        steps = self.builder.count_steps(distribution_arn or build_arn)
        data = ProgressedData(
            source=to_contract_source(run.upload, run.content, run.sha256),
            build_arn=build_arn,
            distribution_arn=distribution_arn,
            status=status,
            previous_status=previous,
            steps_done=steps.done,
            steps_total=steps.total,
        )
        stage = (BuildKind.DISTRIBUTION,) if distribution_arn else ()
        what = ("progressed", status, str(steps.done), str(steps.total), *stage)
        self._publish(self._event(run, data, attempt, *what), run)

    def next_build_to_track(self, run: Run, followed: str | None = None) -> str | None:
        """Say which build is to be followed next, if there is no answer yet: the distribution's.

        Parameters
        ----------
        run : Run
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
        if run.answer_json is not None or run.build_arn is None or not self.distributor.wants(run):
            return None
        arn = run.distribution.arn or self._distribution_of(run, run.build_arn)
        return None if arn == followed else arn

    def _distribution_of(self, run: Run, build_arn: str) -> str | None:
        """Begin to distribute an image that is there; else ``None``."""
        build = self.builder.get_build(build_arn)
        if build is None or build.phase is not BuildPhase.SUCCEEDED or not build.amis:
            return None
        plan, _ = _of_a_build(run)
        arn = self.distributor.begin(run, plan, self._attempt(run))
        self.ledger.record_status_seen(run, BuildKind.DISTRIBUTION, _iso(self.now()))
        return arn

    def is_settling(self, run: Run) -> bool:
        """Whether a drop's build is so new that AWS does not know it yet, or not what it made.

        Raises
        ------
        TransientError, RefusedError
            Image Builder does not say; come again.
        """
        if run.answer_json is not None or run.build_arn is None:
            return False
        attempt, build = self._attempt(run), self.builder.get_build(run.build_arn)
        if build is None:
            return is_just_submitted(attempt, self.now())
        return build.phase is BuildPhase.SUCCEEDED and self._is_settling(attempt, build)

    def _is_settling(self, attempt: Attempt, build: Build) -> bool:
        # Asked first, for it writes down when: whoever comes to this build later is to know.
        if not is_just_available(self.ledger, attempt, build, self.now()):
            return False
        try:
            return not self.builder.amis_exist(build)
        except PermanentError:
            return False  # whoever may not ask EC2 does not wait for it

    def publish_answer(self, run: Run, caught: ExecutionError | None = None) -> Event:
        """Give an upload its one answer; again, if it was not certain to have been published.

        Parameters
        ----------
        run : Run
            As the ledger has it.
        caught : ExecutionError, optional
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
        words = run.answer_json
        if words is None:
            if self.distributor.wants(run):
                # What came in the way of a distribution was written a moment ago.
                run = self.ledger.get_run(run.upload_id, run.request.number) or run
            attempt = None if run.attempt is None else self._attempt(run)
            data = (
                self._final_data(run, attempt) if caught is None else _execution_failed(run, caught)
            )
            # Derived from upload and ask alone: the second answer, if there ever were one, would
            # be known as a repeat of the first.
            event = self._event(run, data, attempt).fitted()
            words = self.ledger.record_answer(run, _serialize(event))
        event = _deserialize(words)
        if run.answered_at is not None:
            return event.with_notes(run.annotation_notes or ())
        event = event.with_notes(self._annotated(run, event))
        self._publish(event, run)
        # Before the ledger says that all is done: killed in between, it is told and counted again.
        self.count(run, event, self.now())
        self.ledger.mark_answered(run, _iso(self.now()))
        if run.staging is not None:
            self.stager.discard_copy(run)
        return event

    def _annotated(self, run: Run, answer: Event) -> tuple[str, ...]:
        """Annotate AMI, object and parameters, unless that was begun before: get the notes.

        Once, because what it may have been that ended the function could end it again.
        """
        if run.annotation_notes is not None:
            return run.annotation_notes
        notes: tuple[str, ...] = (INTERRUPTED_NOTE,)
        if self.ledger.begin_annotation(run, _iso(self.now())):
            notes = self.annotator.annotate(run, answer)
        return self.ledger.record_annotation_notes(run, notes)

    def _final_data(self, run: Run, attempt: Attempt | None) -> Data:
        if isinstance(run.decision, Rejection):
            rejection = run.decision
            return _rejected(run, rejection.code, rejection.message, rejection.remedy)
        if run.failure is not None and run.build_arn is None:
            # A build that came to be while trouble was written is followed: it was paid for.
            return _from_failure(run, run.failure, attempt)
        if attempt is None or run.build_arn is None:
            return _execution_failed(
                run, ExecutionError("NoBuild", "asked for an answer before there was a build")
            )
        build = self._described(run.build_arn, attempt)
        if build is None or build.phase is not BuildPhase.RUNNING:
            self.ledger.release(attempt)  # before the answer is written: after it nobody comes here
        if build is not None and build.phase is BuildPhase.SUCCEEDED:
            return self._success_or_failure(run, attempt, build)
        return _build_failed(run, attempt, build)

    def _described(self, arn: str, attempt: Attempt) -> Build | None:
        """Look at a build; that a new one is not known yet does not mean that it is gone."""
        build = self.builder.get_build(arn)
        if build is None and is_just_submitted(attempt, self.now()):
            raise TransientError(f"Image Builder does not know {arn} yet; it is new")
        return build

    def _success_or_failure(self, run: Run, attempt: Attempt, build: Build) -> Data:
        """Tell of the image there is."""
        if self._is_settling(attempt, build):
            raise TransientError(f"the AMIs of {build.arn} are new, and EC2 does not know them yet")
        if not build.amis:
            message = f"The build is {build.status}, but Image Builder names no AMI of it."
            return _from_failure(run, Failure(Code.BUILD_GONE, message), attempt)
        self.ledger.set_attempt_status(attempt, AttemptStatus.SUCCEEDED)
        plan, build_arn = _of_a_build(run)
        distribution = run.distribution
        amis = _amis(build)
        if distribution.arn is not None:
            distributed = self._distributed(distribution)
            if distributed is None or distributed.phase is not BuildPhase.SUCCEEDED:
                return _distribution_failed(run, attempt, amis, distributed)
            amis += tuple(ami for ami in _amis(distributed) if ami not in amis)
        elif distribution.failure is not None:
            failure = distribution.failure
            return _failed(run, failure.code, failure.message, attempt, amis=amis)
        return SucceededData(
            source=to_contract_source(run.upload, run.content, run.sha256),
            plan=to_contract_plan(plan),
            build_arn=build_arn,
            distribution_arn=distribution.arn,
            reused=not attempt.belongs_to(run),
            attempt=attempt.number,
            amis=amis,
            minutes_by_status=_minutes(run, self.now()),
        )

    def _distributed(self, build: BuildRecord) -> Build | None:
        """Look at a distribution; one that ended well is kept in mind as such."""
        assert build.arn is not None  # noqa: S101 - for the type checker: it was begun
        assert build.import_key is not None  # noqa: S101 - likewise
        assert build.attempt is not None  # noqa: S101 - likewise
        attempt = self.ledger.list_attempts(build.import_key)[build.attempt]
        found = self._described(build.arn, attempt)
        if found is not None and found.phase is BuildPhase.SUCCEEDED:
            self.ledger.set_attempt_status(attempt, AttemptStatus.SUCCEEDED)
        return found

    def _attempt(self, run: Run) -> Attempt:
        assert run.import_key is not None  # noqa: S101 - for the type checker: bound before a build
        assert run.attempt is not None  # noqa: S101 - likewise
        return self.ledger.list_attempts(run.import_key)[run.attempt]

    def _event(self, run: Run, data: Data, attempt: Attempt | None, *what: str) -> Event:
        metadata = Metadata(
            schema_version=SCHEMA_VERSION,
            event_id=event_id(run.upload_id, run.request.number, *what),
            upload_id=run.upload_id,
            run=run.request.number,
            import_id=None if attempt is None else attempt.client_token,
            stack=self.stack,
            time=self.now(),
        )
        return Event(metadata=metadata, data=data)

    def _publish(self, event: Event, run: Run) -> None:
        resources = [arn for arn in (run.build_arn, run.distribution.arn) if arn]
        self.publisher.publish(event.detail_type, event.detail(), event.metadata.time, resources)


def _of_a_build(run: Run) -> tuple[ImportPlan, str]:
    """Get the plan and the build of a drop that has both."""
    assert isinstance(run.decision, ImportPlan)  # noqa: S101 - for the type checker: submitted
    assert run.build_arn is not None  # noqa: S101 - likewise
    plan = run.decision
    if run.content_note is not None:
        plan = replace(plan, notes=(*plan.notes, run.content_note))
    return plan, run.build_arn


def _rejected(run: Run, code: Code, message: str, remedy: str) -> RejectedData:
    return RejectedData(
        source=to_contract_source(run.upload, run.content, run.sha256),
        code=code.value,
        message=message,
        remedy=remedy,
        docs_path=docs_anchor(code),
    )


def _from_failure(run: Run, failure: Failure, attempt: Attempt | None) -> Data:
    """Tell what came in the way: a rejection while nothing was spent, a failure after that."""
    entry = CODES[failure.code]
    if entry.kind is OutcomeKind.REJECTED and run.build_arn is None:
        return _rejected(run, failure.code, failure.message, entry.remedy)
    return _failed(run, failure.code, failure.message, attempt)


def _build_failed(run: Run, attempt: Attempt, build: Build | None) -> FailedData:
    """Tell why there is no image."""
    if build is None:
        message = f"Image Builder no longer knows the build {run.build_arn}."
        return _failed(run, Code.BUILD_GONE, message, attempt)
    code = {
        "FAILED": Code.BUILD_FAILED,
        "CANCELLED": Code.BUILD_CANCELLED,
        "DELETED": Code.BUILD_GONE,
        "DISABLED": Code.BUILD_GONE,
    }.get(build.status, Code.BUILD_TIMED_OUT)
    return _failed(
        run, code, _describe_end(f"The build is {build.status}", build), attempt, build=build
    )


def _distribution_failed(
    run: Run, attempt: Attempt, amis: tuple[ContractAmi, ...], found: Build | None
) -> FailedData:
    """Tell why the image did not come to where it is to be."""
    arn = run.distribution.arn
    if found is None:
        message = f"Image Builder no longer knows the distribution {arn}."
    elif found.phase is BuildPhase.RUNNING:
        message = (
            f"The distribution was still {found.status} when the stack's TrackingTimeoutHours"
            " were over."
        )
    else:
        message = _describe_end(f"The distribution is {found.status}", found)
    return _failed(run, Code.DISTRIBUTION_FAILED, message, attempt, build=found, amis=amis)


def _amis(build: Build) -> tuple[ContractAmi, ...]:
    return tuple(
        ContractAmi(id=ami.id, region=ami.region, account=ami.account, name=ami.name)
        for ami in build.amis
    )


def _describe_end(what: str, build: Build) -> str:
    """Say how a build ended, and what it says of it."""
    said = " ".join(dict.fromkeys(part for part in (build.reason, build.error) if part))
    where = f" in step {build.failed_step}" if build.failed_step else ""
    return f"{what}{where}" + (f": {said}" if said else ".")


def _failed(
    run: Run,
    code: Code,
    message: str,
    attempt: Attempt | None,
    *,
    build: Build | None = None,
    amis: tuple[ContractAmi, ...] = (),
) -> FailedData:
    entry = CODES[code]
    return FailedData(
        source=to_contract_source(run.upload, run.content, run.sha256),
        code=code.value,
        message=message,
        remedy=entry.remedy,
        retryable=entry.retryable,
        build_arn=run.build_arn,
        distribution_arn=run.distribution.arn,
        amis=amis,
        status=None if build is None else build.status,
        failed_step=None if build is None else build.failed_step,
        log_group=None if build is None else build.log_group,
        log_stream=None if build is None else build.log_stream,
        attempt=None if attempt is None else attempt.number,
        execution_arn=run.execution_arn,
        docs_path=docs_anchor(code),
    )


def _execution_failed(run: Run, caught: ExecutionError) -> FailedData:
    """Tell how the execution itself came to grief; the error's name says whose fault it was."""
    code = Code.INTERNAL_ERROR
    if caught.error in _TRANSIENT_ERRORS:
        code = Code.SERVICE_UNAVAILABLE
    elif caught.error in _ACCESS_ERRORS:
        code = Code.ACCESS_DENIED
    return _failed(run, code, single_line(f"{caught.error}: {caught.cause}"), None)


def _minutes(run: Run, end: datetime) -> dict[str, float]:
    """Minutes in each status, from when it was first seen to when the next one was."""
    seen = sorted(
        (datetime.fromisoformat(when), name) for name, when in run.status_first_seen_at.items()
    )
    ends = [when for when, _ in [*seen, (end, "")]][1:]
    return {
        name: round((until - when).total_seconds() / 60, 2)
        for (when, name), until in zip(seen, ends, strict=True)
    }


def _serialize(event: Event) -> str:
    return json.dumps({"detail-type": event.detail_type, "detail": json.loads(event.detail())})


def _deserialize(words: str) -> Event:
    found = json.loads(words)
    return Event.parse_as(found["detail-type"], found["detail"])


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds")
