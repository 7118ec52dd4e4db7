"""Operations of an operator: find an upload, retry, wait, list, cancel."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop.aws.ledger import Ledger
from isodrop.codes import Code, Rejection
from isodrop.domain.ids import upload_id
from isodrop.domain.model import ImportPlan, RunRequest, Upload
from isodrop.domain.run import Failure
from isodrop.errors import TransientError
from isodrop.services.intake import Intake, NextStep
from isodrop.services.staging import StagedUpload, Stager
from isodrop_cli.operations import UNCLAIMED_SECONDS, WAIT_SECONDS, OperatorError, StartedRun
from isodrop_local.iso_maker import server_editions
from tests.integration.conftest import BUCKET
from tests.support.harness import ImportHarness


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    return ImportHarness(session, ledger, tmp_path)


def answered(harness: ImportHarness, key: str = "a.iso") -> Upload:
    """An upload that has its answer."""
    upload = harness.upload(key)
    harness.follow(upload, f"execution-{key}")
    harness.published()
    return upload


def no_sleep(seconds: float) -> None:
    pytest.fail(f"slept for {seconds}")


def no_time() -> float:
    """A clock that stands still."""
    return 0.0


class TestRetrying:
    def test_an_upload_is_retried_in_an_execution_of_its_own(self, harness: ImportHarness) -> None:
        upload = answered(harness, "Drücke/a + b.iso")

        started = harness.operations.retry(
            harness.operations.get_history(BUCKET, upload.key), {"edition": "EnterpriseN"}
        )

        ((uploaded, request, execution),) = harness.started()
        assert started == StartedRun(upload_id(upload), 1, execution)
        assert uploaded == replace(upload, sequencer="")
        assert request == RunRequest(1, {"edition": "EnterpriseN"})

    def test_a_retried_run_has_an_answer_that_the_operator_waits_for(
        self, harness: ImportHarness
    ) -> None:
        upload = answered(harness)
        started = harness.operations.retry(
            harness.operations.get_history(BUCKET, "a.iso"), {"edition": "EnterpriseN"}
        )

        def follow(_: float) -> None:
            ((uploaded, request, execution),) = harness.started()
            harness.follow(uploaded, execution, request)

        *_, last = harness.operations.follow_execution(started, follow, no_time)

        (answer,) = harness.answers()
        assert last.run == harness.ledger.list_runs(upload_id(upload))[1]
        assert answer["detail"]["metadata"]["run"] == 1
        assert answer["detail"]["data"]["plan"]["edition"] == "EnterpriseN"

    def test_an_upload_that_was_never_claimed_starts_its_first_run(
        self, harness: ImportHarness
    ) -> None:
        harness.upload("a.iso")

        started = harness.operations.retry(harness.operations.get_history(BUCKET, "a.iso"), {})

        assert started.number == 0

    @pytest.mark.parametrize("claimed", [True, False])
    def test_two_operators_at_once_start_one_execution(
        self, harness: ImportHarness, claimed: bool
    ) -> None:
        if claimed:
            answered(harness)
        else:
            harness.upload("a.iso")
        one = two = harness.operations.get_history(BUCKET, "a.iso")
        first = harness.operations.retry(one, {"edition": "EnterpriseN"})
        # moto compares no inputs.
        events = harness.client("stepfunctions").meta.events
        events.register("before-call.sfn.StartExecution", _taken)

        with pytest.raises(OperatorError, match="no answer yet") as refusal:
            harness.operations.retry(two, {"edition": "Education"})

        assert first.execution in str(refusal.value)
        assert len(harness.started()) == 1

    def test_there_is_no_retry_while_the_last_run_has_no_answer(
        self, harness: ImportHarness
    ) -> None:
        harness.claim_run(harness.upload("a.iso"), "arn:of-the-execution")

        with pytest.raises(OperatorError, match=r"no answer yet: arn:of-the-execution"):
            harness.operations.retry(harness.operations.get_history(BUCKET, "a.iso"), {})

    def test_an_execution_that_never_claimed_its_run_is_started_again(
        self, harness: ImportHarness
    ) -> None:
        answered(harness)
        history = harness.operations.get_history(BUCKET, "a.iso")
        first = harness.operations.retry(history, {})
        harness.abort(first.execution)
        client = harness.client("stepfunctions")
        client.meta.events.register("before-call.sfn.StartExecution", _taken_once())

        second = harness.operations.retry(history, {})

        assert (second.number, first.number) == (1, 1)
        assert second.execution == f"{first.execution}-1"
        # A command that follows the upload waits for it, though it is not claimed yet.
        assert harness.operations.find_latest_run(history) == 1

        harness.abort(second.execution)

        assert harness.operations.find_latest_run(history) == 0

    def test_an_ended_execution_is_not_waited_for(self, harness: ImportHarness) -> None:
        answered(harness)
        started = harness.operations.retry(harness.operations.get_history(BUCKET, "a.iso"), {})
        harness.abort(started.execution)

        with pytest.raises(
            OperatorError, match="ended as ABORTED, without an answer; the next sweep publishes"
        ):
            list(harness.operations.follow_execution(started, no_sleep, no_time))

    def test_the_slower_of_two_operators_sees_the_first_one_s_request(
        self, harness: ImportHarness
    ) -> None:
        upload = harness.upload("a.iso")
        started = harness.operations.retry(
            harness.operations.get_history(BUCKET, "a.iso"), {"edition": "EnterpriseN"}
        )
        harness.follow(upload, "arn:s3s-own")

        with pytest.raises(OperatorError, match="first, without your overrides: arn:s3s-own"):
            list(harness.operations.follow_execution(started, no_sleep, no_time))


class TestFollowing:
    def test_an_unclaimed_run_is_reported_once_until_it_is_claimed(
        self, harness: ImportHarness
    ) -> None:
        upload = harness.upload("a.iso", harness.iso(server_editions()))
        passed = [0.0]

        def sleep(seconds: float) -> None:
            passed[0] += seconds
            if passed[0] > 2 * UNCLAIMED_SECONDS:
                harness.follow(upload, "execution-1")

        snapshots = [
            (snapshot.run is not None, snapshot.is_unclaimed, passed[0])
            for snapshot in harness.operations.follow_run(
                upload_id(upload), 0, sleep, lambda: passed[0]
            )
        ]

        after = 2 * UNCLAIMED_SECONDS + WAIT_SECONDS
        assert snapshots == [
            (False, False, 0),
            (False, True, UNCLAIMED_SECONDS),
            (True, False, after),
        ]


class TestFinding:
    def test_all_runs_of_an_upload_are_listed_in_order(self, harness: ImportHarness) -> None:
        upload = answered(harness)
        harness.follow(upload, "execution-2", RunRequest(1))

        history = harness.operations.get_history(BUCKET, "a.iso")

        assert [run.run_request.number for run in history.runs] == [0, 1]
        assert history.last == history.runs[1]

    def test_a_deleted_version_still_has_its_history(self, harness: ImportHarness) -> None:
        upload = answered(harness)
        harness.delete("a.iso")

        history = harness.operations.get_history(BUCKET, "a.iso", upload.version_id)

        assert [run.upload_id for run in history.runs] == [upload_id(upload)]
        with pytest.raises(OperatorError, match="only the current version"):
            harness.operations.retry(history, {})

    def test_a_missing_object_is_reported_with_a_remedy(self, harness: ImportHarness) -> None:
        with pytest.raises(OperatorError, match=r"no such object; isodrop list"):
            harness.operations.get_history(BUCKET, "nothing.iso")

    def test_a_denied_object_is_not_reported_as_missing(self, harness: ImportHarness) -> None:
        def deny(**_request: str) -> NoReturn:
            raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")

        client = SimpleNamespace(head_object=deny)
        operations = replace(harness.operations, s3=client)  # type: ignore[arg-type] # not a client

        with pytest.raises(OperatorError, match=r"cannot read the object .*HeadObject.*Forbidden"):
            operations.get_history(BUCKET, "a.iso")

    def test_another_bucket_is_reported_with_a_remedy(self, harness: ImportHarness) -> None:
        with pytest.raises(OperatorError, match=rf"bucket is {BUCKET}; .*--stack"):
            harness.operations.get_history("another", "a.iso")

    def test_a_bucket_without_versions_is_reported_with_a_remedy(
        self, harness: ImportHarness
    ) -> None:
        harness.client("s3").put_bucket_versioning(
            Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
        )
        harness.client("s3").put_object(Bucket=BUCKET, Key="a.iso", Body=b"")

        with pytest.raises(OperatorError, match="versioning is off"):
            harness.operations.get_history(BUCKET, "a.iso")

    def test_runs_are_listed_newest_first_in_any_state(self, harness: ImportHarness) -> None:
        for number, key in enumerate(("a.iso", "b.iso", "c.iso", "d.iso")):
            harness.advance_clock(hours=1)
            upload = harness.upload(key, harness.iso(server_editions()))
            if number % 2:
                harness.follow(upload, f"execution-{key}")
            else:
                harness.claim_run(upload, f"execution-{key}")

        everything = harness.operations.list_recent(3)
        still_open = harness.operations.list_recent(9, only_open=True)

        assert [run.upload.key for run in everything] == ["d.iso", "c.iso", "b.iso"]
        assert [run.upload.key for run in still_open] == ["c.iso", "a.iso"]


class TestCancelling:
    def test_a_running_build_is_cancelled_and_answered_as_such(
        self, harness: ImportHarness
    ) -> None:
        upload = harness.upload("a.iso")
        outcome = harness.intake.process(upload, "execution-1")
        harness.advance_clock(minutes=8)

        build_arn = harness.operations.cancel(
            harness.operations.get_history(BUCKET, "a.iso"), include_others=False
        )

        harness.follow(upload)
        (answer,) = harness.answers()
        assert build_arn == outcome.build_arn
        assert answer["detail"]["data"]["code"] == Code.BUILD_CANCELLED

    def test_a_shared_build_is_cancelled_only_on_request(self, harness: ImportHarness) -> None:
        for key in ("a.iso", "b.iso"):
            harness.intake.process(harness.upload(key), f"execution-{key}")
        harness.advance_clock(minutes=8)
        history = harness.operations.get_history(BUCKET, "a.iso")

        with pytest.raises(OperatorError, match=f"s3://{BUCKET}/b.iso; .*--include-others"):
            harness.operations.cancel(history, include_others=False)
        untouched = harness.image_builder.controls.calls_of("CancelImageCreation")
        build_arn = harness.operations.cancel(history, include_others=True)

        assert untouched == []
        assert build_arn is not None

    def test_an_import_that_waits_ends_at_its_next_try(self, harness: ImportHarness) -> None:
        upload = harness.upload("a.iso")
        harness.image_builder.controls.fail_next(
            "ImportDiskImage", "TooManyRequestsException", times=9
        )
        with pytest.raises(Exception, match="TooManyRequests"):
            harness.intake.process(upload, "execution-1")

        build_arn = harness.operations.cancel(
            harness.operations.get_history(BUCKET, "a.iso"), include_others=False
        )
        harness.image_builder.controls.reset()
        harness.follow(upload)

        (answer,) = harness.answers()
        assert build_arn is None
        assert answer["detail-type"] == "ISO Import Failed"
        assert answer["detail"]["data"]["code"] == Code.BUILD_CANCELLED
        assert "before it had a build" in answer["detail"]["data"]["message"]
        assert not harness.image_builder.builds

    def test_cancelling_writes_an_item_of_its_own_and_not_the_run(
        self, harness: ImportHarness
    ) -> None:
        run = harness.claim_run(harness.upload("a.iso"))

        harness.operations.cancel(
            harness.operations.get_history(BUCKET, "a.iso"), include_others=False
        )
        again = harness.operations.cancel(
            harness.operations.get_history(BUCKET, "a.iso"), include_others=False
        )

        assert again is None
        assert harness.ledger.get_run(run.upload_id) == run
        assert harness.ledger.is_cancellation_requested(run)

    def test_a_cancellation_during_the_copy_takes_effect(
        self, harness: ImportHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upload = harness.upload("a.iso")
        stage_upload = Stager.stage_upload

        def cancel_first(self: Stager, *given: Any) -> StagedUpload:
            staged = stage_upload(self, *given)
            harness.operations.cancel(
                harness.operations.get_history(BUCKET, "a.iso"), include_others=False
            )
            return staged

        monkeypatch.setattr(Stager, "stage_upload", cancel_first)
        outcome = harness.intake.process(upload, "execution-1")

        assert outcome.next_step is NextStep.ANSWER
        assert not harness.image_builder.builds

    def test_a_cancellation_during_the_inspection_leaves_no_copy(
        self, harness: ImportHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upload = harness.upload("a.iso")
        inspect = Intake._inspect

        def cancel_first(self: Intake, *given: Any) -> ImportPlan | Rejection:
            decision = inspect(self, *given)
            harness.operations.cancel(
                harness.operations.get_history(BUCKET, "a.iso"), include_others=False
            )
            return decision

        monkeypatch.setattr(Intake, "_inspect", cancel_first)
        harness.follow(upload, "execution-1")

        (answer,) = harness.answers()
        assert answer["detail"]["data"]["code"] == Code.BUILD_CANCELLED
        assert harness.claim_run(upload).decision is None
        assert harness.staged() == []

    def test_a_cancellation_while_it_waits_for_quota_takes_effect(
        self, harness: ImportHarness
    ) -> None:
        upload = harness.upload("a.iso")
        harness.image_builder.controls.fail_next(
            "ImportDiskImage", "CallRateLimitExceededException", status=429
        )
        with pytest.raises(TransientError):
            harness.intake.process(upload, "execution-1")
        harness.operations.cancel(
            harness.operations.get_history(BUCKET, "a.iso"), include_others=False
        )

        outcome = harness.intake.process(upload, "execution-1")

        assert outcome.next_step is NextStep.ANSWER
        assert not harness.image_builder.builds

    def test_a_run_without_its_execution_is_answered_as_cancelled(
        self, harness: ImportHarness
    ) -> None:
        harness.claim_run(harness.upload("a.iso"))
        harness.operations.cancel(
            harness.operations.get_history(BUCKET, "a.iso"), include_others=False
        )
        harness.advance_clock(minutes=60)

        harness.sweep()

        (answer,) = harness.answers()
        assert answer["detail"]["data"]["code"] == Code.BUILD_CANCELLED

    def test_a_cancellation_after_a_failure_has_no_effect(self, harness: ImportHarness) -> None:
        run = harness.claim_run(harness.upload("a.iso"))
        history = harness.operations.get_history(BUCKET, "a.iso")
        harness.ledger.record_failure(run, Failure(Code.ACCESS_DENIED, "first"))

        with pytest.raises(OperatorError, match="nothing to cancel"):
            harness.operations.cancel(history, include_others=False)

    def test_without_a_running_build_cancel_has_no_effect(self, harness: ImportHarness) -> None:
        answered(harness)
        harness.upload("b.iso")

        for key in ("a.iso", "b.iso"):
            with pytest.raises(OperatorError, match="nothing"):
                harness.operations.cancel(
                    harness.operations.get_history(BUCKET, key), include_others=True
                )


def _taken(**_: object) -> tuple[object, dict[str, object]]:
    """Return what StartExecution returns if a name was used with another input, or has ended."""

    class Answer:
        status_code = 400

    metadata = {"HTTPStatusCode": 400}
    error = {"Code": "ExecutionAlreadyExists", "Message": ""}
    return Answer(), {"Error": error, "ResponseMetadata": metadata}


def _taken_once() -> object:
    answers = iter([_taken()])
    return lambda **_: next(answers, None)
