"""The sweep: answers runs that have no answer, and starts executions for uploads that have none.

It compares the ledger with Step Functions and with the upload bucket to find what the state machine
cannot handle itself: an execution that was aborted, timed out or failed despite its retries, and an
upload whose event EventBridge did not deliver. Whatever a sweep does may be done twice: claims,
answers and execution names are written once. So it may be interrupted, run twice or overlap with
another one. Its only state is a checkpoint, which saves work.
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
from isodrop.domain import ids
from isodrop.domain.arn import Arn
from isodrop.domain.build import BuildPhase
from isodrop.domain.build_limits import utc_day
from isodrop.domain.content import parse_staging_key
from isodrop.domain.model import Upload
from isodrop.domain.run import CANCELLED, BuildKind, Failure, Run, RunState
from isodrop.domain.sweep_summary import SweepSummary
from isodrop.errors import TransientError
from isodrop.services.build_audit import BuildAuditor
from isodrop.services.distribution import Distributor
from isodrop.services.outcomes import OutcomeReader
from isodrop.services.reporting import Reporter
from isodrop.text import single_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ObjectVersionTypeDef

MIN_AGE: Final = timedelta(minutes=10)
"""Younger uploads and runs are still being processed normally."""
LOOKBACK_BEFORE_DEPLOY: Final = timedelta(hours=1)
"""Uploads made up to this long before the ledger was created are still imported; older objects were
in the bucket before the stack."""
MAX_LOOKBACK: Final = timedelta(days=8)
"""How far back a sweep searches the bucket. The last modification of a multipart object is the time
when its multipart upload was started, and the bucket aborts those after seven days.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""
COPY_AGE: Final = timedelta(days=8)
"""Age at which a copy is deleted in any case: an execution ends within seven days. The staging
bucket's lifecycle rule uses the same number of days."""
MAX_ANSWERS: Final = 200
MAX_STARTS: Final = 100
MAX_PAGES: Final = 20
"""Pages of the bucket's listing per sweep, of 1,000 versions each; the next sweep continues. So the
cost of a sweep does not depend on the size of the bucket: 100,000 versions take five sweeps."""
_BATCH: Final = 100


