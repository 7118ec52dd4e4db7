"""The sweep: it answers runs without an answer, and starts uploads without a run."""

import copy
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto.s3 import models as s3_models

from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.ids import upload_id
from isodrop.domain.model import Upload
from isodrop.domain.run import Run
from isodrop.errors import TransientError
from isodrop.services import sweep
from isodrop.services.intake import NextStep
from isodrop_local.iso_maker import server_editions
from tests.integration.conftest import BUCKET
from tests.support.harness import ACCOUNT, ImportHarness


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    """A harness with the real time, because moto's S3 uses it."""
    harness = ImportHarness(session, ledger, tmp_path)
    harness.clock.now = datetime.now(UTC).timestamp() // 1  # the ledger has milliseconds
    return harness


@pytest.fixture
def swept(harness: ImportHarness) -> ImportHarness:
    """A stack that was swept before any upload."""
    harness.sweep()
    return harness


def data(harness: ImportHarness) -> dict[str, Any]:
    (answer,) = harness.answers()
    found: dict[str, Any] = answer["detail"]["data"]
    return found


def claimed_upload(harness: ImportHarness, key: str = "a.iso") -> tuple[Upload, str]:
    """An upload that an execution has only claimed."""
    upload, execution = harness.upload(key), harness.run(f"{key.removesuffix('.iso')}")
    harness.claim_run(upload, execution)
    return upload, execution


def started(harness: ImportHarness) -> list[Upload]:
    """The uploads that executions were started for, the oldest first."""
    return [upload for upload, _, _ in harness.started()]


