"""The budget of paid builds: exact under races and kills, and given back where none came."""

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
from isodrop.domain.budget import BudgetUse, BuildLimits, day_of
from isodrop.domain.model import Ask, Upload
from isodrop.domain.run import Attempt, Standing
from isodrop.errors import QuotaError, RejectedError, TransientError
from isodrop.services.budget import NEVER_FOUND
from isodrop_local.iso_maker import business_editions
from tests.support.builders import an_upload
from tests.support.harness import Way, refuse

DAY = "2026-11-25"
NOW = "2026-11-25T10:00:00.000+00:00"
LIMITS = BuildLimits(at_once=3, per_day=5)


@pytest.fixture
def way(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> Way:
    way = Way(session, ledger, tmp_path, limits=LIMITS)
    # In the morning: a few builds one after the other are to end on the same day.
    way.clock.now = datetime.now(UTC).replace(hour=3, minute=0, second=0).timestamp() // 1
    return way


def an_attempt(identity: str, number: int = 0, **changes: Any) -> Attempt:
    attempt = Attempt(
        identity=identity,
        number=number,
        drop_id="d0d0",
        ask=0,
        source=an_upload(),
        request={"clientToken": identity},
        build_arn=None,
        standing=Standing.OPEN,
        day=DAY,
    )
    return replace(attempt, **changes)


def use(way: Way) -> tuple[int, int]:
    found = way.ledger.budget_use(day_of(way.clock.time()))
    return found.at_once, found.today


def other(way: Way, number: int) -> Upload:
    """An upload of an ISO like no other."""
    body = way.iso(business_editions(revision=3000 + number))
    return way.upload(f"{number}.iso", body)


def taken(way: Way, upload: Upload, execution: str = "execution-1", ask: Ask | None = None) -> str:
    """What came of an upload's intake: its decision, or that it waits."""
    try:
        return way.intake.take(upload, execution, ask or Ask()).decision.value
    except QuotaError:
        return "waits"


def code(way: Way, upload: Upload, execution: str = "execution-1", ask: Ask | None = None) -> str:
    trouble = way.drop(upload, execution, ask or Ask()).trouble
    assert trouble is not None
    return trouble.code


# The counters


def test_what_is_begun_is_counted_with_the_attempt_and_only_once(ledger: Ledger) -> None:
    assert ledger.begin(an_attempt("a"), LIMITS)
    assert not ledger.begin(an_attempt("a"), LIMITS)

    assert ledger.budget_use(DAY) == BudgetUse(1, 1, LIMITS)
    assert ledger.under_way() == [("a", 0)]
    (found,) = ledger.attempts("a")
    assert found.day == DAY


def test_no_more_are_under_way_than_may_be_and_nothing_is_written(ledger: Ledger) -> None:
    for name in "abc":
        ledger.begin(an_attempt(name), LIMITS)

    with pytest.raises(QuotaError, match="MaxBuildsAtOnce"):
        ledger.begin(an_attempt("d"), LIMITS)

    assert ledger.attempts("d") == ()
    assert ledger.budget_use(DAY) == BudgetUse(3, 3, LIMITS)


def test_no_more_are_begun_in_a_day_than_may_be_and_the_next_day_is_another(
    ledger: Ledger,
) -> None:
    for name in "abcde":
        ledger.begin(an_attempt(name), LIMITS)
        ledger.release(an_attempt(name))

    with pytest.raises(RejectedError) as caught:
        ledger.begin(an_attempt("f"), LIMITS)

    assert caught.value.code is Code.BUDGET_USED_UP
    assert ledger.attempts("f") == ()
    assert ledger.begin(an_attempt("f", day="2026-11-26"), LIMITS)
    assert ledger.budget_use(DAY).today == 5


def test_an_attempt_that_is_there_is_followed_though_the_budget_is_used_up(
    ledger: Ledger,
) -> None:
    limits = BuildLimits(1, 1)
    ledger.begin(an_attempt("a"), limits)

    assert ledger.begin(an_attempt("a"), limits) is False


def test_releasing_twice_or_what_never_was_changes_nothing(ledger: Ledger) -> None:
    ledger.release(an_attempt("never"))
    for name in "ab":
        ledger.begin(an_attempt(name), LIMITS)

    ledger.release(an_attempt("a"))
    ledger.release(an_attempt("a"))

    assert ledger.under_way() == [("b", 0)]
    assert ledger.budget_use(DAY) == BudgetUse(1, 2, LIMITS)


@pytest.mark.parametrize("standing", [Standing.REFUSED, Standing.LOST])
def test_what_came_to_nothing_is_given_back_once(ledger: Ledger, standing: Standing) -> None:
    attempt = an_attempt("a")
    ledger.begin(attempt, LIMITS)
    ledger.begin(an_attempt("b"), LIMITS)

    assert ledger.stand(attempt, standing) is standing
    assert ledger.stand(attempt, standing) is standing

    assert ledger.budget_use(DAY) == BudgetUse(1, 1, LIMITS)


def test_a_refusal_that_comes_after_the_build_gives_nothing_back(ledger: Ledger) -> None:
    attempt = an_attempt("a")
    ledger.begin(attempt, LIMITS)
    ledger.stand(attempt, Standing.SENT)
    ledger.built(attempt, "arn:build", NOW)

    assert ledger.stand(replace(attempt, standing=Standing.SENT), Standing.REFUSED) is Standing.SENT

    assert ledger.budget_use(DAY) == BudgetUse(1, 1, LIMITS)


def test_a_conflict_with_another_transaction_is_waited_out(ledger: Ledger) -> None:
    def conflict(**_: Any) -> None:
        reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}, {"Code": "None"}]
        error = {"Error": {"Code": "TransactionCanceledException", "Message": "busy"}}
        said: Any = error | {"CancellationReasons": reasons}
        raise ClientError(said, "TransactWriteItems")

    events = ledger.table.meta.client.meta.events
    events.register_first("before-call.dynamodb.TransactWriteItems", conflict)
    with pytest.raises(TransientError, match="TransactionConflict"):
        ledger.begin(an_attempt("a"), LIMITS)
    events.unregister("before-call.dynamodb.TransactWriteItems", conflict)

    assert ledger.begin(an_attempt("a"), LIMITS)


