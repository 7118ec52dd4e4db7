"""What an operator may do about an upload: look, ask anew, cancel. Knows no terminal."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import merge
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Final

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger, cursor_for
from isodrop.aws.ledger_items import UnreadableItemError
from isodrop.aws.s3 import CurrentObject, get_current_upload
from isodrop.aws.s3_events import make_object_created_event
from isodrop.aws.step_functions import StepFunctions
from isodrop.domain.budget import BudgetUse, day_of
from isodrop.domain.build import BuildPhase, StepCount
from isodrop.domain.ids import upload_id
from isodrop.domain.model import RunRequest, Upload
from isodrop.domain.run import CANCELLED, Run, RunState
from isodrop.errors import IsodropError, RejectedError
from isodrop.text import join_list, single_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

WAIT_SECONDS: Final = 5.0
OVERDUE_SECONDS: Final = 60.0
"""Most uploads are claimed within seconds; after so long something may be wrong."""
_NAMES: Final = 20
"""How many executions of one ask may come to nothing before we give up."""


class OperatorError(IsodropError):
    """What the operator wants cannot be done now; the message says why, and what can."""


@dataclass(frozen=True, slots=True)
class UploadHistory:
    """One upload, and all that was asked for it, in order."""

    id: str
    address: str
    runs: tuple[Run, ...]
    found: CurrentObject | None = None

    @property
    def last(self) -> Run | None:
        """What was asked last; ``None`` when nobody has claimed the upload."""
        return self.runs[-1] if self.runs else None


@dataclass(frozen=True, slots=True)
class StartedRun:
    """An execution that was started for an upload."""

    upload_id: str
    number: int
    execution: str


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """What is to be seen of an ask at one moment.

    Attributes
    ----------
    run : Run or None
        ``None`` until an execution has claimed it.
    steps : Steps
        How far its build is, or then its distribution; zeros where there is none, or Image Builder
        does not say.
    is_late : bool
        Whether no execution has claimed it, though it was waited for that for a minute.
    """

    run: Run | None
    steps: StepCount
    is_overdue: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """Everything that an operator needs.

    Attributes
    ----------
    s3, builder, ledger, executions
        What it talks to.
    bucket : str
        Where the stack's uploads lie.
    unreadable : callable
        Told of each item of the ledger that this version cannot read; the others are listed.
    """

    s3: "S3Client"
    builder: ImageBuilder
    ledger: Ledger
    executions: StepFunctions
    bucket: str
    unreadable: Callable[[UnreadableItemError], None] = lambda _error: None

    def history(self, bucket: str | None, key: str, version_id: str | None = None) -> UploadHistory:
        """Find an upload and what was asked for it.

        Parameters
        ----------
        bucket : str or None
            The stack's own if it is ``None``.
        key : str
        version_id : str, optional
            The object's current version unless given; one that is given may be gone from S3.

        Raises
        ------
        OperatorError
            When there is no such object, or it cannot be named.
        TransientError, RefusedError
            When AWS does not say.
        """
        bucket = self.bucket if bucket is None else bucket
        address = single_line(f"s3://{bucket}/{key}")
        if bucket != self.bucket:
            raise OperatorError(
                f"{address}: this stack's bucket is {self.bucket}; name the stack that has the"
                " other one with --stack"
            )
        if version_id is not None:
            named = upload_id(Upload(bucket, key, "", 0, "", version_id))
            return UploadHistory(named, address, self.ledger.list_runs(named))
        try:
            found = get_current_upload(self.s3, bucket, key)
        except RejectedError:
            raise OperatorError(
                f"{address}: there is no such object (any more); isodrop list shows what was"
                " dropped, and isodrop status --version-id tells of what was deleted"
            ) from None
        if found.upload.version is None:
            raise OperatorError(
                f"{address}: the object has no version id, because the bucket's versioning is off;"
                " switch it on and upload again"
            )
        named = upload_id(found.upload)
        return UploadHistory(named, address, self.ledger.list_runs(named), found)

    def retry(self, history: UploadHistory, overrides: Mapping[str, str]) -> StartedRun:
        """Ask anew for an upload, or for the first time if nobody has claimed it.

        Parameters
        ----------
        history : UploadHistory
            Of the object's current version.
        overrides : mapping of str to str
            Laid over the object's metadata; the stack says which it allows.

        Raises
        ------
        OperatorError
            While the last ask has no answer yet.
        TransientError, QuotaError, RefusedError
            When AWS does not say, or start it.
        """
        last = history.last
        if last is not None and last.answered_at is None:
            raise _still_open(history, last.request.number, last.execution_arn)
        if history.found is None:
            raise OperatorError(f"{history.address}: only the current version can be imported")
        number = 0 if last is None else last.request.number + 1
        event = make_object_created_event(
            history.found.upload,
            history.found.last_modified,
            self.executions.machine_arn,
            "isodrop retry",
            RunRequest(number, overrides),
        )
        for again in range(_NAMES):
            # The same name for all who ask: of two at once, one starts an execution.
            name = _name(history.id, number, again)
            arn = self.executions.start_execution(name, event)
            if arn is not None:
                return StartedRun(history.id, number, arn)
            self._refuse_if_asked(history, number, self.executions.arn_for(name))
        raise OperatorError(
            f"{history.address}: {_NAMES} executions came to nothing; see why in Step Functions"
        )

    def _refuse_if_asked(self, history: UploadHistory, number: int, execution: str) -> None:
        """See whether the execution that has the name lives, or has claimed the ask."""
        run = self.ledger.get_run(history.id, number)
        if run is not None:
            raise _still_open(history, number, run.execution_arn)
        found = self.executions.describe_execution(execution)
        if found is not None and not found.is_over:
            raise _still_open(history, number, execution)

    def latest(self, history: UploadHistory) -> int:
        """Say which ask of an upload is the latest: claimed, or started and not claimed yet.

        Raises
        ------
        TransientError, RefusedError
            When AWS does not say.
        """
        last = history.last
        if last is None:
            return 0
        if last.answered_at is None:
            return last.request.number
        number = last.request.number + 1
        for again in range(_NAMES):
            named = self.executions.arn_for(_name(history.id, number, again))
            found = self.executions.describe_execution(named)
            if found is None:
                break
            if not found.is_over:
                return number
        return last.request.number

    def follow(
        self,
        upload_id: str,
        request: int,
        sleep: Callable[[float], None],
        now: Callable[[], float],
    ) -> Iterator[RunSnapshot]:
        """See an ask go on to its answer, whichever execution or sweep gives it.

        Parameters
        ----------
        upload_id : str
        request : int
        sleep, now : callable
            Wait so many seconds, and tell the seconds since any moment.

        Yields
        ------
        Sight
            At once, and whenever there is something new; the last one has the answer.

        Raises
        ------
        TransientError, RefusedError
            When AWS does not say.
        """
        seen: RunSnapshot | None = None
        began = now()
        while True:
            snapshot = self.snapshot(self.ledger.get_run(upload_id, request))
            if snapshot.run is None:
                snapshot = replace(snapshot, is_overdue=now() - began >= OVERDUE_SECONDS)
            if snapshot != seen:
                yield snapshot
            if snapshot.run is not None and snapshot.run.answered_at is not None:
                return
            seen = snapshot
            sleep(WAIT_SECONDS)

    def wait(
        self, asked: StartedRun, sleep: Callable[[float], None], now: Callable[[], float]
    ) -> Iterator[RunSnapshot]:
        """See an ask go on to its answer, as :meth:`follow` does, by the execution started for it.

        Raises
        ------
        OperatorError
            When there will be no answer from this execution.
        """
        # In this order: an execution that is over has written all that it ever will.
        found = self.executions.describe_execution(asked.execution)

        def look_before(seconds: float) -> None:
            nonlocal found
            if found is None or found.is_over:
                how = "gone" if found is None else found.status
                raise OperatorError(
                    f"the execution is {how} without an answer; the sweep gives one within minutes:"
                    f" {asked.execution}"
                )
            sleep(seconds)
            found = self.executions.describe_execution(asked.execution)

        for snapshot in self.follow(asked.upload_id, asked.number, look_before, now):
            if snapshot.run is not None and snapshot.run.execution_arn != asked.execution:
                raise OperatorError(
                    "another execution was first, without what you set:"
                    f" {snapshot.run.execution_arn}; when it has answered, ask again"
                )
            yield snapshot

    def snapshot(self, run: Run | None) -> RunSnapshot:
        """See how far a drop's build is, or then its distribution."""
        if run is None or run.answered_at is not None:
            return RunSnapshot(run, StepCount(0, 0))
        arn = run.distribution.arn or run.build_arn
        return RunSnapshot(run, StepCount(0, 0) if arn is None else self.builder.count_steps(arn))

    def going_on(self, since: str, before: Iterable[Run] = ()) -> tuple[Run, ...]:
        """List what is open, what was claimed since then, and what was seen before; oldest first.

        Parameters
        ----------
        since : str
            ISO 8601, as claims are written.
        before : iterable of Run
            What was open when it was last listed, and may have its answer now.
        """
        marks = chain(
            map(cursor_for, before),
            self.ledger.list_by_state(RunState.OPEN),
            takewhile(
                lambda mark: mark["claimedAt"] >= since,
                self.ledger.list_by_state(RunState.ANSWERED, newest_first=True),
            ),
        )
        once = {(mark["pk"], mark["sk"]): mark for mark in marks}
        return self.ledger.get_runs(
            sorted(once.values(), key=lambda mark: mark["claimedAt"]), self.unreadable
        )

    def cancel(self, history: UploadHistory, *, others_too: bool) -> str | None:
        """Cancel build or distribution of an upload's last ask, or the ask before it has a build.

        A build that comes to be in the same moment is found and cancelled too.

        Parameters
        ----------
        history : UploadHistory
        others_too : bool
            Whether to do it even if other drops wait for the same build.

        Returns
        -------
        str or None
            The build that is being cancelled; ``None`` when it has not come to one.

        Raises
        ------
        OperatorError
            When there is nothing to cancel, or others wait for it.
        TransientError, RefusedError
            When AWS does not do it.
        """
        run = history.last
        if run is None:
            raise OperatorError(f"{history.address}: nobody has claimed it, so nothing is running")
        build_arn = self._running(run)
        if build_arn is None:
            if _is_over(run) and (run.failure != CANCELLED or run.answered_at is not None):
                raise OperatorError(f"{history.address}: nothing of it is running any more")
            # First written, then read again: whoever submits it meanwhile reads after they write.
            self.ledger.request_cancellation(run)
            run = self.ledger.get_run(run.upload_id, run.request.number) or run
            build_arn = self._running(run)
            if build_arn is None and _is_over(run) and run.failure != CANCELLED:
                raise OperatorError(f"{history.address}: nothing of it is running any more")
        if build_arn is not None:
            waiting = self.others(run)
            if waiting and not others_too:
                keys = join_list(other.upload.uri for other in waiting)
                raise OperatorError(
                    f"{history.address}: others wait for the same build and would hear that it was"
                    f" cancelled: {keys}; cancel it for all with --yes"
                )
            self.builder.cancel(build_arn)
        return build_arn

    def others(self, run: Run) -> tuple[Run, ...]:
        """Find the other drops that wait for the end of the same attempt."""
        if run.attempt is None:
            return ()
        return tuple(
            other
            for other in self.ledger.get_runs(
                self.ledger.list_by_state(RunState.OPEN), self.unreadable
            )
            if (other.import_key, other.attempt) == (run.import_key, run.attempt)
            and (other.upload_id, other.request.number) != (run.upload_id, run.request.number)
        )

    def _running(self, run: Run) -> str | None:
        """Find what goes on of a drop; its attempt may know of a build that it does not."""
        build_arn = run.distribution.arn or run.build_arn
        if build_arn is None and run.import_key is not None and run.attempt is not None:
            build_arn = self.ledger.list_attempts(run.import_key)[run.attempt].build_arn
        build = None if build_arn is None else self.builder.get_build(build_arn)
        return build.arn if build is not None and build.phase is BuildPhase.RUNNING else None

    def recent(self, limit: int, *, only_open: bool = False) -> tuple[Run, ...]:
        """List drops, the newest claim first."""
        states = (RunState.OPEN,) if only_open else tuple(RunState)
        marks = merge(
            *(self.ledger.list_by_state(state, newest_first=True) for state in states),
            key=lambda mark: mark["claimedAt"],
            reverse=True,
        )
        return self.ledger.get_runs(islice(marks, limit), self.unreadable)

    def budget_use(self, now: datetime) -> BudgetUse:
        """Read how much of the budget of builds is used."""
        return self.ledger.budget_use(day_of(now))


def _name(upload_id: str, request: int, again: int = 0) -> str:
    """Name an ask's execution; a number follows where others of the name came to nothing."""
    return f"{upload_id}-ask-{request}" + (f"-{again}" if again else "")


def _is_over(run: Run) -> bool:
    """Whether it is known how a run without a running build ends."""
    return run.answer_json is not None or run.failure is not None or run.build_arn is not None


def _still_open(history: UploadHistory, request: int, execution: str) -> OperatorError:
    return OperatorError(
        f"{history.address}: run {request} has no answer yet; see {execution}, wait for its answer,"
        " or cancel it with isodrop cancel"
    )
