"""What an operator may do: find an upload, ask anew, wait, list, cancel."""

from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.ids import drop_id
from isodrop.domain.model import Ask, Upload
from isodrop_cli.operations import LATE_SECONDS, WAIT_SECONDS, Asked, OperatorError
from isodrop_local.iso_maker import server_editions
from tests.integration.conftest import BUCKET
from tests.support.harness import Way


@pytest.fixture
def way(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> Way:
    return Way(session, ledger, tmp_path)


def answered(way: Way, key: str = "a.iso") -> Upload:
    """An upload that has its answer."""
    upload = way.upload(key)
    way.follow(upload, f"execution-{key}")
    way.heard()
    return upload


def nobody_sleeps(seconds: float) -> None:
    pytest.fail(f"slept for {seconds}")


def no_time() -> float:
    """A clock that stands still."""
    return 0.0


class TestAskingAnew:
    def test_an_upload_is_asked_for_anew_in_an_execution_of_its_own(self, way: Way) -> None:
        upload = answered(way, "Drücke/a + b.iso")

        asked = way.operator.ask(way.operator.story(BUCKET, upload.key), {"edition": "EnterpriseN"})

        ((told, ask, execution),) = way.started()
        assert asked == Asked(drop_id(upload), 1, execution)
        assert told == replace(upload, sequencer="")
        assert ask == Ask(1, {"edition": "EnterpriseN"})

    def test_it_has_another_answer_that_the_operator_waits_for(self, way: Way) -> None:
        upload = answered(way)
        asked = way.operator.ask(way.operator.story(BUCKET, "a.iso"), {"edition": "EnterpriseN"})

        def follow(_: float) -> None:
            ((told, ask, execution),) = way.started()
            way.follow(told, execution, ask)

        *_, last = way.operator.wait(asked, follow, no_time)

        (answer,) = way.answers()
        assert last.drop == way.ledger.asks(drop_id(upload))[1]
        assert answer["detail"]["metadata"]["ask"] == 1
        assert answer["detail"]["data"]["plan"]["edition"] == "EnterpriseN"

    def test_an_upload_that_nobody_claimed_is_asked_for_the_first_time(self, way: Way) -> None:
        way.upload("a.iso")

        asked = way.operator.ask(way.operator.story(BUCKET, "a.iso"), {})

        assert asked.ask == 0

    @pytest.mark.parametrize("claimed", [True, False])
    def test_two_operators_at_once_start_one_execution(self, way: Way, claimed: bool) -> None:
        if claimed:
            answered(way)
        else:
            way.upload("a.iso")
        one = two = way.operator.story(BUCKET, "a.iso")
        first = way.operator.ask(one, {"edition": "EnterpriseN"})
        # moto compares no inputs.
        events = way.client("stepfunctions").meta.events
        events.register("before-call.sfn.StartExecution", _taken)

        with pytest.raises(OperatorError, match="no answer yet") as refusal:
            way.operator.ask(two, {"edition": "Education"})

        assert first.execution in str(refusal.value)
        assert len(way.started()) == 1

    def test_while_the_last_ask_has_no_answer_there_is_no_other(self, way: Way) -> None:
        way.drop(way.upload("a.iso"), "arn:of-the-execution")

        with pytest.raises(OperatorError, match=r"no answer yet; see arn:of-the-execution"):
            way.operator.ask(way.operator.story(BUCKET, "a.iso"), {})

    def test_an_execution_that_came_to_nothing_is_started_again(self, way: Way) -> None:
        answered(way)
        story = way.operator.story(BUCKET, "a.iso")
        first = way.operator.ask(story, {})
        way.abort(first.execution)
        client = way.client("stepfunctions")
        client.meta.events.register("before-call.sfn.StartExecution", _taken_once())

        second = way.operator.ask(story, {})

        assert (second.ask, first.ask) == (1, 1)
        assert second.execution == f"{first.execution}-1"
        # Whoever follows the upload now waits for it, though nobody has claimed it yet.
        assert way.operator.latest(story) == 1

        way.abort(second.execution)

        assert way.operator.latest(story) == 0

    def test_nobody_waits_for_an_execution_that_is_over(self, way: Way) -> None:
        answered(way)
        asked = way.operator.ask(way.operator.story(BUCKET, "a.iso"), {})
        way.abort(asked.execution)

        with pytest.raises(OperatorError, match="ABORTED without an answer; the sweep gives one"):
            list(way.operator.wait(asked, nobody_sleeps, no_time))

    def test_who_was_not_first_is_told_so(self, way: Way) -> None:
        upload = way.upload("a.iso")
        asked = way.operator.ask(way.operator.story(BUCKET, "a.iso"), {"edition": "EnterpriseN"})
        way.follow(upload, "arn:s3s-own")

        with pytest.raises(OperatorError, match="first, without what you set: arn:s3s-own"):
            list(way.operator.wait(asked, nobody_sleeps, no_time))


class TestFollowing:
    def test_that_nobody_takes_it_for_a_minute_is_seen_once_and_then_that_somebody_did(
        self, way: Way
    ) -> None:
        upload = way.upload("a.iso", way.iso(server_editions()))
        passed = [0.0]

        def sleep(seconds: float) -> None:
            passed[0] += seconds
            if passed[0] > 2 * LATE_SECONDS:
                way.follow(upload, "execution-1")

        told = [
            (sight.drop is not None, sight.is_late, passed[0])
            for sight in way.operator.follow(drop_id(upload), 0, sleep, lambda: passed[0])
        ]

        after = 2 * LATE_SECONDS + WAIT_SECONDS
        assert told == [(False, False, 0), (False, True, LATE_SECONDS), (True, False, after)]


class TestFinding:
    def test_all_that_was_asked_is_told_in_order(self, way: Way) -> None:
        upload = answered(way)
        way.follow(upload, "execution-2", Ask(1))

        story = way.operator.story(BUCKET, "a.iso")

        assert [drop.ask.number for drop in story.drops] == [0, 1]
        assert story.last == story.drops[1]

    def test_a_version_that_is_gone_still_has_its_story(self, way: Way) -> None:
        upload = answered(way)
        way.delete("a.iso")

        story = way.operator.story(BUCKET, "a.iso", upload.version_id)

        assert [drop.id for drop in story.drops] == [drop_id(upload)]
        with pytest.raises(OperatorError, match="only the current version"):
            way.operator.ask(story, {})

    def test_an_object_that_is_not_there_is_told_with_a_way_out(self, way: Way) -> None:
        with pytest.raises(OperatorError, match=r"no such object .* isodrop list"):
            way.operator.story(BUCKET, "nothing.iso")

    def test_another_bucket_is_told_with_a_way_out(self, way: Way) -> None:
        with pytest.raises(OperatorError, match=rf"bucket is {BUCKET}; .*--stack"):
            way.operator.story("another", "a.iso")

    def test_a_bucket_without_versions_is_told_with_a_way_out(self, way: Way) -> None:
        way.client("s3").put_bucket_versioning(
            Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
        )
        way.client("s3").put_object(Bucket=BUCKET, Key="a.iso", Body=b"")

        with pytest.raises(OperatorError, match="versioning is off"):
            way.operator.story(BUCKET, "a.iso")

    def test_drops_are_listed_newest_first_whatever_their_state(self, way: Way) -> None:
        for number, key in enumerate(("a.iso", "b.iso", "c.iso", "d.iso")):
            way.later(hours=1)
            upload = way.upload(key, way.iso(server_editions()))
            if number % 2:
                way.follow(upload, f"execution-{key}")
            else:
                way.drop(upload, f"execution-{key}")

        everything = way.operator.recent(3)
        still_open = way.operator.recent(9, only_open=True)

        assert [drop.upload.key for drop in everything] == ["d.iso", "c.iso", "b.iso"]
        assert [drop.upload.key for drop in still_open] == ["c.iso", "a.iso"]


class TestCancelling:
    def test_a_build_that_runs_is_cancelled_and_the_answer_says_so(self, way: Way) -> None:
        upload = way.upload("a.iso")
        outcome = way.intake.take(upload, "execution-1")
        way.later(minutes=8)

        build_arn = way.operator.cancel(way.operator.story(BUCKET, "a.iso"), others_too=False)

        way.follow(upload)
        (answer,) = way.answers()
        assert build_arn == outcome.build_arn
        assert answer["detail"]["data"]["code"] == Code.BUILD_CANCELLED

    def test_what_others_wait_for_is_cancelled_only_on_purpose(self, way: Way) -> None:
        for key in ("a.iso", "b.iso"):
            way.intake.take(way.upload(key), f"execution-{key}")
        way.later(minutes=8)
        story = way.operator.story(BUCKET, "a.iso")

        with pytest.raises(OperatorError, match=f"s3://{BUCKET}/b.iso; .*--yes"):
            way.operator.cancel(story, others_too=False)
        untouched = way.image_builder.controls.calls_of("CancelImageCreation")
        build_arn = way.operator.cancel(story, others_too=True)

        assert untouched == []
        assert build_arn is not None

    def test_an_import_that_waits_ends_at_its_next_try(self, way: Way) -> None:
        upload = way.upload("a.iso")
        way.image_builder.controls.fail_next("ImportDiskImage", "TooManyRequestsException", times=9)
        with pytest.raises(Exception, match="TooManyRequests"):
            way.intake.take(upload, "execution-1")

        build_arn = way.operator.cancel(way.operator.story(BUCKET, "a.iso"), others_too=False)
        way.image_builder.controls.reset()
        way.follow(upload)

        (answer,) = way.answers()
        assert build_arn is None
        assert answer["detail-type"] == "ISO Import Failed"
        assert answer["detail"]["data"]["code"] == Code.BUILD_CANCELLED
        assert "before it had a build" in answer["detail"]["data"]["message"]
        assert not way.image_builder.builds

    def test_where_nothing_runs_there_is_nothing_to_cancel(self, way: Way) -> None:
        answered(way)
        way.upload("b.iso")

        for key in ("a.iso", "b.iso"):
            with pytest.raises(OperatorError, match="nothing"):
                way.operator.cancel(way.operator.story(BUCKET, key), others_too=True)


def _taken(**_: object) -> tuple[object, dict[str, object]]:
    """Answer as Step Functions does when a name was used with another input, or is over."""

    class Answer:
        status_code = 400

    metadata = {"HTTPStatusCode": 400}
    error = {"Code": "ExecutionAlreadyExists", "Message": ""}
    return Answer(), {"Error": error, "ResponseMetadata": metadata}


def _taken_once() -> object:
    answers = iter([_taken()])
    return lambda **_: next(answers, None)