# On the way of an upload


def test_twelve_rebuilds_of_one_iso_cost_what_the_operator_allowed(way: Way) -> None:
    body = way.iso()
    decisions = [
        taken(way, way.upload(f"{number}.iso", body, rebuild=str(number))) for number in range(12)
    ]

    assert decisions == ["follow"] * 3 + ["waits"] * 9
    assert (way.submissions(), use(way)) == (3, (3, 3))


def test_by_default_twelve_rebuilds_of_one_iso_are_twelve_rejections(way: Way) -> None:
    settings = replace(way.settings, allowed_overrides=frozenset({"edition"}))
    way.settings = settings
    body = way.iso()
    for number in range(12):
        way.follow(way.upload(f"{number}.iso", body, rebuild=str(number)), f"execution-{number}")

    assert {answer["detail"]["data"]["code"] for answer in way.answers()} == {"invalid-override"}
    assert way.submissions() == 0


def test_an_iso_that_is_too_small_or_too_large_costs_nothing(way: Way) -> None:
    way.settings = replace(way.settings, min_iso_megabytes=1024)
    way.follow(way.upload("small.iso"), "execution-1")
    way.settings = replace(way.settings, min_iso_megabytes=0, max_iso_gigabytes=0)
    way.follow(way.upload("large.iso"), "execution-2")

    codes = [answer["detail"]["data"]["code"] for answer in way.answers()]
    assert codes == [Code.TOO_SMALL, Code.TOO_LARGE]
    assert (way.submissions(), way.staged(), use(way)) == (0, [], (0, 0))


def test_who_waits_is_served_when_a_build_ends(way: Way) -> None:
    first = [other(way, number) for number in range(3)]
    for upload in first:
        taken(way, upload)
    late = other(way, 3)
    assert taken(way, late) == "waits"
    assert taken(way, late) == "waits"

    way.follow(first[0])

    assert taken(way, late) == "follow"
    assert use(way) == (3, 4)


def test_uploads_that_share_a_build_count_once(way: Way) -> None:
    body = way.iso()
    for number in range(8):
        assert taken(way, way.upload(f"{number}.iso", body)) == "follow"

    assert (way.submissions(), use(way)) == (1, (1, 1))


def test_a_used_up_budget_is_answered_and_another_day_it_is_built(way: Way) -> None:
    for number in range(5):
        way.follow(other(way, number))
    late = other(way, 5)
    way.heard()

    way.follow(late)

    (answer,) = way.answers()
    data = answer["detail"]["data"]
    assert answer["detail-type"] == "ISO Import Rejected"
    assert (data["code"], "isodrop retry" in data["remedy"]) == (Code.BUDGET_USED_UP, True)
    assert way.staged() == []
    way.later(days=1)
    way.follow(late, "execution-2", Ask(1))
    (answer,) = way.answers()
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert use(way) == (0, 1)


def test_a_refused_import_is_no_build_and_is_given_back(way: Way) -> None:
    upload = way.upload()
    refuse(way.builder.imagebuilder, "ImportDiskImage")

    way.follow(upload)

    assert code(way, upload) == Code.ACCESS_DENIED
    assert use(way) == (0, 0)


