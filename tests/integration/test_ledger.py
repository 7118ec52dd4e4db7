"""The ledger: all writes are conditional, so that repeats and races give the same items."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from boto3.dynamodb.types import TypeDeserializer

from isodrop.aws.ledger import Ledger
from isodrop.aws.ledger_items import UnreadableItemError, run_key
from isodrop.codes import Code, Rejection
from isodrop.domain.build_limits import BuildLimits
from isodrop.domain.ids import upload_id
from isodrop.domain.model import ImportPlan, RunRequest
from isodrop.domain.planning import plan_import
from isodrop.domain.run import (
    Attempt,
    AttemptKey,
    AttemptStatus,
    BuildKind,
    BuildRecord,
    EndedBuilds,
    Failure,
    ImageRecord,
    Run,
    RunState,
)
from isodrop.errors import PermanentError, TransientError
from isodrop.iso.model import IsoContents
from isodrop_cli.output.run_format import as_json, to_pairs
from tests.support.builders import a_business_iso, an_upload, some_settings
from tests.support.ledger_actions import create_attempt

NOW = "2026-11-24T09:00:00.000+00:00"


def a_plan(contents: IsoContents | None = None) -> ImportPlan:
    plan = plan_import(an_upload(), contents or a_business_iso(), {}, some_settings())
    assert isinstance(plan, ImportPlan)
    return plan


def an_attempt(number: int = 0, run: str = "d0") -> Attempt:
    return Attempt(
        task_key="i",
        number=number,
        upload_id=run,
        run_number=0,
        source=an_upload(),
        request={"clientToken": f"token-{number}", "tags": {"a": "b"}},
        build_arn=None,
        status=AttemptStatus.PREPARED,
    )


def claimed(ledger: Ledger) -> Run:
    run = ledger.claim(an_upload(), "execution-1", NOW)
    assert run is not None
    return run


def test_an_upload_belongs_to_the_execution_that_claims_it_first(ledger: Ledger) -> None:
    mine = ledger.claim(an_upload(), "execution-1", NOW)
    again = ledger.claim(an_upload(), "execution-1", "later")
    other = ledger.claim(an_upload(), "execution-2", NOW)

    assert mine is not None
    assert mine == again
    assert mine.upload_id == upload_id(an_upload())
    assert other is None


def test_a_claim_that_cannot_be_read_back_is_read_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a response without the item, and a truncated one, which botocore reads alike
    ledger.claim(an_upload(), "execution-1", NOW)
    monkeypatch.setattr(Ledger, "_get", lambda *_: None)
    monkeypatch.setattr(TypeDeserializer, "deserialize", lambda *_: pytest.fail("it is not sent"))
    ledger.table.meta.client.meta.events.register(
        "before-parameter-build.dynamodb.PutItem",
        lambda params, **_: params.pop("ReturnValuesOnConditionCheckFailure"),
    )

    with pytest.raises(TransientError):
        ledger.claim(an_upload(), "execution-1", NOW)


def test_another_write_of_the_same_key_is_another_upload(ledger: Ledger) -> None:
    claimed(ledger)

    assert ledger.claim(an_upload(version_id="2"), "execution-2", NOW) is not None


@pytest.mark.parametrize(
    "decision",
    [a_plan(), Rejection.of(Code.SERVER_ISO), replace(a_plan(), notes=("ä\n",), release=None)],
)
def test_a_recorded_decision_is_never_changed(
    ledger: Ledger, decision: ImportPlan | Rejection
) -> None:
    run = claimed(ledger)

    ledger.record_decision(run, decision)
    ledger.record_decision(run, Rejection.of(Code.TRUNCATED))

    found = ledger.get_run(run.upload_id)
    assert found is not None
    assert found.decision == decision


def test_an_attempt_is_written_once_and_read_as_it_was_frozen(ledger: Ledger) -> None:
    assert create_attempt(ledger, an_attempt(0))
    assert not create_attempt(
        ledger, replace(an_attempt(0), upload_id="d1", request={"clientToken": "other"})
    )
    assert create_attempt(ledger, an_attempt(1))

    assert ledger.list_attempts("i") == (an_attempt(0), an_attempt(1))
    assert ledger.list_attempts("another") == ()
    assert ledger.list_attempts("i")[1].client_token == "token-1"  # noqa: S105 - no secret


def test_attempts_come_in_the_order_of_their_numbers(ledger: Ledger) -> None:
    for number in (11, 2, 0, 10, 1):
        create_attempt(ledger, an_attempt(number))

    assert [attempt.number for attempt in ledger.list_attempts("i")] == [0, 1, 2, 10, 11]


def test_the_result_of_an_attempt_is_written_once(ledger: Ledger) -> None:
    create_attempt(ledger, an_attempt())

    ledger.record_build(an_attempt(), "arn:1", NOW)
    ledger.record_build(an_attempt(), "arn:2", NOW)
    ledger.set_attempt_status(an_attempt(), AttemptStatus.LOST)
    ledger.set_attempt_status(an_attempt(), AttemptStatus.SUCCEEDED)

    (found,) = ledger.list_attempts("i")
    assert (found.build_arn, found.status) == ("arn:1", AttemptStatus.LOST)


def test_a_run_has_one_attempt_and_one_build(ledger: Ledger) -> None:
    run = claimed(ledger)

    ledger.link_attempt(run, an_attempt(0))
    ledger.link_attempt(run, an_attempt(1))
    ledger.link_build(run, "arn:1")
    ledger.link_build(run, "arn:2")

    found = ledger.get_run(run.upload_id)
    assert found is not None
    assert found.import_build == BuildRecord(
        AttemptKey("i", 0), "arn:1", attempt_id="token-0", reused=True
    )


def test_the_first_failure_is_kept_unless_there_is_a_build(ledger: Ledger) -> None:
    failed, built = claimed(ledger), ledger.claim(an_upload("b.iso"), "execution-2", NOW)
    assert built is not None
    ledger.link_build(built, "arn:1")

    first = ledger.record_failure(failed, Failure(Code.ACCESS_DENIED, "first"))
    second = ledger.record_failure(failed, Failure(Code.IMPORT_REFUSED, "second"))
    late = ledger.record_failure(built, Failure(Code.BUILD_CANCELLED, "too late"))

    (found,), (other,) = ledger.list_runs(failed.upload_id), ledger.list_runs(built.upload_id)
    assert found == first == second
    assert found.import_build.failure == Failure(Code.ACCESS_DENIED, "first")
    assert other == late
    assert other.import_build == BuildRecord(arn="arn:1")


def test_each_run_of_an_upload_is_claimed_and_answered_separately(ledger: Ledger) -> None:
    first = claimed(ledger)
    ledger.record_answer(first, '{"a": 0}', EndedBuilds(), NOW)
    request = RunRequest(1, {"edition": "EnterpriseN"})

    second = ledger.claim(an_upload(), "execution-2", NOW, request)
    taken = ledger.claim(an_upload(), "execution-3", NOW, request)

    assert second is not None
    assert taken is None
    assert (second.upload_id, second.run_request, second.answer_json) == (
        first.upload_id,
        request,
        None,
    )
    answered, _ = ledger.record_answer(second, '{"a": 1}', EndedBuilds(), NOW)
    assert answered.answer_json == '{"a": 1}'
    assert [run.answer_json for run in ledger.list_runs(first.upload_id)] == [
        '{"a": 0}',
        '{"a": 1}',
    ]


def test_an_attempt_of_one_run_does_not_belong_to_another(ledger: Ledger) -> None:
    first = claimed(ledger)
    second = ledger.claim(an_upload(), "execution-2", NOW, RunRequest(1))
    assert second is not None

    assert an_attempt(run=first.upload_id).belongs_to(first)
    assert not an_attempt(run=first.upload_id).belongs_to(second)


def test_runs_are_listed_by_state_in_the_order_of_their_claims(ledger: Ledger) -> None:
    runs = [
        ledger.claim(an_upload(f"{hour}.iso"), f"execution-{hour}", f"2026-11-24T{hour}:00")
        for hour in (11, 9, 10, 12)
    ]
    answered = runs[1]
    assert answered is not None
    ledger.mark_answered(answered, NOW)

    unreadable: list[UnreadableItemError] = []

    still = list(ledger.list_by_state(RunState.OPEN))
    newest = ledger.get_runs(
        ledger.list_by_state(RunState.OPEN, newest_first=True), unreadable.append
    )
    rest = ledger.get_runs(ledger.list_by_state(RunState.OPEN, after=still[0]), unreadable.append)
    over = ledger.get_runs(ledger.list_by_state(RunState.ANSWERED), unreadable.append)

    assert [mark["claimedAt"] for mark in still] == [
        f"2026-11-24T{hour}:00" for hour in (10, 11, 12)
    ]
    assert [run.upload.key for run in newest] == ["12.iso", "11.iso", "10.iso"]
    assert [run.upload.key for run in rest] == ["11.iso", "12.iso"]
    assert [run.upload_id for run in over] == [answered.upload_id]
    assert not unreadable


def test_claimed_uploads_are_found_among_many(ledger: Ledger) -> None:
    claims = [ledger.claim(an_upload(f"{n}.iso"), f"execution-{n}", NOW) for n in range(130)]
    ids = [run.upload_id for run in claims if run is not None]

    assert ledger.find_claimed([*ids, "nobodys"]) == frozenset(ids)
    assert ledger.find_claimed([]) == frozenset()


def test_the_checkpoint_of_a_sweep_is_loaded_by_the_next(ledger: Ledger) -> None:
    before = ledger.load_checkpoint()

    ledger.save_checkpoint({"since": NOW, "at": None})

    assert before is None
    assert ledger.load_checkpoint() == {"since": NOW, "at": None}


def test_the_second_writer_receives_the_attempt_that_won(ledger: Ledger) -> None:
    run = claimed(ledger)

    for number in (3, 4):
        stored = ledger.link_attempt(run, an_attempt(number))
        assert stored.import_build.attempt == ("i", 3)


def test_a_run_that_has_stopped_is_bound_to_no_attempt(ledger: Ledger) -> None:
    failed = ledger.record_failure(claimed(ledger), Failure(Code.ACCESS_DENIED, "denied"))
    another = ledger.claim(an_upload(version_id="2"), "execution-2", NOW)
    assert another is not None
    answered, _ = ledger.record_answer(another, "{}", EndedBuilds(), NOW)

    for run in (failed, answered):
        assert ledger.create_attempt(run, an_attempt()) == run
        assert ledger.link_attempt(run, an_attempt()) == run

    assert ledger.list_attempts("i") == ()


def test_nothing_is_decided_or_started_for_a_cancelled_run(ledger: Ledger) -> None:
    run = claimed(ledger)
    ledger.request_cancellation(run)

    begins: list[Callable[[], object]] = [
        lambda: ledger.record_decision(run, a_plan(), "upload"),
        lambda: ledger.create_attempt(run, an_attempt()),
        lambda: ledger.link_attempt(run, an_attempt()),
    ]
    for begin in begins:
        with pytest.raises(PermanentError) as refused:
            begin()
        assert refused.value.code is Code.BUILD_CANCELLED

    assert ledger.get_run(run.upload_id) == run
    assert ledger.list_attempts("i") == ()


def test_an_answer_is_written_together_with_its_builds_status(ledger: Ledger) -> None:
    limits = BuildLimits(2, 2)
    attempt = replace(an_attempt(), day="2026-11-24")
    run = ledger.create_attempt(claimed(ledger), attempt, limits=limits)
    assert run is not None
    run = ledger.record_and_link_build(run, attempt, "arn:1", NOW, BuildKind.IMPORT)
    image = ImageRecord.from_arn("arn:aws:imagebuilder:eu:1:image/w/11.26100.1/1", 26100)

    ledger.record_answer(run, "{}", EndedBuilds((attempt.key,), (attempt.key,), image), "then")

    found = ledger.get_attempt(attempt.key)
    assert (found.status, found.available_at) == (AttemptStatus.SUCCEEDED, "then")
    assert ledger.list_under_way() == []
    assert [each.recorded_at for each in ledger.list_images("w")] == ["then"]


def test_a_build_is_written_to_its_attempt_and_to_its_run_at_once(ledger: Ledger) -> None:
    run = ledger.create_attempt(claimed(ledger), an_attempt())
    assert run is not None

    for arn in ("arn:1", "arn:2"):
        linked = ledger.record_and_link_build(run, an_attempt(), arn, NOW, BuildKind.IMPORT)
        assert linked.import_build.arn == "arn:1"

    assert linked == ledger.get_run(run.upload_id)
    assert ledger.get_attempt(an_attempt().key).build_arn == "arn:1"


def test_a_refusal_does_not_overrule_a_build(ledger: Ledger) -> None:
    create_attempt(ledger, an_attempt())
    ledger.set_attempt_status(an_attempt(), AttemptStatus.SUBMITTED)
    sent = replace(an_attempt(), status=AttemptStatus.SUBMITTED)
    ledger.record_build(sent, "arn:1", NOW)

    stored = ledger.set_attempt_status(sent, AttemptStatus.REFUSED)

    assert (stored.status, stored.build_arn) == (AttemptStatus.SUBMITTED, "arn:1")


def test_an_outdated_writer_does_not_overwrite_the_ledger(ledger: Ledger) -> None:
    create_attempt(ledger, an_attempt())

    for status in (AttemptStatus.SUBMITTED, AttemptStatus.LOST):
        stored = ledger.set_attempt_status(an_attempt(), status)
        assert stored.status is AttemptStatus.SUBMITTED


def test_a_written_answer_is_never_replaced(ledger: Ledger) -> None:
    run = claimed(ledger)

    first, first_is_new = ledger.record_answer(run, '{"a": 1}', EndedBuilds(), NOW)
    second, second_is_new = ledger.record_answer(run, '{"a": 2}', EndedBuilds(), NOW)
    ledger.mark_answered(run, "then")
    ledger.mark_answered(run, "later")

    found = ledger.get_run(run.upload_id)
    assert found is not None
    assert first.answer_json == second.answer_json == found.answer_json == '{"a": 1}'
    assert (first_is_new, second_is_new) == (True, False)
    assert found.answered_at == "then"


def test_the_first_time_of_a_status_is_kept(ledger: Ledger) -> None:
    run = claimed(ledger)

    for status, now in (("PENDING", "t1"), ("BUILDING", "t2"), ("PENDING", "t3")):
        ledger.record_status_seen(run.upload_id, 0, status, now)

    found = ledger.get_run(run.upload_id)
    assert found is not None
    assert found.status_first_seen_at == {"PENDING": "t1", "BUILDING": "t2"}


def test_a_run_that_was_never_claimed_is_not_written_to(ledger: Ledger) -> None:
    nobodys = replace(claimed(ledger), upload_id="nobody")

    ledger.record_decision(nobodys, a_plan())
    ledger.link_build(nobodys, "arn")

    assert ledger.get_run("nobody") is None


def test_only_an_answered_run_expires(ledger: Ledger) -> None:
    upload = an_upload()
    ledger = replace(ledger, run_retention=timedelta(days=30))
    run = ledger.claim(upload, "execution-1", "2026-11-01T00:00:00+00:00")
    assert run is not None
    assert not any("expiresAt" in item for item in ledger.table.scan()["Items"])

    ledger.mark_answered(run, "2026-11-02T00:00:00.500+00:00")
    ledger.mark_answered(run, "2026-12-02T00:00:00.500+00:00")

    (item,) = [each for each in ledger.table.scan()["Items"] if "expiresAt" in each]
    ends = datetime.fromtimestamp(int(item["expiresAt"]), UTC)  # type: ignore[arg-type] # a number
    assert item["pk"] == f"UPLOAD#{run.upload_id}"
    assert ends == datetime(2026, 12, 2, tzinfo=UTC)


def test_a_run_is_kept_forever_by_default(ledger: Ledger) -> None:
    run = ledger.claim(an_upload(), "execution-1", "2026-11-01T00:00:00+00:00")
    assert run is not None
    ledger.mark_answered(run, "2026-11-02T00:00:00+00:00")
    assert not any("expiresAt" in item for item in ledger.table.scan()["Items"])


def test_the_uploader_is_recorded_until_it_is_erased(ledger: Ledger) -> None:
    upload = an_upload()
    ledger.claim(upload, "execution-1", "2026-11-01", RunRequest(uploader="123456789012"))
    kept = ledger.get_run(upload_id(upload))
    assert kept is not None
    assert kept.run_request.uploader == "123456789012"
    assert ("uploaded by", "123456789012") in to_pairs(kept)
    assert as_json(kept)["uploader"] == "123456789012"

    ledger.table.update_item(Key=run_key(kept), UpdateExpression="REMOVE uploader")

    erased = ledger.get_run(upload_id(upload))
    assert erased is not None
    assert as_json(erased)["uploader"] is None
    assert "uploaded by" not in dict(to_pairs(erased))