class TestOpenRuns:
    def test_an_aborted_execution_is_answered_as_such(self, harness: ImportHarness) -> None:
        _, execution = claimed_upload(harness)
        harness.abort(execution)
        harness.advance_clock(minutes=11)

        summary = harness.sweep()

        answer = data(harness)
        assert (summary.open, summary.answered) == (1, 1)
        assert answer["code"] == Code.EXECUTION_ENDED
        assert "ABORTED" in answer["message"]
        assert answer["executionArn"] == execution
        assert answer["retryable"] is True

    def test_an_unreadable_item_is_reported_and_the_others_are_answered(
        self, harness: ImportHarness
    ) -> None:
        _, execution = claimed_upload(harness)
        harness.abort(execution)
        garbage = {"pk": "UPLOAD#garbage", "sk": "RUN#000000"}
        claimed = harness.clock.time().isoformat()
        harness.ledger.table.put_item(Item={**garbage, "state": "open", "claimedAt": claimed})
        harness.advance_clock(minutes=11)

        summary = harness.sweep()

        assert data(harness)["code"] == Code.EXECUTION_ENDED
        assert (summary.answered, summary.errors, summary.complete) == (1, 1, True)
        (fields,) = [each for message, each in harness.logged if message == "unreadable item"]
        assert garbage.items() <= fields.items()

    def test_the_summary_has_the_age_of_the_oldest_open_run(self, harness: ImportHarness) -> None:
        _, aborted = claimed_upload(harness, "a.iso")
        harness.abort(aborted)
        harness.advance_clock(minutes=30)
        claimed_upload(harness, "b.iso")
        harness.advance_clock(minutes=20)
        claimed_upload(harness, "young.iso")

        first, second = harness.sweep(), harness.sweep()

        assert (first.open, first.answered, first.running) == (2, 1, 1)
        assert first.oldest_open_seconds == 50 * 60
        assert (second.open, second.oldest_open_seconds) == (1, 20 * 60)

    def test_the_summary_of_no_runs_is_zero(self, harness: ImportHarness) -> None:
        assert harness.sweep().to_dict() == {
            "open": 0,
            "running": 0,
            "waiting": 0,
            "answered": 0,
            "versions": 0,
            "started": 0,
            "unscanned": 0,
            "oldest_open_seconds": 0,
            "builds": 0,
            "removed": 0,
            "freed": 0,
            "slots_in_use": 0,
            "builds_today": 0,
            "errors": 0,
            "complete": True,
        }

    def test_a_shared_running_build_is_counted_once_and_an_ended_one_never(
        self, harness: ImportHarness
    ) -> None:
        began, over = harness.clock.now, (harness.upload("over.iso"), harness.run("over"))
        build_arn = harness.intake.process(*over).build_arn
        assert build_arn is not None
        harness.wait_for(build_arn, *over)
        harness.image_builder.controls.hold("BUILDING")
        iso = harness.iso(label="ANOTHER")
        for name in ("a", "b", "c"):
            harness.intake.process(harness.upload(f"{name}.iso", iso), harness.run(name))
        harness.intake.process(
            harness.upload("d.iso", harness.iso(label="THIRD")), harness.run("d")
        )
        for name in ("over", "b"):
            harness.abort(harness.executions.arn_for(name))
        harness.advance_clock(minutes=11)

        summary = harness.sweep()

        assert (summary.running, summary.waiting, summary.answered) == (3, 1, 1)
        assert summary.builds == 2
        assert summary.oldest_open_seconds == harness.clock.now - began

    def test_a_second_sweep_publishes_nothing(self, harness: ImportHarness) -> None:
        _, execution = claimed_upload(harness)
        harness.abort(execution)
        harness.advance_clock(minutes=11)
        harness.sweep()
        harness.answers()

        again = harness.sweep()

        assert (again.open, again.answered, harness.answers()) == (0, 0, [])

    @pytest.mark.parametrize("execution", ["event:17793124", "gone"])
    def test_a_claim_without_an_execution_is_answered(
        self, harness: ImportHarness, execution: str
    ) -> None:
        claimed_by = harness.executions.arn_for("gone") if execution == "gone" else execution
        harness.claim_run(harness.upload(), claimed_by)
        harness.advance_clock(minutes=11)

        harness.sweep()

        assert data(harness)["code"] == Code.EXECUTION_ENDED

    def test_a_running_execution_publishes_its_own_answer(self, harness: ImportHarness) -> None:
        claimed_upload(harness)
        harness.advance_clock(hours=5)

        summary = harness.sweep()

        assert (summary.running, summary.answered, harness.answers()) == (1, 0, [])

    def test_recent_runs_are_skipped(self, harness: ImportHarness) -> None:
        _, execution = claimed_upload(harness)
        harness.abort(execution)
        harness.advance_clock(minutes=9)

        assert harness.sweep().open == 0

    def test_a_rejection_that_was_decided_is_the_answer(self, harness: ImportHarness) -> None:
        upload, execution = harness.upload(body=harness.iso(server_editions())), harness.run("r")
        harness.intake.process(upload, execution)
        harness.abort(execution)
        harness.advance_clock(minutes=11)

        harness.sweep()

        assert data(harness)["code"] == Code.SERVER_ISO

    def test_a_build_that_runs_is_waited_for_and_its_end_is_the_answer(
        self, harness: ImportHarness
    ) -> None:
        upload, execution = harness.upload(), harness.run("a")
        harness.intake.process(upload, execution)
        harness.abort(execution)
        harness.advance_clock(minutes=11)

        early = harness.sweep()
        nothing_yet = harness.answers()
        harness.advance_clock(hours=2)
        late = harness.sweep()

        assert (early.waiting, early.answered, nothing_yet) == (1, 0, [])
        assert (late.waiting, late.answered) == (0, 1)
        assert harness.answers()[0]["detail-type"] == "ISO Import Succeeded"

    def test_a_build_that_never_ends_is_tracked_up_to_the_limit(
        self, harness: ImportHarness
    ) -> None:
        harness.image_builder.controls.hold("BUILDING")
        upload, execution = harness.upload(), harness.run("a")
        harness.intake.process(upload, execution)
        harness.abort(execution)

        harness.advance_clock(hours=15)
        assert harness.sweep().waiting == 1
        harness.advance_clock(hours=1)
        harness.sweep()

        assert data(harness)["code"] == Code.BUILD_TIMED_OUT

    def test_a_build_that_the_run_did_not_record_is_found(self, harness: ImportHarness) -> None:
        first, execution = claimed_upload(harness)
        harness.intake.process(first, execution)
        with_build = harness.claim_run(first, execution)
        assert with_build.import_build.attempt is not None
        second, aborted = claimed_upload(harness, "b.iso")
        run = harness.claim_run(second, aborted)
        harness.ledger.record_decision(run, with_build.decision)  # type: ignore[arg-type] # it is decided
        attempt = harness.ledger.get_attempt(with_build.import_build.attempt)
        harness.ledger.link_attempt(run, replace(attempt, build_arn=None))
        harness.abort(aborted)
        harness.advance_clock(hours=2)

        harness.sweep()

        assert data(harness)["source"]["key"] == "b.iso"
        assert harness.submissions() == 1

    def test_an_answer_that_was_written_is_published_as_it_was_written(
        self, harness: ImportHarness
    ) -> None:
        upload, execution = harness.upload(body=harness.iso(server_editions())), harness.run("r")
        harness.intake.process(upload, execution)
        answer = replace(harness.reporter, ledger=_Forgetful(harness.ledger.table)).publish_answer(
            harness.claim_run(upload, execution)
        )
        harness.answers()
        harness.abort(execution)
        harness.advance_clock(minutes=11)

        harness.sweep()

        (again,) = harness.answers()
        assert again["detail"] == json.loads(answer.detail())
        assert harness.claim_run(upload, execution).answered_at is not None

    def test_an_execution_redriven_after_the_sweeps_answer_adds_nothing(
        self, harness: ImportHarness
    ) -> None:
        upload, execution = claimed_upload(harness)
        harness.abort(execution)
        harness.advance_clock(minutes=11)
        harness.sweep()
        harness.answers()

        outcome = harness.follow(upload, execution)

        assert outcome.next_step is NextStep.ANSWER
        assert (harness.answers(), harness.submissions()) == ([], 0)

    def test_an_error_with_one_run_does_not_block_the_others(self, harness: ImportHarness) -> None:
        upload, execution = harness.upload("a.iso"), harness.run("a")
        harness.intake.process(upload, execution)
        _, other = claimed_upload(harness, "b.iso")
        for each in (execution, other):
            harness.abort(each)
        harness.advance_clock(hours=2)
        harness.image_builder.controls.fail_next("GetImage", "ServiceException", times=9)

        summary = harness.sweep()

        assert (summary.open, summary.errors, summary.answered) == (2, 1, 1)
        assert data(harness)["source"]["key"] == "b.iso"
        assert [message for message, _ in harness.logged].count("error") == 1

    def test_a_sweep_answers_a_limited_number_and_the_next_continues(
        self, harness: ImportHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweep, "MAX_ANSWERS", 2)
        for name in "abc":
            harness.abort(claimed_upload(harness, f"{name}.iso")[1])
            harness.advance_clock(seconds=1)
        harness.advance_clock(minutes=11)

        first, second = harness.sweep(), harness.sweep()

        keys = [answer["detail"]["data"]["source"]["key"] for answer in harness.answers()]
        assert (first.answered, first.complete) == (2, False)
        assert (second.answered, second.complete) == (1, True)
        assert keys == ["a.iso", "b.iso", "c.iso"]

    def test_a_sweep_out_of_time_is_continued_by_the_next(self, harness: ImportHarness) -> None:
        for name in "abc":
            claimed_upload(harness, f"{name}.iso")
            harness.advance_clock(seconds=1)
        harness.advance_clock(minutes=11)
        times = iter([True, True, False])

        first, second = harness.sweep(lambda: next(times, False)), harness.sweep()

        assert (first.open, first.complete) == (2, False)
        assert (second.open, second.complete) == (1, True)


