"""The sweep: answers what nobody answered, and starts what was never started.

Whatever the state machine cannot answer by itself is found here, by looking at what is written
and at what lies in the bucket: an execution that was aborted, that timed out or whose every try
failed; an upload that EventBridge did not hand over. A sweep takes back nothing and needs no
memory to be right: claims, answers and execution names are written once, so it may be killed
anywhere, run twice or overlap with another. What it remembers only spares it work.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final

from isodrop.aws.errors import translate_errors
from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Cursor, Ledger, cursor_for
from isodrop.aws.ledger_items import UnreadableItemError
from isodrop.aws.s3 import read_scan_tag
from isodrop.aws.s3_events import make_object_created_event
from isodrop.aws.step_functions import StepFunctions
from isodrop.codes import Code
from isodrop.domain.budget import day_of
from isodrop.domain.build import BuildPhase
from isodrop.domain.content import run_of_key
from isodrop.domain.ids import upload_id
from isodrop.domain.model import Upload
from isodrop.domain.run import CANCELLED, BuildKind, Failure, Run, RunState
from isodrop.domain.sweep_summary import SweepSummary
from isodrop.errors import TransientError
from isodrop.services.budget import BudgetAuditor
from isodrop.services.distribution import Distributor
from isodrop.services.outcomes import OutcomeReader
from isodrop.services.reporting import Reporter
from isodrop.text import single_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ObjectVersionTypeDef

MIN_AGE: Final = timedelta(minutes=10)
"""What is younger is on its ordinary way yet."""
LOOKBACK_BEFORE_DEPLOY: Final = timedelta(hours=1)
"""How far before the ledger's making a sweep looks back. What lay in the bucket longer was nobody's
to import."""
MAX_LOOKBACK: Final = timedelta(days=8)
"""How far any sweep looks back. An object that was uploaded in parts says as its last
modification when the upload was begun, and the bucket aborts an upload after seven days.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""
COPY_AGE: Final = timedelta(days=8)
"""No import takes so long: an execution ends after seven days. The bucket's lifecycle says the
same."""
MAX_ANSWERS: Final = 200
MAX_STARTS: Final = 100
MAX_PAGES: Final = 20
"""Of the bucket's listing, of a thousand versions each: the next sweep goes on. So a sweep costs
the same however much is in the bucket, and five see one of 100,000 versions."""
_BATCH: Final = 100


