"""Publishes the events of a run: notifications while it runs, and exactly one answer.

An answer is written to the ledger before it is published, and published as written, so it is the
same however often it is published. Between the two steps, when the answer can no longer change,
the AMI, the object and the parameters are annotated once. What could not be written is stored as
notes next to the answer and published with it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from isodrop.aws.event_bus import EventPublisher
from isodrop.aws.ledger import Ledger
from isodrop.domain.build import Build, BuildPhase, StepCount
from isodrop.domain.ids import upload_id
from isodrop.domain.model import FIRST_RUN, RunRequest, Upload
from isodrop.domain.results import (
    ExecutionError,
    Outcome,
    answer_data,
    ended_builds,
    execution_failed_data,
    make_event,
    progress_name,
    progressed_data,
    started_data,
)
from isodrop.domain.run import EndedBuilds, Run
from isodrop.errors import PermanentError
from isodrop.events import Data, Event
from isodrop.services.annotations import INTERRUPTED_NOTE, Annotator
from isodrop.services.outcomes import OutcomeReader
from isodrop.services.staging import Stager
from isodrop.text import timestamp


@dataclass(frozen=True, slots=True)
class Reporter:
    """Publishes notifications and answers.

    Attributes
    ----------
    ledger, publisher
        The adapters that it uses.
    outcomes : OutcomeReader
        Reads how builds ended.
    annotator : Annotator
        Tags the AMI and the object, and updates the latest parameters.
    stager : Stager
        Deletes copies that are no longer needed.
    stack : str
        The stack's name, which every event contains.
    now : callable
        Returns the current time, with a time zone.
    count_answer : callable
        Called at least once per answer with the run, its answer and the time of publication.
    """

    ledger: Ledger
    publisher: EventPublisher
    outcomes: OutcomeReader
    annotator: Annotator
    stager: Stager
    stack: str
    now: Callable[[], datetime]
    count_answer: Callable[[Run, Event, datetime], None] = lambda _run, _answer, _now: None

    def get_run(
        self, upload: Upload, execution: str, run_request: RunRequest = FIRST_RUN
    ) -> Run | None:
        """Get the run of an upload, if this execution has claimed it."""
        run = self.ledger.get_run(upload_id(upload), run_request.number)
        return run if run is not None and run.execution_arn == execution else None

    def record_status(
        self, upload: Upload, execution: str, run_request: RunRequest, status: str
    ) -> Run | None:
        """Record when a status was first seen; returns the run if this execution has claimed it."""
        now = timestamp(self.now())
        run = self.ledger.record_status_seen(upload_id(upload), run_request.number, status, now)
        return run if run is not None and run.execution_arn == execution else None

    def claim_run(
        self, upload: Upload, execution: str, run_request: RunRequest = FIRST_RUN
    ) -> Run | None:
        """Get the run of an upload if this execution has claimed it, or claim it now.

        If the first function of an execution failed before it claimed the run, the execution still
        has to publish an answer, unless the object's key does not end in ``.iso``.
        """
        return (
            self.ledger.claim(upload, execution, timestamp(self.now()), run_request)
            if upload.is_iso
            else None
        )

    def publish_started(self, run: Run) -> None:
        """Publish the notification that the build was started and is being tracked."""
        data = started_data(run)
        if data is None:
            raise _no_build_error(run)
        self._publish(make_event(run, data, self.stack, self.now(), "started"), run)

    def publish_progress(
        self, run: Run, status: str, previous: str | None, steps: StepCount | None = None
    ) -> None:
        """Publish the notification that a status or step of the build or distribution has changed.

        Parameters
        ----------
        run : Run
            The run after :meth:`record_status`.
        status, previous : str, and str or None
            The build's status now, and in the previous notification.
        steps : StepCount, optional
            The steps that the state machine counted. If not given, they are counted here.
        """
        if steps is None:
            arn = run.distribution.arn or run.import_build.arn
            steps = self.outcomes.builder.count_steps(arn) if arn else StepCount(0, 0)
        data = progressed_data(run, status, previous, steps)
        if data is None:
            raise _no_build_error(run)
        name = progress_name(run, status, steps)
        self._publish(make_event(run, data, self.stack, self.now(), *name), run)

    def publish_answer(self, run: Run, caught: ExecutionError | None = None) -> Event:
        """Publish the answer of a run, or publish it again if it may not have been published.

        Parameters
        ----------
        run : Run
            The run as it is in the ledger.
        caught : ExecutionError, optional
            The error that the state machine caught, if any.

        Returns
        -------
        Event
            The answer that is stored in the ledger.

        Raises
        ------
        TransientError, PermanentError
            Something that the answer needs is not available yet, such as an AMI that EC2 does
            not return; try again later.
        """
        build: Build | None = None
        is_new = False
        if run.answer_json is None:
            run, build, is_new = self._record_answer(run, caught)
        event = _deserialize(run.answer_json or "")
        if run.answered_at is not None:
            return event.with_notes(run.annotation_notes or ())
        run = self._annotate(run, event, build, is_new=is_new)
        event = event.with_notes(run.annotation_notes or ())
        self._publish(event, run)
        # Before the ledger marks it as answered: if interrupted, it is published and counted again.
        self.count_answer(run, event, self.now())
        run = self.ledger.mark_answered(run, timestamp(self.now()))
        if (
            not run.import_build.reused
        ):  # otherwise its copy was deleted when it joined another build
            is_unused = build is not None and build.phase is not BuildPhase.RUNNING
            self.stager.discard_copy(run, is_unused=is_unused)
        return event

    def _record_answer(
        self, run: Run, caught: ExecutionError | None
    ) -> tuple[Run, Build | None, bool]:
        """Write the answer of a run that does not have one.

        Returns
        -------
        Run, Build or None, and bool
            The updated run, its build if the answer depends on one, and whether this invocation
            wrote the answer.
        """
        outcome, ended = Outcome(), EndedBuilds()
        data: Data
        if caught is None:
            outcome = self.outcomes.read(run)
            data = answer_data(run, outcome, self.now())
            ended = ended_builds(run, outcome, data)
        else:
            data = execution_failed_data(run, caught)
        event = make_event(run, data, self.stack, self.now()).trim_amis()
        now = timestamp(self.now())
        run, is_new = self.ledger.record_answer(run, _serialize(event), ended, now)
        return run, outcome.import_build, is_new

    def _annotate(self, run: Run, answer: Event, build: Build | None, *, is_new: bool) -> Run:
        """Annotate the AMI, the object and parameters if the answer is new; record the notes.

        This is tried only once: if it made the function time out, it would probably do so again.
        """
        if run.annotation_notes is not None:
            return run
        notes: tuple[str, ...] = (INTERRUPTED_NOTE,)
        if is_new:
            notes = self.annotator.annotate(run, answer, build)
        return self.ledger.record_annotation_notes(run, notes)

    def _publish(self, event: Event, run: Run) -> None:
        resources = [arn for arn in (run.import_build.arn, run.distribution.arn) if arn]
        self.publisher.publish(event.detail_type, event.detail(), event.metadata.time, resources)


def _no_build_error(run: Run) -> PermanentError:
    return PermanentError(f"run {run.run_request.number} of {run.upload_id} has no build yet")


def _serialize(event: Event) -> str:
    return json.dumps({"detail-type": event.detail_type, "detail": json.loads(event.detail())})


def _deserialize(answer: str) -> Event:
    stored = json.loads(answer)
    return Event.parse_as(stored["detail-type"], stored["detail"])
