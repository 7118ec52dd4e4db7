"""The sweep: what nobody answered is answered, what was never started is started."""

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
from isodrop.domain.ids import drop_id
from isodrop.domain.model import Upload
from isodrop.errors import TransientError
from isodrop.services import sweep
from isodrop.services.intake import Decision
from isodrop_local.iso_maker import server_editions
from tests.integration.conftest import BUCKET
from tests.support.harness import ACCOUNT, Way


@pytest.fixture
def way(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> Way:
    """Clocks that agree: moto's S3 knows no other time than the real one."""
    way = Way(session, ledger, tmp_path)
    way.clock.now = (
        datetime.now(UTC).timestamp() // 1
    )  # the ledger knows no less than a millisecond
    return way


@pytest.fixture
def swept(way: Way) -> Way:
    """A stack that has been swept before anything was dropped."""
    way.sweep()
    return way


def data(way: Way) -> dict[str, Any]:
    (answer,) = way.answers()
    found: dict[str, Any] = answer["detail"]["data"]
    return found


def begun(way: Way, key: str = "a.iso") -> tuple[Upload, str]:
    """An upload that an execution has claimed, and no more."""
    upload, execution = way.upload(key), way.run(f"{key.removesuffix('.iso')}")
    way.drop(upload, execution)
    return upload, execution


def started(way: Way) -> list[Upload]:
    """The uploads that executions were started for, the oldest first."""
    return [upload for upload, _, _ in way.started()]


class TestOpenDrops:
    def test_an_aborted_execution_leaves_an_answer_that_says_so(self, way: Way) -> None:
        _, execution = begun(way)
        way.abort(execution)
        way.later(minutes=11)

        tally = way.sweep()

        answer = data(way)
        assert (tally.open, tally.answered) == (1, 1)
        assert answer["code"] == Code.EXECUTION_ENDED
        assert "ABORTED" in answer["message"]
        assert answer["execution"] == execution
        assert answer["dropAgain"] is True

    def test_an_item_that_cannot_be_read_is_told_and_the_others_are_answered(
        self, way: Way
    ) -> None:
        _, execution = begun(way)
        way.abort(execution)
        garbage = {"pk": "DROP#garbage", "sk": "ASK#000000"}
        claimed = way.clock.time().isoformat()
        way.ledger.table.put_item(Item={**garbage, "state": "open", "claimed": claimed})
        way.later(minutes=11)

        tally = way.sweep()

        assert data(way)["code"] == Code.EXECUTION_ENDED
        assert (tally.answered, tally.troubles, tally.complete) == (1, 1, True)
        (told,) = [more for word, more in way.told if word == "unreadable"]
        assert garbage.items() <= told.items()

    def test_the_tally_knows_the_oldest_that_is_open_whatever_became_of_the_others(
        self, way: Way
    ) -> None:
        _, aborted = begun(way, "a.iso")
        way.abort(aborted)
        way.later(minutes=30)
        begun(way, "b.iso")
        way.later(minutes=20)
        begun(way, "young.iso")

        first, second = way.sweep(), way.sweep()

        assert (first.open, first.answered, first.running) == (2, 1, 1)
        assert first.oldest == 50 * 60
        assert (second.open, second.oldest) == (1, 20 * 60)

    def test_the_tally_of_nothing_is_nothing(self, way: Way) -> None:
        assert way.sweep().told() == {
            "open": 0,
            "running": 0,
            "waiting": 0,
            "answered": 0,
            "versions": 0,
            "started": 0,
            "unscanned": 0,
            "oldest": 0,
            "builds": 0,
            "removed": 0,
            "released": 0,
            "builds_at_once": 0,
            "builds_today": 0,
            "troubles": 0,
            "complete": True,
        }

    def test_a_build_that_many_wait_for_is_counted_once_and_one_that_is_over_not_at_all(
        self, way: Way
    ) -> None:
        began, over = way.clock.now, (way.upload("over.iso"), way.run("over"))
        build_arn = way.intake.take(*over).build_arn
        assert build_arn is not None
        way.wait_for(build_arn, *over)
        way.image_builder.controls.hold("BUILDING")
        disc = way.iso(label="ANOTHER")
        for name in ("a", "b", "c"):
            way.intake.take(way.upload(f"{name}.iso", disc), way.run(name))
        way.intake.take(way.upload("d.iso", way.iso(label="THIRD")), way.run("d"))
        for name in ("over", "b"):
            way.abort(way.executions.named(name))
        way.later(minutes=11)

        tally = way.sweep()

        assert (tally.running, tally.waiting, tally.answered) == (3, 1, 1)
        assert tally.builds == 2
        assert tally.oldest == way.clock.now - began

    def test_a_second_sweep_says_nothing_more(self, way: Way) -> None:
        _, execution = begun(way)
        way.abort(execution)
        way.later(minutes=11)
        way.sweep()
        way.answers()

        again = way.sweep()

        assert (again.open, again.answered, way.answers()) == (0, 0, [])

    @pytest.mark.parametrize("execution", ["event:17793124", "gone"])
    def test_a_claim_that_no_execution_stands_behind_is_answered(
        self, way: Way, execution: str
    ) -> None:
        claimed_by = way.executions.named("gone") if execution == "gone" else execution
        way.drop(way.upload(), claimed_by)
        way.later(minutes=11)

        way.sweep()

        assert data(way)["code"] == Code.EXECUTION_ENDED

    def test_an_execution_that_runs_answers_for_itself(self, way: Way) -> None:
        begun(way)
        way.later(hours=5)

        tally = way.sweep()

        assert (tally.running, tally.answered, way.answers()) == (1, 0, [])

    def test_what_is_young_is_left_alone(self, way: Way) -> None:
        _, execution = begun(way)
        way.abort(execution)
        way.later(minutes=9)

        assert way.sweep().open == 0

    def test_a_rejection_that_was_decided_is_the_answer(self, way: Way) -> None:
        upload, execution = way.upload(body=way.iso(server_editions())), way.run("r")
        way.intake.take(upload, execution)
        way.abort(execution)
        way.later(minutes=11)

        way.sweep()

        assert data(way)["code"] == Code.SERVER_MEDIA

    def test_a_build_that_runs_is_waited_for_and_its_end_is_the_answer(self, way: Way) -> None:
        upload, execution = way.upload(), way.run("a")
        way.intake.take(upload, execution)
        way.abort(execution)
        way.later(minutes=11)

        early = way.sweep()
        nothing_yet = way.answers()
        way.later(hours=2)
        late = way.sweep()

        assert (early.waiting, early.answered, nothing_yet) == (1, 0, [])
        assert (late.waiting, late.answered) == (0, 1)
        assert way.answers()[0]["detail-type"] == "ISO Import Succeeded"

    def test_a_build_that_never_ends_is_waited_for_no_longer_than_any(self, way: Way) -> None:
        way.image_builder.controls.hold("BUILDING")
        upload, execution = way.upload(), way.run("a")
        way.intake.take(upload, execution)
        way.abort(execution)

        way.later(hours=15)
        assert way.sweep().waiting == 1
        way.later(hours=1)
        way.sweep()

        assert data(way)["code"] == Code.BUILD_TIMED_OUT

    def test_a_build_that_the_drop_was_not_told_of_is_found(self, way: Way) -> None:
        first, execution = begun(way)
        way.intake.take(first, execution)
        with_build = way.drop(first, execution)
        assert with_build.identity is not None
        second, aborted = begun(way, "b.iso")
        drop = way.drop(second, aborted)
        way.ledger.decide(drop, with_build.verdict)  # type: ignore[arg-type] # it is decided
        way.ledger.follow(drop, way.ledger.attempts(with_build.identity)[0])
        way.abort(aborted)
        way.later(hours=2)

        way.sweep()

        assert data(way)["source"]["key"] == "b.iso"
        assert way.submissions() == 1

    def test_an_answer_that_was_written_is_published_as_it_was_written(self, way: Way) -> None:
        upload, execution = way.upload(body=way.iso(server_editions())), way.run("r")
        way.intake.take(upload, execution)
        answer = replace(way.reporter, ledger=_Forgetful(way.ledger.table)).answer(
            way.drop(upload, execution)
        )
        way.answers()
        way.abort(execution)
        way.later(minutes=11)

        way.sweep()

        (again,) = way.answers()
        assert again["detail"] == json.loads(answer.detail())
        assert way.drop(upload, execution).answered is not None

    def test_an_execution_redriven_after_the_sweeps_answer_has_nothing_to_add(
        self, way: Way
    ) -> None:
        upload, execution = begun(way)
        way.abort(execution)
        way.later(minutes=11)
        way.sweep()
        way.answers()

        outcome = way.follow(upload, execution)

        assert outcome.decision is Decision.ANSWER
        assert (way.answers(), way.submissions()) == ([], 0)

    def test_trouble_with_one_drop_keeps_no_other_from_its_answer(self, way: Way) -> None:
        upload, execution = way.upload("a.iso"), way.run("a")
        way.intake.take(upload, execution)
        _, other = begun(way, "b.iso")
        for each in (execution, other):
            way.abort(each)
        way.later(hours=2)
        way.image_builder.controls.fail_next("GetImage", "ServiceException", times=9)

        tally = way.sweep()

        assert (tally.open, tally.troubles, tally.answered) == (2, 1, 1)
        assert data(way)["source"]["key"] == "b.iso"
        assert [word for word, _ in way.told if word == "trouble"] == ["trouble"]

    def test_one_sweep_answers_so_many_and_the_next_goes_on(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweep, "MAX_ANSWERS", 2)
        for name in "abc":
            way.abort(begun(way, f"{name}.iso")[1])
            way.later(seconds=1)
        way.later(minutes=11)

        first, second = way.sweep(), way.sweep()

        keys = [answer["detail"]["data"]["source"]["key"] for answer in way.answers()]
        assert (first.answered, first.complete) == (2, False)
        assert (second.answered, second.complete) == (1, True)
        assert keys == ["a.iso", "b.iso", "c.iso"]

    def test_a_sweep_out_of_time_is_gone_on_with_where_it_was(self, way: Way) -> None:
        for name in "abc":
            begun(way, f"{name}.iso")
            way.later(seconds=1)
        way.later(minutes=11)
        looks = iter([True, True, False])

        first, second = way.sweep(lambda: next(looks, False)), way.sweep()

        assert (first.open, first.complete) == (2, False)
        assert (second.open, second.complete) == (1, True)


class TestVersionsWithoutAnEntry:
    def test_an_upload_that_nobody_was_told_of_is_started_once(self, swept: Way) -> None:
        upload = swept.upload("Drücke/a + b (1)%41.ISO")
        swept.later(minutes=11)

        tally = swept.sweep()
        swept.sweep()

        assert (tally.versions, tally.started) == (1, 1)
        assert started(swept) == [replace(upload, sequencer="")]

    def test_s3s_event_that_comes_late_names_the_same_drop(self, swept: Way) -> None:
        upload = swept.upload()
        swept.later(minutes=11)
        swept.sweep()
        (found,) = started(swept)
        swept.follow(found, "swept")

        late = swept.intake.take(upload, "late")

        assert late.decision is Decision.NOTHING
        assert len(swept.answers()) == 1

    def test_a_start_that_came_to_nothing_is_repeated_but_not_at_once(self, swept: Way) -> None:
        swept.upload()
        swept.clock.now = (swept.clock.now // 3600 + 1) * 3600 + 900
        swept.sweep()
        (execution,) = swept.client("stepfunctions").list_executions(
            stateMachineArn=swept.machine_arn
        )["executions"]
        swept.abort(execution["executionArn"])

        swept.later(minutes=30)
        swept.sweep()
        at_once = len(started(swept))
        swept.later(minutes=30)
        swept.sweep()

        assert (at_once, len(started(swept))) == (1, 2)

    def test_a_version_that_was_replaced_is_started_too(self, swept: Way) -> None:
        old, new = swept.upload("a.iso"), swept.upload("a.iso", swept.iso(server_editions()))
        swept.later(minutes=11)

        swept.sweep()

        for number, upload in enumerate(started(swept)):
            swept.follow(upload, f"execution-{number}")
        told = {a["detail"]["metadata"]["dropId"]: a["detail"]["data"] for a in swept.answers()}
        assert told[drop_id(old)]["plan"]["edition"] == "Enterprise"
        assert told[drop_id(new)]["code"] == Code.SERVER_MEDIA

    def test_what_is_claimed_young_or_no_iso_is_left_alone(self, swept: Way) -> None:
        swept.drop(swept.upload("claimed.iso"))
        swept.upload("notes.txt", b"not for isodrop")
        swept.delete("deleted-before.iso")
        at = swept.clock.now
        swept.later(minutes=9)
        swept.upload("young.iso")
        young = swept.sweep().started
        swept.client("s3").delete_object(
            Bucket=BUCKET, Key="young.iso", VersionId=_version(swept, "young.iso")
        )
        swept.clock.now = at + 700

        tally = swept.sweep()

        assert (young, tally.started, tally.versions) == (0, 0, 2)

    def test_what_lies_outside_the_prefix_is_not_even_listed(self, swept: Way) -> None:
        swept.upload("isos/windows/mine.iso")
        swept.upload("isos/other.iso")
        swept.later(minutes=11)

        tally = swept.sweep(prefix="isos/windows/")

        assert (tally.versions, tally.started) == (1, 1)

    def test_a_write_without_a_version_cannot_be_named_and_is_left_alone(self, swept: Way) -> None:
        swept.client("s3").put_bucket_versioning(
            Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
        )
        swept.client("s3").put_object(Bucket=BUCKET, Key="a.iso", Body=b"")
        swept.later(minutes=11)

        tally = swept.sweep()

        assert (tally.versions, tally.started) == (1, 0)

    def test_what_lay_there_before_the_stack_did_is_nobodys_to_import(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        way.upload()
        way.later(hours=2)
        made = way.clock.time()
        monkeypatch.setattr(Ledger, "made", lambda _: made)

        assert way.sweep().started == 0

    def test_what_was_dropped_while_every_sweep_failed_is_started(self, way: Way) -> None:
        way.upload()
        way.later(hours=20)

        assert way.sweep().started == 1

    def test_a_sweep_looks_back_eight_days(self, swept: Way) -> None:
        swept.upload()
        swept.later(days=7, hours=23)
        found = swept.sweep().started
        swept.later(days=1)

        assert (found, swept.sweep().started) == (1, 0)

    def test_one_sweep_starts_so_many_and_the_next_goes_on(
        self, swept: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweep, "MAX_STARTS", 2)
        uploads = [swept.upload(f"{name}.iso", b"") for name in "abc"]
        swept.later(minutes=11)

        first = swept.sweep()
        for number, upload in enumerate(started(swept)):
            swept.drop(upload, f"execution-{number}")
        second = swept.sweep()

        assert (first.started, first.complete) == (2, False)
        assert (second.started, second.complete) == (1, True)
        assert len(set(started(swept))) == len(uploads)

    def test_a_bucket_that_cannot_be_listed_keeps_no_drop_from_its_answer(self, way: Way) -> None:
        _, execution = begun(way)
        way.abort(execution)
        way.later(minutes=11)
        way.client("s3").meta.events.register(
            "before-call.s3.ListObjectVersions", _unavailable, unique_id="unavailable"
        )

        with pytest.raises(TransientError):
            way.sweep()

        assert data(way)["code"] == Code.EXECUTION_ENDED

    def test_ten_thousand_isos_cost_a_hundred_calls_and_a_handful(
        self, swept: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(swept, 10_000, unclaimed=3)
        # moto copies all that lies in the bucket for each page of it, to the bottom.
        monkeypatch.setattr(s3_models, "copy", SimpleNamespace(deepcopy=copy.copy))
        swept.later(minutes=11)
        calls = counted(swept)

        tally = swept.sweep()

        assert (tally.versions, tally.started, tally.complete) == (10_000, 3, True)
        assert calls == {
            "ListObjectVersions": 10,
            "BatchGetItem": 100,
            "Query": 2,
            "GetItem": 4,
            "PutItem": 1,
            "StartExecution": 3,
            **LISTED,
        }

    def test_ten_thousand_old_isos_cost_no_more_than_their_listing(self, swept: Way) -> None:
        fill(swept, 2_500, unclaimed=2_500)
        swept.later(days=9)
        calls = counted(swept)

        tally = swept.sweep()

        assert (tally.versions, tally.started) == (2_500, 0)
        assert calls == {"ListObjectVersions": 3, "Query": 2, "GetItem": 4, "PutItem": 1, **LISTED}


LISTED = {"ListObjectsV2": 1, "ListMultipartUploads": 1}
"""What it takes to see that no copies are there."""


def fill(way: Way, count: int, *, unclaimed: int) -> None:
    """Put many empty ISOs into the bucket and all but some of them into the ledger."""
    backend = s3_models.s3_backends[ACCOUNT]["aws"]
    with way.ledger.table.batch_writer() as writer:
        for number in range(count):
            stored = backend.put_object(BUCKET, f"{number:05d}.iso", b"")
            upload = Upload(BUCKET, stored.name, "", 0, "", stored.version_id)
            if number >= unclaimed:
                writer.put_item({"pk": f"DROP#{drop_id(upload)}", "sk": "ASK#000000"})


def counted(way: Way) -> Counter[str]:
    """Count what AWS is asked from now on, by operation."""
    calls: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        calls[model.name] += 1

    for client in (*way.clients.values(), way.ledger.table.meta.client):
        client.meta.events.register("before-call", count)
    return calls


def _version(way: Way, key: str) -> str:
    return str(way.client("s3").head_object(Bucket=BUCKET, Key=key)["VersionId"])


def _unavailable(**_: Any) -> tuple[Any, dict[str, Any]]:
    class Answer:
        status_code = 503

    return Answer(), {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}


class _Forgetful(Ledger):
    """A ledger whose function dies before it can write that the answer was published."""

    def answered(self, drop: Any, now: str) -> None:
        del drop, now
