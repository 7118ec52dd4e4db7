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

from isodrop.aws.errors import translated
from isodrop.aws.image_builder import Builder
from isodrop.aws.ledger import Ledger, Mark, mark_of
from isodrop.aws.ledger_items import UnreadableItemError
from isodrop.aws.s3 import read_scan_tag
from isodrop.aws.s3_events import object_created, with_malware_scan
from isodrop.aws.step_functions import Executions
from isodrop.codes import Code
from isodrop.domain.budget import day_of
from isodrop.domain.build import Phase
from isodrop.domain.content import run_of_key
from isodrop.domain.ids import drop_id
from isodrop.domain.model import Upload
from isodrop.domain.run import Drop, Stage, State, Trouble
from isodrop.domain.sweep_summary import Tally
from isodrop.errors import TransientError
from isodrop.services.budget import BudgetAuditor
from isodrop.services.reporting import Reporter
from isodrop.text import one_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ObjectVersionTypeDef

GRACE: Final = timedelta(minutes=10)
"""What is younger is on its ordinary way yet."""
BEFORE_THE_LEDGER: Final = timedelta(hours=1)
"""How far before the ledger's making a sweep looks back. What lay in the bucket longer was nobody's
to import."""
WINDOW: Final = timedelta(days=8)
"""How far any sweep looks back. An object that was uploaded in parts says as its last
modification when the upload was begun, and the bucket aborts an upload after seven days.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""
COPY_AGE: Final = timedelta(days=8)
"""No import takes so long: an execution ends after seven days. The bucket's lifecycle says the
same."""
MAX_ANSWERS: Final = 200
MAX_STARTS: Final = 100
_BATCH: Final = 100


class _NoTimeError(TransientError):
    """The next sweep goes on."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Everything that a sweep needs.

    Attributes
    ----------
    s3, builder, ledger, executions, reporter
        What it talks to.
    bucket, prefix : str
        Where uploads lie.
    tracking : timedelta
        How long a build is followed.
    grace : timedelta
        What is younger is left alone.
    waits_for_malware_scan : bool
        Whether what is not scanned yet is left alone, too.
    now : callable
        The time, with a time zone.
    tell : callable
        Takes a word and particulars, for the log.
    has_time : callable
        Whether there is time for one more thing.
    """

    s3: "S3Client"
    builder: Builder
    ledger: Ledger
    executions: Executions
    reporter: Reporter
    bucket: str
    tracking: timedelta
    now: Callable[[], datetime]
    tell: Callable[[str, Mapping[str, Any]], None]
    has_time: Callable[[], bool] = lambda: True
    grace: timedelta = GRACE
    prefix: str = ""
    waits_for_malware_scan: bool = False

    def run(self) -> Tally:
        """Sweep once.

        Returns
        -------
        Tally
            Trouble with one drop is counted, and keeps no other from its answer.

        Raises
        ------
        TransientError, RefusedError
            Ledger or bucket cannot be looked at; raised after all that could be done was done.
        """
        tally = Tally()
        left = dict(self.ledger.sweep() or {})
        if "since" not in left:
            # Not of this sweep's own time: the ones before it may all have come to nothing.
            left["since"] = (self.ledger.made() - BEFORE_THE_LEDGER).isoformat()
        since = max(datetime.fromisoformat(left["since"]), self.now() - WINDOW)
        jobs: dict[str, Callable[[Any], Mapping[str, str] | None]] = {
            "open": lambda at: self._answer_open(at, tally),
            "versions": lambda at: self._start_unclaimed(at, since, tally),
            "latest": lambda at: self._mend_latest(at, tally),
        }
        failed: list[Exception] = []
        for job, do in jobs.items():
            try:
                left[job] = do(left.get(job))
            except Exception as error:  # noqa: BLE001 - raised below; the other job goes first
                failed.append(error)
        for rest in (self._remove_copies, self._release_builds):
            try:
                rest(tally)
            except Exception as error:  # noqa: BLE001 - likewise
                failed.append(error)
        self.ledger.swept(left)
        if failed:
            raise failed[0]
        return tally

    # ------------------------------------------------------------------ what nobody answered

    def _answer_open(self, after: Mark | None, tally: Tally) -> Mark | None:
        """Answer the open drops whose execution is over; returns where to go on, if anywhere."""
        old_enough = (self.now() - self.grace).isoformat()
        marks = takewhile(
            lambda mark: mark["claimed"] < old_enough,
            self.ledger.in_state(State.OPEN, after=after),
        )
        for batch in _batches(marks):
            for drop in self.ledger.marked(batch, partial(self._tell_unreadable, tally)):
                if tally.answered >= MAX_ANSWERS or not self.has_time():
                    tally.complete = False
                    return after
                with self._alone(tally, drop.id, drop.upload):
                    self._end(drop, tally)
                after = mark_of(drop)
        return None

    def _end(self, drop: Drop, tally: Tally) -> None:
        """Give a drop its answer, unless somebody else will."""
        if drop.answered is not None:
            return  # the index lags
        tally.open += 1
        age = self.now() - datetime.fromisoformat(drop.claimed)
        tally.oldest = max(tally.oldest, age.total_seconds())
        ended = self._how_it_ended(drop)
        if ended is None:
            tally.running += 1
            tally.in_flight(drop)
            return
        if drop.answer is None:
            drop = self._with_its_build(drop)
            if drop.build_arn is None and drop.trouble is None:
                self.ledger.hinder(drop, Trouble(Code.EXECUTION_ENDED, ended))
                drop = self._again(drop)
            elif self._goes_on(drop) or self.reporter.is_settling(drop):
                tally.waiting += 1
                tally.in_flight(drop)
                return
        answer = self.reporter.answer(drop)
        tally.answered += 1
        self.tell(
            "answered", {"dropId": drop.id, "ask": drop.ask.number, "answer": answer.detail_type}
        )

    def _how_it_ended(self, drop: Drop) -> str | None:
        """Say how the drop's execution ended; ``None`` while it goes on."""
        if not drop.execution.startswith("arn:"):
            return "No execution follows this upload: it was claimed by hand."
        found = self.executions.describe(drop.execution)
        if found is None:
            return "Step Functions no longer knows the execution that followed this upload."
        if not found.is_over:
            return None
        cause = f": {found.said}" if found.said else "."
        return f"The execution that followed this upload is {found.status}{cause}"

    def _with_its_build(self, drop: Drop) -> Drop:
        """See whether the drop's import has come to a build that it was not told of."""
        if drop.build_arn is not None or drop.identity is None or drop.attempt is None:
            return drop
        attempt = self.ledger.attempts(drop.identity)[drop.attempt]
        if attempt.build_arn is None:
            return drop
        self.ledger.followed(drop, attempt.build_arn)
        return self._again(drop)

    def _goes_on(self, drop: Drop) -> bool:
        """Whether the drop's build is still to be waited for, or then its distribution."""
        if drop.build_arn is None:
            return False
        if self._runs(drop.build_arn):
            return not self._is_over(drop.claimed)
        onward = self.reporter.onward(drop)
        if onward is None:
            return False
        begun = self._again(drop).timeline.get(Stage.DISTRIBUTION, drop.claimed)
        return self._runs(onward) and not self._is_over(begun)

    def _runs(self, arn: str) -> bool:
        build = self.builder.describe(arn)
        return build is not None and build.phase is Phase.RUNNING

    def _is_over(self, since: str) -> bool:
        """Whether all the time is over for which something is followed."""
        return self.now() >= datetime.fromisoformat(since) + self.tracking

    def _again(self, drop: Drop) -> Drop:
        return self.ledger.drop(drop.id, drop.ask.number) or drop

    # ------------------------------------------------------------------ what names the newest

    def _mend_latest(self, at: Mapping[str, str] | None, tally: Tally) -> Mapping[str, str] | None:
        """Let each latest parameter name the newest image; returns where to go on, if anywhere."""
        latest = self.reporter.annotator.latest
        last = "" if at is None else at["name"]
        for name, build in self.ledger.image_names():
            at_name = f"{name}/{build}"
            if at_name <= last:
                continue
            if not self.has_time():
                tally.complete = False
                return {"name": last}
            with self._isolated(tally, {"latest": at_name}):
                try:
                    latest.update(name, build, self._check_time)
                except _NoTimeError:
                    tally.complete = False
                    return {"name": last}
            last = at_name
        return None

    def _check_time(self) -> None:
        if not self.has_time():
            raise _NoTimeError("the sweep's time is over; the next one goes on")

    # ------------------------------------------------------------------ what is needed no more

    def _remove_copies(self, tally: Tally) -> None:
        """Remove the copies that are known to be needed no more, or are as old as none gets."""
        stager = self.reporter.stager
        for staged in stager.bucket.list_staged():
            if not self.has_time():
                tally.complete = False
                return
            with self._isolated(tally, {"copy": staged.key}):
                if self.now() - staged.since >= COPY_AGE or self._is_needless(staged.key):
                    stager.bucket.remove(staged)
                    tally.removed += 1
                    self.tell("removed", {"copy": staged.key})

    def _is_needless(self, key: str) -> bool:
        named = run_of_key(key)
        drop = None if named is None else self.ledger.drop(*named)
        if drop is None or drop.answered is None:
            return False  # not known, or on its way
        age = self.now() - datetime.fromisoformat(drop.answered)
        return age >= self.grace and self.reporter.stager.is_over(drop, search=True)

    # ------------------------------------------------------------------ what counts no more

    def _release_builds(self, tally: Tally) -> None:
        """Release the builds that are over from what is under way, and tell what is used."""
        auditor = BudgetAuditor(self.builder, self.ledger)
        for identity, number in self.ledger.under_way():
            if not self.has_time():
                tally.complete = False
                return
            with self._isolated(tally, {"import": identity}):
                if not auditor.is_under_way(identity, number, self.now()):
                    self.ledger.release_name(identity, number)
                    tally.released += 1
                    self.tell("released", {"import": identity, "attempt": number})
        use = self.ledger.budget_use(day_of(self.now()))
        tally.builds_at_once, tally.builds_today = use.at_once, use.today

    # ------------------------------------------------------------------ what was never started

    def _start_unclaimed(
        self, at: Mapping[str, str] | None, since: datetime, tally: Tally
    ) -> Mapping[str, str] | None:
        """Start what nobody has claimed; returns the page to go on from, if any."""
        until = self.now() - self.grace
        while True:
            with translated():
                page = self.s3.list_object_versions(
                    Bucket=self.bucket,
                    Prefix=self.prefix,
                    **(at or {}),  # type: ignore[arg-type] # the stubs see every keyword in the mapping
                )
            versions = page.get("Versions", [])
            tally.versions += len(versions)
            found = {
                drop_id(upload): (upload, when)
                for upload, when in map(self._upload, versions)
                if _is_ours(upload) and since <= when <= until
            }
            known = self.ledger.known(found)
            for drop, (upload, when) in found.items():
                if drop in known:
                    continue
                if tally.started >= MAX_STARTS or not self.has_time():
                    tally.complete = False
                    return at
                with self._alone(tally, drop, upload):
                    self._start(drop, upload, when, tally)
            if not page["IsTruncated"]:
                return None
            at = {"KeyMarker": page["NextKeyMarker"]}
            if "NextVersionIdMarker" in page:
                at["VersionIdMarker"] = page["NextVersionIdMarker"]
            if not self.has_time():
                tally.complete = False
                return at

    def _start(self, drop: str, upload: Upload, when: datetime, tally: Tally) -> None:
        # With the hour in it: one that came to nothing can be repeated, but not at once.
        name = f"{drop}-sweep-{self.now().astimezone(UTC):%Y%m%d%H}"
        event = object_created(upload, when, self.executions.machine_arn, "isodrop sweep")
        if self.waits_for_malware_scan:
            result = read_scan_tag(self.s3, upload)
            if result is None:
                tally.unscanned += 1
                return
            event = with_malware_scan(event, result)
        arn = self.executions.start(name, event)
        if arn is not None:
            tally.started += 1
            self.tell("started", {"dropId": drop, "key": upload.key, "execution": arn})

    def _upload(self, version: "ObjectVersionTypeDef") -> tuple[Upload, datetime]:
        return Upload(
            bucket=self.bucket,
            key=version.get("Key", ""),
            etag=version.get("ETag", "").strip('"'),
            size=version.get("Size", 0),
            sequencer="",
            version_id=version.get("VersionId"),
        ), version["LastModified"]

    def _tell_unreadable(self, tally: Tally, error: UnreadableItemError) -> None:
        """Tell of an item that stays without an answer, because nobody can read it."""
        tally.troubles += 1
        self.tell("unreadable", {**error.key, "error": str(error)})

    def _alone(self, tally: Tally, drop: str, upload: Upload) -> AbstractContextManager[None]:
        """Let trouble with one drop stay with it."""
        return self._isolated(tally, {"dropId": drop, "key": upload.key})

    @contextmanager
    def _isolated(self, tally: Tally, what: Mapping[str, str]) -> Iterator[None]:
        """Let trouble with one thing stay with it: the others are owed theirs all the same."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is
            tally.troubles += 1
            said = one_line(f"{type(error).__name__}: {error}")
            self.tell("trouble", {**what, "error": said})


def _is_ours(upload: Upload) -> bool:
    """Whether the stack's rule would have taken it, and it can be told from other writes."""
    return upload.is_iso and upload.version is not None


def _batches(marks: Iterable[Mark]) -> Iterator[list[Mark]]:
    rest = iter(marks)
    while batch := list(islice(rest, _BATCH)):
        yield batch