def test_a_failed_build_counts_for_its_day_and_is_under_way_no_more(way: Way) -> None:
    way.image_builder.controls.fail_next_build(status="BUILDING")

    way.follow(way.upload())

    assert use(way) == (0, 1)


# What the sweep repairs


def test_a_build_whose_execution_was_aborted_is_released_when_it_ends(way: Way) -> None:
    upload, execution = other(way, 0), way.run("aborted")
    taken(way, upload, execution)
    way.abort(execution)
    way.later(minutes=11)
    assert way.sweep().released == 0
    assert use(way) == (1, 1)
    way.later(hours=14)

    way.sweep()

    assert use(way)[0] == 0


def test_one_that_was_killed_before_its_request_was_sent_is_given_back(way: Way) -> None:
    upload, execution = other(way, 0), way.run("killed")

    def kill(**_: Any) -> None:
        raise KeyboardInterrupt

    events = way.client("s3").meta.events
    events.register("before-call.s3.HeadObject", kill)
    with pytest.raises(KeyboardInterrupt):
        taken(way, upload, execution)
    events.unregister("before-call.s3.HeadObject", kill)
    assert use(way) == (1, 1)
    way.abort(execution)
    way.later(minutes=11)

    way.sweep()
    way.sweep()

    assert use(way) == (0, 0)
    assert way.submissions() == 0


def test_a_request_that_may_have_been_sent_is_released_after_an_hour(way: Way) -> None:
    upload, execution = other(way, 0), way.run("killed")

    def kill(**_: Any) -> None:
        raise KeyboardInterrupt

    events = way.builder.imagebuilder.meta.events
    events.register("before-call.imagebuilder.ImportDiskImage", kill)
    with pytest.raises(KeyboardInterrupt):
        taken(way, upload, execution)
    way.abort(execution)
    way.later(minutes=11)
    way.sweep()
    assert use(way) == (1, 1)
    way.clock.now += NEVER_FOUND.total_seconds()

    way.sweep()

    # It may have been sent, so it counts for its day.
    assert way.ledger.under_way() == []
    assert way.submissions() == 0


def test_the_sweep_tells_how_much_is_used(way: Way) -> None:
    for number in range(2):
        taken(way, other(way, number))

    tally = way.sweep()

    assert (tally.builds_at_once, tally.builds_today, tally.troubles) == (2, 2, 0)


# Many at once


class KilledError(BaseException):
    """What ends a process, and no handler of exceptions stops."""


@pytest.fixture
def killer(way: Way) -> Iterator[random.Random]:
    """Let one in six writes of the ledger, or sendings, be the last thing that a function does."""
    dice = random.Random(13)  # noqa: S311 # repeatable, not secret

    def maybe(**_: Any) -> None:
        if dice.random() < 1 / 6:
            raise KilledError

    places = [
        (way.ledger.table.meta.client, "dynamodb.TransactWriteItems"),
        (way.ledger.table.meta.client, "dynamodb.UpdateItem"),
        (way.builder.imagebuilder, "imagebuilder.ImportDiskImage"),
    ]
    for client, operation in places:
        for when in ("before-call", "after-call"):
            client.meta.events.register(f"{when}.{operation}", maybe)
    yield dice
    for client, operation in places:
        for when in ("before-call", "after-call"):
            client.meta.events.unregister(f"{when}.{operation}", maybe)


def test_300_at_once_with_kills_cost_exactly_what_is_allowed(
    way: Way, killer: random.Random
) -> None:
    """In one process, in an order that the dice choose; each is begun again until it is through."""
    way.limits = BuildLimits(at_once=7, per_day=20)
    ledger = way.ledger
    states: dict[str, str] = {}
    highest = 0
    waiting = [f"import-{number}" for number in range(300)]
    open_ones: list[str] = []
    while waiting or open_ones:
        if waiting and (not open_ones or killer.random() < 0.8):
            name = killer.choice(waiting)
            try:
                existing = ledger.attempts(name)
                if existing or ledger.begin(an_attempt(name), way.limits):
                    states[name] = "begun"
                    open_ones.append(name)
                    waiting.remove(name)
            except KilledError:
                continue  # begun again by the state machine
            except QuotaError:
                pass
            except RejectedError:
                states[name] = "rejected"
                waiting.remove(name)
        if open_ones and killer.random() < 0.3:
            name = open_ones[0]
            try:
                ledger.release(an_attempt(name))
                open_ones.pop(0)
            except KilledError:
                continue
        highest = max(highest, len(ledger.under_way()))

    begun = [name for name, state in states.items() if state == "begun"]
    assert (len(begun), len(states)) == (20, 300)
    assert highest == 7
    assert sum(len(ledger.attempts(f"import-{number}")) for number in range(300)) == 20
    assert ledger.budget_use(DAY).today == 20
    assert ledger.under_way() == []
