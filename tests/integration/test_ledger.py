"""The ledger: every write on a condition, so that repeats and races end in the same items."""

from dataclasses import replace

import pytest

from isodrop.aws.ledger import Ledger
from isodrop.aws.ledger_items import UnreadableItemError
from isodrop.codes import Code, Rejection
from isodrop.domain.ids import drop_id
from isodrop.domain.model import Ask, ImportPlan
from isodrop.domain.planning import decide
from isodrop.domain.run import Attempt, Drop, Standing, State, Trouble
from isodrop.errors import TransientError
from isodrop.iso.model import Media
from tests.support.builders import a_business_disc, an_upload, some_settings

NOW = "2026-11-24T09:00:00.000+00:00"


def a_plan(media: Media | None = None) -> ImportPlan:
    plan = decide(an_upload(), media or a_business_disc(), {}, some_settings())
    assert isinstance(plan, ImportPlan)
    return plan


def an_attempt(number: int = 0, drop: str = "d0") -> Attempt:
    return Attempt(
        identity="i",
        number=number,
        drop_id=drop,
        ask=0,
        source=an_upload(),
        request={"clientToken": f"token-{number}", "tags": {"a": "b"}},
        build_arn=None,
        standing=Standing.OPEN,
    )


def claimed(ledger: Ledger) -> Drop:
    drop = ledger.claim(an_upload(), "execution-1", NOW)
    assert drop is not None
    return drop


def test_an_upload_belongs_to_the_execution_that_claims_it_first(ledger: Ledger) -> None:
    mine = ledger.claim(an_upload(), "execution-1", NOW)
    again = ledger.claim(an_upload(), "execution-1", "later")
    other = ledger.claim(an_upload(), "execution-2", NOW)

    assert mine is not None
    assert mine == again
    assert mine.id == drop_id(an_upload())
    assert other is None


def test_a_claim_that_cannot_be_read_back_is_asked_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an answer that is cut off, which botocore takes for one without an item
    monkeypatch.setattr(Ledger, "drop", lambda *_: None)

    with pytest.raises(TransientError):
        ledger.claim(an_upload(), "execution-1", NOW)


def test_another_write_of_the_same_key_is_another_drop(ledger: Ledger) -> None:
    claimed(ledger)

    assert ledger.claim(an_upload(version_id="2"), "execution-2", NOW) is not None


@pytest.mark.parametrize(
    "verdict",
    [a_plan(), Rejection.of(Code.SERVER_MEDIA), replace(a_plan(), notes=("ä\n",), release=None)],
)
def test_a_verdict_once_written_stands(ledger: Ledger, verdict: ImportPlan | Rejection) -> None:
    drop = claimed(ledger)

    ledger.decide(drop, verdict)
    ledger.decide(drop, Rejection.of(Code.TRUNCATED))

    found = ledger.drop(drop.id)
    assert found is not None
    assert found.verdict == verdict


def test_an_attempt_is_written_once_and_read_as_it_was_frozen(ledger: Ledger) -> None:
    assert ledger.begin(an_attempt(0))
    assert not ledger.begin(replace(an_attempt(0), drop_id="d1", request={"clientToken": "other"}))
    assert ledger.begin(an_attempt(1))

    assert ledger.attempts("i") == (an_attempt(0), an_attempt(1))
    assert ledger.attempts("another") == ()
    assert ledger.attempts("i")[1].token == "token-1"  # noqa: S105 - no secret


def test_attempts_come_in_the_order_of_their_numbers(ledger: Ledger) -> None:
    for number in (11, 2, 0, 10, 1):
        ledger.begin(an_attempt(number))

    assert [attempt.number for attempt in ledger.attempts("i")] == [0, 1, 2, 10, 11]


def test_what_became_of_an_attempt_is_written_once(ledger: Ledger) -> None:
    ledger.begin(an_attempt())

    ledger.built(an_attempt(), "arn:1", NOW)
    ledger.built(an_attempt(), "arn:2", NOW)
    ledger.stand(an_attempt(), Standing.LOST)
    ledger.stand(an_attempt(), Standing.GOOD)

    (found,) = ledger.attempts("i")
    assert (found.build_arn, found.standing) == ("arn:1", Standing.LOST)


def test_a_drop_follows_one_attempt_and_one_build(ledger: Ledger) -> None:
    drop = claimed(ledger)

    ledger.follow(drop, an_attempt(0))
    ledger.follow(drop, an_attempt(1))
    ledger.followed(drop, "arn:1")
    ledger.followed(drop, "arn:2")

    found = ledger.drop(drop.id)
    assert found is not None
    assert (found.identity, found.attempt, found.build_arn) == ("i", 0, "arn:1")


def test_the_first_trouble_stands_and_there_is_none_where_there_is_a_build(ledger: Ledger) -> None:
    hindered, built = claimed(ledger), ledger.claim(an_upload("b.iso"), "execution-2", NOW)
    assert built is not None
    ledger.followed(built, "arn:1")

    assert ledger.hinder(hindered, Trouble(Code.ACCESS_DENIED, "first"))
    assert not ledger.hinder(hindered, Trouble(Code.IMPORT_REFUSED, "second"))
    assert not ledger.hinder(built, Trouble(Code.BUILD_CANCELLED, "too late"))

    (found,), (other,) = ledger.asks(hindered.id), ledger.asks(built.id)
    assert found.trouble == Trouble(Code.ACCESS_DENIED, "first")
    assert other.trouble is None


