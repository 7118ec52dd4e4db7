"""What an operator can do: list, follow, retry and cancel runs. Does not print anything."""

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
from isodrop.codes import Code
from isodrop.domain.arn import Arn
from isodrop.domain.build import BuildPhase, StepCount
from isodrop.domain.build_limits import BuildUsage, utc_day
from isodrop.domain.ids import upload_id
from isodrop.domain.model import RunRequest, Upload
from isodrop.domain.run import CANCELLED, Run, RunState
from isodrop.domain.s3_uri import S3Uri
from isodrop.errors import IsodropError, RejectedError
from isodrop.text import join_list, single_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

WAIT_SECONDS: Final = 5.0
UNCLAIMED_SECONDS: Final = 60.0
"""Most uploads are claimed within seconds; after this long something may be wrong."""
_MAX_EXECUTION_NAMES: Final = 20
"""How many executions of one run may end without claiming it before we give up."""


class OperatorError(IsodropError):
    """The operation is not possible now; the message says why, and what is possible instead."""


@dataclass(frozen=True, slots=True)
class UploadHistory:
    """One upload and its runs, in order."""

    upload_id: str
    uri: str
    runs: tuple[Run, ...]
    current: CurrentObject | None = None

    @property
    def last(self) -> Run | None:
        """The latest run; ``None`` if no execution has claimed the upload."""
        return self.runs[-1] if self.runs else None


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run whose execution was started."""

    upload_id: str
    number: int
    execution: str


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run as it is now.

    Attributes
    ----------
    run : Run or None
        ``None`` until an execution has claimed it.
    steps : StepCount
        The progress of its build, or of its distribution; zeros if there is none, or Image Builder
        does not report it.
    is_unclaimed : bool
        Whether no execution has claimed it within a minute.
    """

    run: Run | None
    steps: StepCount
    is_unclaimed: bool = False


