"""The limits on builds: exact under races and kills, and only builds that started count."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.build_limits import BuildLimits, BuildUsage, utc_day
from isodrop.domain.model import RunRequest, Upload
from isodrop.domain.run import Attempt, AttemptStatus, Run
from isodrop.errors import QuotaError, RejectedError, TransientError
from isodrop.services.build_audit import SEARCH_PERIOD
from isodrop_local.iso_maker import business_editions
from tests.support.builders import an_upload
from tests.support.harness import ImportHarness, refuse
from tests.support.ledger_actions import claim_any_run, create_attempt

DAY = "2026-11-25"
NOW = "2026-11-25T10:00:00.000+00:00"
LIMITS = BuildLimits(at_once=3, per_day=5)


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    harness = ImportHarness(session, ledger, tmp_path, limits=LIMITS)
    # In the morning, so that several successive builds end on the same day.
    harness.clock.now = datetime.now(UTC).replace(hour=3, minute=0, second=0).timestamp() // 1
    return harness


def an_attempt(identity: str, number: int = 0, **changes: Any) -> Attempt:
    attempt = Attempt(
        task_key=identity,
        number=number,
        upload_id="d0d0",
        run_number=0,
        source=an_upload(),
        request={"clientToken": identity},
        build_arn=None,
        status=AttemptStatus.PREPARED,
        day=DAY,
    )
    return replace(attempt, **changes)


def use(harness: ImportHarness) -> tuple[int, int]:
    found = harness.ledger.read_build_usage(utc_day(harness.clock.time()))
    return found.under_way, found.today


def other(harness: ImportHarness, number: int) -> Upload:
    """An upload of an ISO that no other upload has."""
    body = harness.iso(business_editions(revision=3000 + number))
    return harness.upload(f"{number}.iso", body)


def taken(
    harness: ImportHarness,
    upload: Upload,
    execution: str = "execution-1",
    request: RunRequest | None = None,
) -> str:
    """The result of an upload's intake: its decision, or that it waits."""
    try:
        return harness.intake.process(upload, execution, request or RunRequest()).next_step.value
    except QuotaError:
        return "waits"


def code(
    harness: ImportHarness,
    upload: Upload,
    execution: str = "execution-1",
    request: RunRequest | None = None,
) -> str:
    failure = harness.claim_run(upload, execution, request or RunRequest()).import_build.failure
    assert failure is not None
    return failure.code


# The counters


def test_a_build_is_counted_with_its_attempt_and_only_once(ledger: Ledger) -> None:
    assert create_attempt(ledger, an_attempt("a"), LIMITS)
    assert not create_attempt(ledger, an_attempt("a"), LIMITS)

    assert ledger.read_build_usage(DAY) == BuildUsage(1, 1, LIMITS)
    assert ledger.list_under_way() == [("a", 0)]
    (found,) = ledger.list_attempts("a")
    assert found.day == DAY


def test_beyond_the_concurrency_limit_nothing_is_written(ledger: Ledger) -> None:
    for name in "abc":
        create_attempt(ledger, an_attempt(name), LIMITS)

    with pytest.raises(QuotaError, match="MaxBuildsAtOnce"):
        create_attempt(ledger, an_attempt("d"), LIMITS)

    assert ledger.list_attempts("d") == ()
    assert ledger.read_build_usage(DAY) == BuildUsage(3, 3, LIMITS)


def test_beyond_the_daily_limit_nothing_starts_until_the_next_day(
    ledger: Ledger,
) -> None:
    for name in "abcde":
        create_attempt(ledger, an_attempt(name), LIMITS)
        ledger.free_slot(an_attempt(name).key)

    with pytest.raises(RejectedError) as caught:
        create_attempt(ledger, an_attempt("f"), LIMITS)

    assert caught.value.code is Code.DAILY_LIMIT_REACHED
    assert ledger.list_attempts("f") == ()
    assert create_attempt(ledger, an_attempt("f", day="2026-11-26"), LIMITS)
    assert ledger.read_build_usage(DAY).today == 5