class _NoTimeError(TransientError):
    """The sweep's time is used up; the next one continues."""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Runs sweeps.

    Attributes
    ----------
    s3, builder, ledger, executions
        The clients and adapters that it uses.
    distributor, outcomes, reporter
        The services that it uses.
    bucket, prefix : str
        The location of uploads.
    tracking_timeout : timedelta
        How long a build is tracked.
    min_age : timedelta
        Younger runs and uploads are skipped.
    requires_malware_scan : bool
        Whether to skip objects that have not been scanned yet.
    now : callable
        Returns the current time, with a time zone.
    log : callable
        Logs a message with its fields.
    has_time : callable
        Returns whether there is time for one more item.
    """

    s3: "S3Client"
    builder: ImageBuilder
    ledger: Ledger
    executions: StepFunctions
    distributor: Distributor
    outcomes: OutcomeReader
    reporter: Reporter
    bucket: str
    tracking_timeout: timedelta
    now: Callable[[], datetime]
    log: Callable[[str, Mapping[str, Any]], None]
    has_time: Callable[[], bool] = lambda: True
    min_age: timedelta = MIN_AGE
    prefix: str = ""
    requires_malware_scan: bool = False

    def run(self) -> SweepSummary:
        """Run one sweep.

        Returns
        -------
        SweepSummary
            The counts. An error with one item is counted, and the others are still processed.

        Raises
        ------
        TransientError, PermanentError
            The ledger or a bucket cannot be read; if the checkpoint was read, everything else is
            done first.
        """
        summary = SweepSummary()
        checkpoint = dict(self.ledger.load_checkpoint() or {})
        if "since" not in checkpoint:
            # Not derived from the current time: all earlier sweeps may have failed.
            checkpoint["since"] = (self.ledger.created_at() - LOOKBACK_BEFORE_DEPLOY).isoformat()
        since = max(datetime.fromisoformat(checkpoint["since"]), self.now() - MAX_LOOKBACK)
        resumable_jobs: dict[str, Callable[[Any], Mapping[str, str] | None]] = {
            "open": lambda position: self._answer_open_runs(position, summary),
            "versions": lambda position: self._start_unclaimed(position, since, summary),
            "latest": lambda position: self._update_latest(position, summary),
        }
        errors: list[Exception] = []
        for name, job in resumable_jobs.items():
            try:
                checkpoint[name] = job(checkpoint.get(name))
            except Exception as error:  # noqa: BLE001 - raised below, after the other jobs
                errors.append(error)
        for job in (self._delete_copies, self._free_slots):
            try:
                job(summary)
            except Exception as error:  # noqa: BLE001 - raised below, after the other jobs
                errors.append(error)
        self.ledger.save_checkpoint(checkpoint)
        if errors:
            raise errors[0]
        return summary

    # ------------------------------------------------------------------ runs without an answer

    def _answer_open_runs(self, after: Cursor | None, summary: SweepSummary) -> Cursor | None:
        """Answer open runs whose execution has ended; returns where to continue, if not done."""
        claimed_before = (self.now() - self.min_age).isoformat()
        cursors = takewhile(
            lambda cursor: cursor["claimedAt"] < claimed_before,
            self.ledger.list_by_state(RunState.OPEN, after=after),
        )
        for batch in _batches(cursors):
            for run in self.ledger.get_runs(batch, partial(self._log_unreadable, summary)):
                if summary.answered >= MAX_ANSWERS or not self.has_time():
                    summary.complete = False
                    return after
                with self._log_upload_errors(summary, run.upload_id, run.upload):
                    self._resolve(run, summary)
                after = cursor_for(run)
        return None

    def _resolve(self, run: Run, summary: SweepSummary) -> None:
        """Answer a run, unless its execution will."""
        if run.answered_at is not None:
            return  # the index is eventually consistent
        summary.open += 1
        age = self.now() - datetime.fromisoformat(run.claimed_at)
        summary.oldest_open_seconds = max(summary.oldest_open_seconds, age.total_seconds())
        execution_end = self._describe_execution_end(run)
        if execution_end is None:
            summary.running += 1
            summary.count_build(run)
            return
        if run.answer_json is None:
            run = self._link_build_of_attempt(run)
            if run.import_build.arn is None and run.import_build.failure is None:
                is_cancelled = self.ledger.is_cancellation_requested(run)
                failure = (
                    CANCELLED if is_cancelled else Failure(Code.EXECUTION_ENDED, execution_end)
                )
                run = self.ledger.record_failure(run, failure)
            run, is_in_progress = self._check_progress(run)
            if is_in_progress or self.outcomes.is_settling(run):
                summary.waiting += 1
                summary.count_build(run)
                return
        answer = self.reporter.publish_answer(run)
        summary.answered += 1
        self.log(
            "answered",
            {
                "uploadId": run.upload_id,
                "run": run.run_request.number,
                "answer": answer.detail_type,
            },
        )

    def _describe_execution_end(self, run: Run) -> str | None:
        """Describe how the run's execution ended; ``None`` while it is running."""
        if not run.execution_arn.startswith("arn:"):
            return (
                "No execution tracks this upload: ImportIso was invoked without the state machine."
            )
        execution = self.executions.describe_execution(run.execution_arn)
        if execution is None:
            return "The execution that tracked this upload no longer exists in Step Functions."
        if not execution.has_ended:
            return None
        cause = f": {execution.error}" if execution.error else "."
        return f"The execution that tracked this upload ended with status {execution.status}{cause}"

    def _link_build_of_attempt(self, run: Run) -> Run:
        """Link the run to the build of its attempt, if the execution did not."""
        record = run.import_build
        if record.arn is not None or record.attempt is None:
            return run
        attempt = self.ledger.get_attempt(record.attempt)
        return run if attempt.build_arn is None else self.ledger.link_build(run, attempt.build_arn)

    def _check_progress(self, run: Run) -> tuple[Run, bool]:
        """Check whether a run's build is in progress; start the distribution of a finished image.

        Returns
        -------
        Run and bool
            The updated run, and whether to wait for its build or distribution.
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
        """Whether the time limit for tracking is exceeded."""
        return self.now() >= datetime.fromisoformat(since) + self.tracking_timeout

    # ------------------------------------------------------------------ latest parameters

    def _update_latest(
        self, after: Mapping[str, str] | None, summary: SweepSummary
    ) -> Mapping[str, str] | None:
        """Update each latest parameter; returns where to continue, if not done."""
        latest = self.reporter.annotator.latest
        last = "" if after is None else after["name"]
        for name, windows_build in self.ledger.list_image_names():
            parameter = f"{name}/{windows_build}"
            if parameter <= last:
                continue
            if not self.has_time():
                summary.complete = False
                return {"name": last}
            with self._log_errors(summary, {"latest": parameter}):
                try:
                    latest.update(name, windows_build, self._check_time)
                except _NoTimeError:
                    summary.complete = False
                    return {"name": last}
            last = parameter
        return None

    def _check_time(self) -> None:
        if not self.has_time():
            raise _NoTimeError("the sweep's time is used up; the next one continues")

    # ------------------------------------------------------------------ staging copies

    def _delete_copies(self, summary: SweepSummary) -> None:
        """Delete copies that are no longer needed, or that are older than the longest import."""
        stager = self.reporter.stager
        for staged in stager.bucket.list_copies():
            if not self.has_time():
                summary.complete = False
                return
            with self._log_errors(summary, {"copy": staged.key}):
                if self.now() - staged.created_at >= COPY_AGE or self._is_unneeded(staged.key):
                    stager.bucket.remove(staged)
                    summary.removed += 1
                    self.log("removed", {"copy": staged.key})

    def _is_unneeded(self, key: str) -> bool:
        owner = parse_staging_key(key)
        run = None if owner is None else self.ledger.get_run(*owner)
        if run is None or run.answered_at is None:
            return False  # an unknown run, or one whose answer has not been published
        age = self.now() - datetime.fromisoformat(run.answered_at)
        return age >= self.min_age and self.reporter.stager.check_copy_unused(run, search=True)

    # ------------------------------------------------------------------ limits on builds

    def _free_slots(self, summary: SweepSummary) -> None:
        """Free the slots of builds that have ended; count those under way and those of today."""
        auditor = BuildAuditor(self.builder, self.ledger)
        for key in self.ledger.list_under_way():
            if not self.has_time():
                summary.complete = False
                return
            with self._log_errors(summary, {"import": key.task_key}):
                if not auditor.check_under_way(key, self.now()):
                    self.ledger.free_slot(key)
                    summary.freed += 1
                    fields = {"import": key.task_key, "attempt": key.number}
                    self.log("slot freed", fields)
        usage = self.ledger.read_build_usage(utc_day(self.now()))
        summary.slots_in_use, summary.builds_today = usage.under_way, usage.today

    # ------------------------------------------------------------------ uploads without a run

    def _start_unclaimed(
        self, page_start: Mapping[str, str] | None, since: datetime, summary: SweepSummary
    ) -> Mapping[str, str] | None:
        """Start executions for unclaimed uploads; returns the next page, if not done."""
        until = self.now() - self.min_age
        for _ in range(MAX_PAGES):
            with translate_errors():
                page = self.s3.list_object_versions(
                    Bucket=self.bucket,
                    Prefix=self.prefix,
                    **(page_start or {}),  # type: ignore[arg-type] # mypy checks the mapping's values against every parameter
                )
            versions = page.get("Versions", [])
            summary.versions += len(versions)
            uploads = {
                ids.upload_id(upload): (upload, uploaded_at)
                for upload, uploaded_at in map(self._parse_version, versions)
                if _is_eligible(upload) and since <= uploaded_at <= until
            }
            claimed = self.ledger.find_claimed(uploads)
            for upload_id, (upload, uploaded_at) in uploads.items():
                if upload_id in claimed:
                    continue
                if summary.started >= MAX_STARTS or not self.has_time():
                    summary.complete = False
                    return page_start
                with self._log_upload_errors(summary, upload_id, upload):
                    self._start(upload_id, upload, uploaded_at, summary)
            if not page["IsTruncated"]:
                return None
            page_start = {"KeyMarker": page["NextKeyMarker"]}
            if "NextVersionIdMarker" in page:
                page_start["VersionIdMarker"] = page["NextVersionIdMarker"]
            if not self.has_time():
                break
        summary.complete = False
        return page_start

    def _start(
        self, upload_id: str, upload: Upload, uploaded_at: datetime, summary: SweepSummary
    ) -> None:
        # With the hour, so that a failed execution is started again, but not in the same hour.
        name = f"{upload_id}-sweep-{self.now().astimezone(UTC):%Y%m%d%H}"
        event = make_object_created_event(
            upload, uploaded_at, Arn.parse(self.executions.machine_arn), "isodrop sweep"
        )
        if self.requires_malware_scan and read_scan_tag(self.s3, upload) is None:
            summary.unscanned += 1
            return
        arn = self.executions.start_execution(name, event)
        if arn is not None:
            summary.started += 1
            self.log("started", {"uploadId": upload_id, "key": upload.key, "executionArn": arn})

    def _parse_version(self, version: "ObjectVersionTypeDef") -> tuple[Upload, datetime]:
        return Upload(
            bucket=self.bucket,
            key=version.get("Key", ""),
            etag=version.get("ETag", "").strip('"'),
            size=version.get("Size", 0),
            sequencer="",
            version_id=version.get("VersionId"),
        ), version["LastModified"]

    def _log_unreadable(self, summary: SweepSummary, error: UnreadableItemError) -> None:
        """Log an item that cannot be read, and therefore gets no answer."""
        summary.errors += 1
        self.log("unreadable item", {**error.key, "error": str(error)})

    def _log_upload_errors(
        self, summary: SweepSummary, upload_id: str, upload: Upload
    ) -> AbstractContextManager[None]:
        """Log an error with one upload, and continue with the others."""
        return self._log_errors(summary, {"uploadId": upload_id, "key": upload.key})

    @contextmanager
    def _log_errors(self, summary: SweepSummary, fields: Mapping[str, str]) -> Iterator[None]:
        """Log an error with one item, and continue with the others."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - it must not stop the sweep
            summary.errors += 1
            message = single_line(f"{type(error).__name__}: {error}")
            self.log("error", {**fields, "error": message})


def _is_eligible(upload: Upload) -> bool:
    """Whether the upload's key ends in ``.iso``, and its version identifies it."""
    return upload.is_iso and upload.unique_version_id is not None


def _batches(cursors: Iterable[Cursor]) -> Iterator[list[Cursor]]:
    remaining = iter(cursors)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