@dataclass(frozen=True, slots=True)
class StackOperations:
    """The operations on a stack's uploads.

    Attributes
    ----------
    s3, builder, ledger, executions
        The services that it calls.
    bucket : str
        The stack's upload bucket.
    on_unreadable : callable
        Called with each ledger item that this version cannot read; the others are listed.
    """

    s3: "S3Client"
    builder: ImageBuilder
    ledger: Ledger
    executions: StepFunctions
    bucket: str
    on_unreadable: Callable[[UnreadableItemError], None] = lambda _error: None

    def get_history(
        self, bucket: str | None, key: str, version_id: str | None = None
    ) -> UploadHistory:
        """Find an upload and its runs.

        Parameters
        ----------
        bucket : str or None
            ``None`` for the stack's own bucket.
        key : str
        version_id : str, optional
            Default: the object's current version. A given version need not exist anymore.

        Raises
        ------
        OperatorError
            There is no such object, access to it is denied, or it has no version id.
        TransientError, PermanentError
            A request to AWS fails.
        """
        bucket = self.bucket if bucket is None else bucket
        uri = single_line(str(S3Uri(bucket, key)))
        if bucket != self.bucket:
            raise OperatorError(
                f"{uri}: this stack's bucket is {self.bucket}; choose the stack of the other"
                " bucket with --stack"
            )
        if version_id is not None:
            return self._read_history(Upload(bucket, key, "", 0, "", version_id), uri)
        try:
            found = get_current_upload(self.s3, bucket, key)
        except RejectedError as error:
            if error.code is not Code.OBJECT_GONE:
                raise OperatorError(f"{uri}: {error}") from error
            raise OperatorError(
                f"{uri}: there is no such object; isodrop list shows all uploads, and isodrop"
                " status --version-id shows a deleted one"
            ) from None
        if found.upload.unique_version_id is None:
            raise OperatorError(
                f"{uri}: the object has no version id, because versioning is off for the"
                " bucket; enable it and upload again"
            )
        return self._read_history(found.upload, uri, found)

    def _read_history(
        self, upload: Upload, uri: str, current: CurrentObject | None = None
    ) -> UploadHistory:
        runs = self.ledger.list_runs(upload_id(upload))
        return UploadHistory(upload_id(upload), uri, runs, current)

    def retry(self, history: UploadHistory, overrides: Mapping[str, str]) -> StartedRun:
        """Start another run of an upload, or its first one if no execution has claimed it.

        Parameters
        ----------
        history : UploadHistory
            Of the object's current version.
        overrides : mapping of str to str
            Take precedence over the object's metadata.

        Raises
        ------
        OperatorError
            The latest run has no answer yet.
        TransientError, QuotaError, PermanentError
            A request to AWS fails.
        """
        last = history.last
        if last is not None and last.answered_at is None:
            raise _still_open_error(history, last.run_request.number, last.execution_arn)
        if history.current is None:
            raise OperatorError(f"{history.uri}: only the current version can be imported")
        number = 0 if last is None else last.run_request.number + 1
        event = make_object_created_event(
            history.current.upload,
            history.current.last_modified,
            Arn.parse(self.executions.machine_arn),
            "isodrop retry",
            RunRequest(number, overrides),
        )
        for suffix in range(_MAX_EXECUTION_NAMES):
            # All callers use the same name: of two at once, only one starts an execution.
            name = _execution_name(history.upload_id, number, suffix)
            arn = self.executions.start_execution(name, event)
            if arn is not None:
                return StartedRun(history.upload_id, number, arn)
            self._refuse_if_started(history, number, self.executions.arn_for(name))
        raise OperatorError(
            f"{history.uri}: {_MAX_EXECUTION_NAMES} executions ended without a result; check"
            " them in Step Functions"
        )

    def _refuse_if_started(self, history: UploadHistory, number: int, execution: str) -> None:
        """Raise if the execution of that name is running, or the run has been claimed."""
        run = self.ledger.get_run(history.upload_id, number)
        if run is not None:
            raise _still_open_error(history, number, run.execution_arn)
        found = self.executions.describe_execution(execution)
        if found is not None and not found.has_ended:
            raise _still_open_error(history, number, execution)

    def find_latest_run(self, history: UploadHistory) -> int:
        """Find the number of the latest run of an upload: claimed, or started and not claimed yet.

        Raises
        ------
        TransientError, PermanentError
            A request to AWS fails.
        """
        last = history.last
        if last is None:
            return 0
        if last.answered_at is None:
            return last.run_request.number
        number = last.run_request.number + 1
        for suffix in range(_MAX_EXECUTION_NAMES):
            arn = self.executions.arn_for(_execution_name(history.upload_id, number, suffix))
            found = self.executions.describe_execution(arn)
            if found is None:
                break
            if not found.has_ended:
                return number
        return last.run_request.number

    def follow_run(
        self,
        upload_id: str,
        number: int,
        sleep: Callable[[float], None],
        now: Callable[[], float],
    ) -> Iterator[RunSnapshot]:
        """Follow a run to its answer, whichever execution or sweep gives it.

        Parameters
        ----------
        upload_id : str
        number : int
        sleep, now : callable
            ``time.sleep`` and ``time.monotonic``, or stand-ins for them.

        Yields
        ------
        RunSnapshot
            At once, and whenever something changes; the last one has the answer.

        Raises
        ------
        TransientError, PermanentError
            A request to AWS fails.
        """
        previous: RunSnapshot | None = None
        began = now()
        while True:
            snapshot = self.take_snapshot(self.ledger.get_run(upload_id, number))
            if snapshot.run is None:
                snapshot = replace(snapshot, is_unclaimed=now() - began >= UNCLAIMED_SECONDS)
            if snapshot != previous:
                yield snapshot
            if snapshot.run is not None and snapshot.run.answered_at is not None:
                return
            previous = snapshot
            sleep(WAIT_SECONDS)

    def follow_execution(
        self, started: StartedRun, sleep: Callable[[float], None], now: Callable[[], float]
    ) -> Iterator[RunSnapshot]:
        """Follow a run as :meth:`follow_run` does, while its execution is running.

        Raises
        ------
        OperatorError
            The execution ended without an answer, or another one claimed the run.
        """
        # Read the execution before the run: one that has ended will not write to the run anymore.
        found = self.executions.describe_execution(started.execution)

        def check_and_sleep(seconds: float) -> None:
            nonlocal found
            if found is None or found.has_ended:
                status = "no longer exists" if found is None else f"ended as {found.status}"
                raise OperatorError(
                    f"the execution {started.execution} {status}, without an answer; the next"
                    " sweep publishes the answer, or waits for a build that is still running"
                )
            sleep(seconds)
            found = self.executions.describe_execution(started.execution)

        for snapshot in self.follow_run(started.upload_id, started.number, check_and_sleep, now):
            if snapshot.run is not None and snapshot.run.execution_arn != started.execution:
                raise OperatorError(
                    "another execution claimed this run first, without your overrides:"
                    f" {snapshot.run.execution_arn}; when it has its answer, retry again"
                )
            yield snapshot

    def take_snapshot(self, run: Run | None) -> RunSnapshot:
        """Read the progress of a run's build, or of its distribution."""
        if run is None or run.answered_at is not None:
            return RunSnapshot(run, StepCount(0, 0))
        arn = run.distribution.arn or run.import_build.arn
        return RunSnapshot(run, StepCount(0, 0) if arn is None else self.builder.count_steps(arn))

    def list_active(self, since: str, still_open: Iterable[Run] = ()) -> tuple[Run, ...]:
        """List open runs, those claimed since then, and those listed before; oldest first.

        Parameters
        ----------
        since : str
            ISO 8601, as in the ledger.
        still_open : iterable of Run
            The runs that were open when last listed; they may have their answer now.
        """
        cursors = chain(
            map(cursor_for, still_open),
            self.ledger.list_by_state(RunState.OPEN),
            takewhile(
                lambda cursor: cursor["claimedAt"] >= since,
                self.ledger.list_by_state(RunState.ANSWERED, newest_first=True),
            ),
        )
        unique = {(cursor["pk"], cursor["sk"]): cursor for cursor in cursors}
        return self.ledger.get_runs(
            sorted(unique.values(), key=lambda cursor: cursor["claimedAt"]), self.on_unreadable
        )

    def cancel(self, history: UploadHistory, *, include_others: bool) -> str | None:
        """Cancel the build or distribution of an upload's latest run, or the run itself.

        A build that starts at the same moment is found and cancelled, too.

        Parameters
        ----------
        history : UploadHistory
        include_others : bool
            Whether to cancel even if other runs wait for the same build.

        Returns
        -------
        str or None
            The build that is being cancelled; ``None`` if there was none yet.

        Raises
        ------
        OperatorError
            There is nothing to cancel, or other runs wait for the build.
        TransientError, PermanentError
            A request to AWS fails.
        """
        run = history.last
        if run is None:
            raise OperatorError(f"{history.uri}: its import has not started: nothing to cancel")
        build_arn = self._find_running_arn(run)
        if build_arn is None:
            message = f"{history.uri}: its import has ended: nothing to cancel"
            if _is_over(run) and (
                run.import_build.failure != CANCELLED or run.answered_at is not None
            ):
                raise OperatorError(message)
            # Write first, then read again. ImportIso does the same before it submits, so at least
            # one of the two sees what the other wrote.
            self.ledger.request_cancellation(run)
            run = self.ledger.get_run(run.upload_id, run.run_request.number) or run
            build_arn = self._find_running_arn(run)
            if build_arn is None and _is_over(run) and run.import_build.failure != CANCELLED:
                raise OperatorError(message)
        if build_arn is not None:
            sharing = self.list_sharing_build(run)
            if sharing and not include_others:
                keys = join_list(other.upload.uri for other in sharing)
                raise OperatorError(
                    f"{history.uri}: other uploads use the same build and would fail, too:"
                    f" {keys}; cancel it for all of them with --include-others"
                )
            self.builder.cancel_build(build_arn)
        return build_arn

    def list_sharing_build(self, run: Run) -> tuple[Run, ...]:
        """Find the other runs that wait for the same attempt."""
        if run.import_build.attempt is None:
            return ()
        return tuple(
            other
            for other in self.ledger.get_runs(
                self.ledger.list_by_state(RunState.OPEN), self.on_unreadable
            )
            if other.import_build.attempt == run.import_build.attempt
            and (other.upload_id, other.run_request.number)
            != (run.upload_id, run.run_request.number)
        )

    def _find_running_arn(self, run: Run) -> str | None:
        """Find the ARN of a run's build or distribution in progress."""
        build_arn = run.distribution.arn or run.import_build.arn
        if build_arn is None and run.import_build.attempt is not None:
            build_arn = self.ledger.get_attempt(run.import_build.attempt).build_arn
        build = None if build_arn is None else self.builder.get_build(build_arn)
        return build.arn if build is not None and build.phase is BuildPhase.RUNNING else None

    def list_recent(self, limit: int, *, only_open: bool = False) -> tuple[Run, ...]:
        """List runs, newest first."""
        states = (RunState.OPEN,) if only_open else tuple(RunState)
        cursors = merge(
            *(self.ledger.list_by_state(state, newest_first=True) for state in states),
            key=lambda cursor: cursor["claimedAt"],
            reverse=True,
        )
        return self.ledger.get_runs(islice(cursors, limit), self.on_unreadable)

    def get_build_usage(self, now: datetime) -> BuildUsage:
        """Read how many builds are under way, and how many were started today."""
        return self.ledger.read_build_usage(utc_day(now))


def _execution_name(upload_id: str, number: int, suffix: int = 0) -> str:
    """Name a run's execution; a number follows if earlier ones ended without a result."""
    return f"{upload_id}-run-{number}" + (f"-{suffix}" if suffix else "")


def _is_over(run: Run) -> bool:
    """Whether a run's outcome is known, provided that none of its builds is running."""
    record = run.import_build
    return run.answer_json is not None or record.failure is not None or record.arn is not None


def _still_open_error(history: UploadHistory, number: int, execution: str) -> OperatorError:
    return OperatorError(
        f"{history.uri}: run {number} has no answer yet: {execution}; wait for its answer, or"
        " cancel it with isodrop cancel"
    )