def test_an_existing_attempt_is_tracked_when_the_limit_is_reached(
    ledger: Ledger,
) -> None:
    limits = BuildLimits(1, 1)
    create_attempt(ledger, an_attempt("a"), limits)

    assert create_attempt(ledger, an_attempt("a"), limits) is False


def test_releasing_twice_or_an_unknown_build_changes_nothing(ledger: Ledger) -> None:
    ledger.free_slot(an_attempt("never").key)
    for name in "ab":
        create_attempt(ledger, an_attempt(name), LIMITS)

    ledger.free_slot(an_attempt("a").key)
    ledger.free_slot(an_attempt("a").key)

    assert ledger.list_under_way() == [("b", 0)]
    assert ledger.read_build_usage(DAY) == BuildUsage(1, 2, LIMITS)


@pytest.mark.parametrize("status", [AttemptStatus.REFUSED, AttemptStatus.LOST])
def test_an_attempt_without_a_build_stops_counting_once(
    ledger: Ledger, status: AttemptStatus
) -> None:
    attempt = an_attempt("a")
    create_attempt(ledger, attempt, LIMITS)
    create_attempt(ledger, an_attempt("b"), LIMITS)

    assert ledger.set_attempt_status(attempt, status).status is status
    assert ledger.set_attempt_status(attempt, status).status is status

    assert ledger.read_build_usage(DAY) == BuildUsage(1, 1, LIMITS)


def test_an_attempt_with_a_build_counts_despite_a_later_refusal(ledger: Ledger) -> None:
    attempt = an_attempt("a")
    create_attempt(ledger, attempt, LIMITS)
    ledger.set_attempt_status(attempt, AttemptStatus.SUBMITTED)
    ledger.record_build(attempt, "arn:build", NOW)

    sent = replace(attempt, status=AttemptStatus.SUBMITTED)
    stored = ledger.set_attempt_status(sent, AttemptStatus.REFUSED)

    assert stored.status is AttemptStatus.SUBMITTED

    assert ledger.read_build_usage(DAY) == BuildUsage(1, 1, LIMITS)


@pytest.mark.parametrize("conflicts", [1, 2, 3])
def test_a_conflict_with_another_transaction_is_waited_out(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, conflicts: int
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("isodrop.aws.transactions.time.sleep", pauses.append)
    left = [None] * conflicts

    def conflict(**_: Any) -> None:
        if not left:
            return
        left.pop()
        reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}, {"Code": "None"}]
        error = {"Error": {"Code": "TransactionCanceledException", "Message": "busy"}}
        response: Any = error | {"CancellationReasons": reasons}
        raise ClientError(response, "TransactWriteItems")

    events = ledger.table.meta.client.meta.events
    events.register_first("before-call.dynamodb.TransactWriteItems", conflict)
    if conflicts > 2:
        with pytest.raises(TransientError, match="TransactionConflict"):
            create_attempt(ledger, an_attempt("a"), LIMITS)
    else:
        assert create_attempt(ledger, an_attempt("a"), LIMITS)
    events.unregister("before-call.dynamodb.TransactWriteItems", conflict)

    assert len(pauses) == min(conflicts, 2)
    assert all(0 <= pause <= 0.5 for pause in pauses)
    assert create_attempt(ledger, an_attempt("a"), LIMITS) == (conflicts > 2)


# During an upload


def test_twelve_rebuilds_of_one_iso_stay_within_the_limits(harness: ImportHarness) -> None:
    body = harness.iso()
    decisions = [
        taken(harness, harness.upload(f"{number}.iso", body, rebuild=str(number)))
        for number in range(12)
    ]

    assert decisions == ["track"] * 3 + ["waits"] * 9
    assert (harness.submissions(), use(harness)) == (3, (3, 3))