class TestVersionsWithoutAnEntry:
    def test_an_upload_without_an_event_is_started_once(self, swept: ImportHarness) -> None:
        upload = swept.upload("Drücke/a + b (1)%41.ISO")
        swept.advance_clock(minutes=11)

        summary = swept.sweep()
        swept.sweep()

        assert (summary.versions, summary.started) == (1, 1)
        assert started(swept) == [replace(upload, sequencer="")]

    def test_a_late_event_from_s3_names_the_same_upload(self, swept: ImportHarness) -> None:
        upload = swept.upload()
        swept.advance_clock(minutes=11)
        swept.sweep()
        (found,) = started(swept)
        swept.follow(found, "swept")

        late = swept.intake.process(upload, "late")

        assert late.next_step is NextStep.SKIP
        assert len(swept.answers()) == 1

    def test_a_failed_start_is_repeated_after_a_delay(self, swept: ImportHarness) -> None:
        swept.upload()
        swept.clock.now = (swept.clock.now // 3600 + 1) * 3600 + 900
        swept.sweep()
        (execution,) = swept.client("stepfunctions").list_executions(
            stateMachineArn=swept.machine_arn
        )["executions"]
        swept.abort(execution["executionArn"])

        swept.advance_clock(minutes=30)
        swept.sweep()
        at_once = len(started(swept))
        swept.advance_clock(minutes=30)
        swept.sweep()

        assert (at_once, len(started(swept))) == (1, 2)

    def test_a_version_that_was_replaced_is_started_too(self, swept: ImportHarness) -> None:
        old, new = swept.upload("a.iso"), swept.upload("a.iso", swept.iso(server_editions()))
        swept.advance_clock(minutes=11)

        swept.sweep()

        for number, upload in enumerate(started(swept)):
            swept.follow(upload, f"execution-{number}")
        answers = {
            a["detail"]["metadata"]["uploadId"]: a["detail"]["data"] for a in swept.answers()
        }
        assert answers[upload_id(old)]["plan"]["edition"] == "Enterprise"
        assert answers[upload_id(new)]["code"] == Code.SERVER_ISO

    def test_claimed_recent_and_other_objects_are_skipped(self, swept: ImportHarness) -> None:
        swept.claim_run(swept.upload("claimed.iso"))
        swept.upload("notes.txt", b"not for isodrop")
        swept.delete("deleted-before.iso")
        at = swept.clock.now
        swept.advance_clock(minutes=9)
        swept.upload("young.iso")
        young = swept.sweep().started
        swept.client("s3").delete_object(
            Bucket=BUCKET, Key="young.iso", VersionId=_version(swept, "young.iso")
        )
        swept.clock.now = at + 700

        summary = swept.sweep()

        assert (young, summary.started, summary.versions) == (0, 0, 2)

    def test_objects_outside_the_prefix_are_not_listed(self, swept: ImportHarness) -> None:
        swept.upload("isos/windows/mine.iso")
        swept.upload("isos/other.iso")
        swept.advance_clock(minutes=11)

        summary = swept.sweep(prefix="isos/windows/")

        assert (summary.versions, summary.started) == (1, 1)

    def test_an_object_without_a_version_is_skipped(self, swept: ImportHarness) -> None:
        swept.client("s3").put_bucket_versioning(
            Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
        )
        swept.client("s3").put_object(Bucket=BUCKET, Key="a.iso", Body=b"")
        swept.advance_clock(minutes=11)

        summary = swept.sweep()

        assert (summary.versions, summary.started) == (1, 0)

    def test_an_object_older_than_the_stack_is_not_imported(
        self, harness: ImportHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        harness.upload()
        harness.advance_clock(hours=2)
        made = harness.clock.time()
        monkeypatch.setattr(Ledger, "created_at", lambda _: made)

        assert harness.sweep().started == 0

    def test_an_upload_made_while_every_sweep_failed_is_started(
        self, harness: ImportHarness
    ) -> None:
        harness.upload()
        harness.advance_clock(hours=20)

        assert harness.sweep().started == 1

    def test_a_sweep_covers_the_last_eight_days(self, swept: ImportHarness) -> None:
        swept.upload()
        swept.advance_clock(days=7, hours=23)
        found = swept.sweep().started
        swept.advance_clock(days=1)

        assert (found, swept.sweep().started) == (1, 0)

    def test_a_sweep_starts_a_limited_number_and_the_next_continues(
        self, swept: ImportHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweep, "MAX_STARTS", 2)
        uploads = [swept.upload(f"{name}.iso", b"") for name in "abc"]
        swept.advance_clock(minutes=11)

        first = swept.sweep()
        for number, upload in enumerate(started(swept)):
            swept.claim_run(upload, f"execution-{number}")
        second = swept.sweep()

        assert (first.started, first.complete) == (2, False)
        assert (second.started, second.complete) == (1, True)
        assert len(set(started(swept))) == len(uploads)

    def test_a_bucket_that_cannot_be_listed_blocks_no_answer(self, harness: ImportHarness) -> None:
        _, execution = claimed_upload(harness)
        harness.abort(execution)
        harness.advance_clock(minutes=11)
        harness.client("s3").meta.events.register(
            "before-call.s3.ListObjectVersions", _unavailable, unique_id="unavailable"
        )

        with pytest.raises(TransientError):
            harness.sweep()

        assert data(harness)["code"] == Code.EXECUTION_ENDED

    def test_the_calls_of_a_sweep_grow_with_the_pages_of_isos(
        self, swept: ImportHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(swept, 2_500, unclaimed=3)
        # moto makes a deep copy of the whole bucket for each page.
        monkeypatch.setattr(s3_models, "copy", SimpleNamespace(deepcopy=copy.copy))
        swept.advance_clock(minutes=11)
        calls = counted(swept)

        summary = swept.sweep()

        assert (summary.versions, summary.started, summary.complete) == (2_500, 3, True)
        assert calls == {
            "ListObjectVersions": 3,
            "BatchGetItem": 25,
            "Query": 2,
            "GetItem": 4,
            "PutItem": 1,
            "StartExecution": 3,
            **LISTED,
        }

    def test_old_isos_cost_no_more_than_their_listing(self, swept: ImportHarness) -> None:
        fill(swept, 2_500, unclaimed=2_500)
        swept.advance_clock(days=9)
        calls = counted(swept)

        summary = swept.sweep()

        assert (summary.versions, summary.started) == (2_500, 0)
        assert calls == {"ListObjectVersions": 3, "Query": 2, "GetItem": 4, "PutItem": 1, **LISTED}


LISTED = {"ListObjectsV2": 1, "ListMultipartUploads": 1}
"""What it takes to see that no copies are there."""


def fill(harness: ImportHarness, count: int, *, unclaimed: int) -> None:
    """Put many empty ISOs into the bucket, and all but some of them into the ledger."""
    backend = s3_models.s3_backends[ACCOUNT]["aws"]
    with harness.ledger.table.batch_writer() as writer:
        for number in range(count):
            stored = backend.put_object(BUCKET, f"{number:05d}.iso", b"")
            upload = Upload(BUCKET, stored.name, "", 0, "", stored.version_id)
            if number >= unclaimed:
                writer.put_item({"pk": f"UPLOAD#{upload_id(upload)}", "sk": "RUN#000000"})


def counted(harness: ImportHarness) -> Counter[str]:
    """Count the calls of AWS from now on, by operation."""
    calls: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        calls[model.name] += 1

    for client in (*harness.clients.values(), harness.ledger.table.meta.client):
        client.meta.events.register("before-call", count)
    return calls


def _version(harness: ImportHarness, key: str) -> str:
    return str(harness.client("s3").head_object(Bucket=BUCKET, Key=key)["VersionId"])


def _unavailable(**_: Any) -> tuple[Any, dict[str, Any]]:
    class Answer:
        status_code = 503

    return Answer(), {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}


class _Forgetful(Ledger):
    """A ledger whose function is killed before it marks the answer as published."""

    def mark_answered(self, run: Run, now: str) -> Run:
        del now
        return run