def test_each_ask_for_an_upload_is_claimed_and_answered_for_itself(ledger: Ledger) -> None:
    first = claimed(ledger)
    ledger.answer(first, '{"a": 0}')
    ask = Ask(1, {"edition": "EnterpriseN"})

    second = ledger.claim(an_upload(), "execution-2", NOW, ask)
    taken = ledger.claim(an_upload(), "execution-3", NOW, ask)

    assert second is not None
    assert taken is None
    assert (second.id, second.ask, second.answer) == (first.id, ask, None)
    assert ledger.answer(second, '{"a": 1}') == '{"a": 1}'
    assert [drop.answer for drop in ledger.asks(first.id)] == ['{"a": 0}', '{"a": 1}']


def test_an_attempt_of_one_ask_is_not_anothers(ledger: Ledger) -> None:
    first = claimed(ledger)
    second = ledger.claim(an_upload(), "execution-2", NOW, Ask(1))
    assert second is not None

    assert an_attempt(drop=first.id).is_of(first)
    assert not an_attempt(drop=first.id).is_of(second)


def test_drops_are_listed_by_state_in_the_order_of_their_claims(ledger: Ledger) -> None:
    drops = [
        ledger.claim(an_upload(f"{hour}.iso"), f"execution-{hour}", f"2026-11-24T{hour}:00")
        for hour in (11, 9, 10, 12)
    ]
    answered = drops[1]
    assert answered is not None
    ledger.answered(answered, NOW)

    told: list[UnreadableItemError] = []

    still = list(ledger.in_state(State.OPEN))
    newest = ledger.marked(ledger.in_state(State.OPEN, newest_first=True), told.append)
    rest = ledger.marked(ledger.in_state(State.OPEN, after=still[0]), told.append)
    over = ledger.marked(ledger.in_state(State.ANSWERED), told.append)

    assert [mark["claimed"] for mark in still] == [f"2026-11-24T{hour}:00" for hour in (10, 11, 12)]
    assert [drop.upload.key for drop in newest] == ["12.iso", "11.iso", "10.iso"]
    assert [drop.upload.key for drop in rest] == ["11.iso", "12.iso"]
    assert [drop.id for drop in over] == [answered.id]
    assert not told


def test_of_many_uploads_those_are_known_that_somebody_has_claimed(ledger: Ledger) -> None:
    claims = [ledger.claim(an_upload(f"{n}.iso"), f"execution-{n}", NOW) for n in range(130)]
    ids = [drop.id for drop in claims if drop is not None]

    assert ledger.known([*ids, "nobodys"]) == frozenset(ids)
    assert ledger.known([]) == frozenset()


def test_what_a_sweep_leaves_the_next_one_finds(ledger: Ledger) -> None:
    before = ledger.sweep()

    ledger.swept({"since": NOW, "at": None})

    assert before is None
    assert ledger.sweep() == {"since": NOW, "at": None}


def test_who_comes_second_is_told_which_attempt_stands(ledger: Ledger) -> None:
    drop = claimed(ledger)

    assert ledger.follow(drop, an_attempt(3)) == 3
    assert ledger.follow(drop, an_attempt(4)) == 3


def test_a_refusal_does_not_overrule_a_build(ledger: Ledger) -> None:
    ledger.begin(an_attempt())
    ledger.stand(an_attempt(), Standing.SENT)
    sent = replace(an_attempt(), standing=Standing.SENT)
    ledger.built(sent, "arn:1", NOW)

    assert ledger.stand(sent, Standing.REFUSED) is Standing.SENT


def test_who_knows_less_than_the_ledger_does_not_overrule_it(ledger: Ledger) -> None:
    ledger.begin(an_attempt())

    assert ledger.stand(an_attempt(), Standing.SENT) is Standing.SENT
    assert ledger.stand(an_attempt(), Standing.LOST) is Standing.SENT


def test_an_answer_once_written_is_the_answer(ledger: Ledger) -> None:
    drop = claimed(ledger)

    first = ledger.answer(drop, '{"a": 1}')
    second = ledger.answer(drop, '{"a": 2}')
    ledger.answered(drop, "then")
    ledger.answered(drop, "later")

    found = ledger.drop(drop.id)
    assert found is not None
    assert first == second == found.answer == '{"a": 1}'
    assert found.answered == "then"


def test_the_first_sight_of_a_status_is_kept(ledger: Ledger) -> None:
    drop = claimed(ledger)

    ledger.saw(drop, "PENDING", "t1")
    ledger.saw(drop, "BUILDING", "t2")
    ledger.saw(drop, "PENDING", "t3")  # the drop in hand is older than what is written

    found = ledger.drop(drop.id)
    assert found is not None
    assert found.timeline == {"PENDING": "t1", "BUILDING": "t2"}


def test_a_drop_that_nobody_claimed_is_not_written_to(ledger: Ledger) -> None:
    nobodys = replace(claimed(ledger), id="nobody")

    ledger.decide(nobodys, a_plan())
    ledger.followed(nobodys, "arn")

    assert ledger.drop("nobody") is None