def test_by_default_twelve_rebuilds_of_one_iso_are_twelve_rejections(
    harness: ImportHarness,
) -> None:
    settings = replace(harness.settings, allowed_overrides=frozenset({"edition"}))
    harness.settings = settings
    body = harness.iso()
    for number in range(12):
        harness.follow(
            harness.upload(f"{number}.iso", body, rebuild=str(number)), f"execution-{number}"
        )

    assert {answer["detail"]["data"]["code"] for answer in harness.answers()} == {
        "invalid-override"
    }
    assert harness.submissions() == 0


def test_an_iso_of_the_wrong_size_does_not_count(harness: ImportHarness) -> None:
    harness.settings = replace(harness.settings, min_iso_megabytes=1024)
    harness.follow(harness.upload("small.iso"), "execution-1")
    harness.settings = replace(harness.settings, min_iso_megabytes=0, max_iso_gigabytes=0)
    harness.follow(harness.upload("large.iso"), "execution-2")

    codes = [answer["detail"]["data"]["code"] for answer in harness.answers()]
    assert codes == [Code.TOO_SMALL, Code.TOO_LARGE]
    assert (harness.submissions(), harness.staged(), use(harness)) == (0, [], (0, 0))


def test_a_waiting_import_starts_when_a_build_ends(harness: ImportHarness) -> None:
    first = [other(harness, number) for number in range(3)]
    for upload in first:
        taken(harness, upload)
    late = other(harness, 3)
    assert taken(harness, late) == "waits"
    assert taken(harness, late) == "waits"

    harness.follow(first[0])

    assert taken(harness, late) == "track"
    assert use(harness) == (3, 4)


def test_uploads_that_share_a_build_count_once(harness: ImportHarness) -> None:
    body = harness.iso()
    for number in range(8):
        assert taken(harness, harness.upload(f"{number}.iso", body)) == "track"

    assert (harness.submissions(), use(harness)) == (1, (1, 1))


def test_an_upload_over_the_limit_is_rejected_and_built_on_another_day(
    harness: ImportHarness,
) -> None:
    for number in range(5):
        harness.follow(other(harness, number))
    late = other(harness, 5)
    harness.published()

    harness.follow(late)

    (answer,) = harness.answers()
    data = answer["detail"]["data"]
    assert answer["detail-type"] == "ISO Import Rejected"
    assert (data["code"], "isodrop retry" in data["remedy"]) == (Code.DAILY_LIMIT_REACHED, True)
    assert harness.staged() == []
    harness.advance_clock(days=1)
    harness.follow(late, "execution-2", RunRequest(1))
    (answer,) = harness.answers()
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert use(harness) == (0, 1)


def test_a_refused_import_does_not_count(harness: ImportHarness) -> None:
    upload = harness.upload()
    refuse(harness.builder.imagebuilder, "ImportDiskImage")

    harness.follow(upload)

    assert code(harness, upload) == Code.ACCESS_DENIED
    assert use(harness) == (0, 0)


def test_a_failed_build_counts_for_its_day_but_is_no_longer_running(harness: ImportHarness) -> None:
    harness.image_builder.controls.fail_next_build(status="BUILDING")

    harness.follow(harness.upload())

    assert use(harness) == (0, 1)


# Repairs by the sweep


def test_the_build_of_an_aborted_execution_is_released_when_it_ends(
    harness: ImportHarness,
) -> None:
    upload, execution = other(harness, 0), harness.run("aborted")
    taken(harness, upload, execution)
    harness.abort(execution)
    harness.advance_clock(minutes=11)
    assert harness.sweep().freed == 0
    assert use(harness) == (1, 1)
    harness.advance_clock(hours=14)

    harness.sweep()

    assert use(harness)[0] == 0


def test_an_attempt_killed_before_its_request_stops_counting(
    harness: ImportHarness,
) -> None:
    upload, execution = other(harness, 0), harness.run("killed")

    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Ledger, "set_attempt_status", kill)
        with pytest.raises(KeyboardInterrupt):
            taken(harness, upload, execution)
    assert use(harness) == (1, 1)
    harness.abort(execution)
    harness.advance_clock(minutes=11)

    harness.sweep()
    harness.sweep()

    assert use(harness) == (0, 0)
    assert harness.submissions() == 0