class _NoTimeError(TransientError):
    """The next sweep goes on."""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Everything that a sweep needs.

    Attributes
    ----------
    s3, builder, ledger, executions
        The clients and adapters that it uses.
    distributor, outcomes, reporter
        The services that it uses.
    bucket, prefix : str
        Where uploads lie.
    tracking : timedelta
        How long a build is followed.
    grace : timedelta
        What is younger is left alone.
    waits_for_malware_scan : bool
        Whether what is not scanned yet is left alone, too.
    now : callable
        Returns the current time, with a time zone.
    tell : callable
        Takes a word and particulars, for the log.
    has_time : callable
        Whether there is time for one more thing.
    """

    s3: "S3Client"
    builder: ImageBuilder
    ledger: Ledger
    executions: StepFunctions
    distributor: Distributor
    outcomes: OutcomeReader
    reporter: Reporter
    bucket: str
    tracking: timedelta
    now: Callable[[], datetime]
    log: Callable[[str, Mapping[str, Any]], None]
    has_time: Callable[[], bool] = lambda: True
    min_age: timedelta = MIN_AGE
    prefix: str = ""
    waits_for_malware_scan: bool = False

    def run(self) -> SweepSummary:
        """Sweep once.

        Returns
        -------
        SweepSummary
            Trouble with one drop is counted, and keeps no other from its answer.

        Raises
        ------
        TransientError, PermanentError
            Ledger or bucket cannot be looked at; raised after all that could be done was done.
        """
        summary = SweepSummary()
        left = dict(self.ledger.load_checkpoint() or {})
        if "since" not in left:
            # Not of this sweep's own time: the ones before it may all have come to nothing.
            left["since"] = (self.ledger.created_at() - LOOKBACK_BEFORE_DEPLOY).isoformat()
        since = max(datetime.fromisoformat(left["since"]), self.now() - MAX_LOOKBACK)
        jobs: dict[str, Callable[[Any], Mapping[str, str] | None]] = {
            "open": lambda at: self._answer_open_runs(at, summary),
            "versions": lambda at: self._start_unclaimed(at, since, summary),
            "latest": lambda at: self._mend_latest(at, summary),
        }
        failed: list[Exception] = []
        for job, do in jobs.items():
            try:
                left[job] = do(left.get(job))
            except Exception as error:  # noqa: BLE001 - raised below; the other job goes first
                failed.append(error)
        for rest in (self._delete_copies, self._release_builds):
            try:
                rest(summary)
            except Exception as error:  # noqa: BLE001 - likewise
                failed.append(error)
        self.ledger.save_checkpoint(left)
        if failed:
            raise failed[0]
        return summary

    # ------------------------------------------------------------------ what nobody answered

    def _answer_open_runs(self, after: Cursor | None, summary: SweepSummary) -> Cursor | None:
        """Answer the open drops whose execution is over; returns where to go on, if anywhere."""
        old_enough = (self.now() - self.min_age).isoformat()
        marks = takewhile(
            lambda mark: mark["claimedAt"] < old_enough,
            self.ledger.list_by_state(RunState.OPEN, after=after),
        )
        for batch in _batches(marks):
            for run in self.ledger.get_runs(batch, partial(self._log_unreadable, summary)):
                if summary.answered >= MAX_ANSWERS or not self.has_time():
                    summary.complete = False
                    return after
                with self._isolate_errors(summary, run.upload_id, run.upload):
                    self._resolve(run, summary)
                after = cursor_for(run)
        return None

    def _resolve(self, run: Run, summary: SweepSummary) -> None:
        """Give a drop its answer, unless somebody else will."""
        if run.answered_at is not None:
            return  # the index lags
        summary.open += 1
        age = self.now() - datetime.fromisoformat(run.claimed_at)
        summary.oldest_open_seconds = max(summary.oldest_open_seconds, age.total_seconds())
        ended = self._execution_end(run)
        if ended is None:
            summary.running += 1
            summary.count_build(run)
            return
        if run.answer_json is None:
            run = self._with_its_build(run)
            if run.import_build.arn is None and run.import_build.failure is None:
                is_cancelled = self.ledger.is_cancellation_requested(run)
                failure = CANCELLED if is_cancelled else Failure(Code.EXECUTION_ENDED, ended)
                run = self.ledger.record_failure(run, failure)
            run, is_in_progress = self._continue(run)
            if is_in_progress or self.outcomes.is_settling(run):
                summary.waiting += 1
                summary.count_build(run)
                return
        answer = self.reporter.publish_answer(run)
        summary.answered += 1
        self.log(
            "answered",
            {"uploadId": run.upload_id, "run": run.request.number, "answer": answer.detail_type},
        )

    def _execution_end(self, run: Run) -> str | None:
        """Say how the drop's execution ended; ``None`` while it goes on."""
        if not run.execution_arn.startswith("arn:"):
            return "No execution follows this upload: it was claimed by hand."
        found = self.executions.describe_execution(run.execution_arn)
        if found is None:
            return "Step Functions no longer knows the execution that followed this upload."
        if not found.is_over:
            return None
        cause = f": {found.error}" if found.error else "."
        return f"The execution that followed this upload is {found.status}{cause}"

    def _with_its_build(self, run: Run) -> Run:
        """See whether the drop's import has come to a build that it was not told of."""
        record = run.import_build
        if record.arn is not None or record.attempt is None:
            return run
        attempt = self.ledger.get_attempt(record.attempt)
        return run if attempt.build_arn is None else self.ledger.link_build(run, attempt.build_arn)

    def _continue(self, run: Run) -> tuple[Run, bool]:
        """Start the distribution of an image that is there.

        Returns
        -------
        Run and bool
            The run as it stands; whether its build, or its distribution, is still waited for.
        """
        if run.import_build.arn is None:
            return run, False
        if self._is_running(run.import_build.arn):
            return run, not self._is_timed_out(run.claimed_at)
        run = self.distributor.start_distribution(run)
        if run.distribution.arn is None:
            return run, False
        started = run.status_first_seen_at.get(BuildKind.DISTRIBUTION, run.claimed_at)
        return run, self._is_running(run.distribution.arn) and not self._is_timed_out(started)

    def _is_running(self, arn: str) -> bool:
        build = self.builder.get_build(arn)
        return build is not None and build.phase is BuildPhase.RUNNING

    def _is_timed_out(self, since: str) -> bool:
        """Whether all the time is over for which something is tracked."""
        return self.now() >= datetime.fromisoformat(since) + self.tracking

    # ------------------------------------------------------------------ what names the newest

    def _mend_latest(
        self, at: Mapping[str, str] | None, summary: SweepSummary
    ) -> Mapping[str, str] | None:
        """Let each latest parameter name the newest image; returns where to go on, if anywhere."""
        latest = self.reporter.annotator.latest
        last = "" if at is None else at["name"]
        for name, build in self.ledger.image_names():
            at_name = f"{name}/{build}"
            if at_name <= last:
                continue
            if not self.has_time():
                summary.complete = False
                return {"name": last}
            with self._isolated(summary, {"latest": at_name}):
                try:
                    latest.update(name, build, self._check_time)
                except _NoTimeError:
                    summary.complete = False
                    return {"name": last}
            last = at_name
        return None

    def _check_time(self) -> None:
        if not self.has_time():
            raise _NoTimeError("the sweep's time is over; the next one goes on")

    # ------------------------------------------------------------------ what is needed no more

    def _delete_copies(self, summary: SweepSummary) -> None:
        """Remove the copies that are known to be needed no more, or are as old as none gets."""
        stager = self.reporter.stager
        for staged in stager.bucket.list_copies():
            if not self.has_time():
                summary.complete = False
                return
            with self._isolated(summary, {"copy": staged.key}):
                if self.now() - staged.since >= COPY_AGE or self._is_needless(staged.key):
                    stager.bucket.remove(staged)
                    summary.removed += 1
                    self.log("removed", {"copy": staged.key})

    def _is_needless(self, key: str) -> bool:
        named = run_of_key(key)
        run = None if named is None else self.ledger.get_run(*named)
        if run is None or run.answered_at is None:
            return False  # not known, or on its way
        age = self.now() - datetime.fromisoformat(run.answered_at)
        return age >= self.min_age and self.reporter.stager.is_over(run, search=True)

    # ------------------------------------------------------------------ what counts no more

    def _release_builds(self, summary: SweepSummary) -> None:
        """Release the builds that are over from what is under way, and tell what is used."""
        auditor = BudgetAuditor(self.builder, self.ledger)
        for attempt in self.ledger.under_way():
            if not self.has_time():
                summary.complete = False
                return
            with self._isolated(summary, {"import": attempt.import_key}):
                if not auditor.is_under_way(attempt, self.now()):
                    self.ledger.release_key(attempt)
                    summary.released += 1
                    found = {"import": attempt.import_key, "attempt": attempt.number}
                    self.log("released", found)
        use = self.ledger.budget_use(day_of(self.now()))
        summary.builds_at_once, summary.builds_today = use.at_once, use.today

    # ------------------------------------------------------------------ what was never started

    def _start_unclaimed(
        self, at: Mapping[str, str] | None, since: datetime, summary: SweepSummary
    ) -> Mapping[str, str] | None:
        """Start what nobody has claimed; returns the page to go on from, if any."""
        until = self.now() - self.min_age
        for _ in range(MAX_PAGES):
            with translate_errors():
                page = self.s3.list_object_versions(
                    Bucket=self.bucket,
                    Prefix=self.prefix,
                    **(at or {}),  # type: ignore[arg-type] # the stubs see every keyword in the mapping
                )
            versions = page.get("Versions", [])
            summary.versions += len(versions)
            found = {
                upload_id(upload): (upload, when)
                for upload, when in map(self._upload, versions)
                if _is_eligible(upload) and since <= when <= until
            }
            known = self.ledger.find_claimed(found)
            for run, (upload, when) in found.items():
                if run in known:
                    continue
                if summary.started >= MAX_STARTS or not self.has_time():
                    summary.complete = False
                    return at
                with self._isolate_errors(summary, run, upload):
                    self._start(run, upload, when, summary)
            if not page["IsTruncated"]:
                return None
            at = {"KeyMarker": page["NextKeyMarker"]}
            if "NextVersionIdMarker" in page:
                at["VersionIdMarker"] = page["NextVersionIdMarker"]
            if not self.has_time():
                break
        summary.complete = False
        return at

    def _start(self, run: str, upload: Upload, when: datetime, summary: SweepSummary) -> None:
        # With the hour in it: one that came to nothing can be repeated, but not at once.
        name = f"{run}-sweep-{self.now().astimezone(UTC):%Y%m%d%H}"
        event = make_object_created_event(
            upload, when, self.executions.machine_arn, "isodrop sweep"
        )
        if self.waits_for_malware_scan and read_scan_tag(self.s3, upload) is None:
            summary.unscanned += 1
            return
        arn = self.executions.start_execution(name, event)
        if arn is not None:
            summary.started += 1
            self.log("started", {"uploadId": run, "key": upload.key, "executionArn": arn})

    def _upload(self, version: "ObjectVersionTypeDef") -> tuple[Upload, datetime]:
        return Upload(
            bucket=self.bucket,
            key=version.get("Key", ""),
            etag=version.get("ETag", "").strip('"'),
            size=version.get("Size", 0),
            sequencer="",
            version_id=version.get("VersionId"),
        ), version["LastModified"]

    def _log_unreadable(self, summary: SweepSummary, error: UnreadableItemError) -> None:
        """Tell of an item that stays without an answer, because nobody can read it."""
        summary.errors += 1
        self.log("unreadable", {**error.key, "error": str(error)})

    def _isolate_errors(
        self, summary: SweepSummary, run: str, upload: Upload
    ) -> AbstractContextManager[None]:
        """Let trouble with one drop stay with it."""
        return self._isolated(summary, {"uploadId": run, "key": upload.key})

    @contextmanager
    def _isolated(self, summary: SweepSummary, what: Mapping[str, str]) -> Iterator[None]:
        """Let trouble with one thing stay with it: the others are owed theirs all the same."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is
            summary.errors += 1
            said = single_line(f"{type(error).__name__}: {error}")
            self.log("trouble", {**what, "error": said})


def _is_eligible(upload: Upload) -> bool:
    """Whether the stack's rule would have taken it, and it can be told from other writes."""
    return upload.is_iso and upload.version is not None


def _batches(marks: Iterable[Cursor]) -> Iterator[list[Cursor]]:
    rest = iter(marks)
    while batch := list(islice(rest, _BATCH)):
        yield batch
