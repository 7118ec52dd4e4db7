"""AMIs that EC2 does not return yet are waited for: they are not gone, and not built again."""

from pathlib import Path

import boto3
import pytest

from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.model import Upload
from isodrop.errors import TransientError
from isodrop.services.intake import NextStep
from tests.support.harness import ImportHarness, hide_amis, hide_builds, refuse


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    return ImportHarness(session, ledger, tmp_path)


def built(harness: ImportHarness, execution: str = "execution-1") -> Upload:
    """Bring an upload to the end of its build, before its answer."""
    upload = harness.upload()
    outcome = harness.intake.process(upload, execution)
    assert outcome.build_arn is not None
    harness.reporter.publish_started(harness.claim_run(upload, execution))
    harness.wait_for(outcome.build_arn, upload, execution)
    return upload


def test_the_next_upload_waits_for_a_new_ami_and_shares_its_build(harness: ImportHarness) -> None:
    built(harness)
    hide_amis(harness, minutes=3)
    again = harness.upload("again.iso")

    with pytest.raises(TransientError, match="does not return"):
        harness.intake.process(again, "execution-2")
    harness.advance_clock(minutes=4)
    outcome = harness.intake.process(again, "execution-2")

    assert outcome.next_step is NextStep.TRACK
    assert harness.submissions() == 1


def test_an_ami_that_stays_unknown_is_built_again(harness: ImportHarness) -> None:
    built(harness)
    hide_amis(harness, minutes=600)
    again = harness.upload("again.iso")

    with pytest.raises(TransientError):
        harness.intake.process(again, "execution-2")
    harness.advance_clock(minutes=11)
    harness.intake.process(again, "execution-2")

    assert harness.submissions() == 2


def test_a_build_that_is_not_listed_yet_is_shared(
    harness: ImportHarness,
) -> None:
    first = harness.upload()
    harness.intake.process(first, "execution-1")
    hide_builds(harness, minutes=3)
    again = harness.upload("again.iso")

    with pytest.raises(TransientError, match="does not return"):
        harness.intake.process(again, "execution-2")
    with pytest.raises(TransientError, match="does not return"):
        harness.reporter.publish_answer(harness.claim_run(first))
    harness.advance_clock(minutes=4)
    harness.intake.process(again, "execution-2")

    assert harness.submissions() == 1
    assert harness.answers() == []


def test_a_build_that_stays_unknown_no_longer_exists(harness: ImportHarness) -> None:
    first = harness.upload()
    harness.intake.process(first, "execution-1")
    hide_builds(harness, minutes=600)

    harness.advance_clock(minutes=11)
    harness.reporter.publish_answer(harness.claim_run(first))
    harness.intake.process(harness.upload("again.iso"), "execution-2")

    (answer,) = harness.answers()
    assert answer["detail"]["data"]["code"] == Code.BUILD_GONE
    assert harness.submissions() == 2


def test_a_build_without_amis_is_waited_for(harness: ImportHarness) -> None:
    upload = built(harness)
    arn = harness.claim_run(upload).import_build.arn
    assert arn is not None
    harness.image_builder.builds[arn].amis = ()

    with pytest.raises(TransientError):
        harness.reporter.publish_answer(harness.claim_run(upload))
    harness.advance_clock(minutes=11)
    harness.reporter.publish_answer(harness.claim_run(upload))

    (answer,) = harness.answers()
    assert answer["detail"]["data"]["code"] == Code.BUILD_GONE


def test_an_answer_names_an_ami_when_ec2_returns_it(harness: ImportHarness) -> None:
    upload = built(harness)
    hide_amis(harness, minutes=3)

    with pytest.raises(TransientError, match="does not return"):
        harness.reporter.publish_answer(harness.claim_run(upload))
    assert harness.answers() == []
    harness.advance_clock(minutes=4)
    harness.reporter.publish_answer(harness.claim_run(upload))

    (answer,) = harness.answers()
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert answer["detail"]["data"].get("notes", []) == []


def test_an_answer_does_not_wait_forever(harness: ImportHarness) -> None:
    upload = built(harness)
    hide_amis(harness, minutes=600)

    with pytest.raises(TransientError):
        harness.reporter.publish_answer(harness.claim_run(upload))
    harness.advance_clock(minutes=11)
    harness.reporter.publish_answer(harness.claim_run(upload))

    (answer,) = harness.answers()
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert "was not tagged" in str(answer["detail"]["data"]["notes"])


def test_without_access_to_ec2_the_answer_is_still_published(harness: ImportHarness) -> None:
    upload = built(harness)
    refuse(harness.builder.ec2, "DescribeImages")

    harness.reporter.publish_answer(harness.claim_run(upload))

    (answer,) = harness.answers()
    assert answer["detail-type"] == "ISO Import Succeeded"


def test_a_sweep_counts_a_new_ami_as_waiting_and_answers_later(harness: ImportHarness) -> None:
    execution = harness.run("dies")
    built(harness, execution)
    harness.abort(execution)
    hide_amis(harness, minutes=12)
    harness.advance_clock(minutes=5)

    first = harness.sweep()
    harness.advance_clock(minutes=11)
    second = harness.sweep()

    assert (first.waiting, first.answered, first.errors) == (1, 0, 0)
    assert (second.waiting, second.answered, second.errors) == (0, 1, 0)
    (answer,) = harness.answers()
    assert answer["detail-type"] == "ISO Import Succeeded"