def test_a_request_that_may_have_been_sent_is_released_after_an_hour(
    harness: ImportHarness,
) -> None:
    upload, execution = other(harness, 0), harness.run("killed")

    def kill(**_: Any) -> None:
        raise KeyboardInterrupt

    events = harness.builder.imagebuilder.meta.events
    events.register("before-call.imagebuilder.ImportDiskImage", kill)
    with pytest.raises(KeyboardInterrupt):
        taken(harness, upload, execution)
    harness.abort(execution)
    harness.advance_clock(minutes=11)
    harness.sweep()
    assert use(harness) == (1, 1)
    harness.clock.now += SEARCH_PERIOD.total_seconds()

    harness.sweep()

    # It may have been submitted, so it counts for its day.
    assert harness.ledger.list_under_way() == []
    assert harness.submissions() == 0


def test_the_sweep_reports_how_many_builds_count(harness: ImportHarness) -> None:
    for number in range(2):
        taken(harness, other(harness, number))

    summary = harness.sweep()

    assert (summary.slots_in_use, summary.builds_today, summary.errors) == (2, 2, 0)


# Many uploads at once


class KilledError(BaseException):
    """The process is killed; no handler of exceptions catches this."""


@pytest.fixture
def killer(harness: ImportHarness) -> Iterator[random.Random]:
    """Kill the function after one in six writes of the ledger or requests to Image Builder."""
    dice = random.Random(13)  # noqa: S311 # repeatable, not secret

    def maybe(**_: Any) -> None:
        if dice.random() < 1 / 6:
            raise KilledError

    places = [
        (harness.ledger.table.meta.client, "dynamodb.TransactWriteItems"),
        (harness.ledger.table.meta.client, "dynamodb.UpdateItem"),
        (harness.builder.imagebuilder, "imagebuilder.ImportDiskImage"),
    ]
    for client, operation in places:
        for when in ("before-call", "after-call"):
            client.meta.events.register(f"{when}.{operation}", maybe)
    yield dice
    for client, operation in places:
        for when in ("before-call", "after-call"):
            client.meta.events.unregister(f"{when}.{operation}", maybe)


def test_100_concurrent_uploads_with_kills_reach_the_limits_exactly(
    harness: ImportHarness, killer: random.Random
) -> None:
    """In one process and a random order; each is restarted until it finishes."""
    harness.limits = BuildLimits(at_once=7, per_day=20)
    ledger = harness.ledger
    states: dict[str, str] = {}
    highest = 0
    waiting = [f"import-{number}" for number in range(100)]
    runs: dict[str, Run] = {}
    open_ones: list[str] = []
    while waiting or open_ones:
        if waiting and (not open_ones or killer.random() < 0.8):
            name = killer.choice(waiting)
            try:
                if name not in runs:
                    runs[name] = claim_any_run(ledger)
                attempt = an_attempt(name)
                if ledger.create_attempt(runs[name], attempt, limits=harness.limits):
                    states[name] = "started"
                    open_ones.append(name)
                    waiting.remove(name)
            except KilledError:
                continue  # the state machine retries it
            except QuotaError:
                pass
            except RejectedError:
                states[name] = "rejected"
                waiting.remove(name)
        if open_ones and killer.random() < 0.3:
            name = open_ones[0]
            try:
                ledger.free_slot(an_attempt(name).key)
                open_ones.pop(0)
            except KilledError:
                continue
        highest = max(highest, len(ledger.list_under_way()))

    started = [name for name, state in states.items() if state == "started"]
    assert (len(started), len(states)) == (20, 100)
    assert highest == 7
    assert sum(len(ledger.list_attempts(f"import-{number}")) for number in range(100)) == 20
    assert ledger.read_build_usage(DAY).today == 20
    assert ledger.list_under_way() == []
