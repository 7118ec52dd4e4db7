"""An AMI that EC2 does not know yet is waited for; it is not gone, and nothing is built twice."""

from pathlib import Path

import boto3
import pytest

from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.model import Upload
from isodrop.errors import TransientError
from isodrop.services.intake import Decision
from tests.support.harness import Way, hide_amis, hide_builds, refuse


@pytest.fixture
def way(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> Way:
    return Way(session, ledger, tmp_path)


def built(way: Way, execution: str = "execution-1") -> Upload:
    """Bring an upload to the end of its build, which nobody has answered yet."""
    upload = way.upload()
    outcome = way.intake.take(upload, execution)
    assert outcome.build_arn is not None
    way.reporter.started(way.drop(upload, execution))
    way.wait_for(outcome.build_arn, upload, execution)
    return upload


def test_the_next_upload_waits_for_a_new_ami_and_shares_its_build(way: Way) -> None:
    built(way)
    hide_amis(way, minutes=3)
    again = way.upload("again.iso")

    with pytest.raises(TransientError, match="does not know"):
        way.intake.take(again, "execution-2")
    way.later(minutes=4)
    outcome = way.intake.take(again, "execution-2")

    assert outcome.decision is Decision.FOLLOW
    assert way.submissions() == 1


def test_an_ami_that_is_unknown_for_long_is_gone_and_is_built_again(way: Way) -> None:
    built(way)
    hide_amis(way, minutes=600)
    again = way.upload("again.iso")

    with pytest.raises(TransientError):
        way.intake.take(again, "execution-2")
    way.later(minutes=11)
    way.intake.take(again, "execution-2")

    assert way.submissions() == 2


def test_a_build_that_is_not_known_yet_is_shared_and_not_begun_again(way: Way) -> None:
    first = way.upload()
    way.intake.take(first, "execution-1")
    hide_builds(way, minutes=3)
    again = way.upload("again.iso")

    with pytest.raises(TransientError, match="does not know"):
        way.intake.take(again, "execution-2")
    with pytest.raises(TransientError, match="does not know"):
        way.reporter.answer(way.drop(first))
    way.later(minutes=4)
    way.intake.take(again, "execution-2")

    assert way.submissions() == 1
    assert way.answers() == []


def test_a_build_that_is_not_known_for_long_is_gone(way: Way) -> None:
    first = way.upload()
    way.intake.take(first, "execution-1")
    hide_builds(way, minutes=600)

    way.later(minutes=11)
    way.reporter.answer(way.drop(first))
    way.intake.take(way.upload("again.iso"), "execution-2")

    (answer,) = way.answers()
    assert answer["detail"]["data"]["code"] == Code.BUILD_GONE
    assert way.submissions() == 2


def test_a_build_without_amis_is_waited_for_too(way: Way) -> None:
    upload = built(way)
    arn = way.drop(upload).build_arn
    assert arn is not None
    way.image_builder.builds[arn].amis = ()

    with pytest.raises(TransientError):
        way.reporter.answer(way.drop(upload))
    way.later(minutes=11)
    way.reporter.answer(way.drop(upload))

    (answer,) = way.answers()
    assert answer["detail"]["data"]["code"] == Code.BUILD_GONE


def test_an_answer_names_an_ami_when_ec2_knows_it(way: Way) -> None:
    upload = built(way)
    hide_amis(way, minutes=3)

    with pytest.raises(TransientError, match="does not know"):
        way.reporter.answer(way.drop(upload))
    assert way.answers() == []
    way.later(minutes=4)
    way.reporter.answer(way.drop(upload))

    (answer,) = way.answers()
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert answer["detail"]["data"].get("notes", []) == []


def test_an_answer_does_not_wait_for_ever(way: Way) -> None:
    upload = built(way)
    hide_amis(way, minutes=600)

    with pytest.raises(TransientError):
        way.reporter.answer(way.drop(upload))
    way.later(minutes=11)
    way.reporter.answer(way.drop(upload))

    (answer,) = way.answers()
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert "was not tagged" in str(answer["detail"]["data"]["notes"])


def test_who_may_not_ask_ec2_is_answered_all_the_same(way: Way) -> None:
    upload = built(way)
    refuse(way.builder.ec2, "DescribeImages")

    way.reporter.answer(way.drop(upload))

    (answer,) = way.answers()
    assert answer["detail-type"] == "ISO Import Succeeded"


def test_a_sweep_counts_a_new_ami_as_waiting_and_answers_later(way: Way) -> None:
    execution = way.run("dies")
    built(way, execution)
    way.abort(execution)
    hide_amis(way, minutes=12)
    way.later(minutes=5)

    first = way.sweep()
    way.later(minutes=11)
    second = way.sweep()

    assert (first.waiting, first.answered, first.troubles) == (1, 0, 0)
    assert (second.waiting, second.answered, second.troubles) == (0, 1, 0)
    (answer,) = way.answers()
    assert answer["detail-type"] == "ISO Import Succeeded"
