"""The distribution of a finished image: begun once, followed to its end, and told in one answer."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError

from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.build import Ami
from isodrop.domain.model import DistributionSettings, Upload
from isodrop.errors import QuotaError, TransientError
from isodrop_cli.output.progress import seen
from isodrop_cli.output.run_format import as_json, pairs
from isodrop_local.image_builder import LOST
from tests.integration.conftest import BUCKET
from tests.support.harness import ACCOUNT, REGION, Way

ROLE = f"arn:aws:iam::{ACCOUNT}:role/builds"
THERE = [("eu-central-1", ACCOUNT), ("us-west-2", ACCOUNT), ("us-west-2", "210987654321")]


def configuration(way: Way, name: str = "everywhere") -> DistributionSettings:
    """A distribution configuration: a copy here, two in another Region."""
    made = way.builder.imagebuilder.create_distribution_configuration(
        name=name,
        distributions=[
            {"region": REGION, "amiDistributionConfiguration": {}},
            {
                "region": "us-west-2",
                "amiDistributionConfiguration": {"targetAccountIds": [ACCOUNT, "210987654321"]},
            },
        ],
        clientToken=name,
    )
    return DistributionSettings(made["distributionConfigurationArn"], ROLE)


@pytest.fixture
def way(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> Way:
    """A stack whose images go to two Regions."""
    way = Way(session, ledger, tmp_path)
    way.distribution = configuration(way)
    return way


def data(way: Way) -> dict[str, Any]:
    (answer,) = way.answers()
    return dict(answer["detail"]["data"])


def places(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(ami["region"], ami["account"]) for ami in answer["amis"]]


def distributions(way: Way) -> list[dict[str, Any]]:
    return way.image_builder.history(kind="distribution")


def built(way: Way, key: str = "a.iso", execution: str = "execution-1") -> Upload:
    """An upload whose image has just been finished, and nobody has answered yet."""
    upload = way.upload(key)
    outcome = way.intake.take(upload, execution)
    assert outcome.build_arn is not None
    way.wait_for(outcome.build_arn, upload, execution)
    return upload


def test_an_image_is_distributed_before_its_answer_which_lists_all_amis(way: Way) -> None:
    way.follow(way.upload())

    heard = way.heard()
    answer = heard[-1]["detail"]["data"]
    (made,) = distributions(way)
    assert [event["detail-type"] for event in heard].count("ISO Import Succeeded") == 1
    assert heard[-1]["detail-type"] == "ISO Import Succeeded"
    assert places(answer) == [(REGION, ACCOUNT), *THERE]
    assert len({ami["id"] for ami in answer["amis"]}) == 4
    assert answer["distributionArn"] == made["arn"]
    assert heard[-1]["resources"] == [answer["buildArn"], answer["distributionArn"]]
    assert answer["minutes"]["distribution"] > 0
    assert way.image_builder.controls.violations == []


def test_its_progress_is_told_as_its_own(way: Way) -> None:
    way.follow(way.upload())

    heard = [event for event in way.heard() if event["detail-type"] == "ISO Import Progressed"]
    told = [
        (event["detail"]["data"]["distributionArn"], event["detail"]["data"]["status"])
        for event in heard
    ]
    (made,) = distributions(way)
    assert [arn for arn, _ in told] == sorted((arn for arn, _ in told), key=bool)
    assert {arn for arn, _ in told} == {None, made["arn"]}
    assert told[-1] == (made["arn"], "PENDING")
    assert len({event["detail"]["metadata"]["eventId"] for event in heard}) == len(heard)


def test_the_request_is_all_that_the_stack_says(way: Way) -> None:
    assert way.distribution is not None
    upload = way.upload()
    way.follow(upload)

    (call,) = way.image_builder.controls.calls_of("DistributeImage")
    (imported,) = way.image_builder.controls.calls_of("ImportDiskImage")
    drop = way.drop(upload)
    sent = dict(call["parameters"])
    tags = sent.pop("tags")
    token = sent.pop("clientToken")
    assert sent == {
        "sourceImage": drop.build_arn,
        "distributionConfigurationArn": way.distribution.configuration_arn,
        "executionRole": ROLE,
    }
    assert len(token) == 36
    assert token != imported["parameters"]["clientToken"]
    assert tags["isodrop:distribution"] == drop.distribution.identity
    assert tags["isodrop:stack"] == "isodrop"
    # Whoever looks for the import by its tags must not find this.
    assert "isodrop:import" not in tags


def test_two_drops_of_one_disc_share_it(way: Way) -> None:
    way.follow(way.upload("a.iso"), "execution-1")
    way.follow(way.upload("b.iso"), "execution-2")

    first, second = (event["detail"]["data"] for event in way.answers())
    assert first["amis"] == second["amis"]
    assert second["reused"] is True
    assert len(distributions(way)) == 1


def test_a_copy_in_another_account_of_the_same_region_is_not_taken_for_gone(way: Way) -> None:
    """EC2 shows nobody the private AMIs of another account."""
    made = way.builder.imagebuilder.create_distribution_configuration(
        name="next-door",
        distributions=[
            {
                "region": REGION,
                "amiDistributionConfiguration": {"targetAccountIds": ["210987654321"]},
            }
        ],
        clientToken="next-door",
    )
    way.distribution = DistributionSettings(made["distributionConfigurationArn"], ROLE)

    way.follow(way.upload("a.iso"), "execution-1")
    way.follow(way.upload("b.iso"), "execution-2")

    first, second = (event["detail"]["data"] for event in way.answers())
    assert places(first) == [(REGION, ACCOUNT), (REGION, "210987654321")]
    assert first["amis"] == second["amis"]
    assert len(distributions(way)) == 1


def test_one_that_fails_names_the_image_there_is_and_asking_again_repeats_it_alone(
    way: Way,
) -> None:
    way.image_builder.controls.fail_next_build(kind="distribution", message="no such role there")
    way.follow(way.upload("a.iso"), "execution-1")
    failed = data(way)

    way.follow(way.upload("b.iso"), "execution-2")

    assert failed["code"] == Code.DISTRIBUTION_FAILED
    for region, account in THERE:
        assert f"{region} {account}: no such role there" in failed["message"]
    assert "no such role there" in failed["message"]
    assert failed["status"] == "FAILED"
    assert failed["dropAgain"] is True
    assert places(failed) == [(REGION, ACCOUNT)]
    assert failed["buildArn"] != failed["distributionArn"]
    assert places(data(way)) == [(REGION, ACCOUNT), *THERE]
    assert (way.submissions(), len(distributions(way))) == (1, 2)


def test_it_fails_no_oftener_than_the_stack_allows(way: Way) -> None:
    way.image_builder.controls.fail_next_build(9, kind="distribution")
    for number in range(3):
        way.follow(way.upload(), f"execution-{number}")

    answers = [event["detail"]["data"] for event in way.answers()]
    assert [answer["code"] for answer in answers] == [
        Code.DISTRIBUTION_FAILED,
        Code.DISTRIBUTION_FAILED,
        Code.TOO_MANY_ATTEMPTS,
    ]
    assert "2 distributions of windows-11" in answers[-1]["message"]
    assert places(answers[-1]) == [(REGION, ACCOUNT)]
    assert (way.submissions(), len(distributions(way))) == (1, 2)


def test_one_that_ended_well_ends_the_count_of_those_that_did_not(way: Way) -> None:
    controls = way.image_builder.controls
    controls.fail_next_build(kind="distribution")
    for number in range(2):
        way.follow(way.upload(), f"execution-{number}")
    way.image_builder.delete(distributions(way)[-1]["arn"])
    way.later(minutes=11)  # that it is not found means that it is gone
    controls.fail_next_build(kind="distribution")
    for number in range(2, 4):
        way.follow(way.upload(), f"execution-{number}")

    kinds = [event["detail-type"].rsplit(" ", 1)[-1] for event in way.answers()]
    assert kinds == ["Failed", "Succeeded", "Failed", "Succeeded"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("InvalidRequestException", Code.DISTRIBUTION_FAILED),
        ("AccessDeniedException", Code.ACCESS_DENIED),
    ],
)
def test_a_request_that_is_refused_is_told_and_not_sent_again(
    way: Way, error: str, code: Code
) -> None:
    way.image_builder.controls.fail_next("DistributeImage", error, message="not like this")
    upload = way.upload()
    way.follow(upload)
    refused = data(way)

    way.follow(upload)

    assert refused["code"] == code
    assert "not like this" in refused["message"]
    assert places(refused) == [(REGION, ACCOUNT)]
    assert len(way.image_builder.controls.calls_of("DistributeImage")) == 1


def test_a_configuration_that_is_gone_is_told(way: Way) -> None:
    assert way.distribution is not None
    way.builder.imagebuilder.delete_distribution_configuration(
        distributionConfigurationArn=way.distribution.configuration_arn
    )

    way.follow(way.upload())

    assert data(way)["code"] == Code.DISTRIBUTION_FAILED


@pytest.mark.parametrize("error", ["ServiceQuotaExceededException", "TooManyRequestsException"])
def test_what_passes_is_waited_out(way: Way, error: str) -> None:
    way.image_builder.controls.fail_next("DistributeImage", error, times=9)
    upload = built(way)

    with pytest.raises(QuotaError if "Quota" in error else TransientError):
        way.reporter.onward(way.drop(upload))
    way.image_builder.controls.faults.clear()
    way.follow(upload)

    assert places(data(way)) == [(REGION, ACCOUNT), *THERE]
    assert len(distributions(way)) == 1


@pytest.mark.parametrize("remembers", [True, False])
def test_an_answer_of_image_builder_that_was_lost_leads_to_the_same_distribution(
    way: Way, *, remembers: bool
) -> None:
    way.image_builder.controls.fail_next("DistributeImage", LOST)
    upload = built(way)
    with pytest.raises(TransientError) as lost:
        way.reporter.onward(way.drop(upload))
    if not remembers:
        way.image_builder.forget_tokens()

    way.follow(upload)

    assert isinstance(lost.value.__cause__, ReadTimeoutError)
    assert places(data(way)) == [(REGION, ACCOUNT), *THERE]
    assert len(distributions(way)) == 1


def test_a_function_that_dies_anywhere_begins_one_distribution(way: Way) -> None:
    upload = built(way)
    for step in ("begin", "follow", "stand", "built", "followed", "saw"):
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(Ledger, step, _dies)
            with pytest.raises(KeyboardInterrupt):
                way.reporter.onward(way.drop(upload))

    way.follow(upload)

    assert places(data(way)) == [(REGION, ACCOUNT), *THERE]
    assert len(distributions(way)) == 1


def _dies(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_build_that_failed_is_not_distributed(way: Way) -> None:
    way.image_builder.controls.fail_next_build()

    way.follow(way.upload())

    assert data(way)["code"] == Code.BUILD_FAILED
    assert distributions(way) == []


def test_what_is_followed_for_as_long_as_the_stack_does_is_answered(way: Way) -> None:
    upload = built(way)
    way.image_builder.controls.hold("DISTRIBUTING", kind="distribution")
    arn = way.reporter.onward(way.drop(upload))
    way.later(hours=20)

    repeated = way.reporter.onward(way.drop(upload))
    ended = way.reporter.onward(way.drop(upload), arn)
    way.reporter.answer(way.drop(upload))

    answer = data(way)
    assert (repeated, ended) == (arn, None)
    assert answer["code"] == Code.DISTRIBUTION_FAILED
    assert "DISTRIBUTING" in answer["message"]


def test_what_was_begun_is_followed_when_the_stack_distributes_no_more(way: Way) -> None:
    upload = built(way)
    way.reporter.onward(way.drop(upload))
    way.distribution = None

    way.follow(upload)

    assert places(data(way)) == [(REGION, ACCOUNT), *THERE]


def test_another_configuration_is_another_distribution_of_the_same_image(way: Way) -> None:
    way.follow(way.upload("a.iso"), "execution-1")
    way.distribution = configuration(way, "elsewhere")

    way.follow(way.upload("b.iso"), "execution-2")

    assert (way.submissions(), len(distributions(way))) == (1, 2)


def test_a_sweep_distributes_for_an_execution_that_was_aborted_and_then_answers(way: Way) -> None:
    upload, execution = way.upload(), way.run("aborted")
    way.intake.take(upload, execution)
    way.abort(execution)
    way.later(hours=2)

    waiting = way.sweep()
    way.later(hours=2)
    answered = way.sweep()

    assert (waiting.waiting, waiting.answered) == (1, 0)
    assert (answered.waiting, answered.answered) == (0, 1)
    assert places(data(way)) == [(REGION, ACCOUNT), *THERE]


def test_a_sweep_gives_up_on_one_that_does_not_end(way: Way) -> None:
    upload, execution = way.upload(), way.run("aborted")
    way.intake.take(upload, execution)
    way.abort(execution)
    way.image_builder.controls.hold("DISTRIBUTING", kind="distribution")
    # So late that the import's own time is over: the distribution has one of its own.
    way.later(hours=30)
    first = way.sweep()
    way.later(hours=17)

    second = way.sweep()

    assert (first.waiting, second.answered) == (1, 1)
    assert data(way)["code"] == Code.DISTRIBUTION_FAILED


def test_copies_elsewhere_are_not_ours_to_tag(way: Way) -> None:
    way.follow(way.upload())

    answer = data(way)
    here = [ami["id"] for ami in answer["amis"] if ami["region"] == REGION]
    found = way.client("ec2").describe_images(ImageIds=here)["Images"]
    assert answer["notes"] == []
    assert len(here) == 2
    for image in found:
        tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
        assert tags["isodrop:stack"] == "isodrop"


def test_an_ami_is_ours_where_it_is_here_and_of_our_account_or_of_none_that_is_told(
    way: Way,
) -> None:
    build_arn = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/x/1.0.0/1"
    places = [(REGION, ACCOUNT), (REGION, ""), (REGION, "210987654321"), ("us-west-2", ACCOUNT)]
    amis = [Ami(f"ami-{n}", region, account, "x") for n, (region, account) in enumerate(places)]

    assert [ami.id for ami in way.builder.here(amis, build_arn)] == ["ami-0", "ami-1"]


class TestOperators:
    """What people see and do while an image is being distributed."""

    def test_it_is_told_as_what_goes_on(self, way: Way) -> None:
        upload = built(way)
        arn = way.reporter.onward(way.drop(upload))
        way.later(seconds=60)

        sight = way.operator.sight(way.drop(upload))

        assert sight.drop is not None
        told = as_json(sight.drop)
        assert (told["state"], told["distributionArn"]) == ("distributing", arn)
        assert ("distribution", arn) in pairs(sight.drop)
        assert sight.steps.total == 1
        news = list(seen(sight, upload.key, way.clock.time()))
        assert (news[-1].step, news[-1].sentence) == ("distribution", "0 of 1 steps")
        assert news[-1].facts["distributionArn"] == arn

    def test_it_is_what_cancel_cancels(self, way: Way) -> None:
        upload = built(way)
        arn = way.reporter.onward(way.drop(upload))

        cancelled = way.operator.cancel(way.operator.story(BUCKET, "a.iso"), others_too=False)

        way.follow(upload)
        answer = data(way)
        assert cancelled == arn
        assert (answer["code"], answer["status"]) == (Code.DISTRIBUTION_FAILED, "CANCELLED")
        assert places(answer) == [(REGION, ACCOUNT)]
