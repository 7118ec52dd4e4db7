"""The distribution of a finished image: started once, tracked to its end, with one answer."""

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
from isodrop_cli.output.progress import known_events
from isodrop_cli.output.run_format import as_json, to_pairs
from isodrop_local.image_builder import LOST_RESPONSE
from tests.integration.conftest import BUCKET
from tests.support.harness import ACCOUNT, REGION, ImportHarness

ROLE = f"arn:aws:iam::{ACCOUNT}:role/builds"
THERE = [("eu-central-1", ACCOUNT), ("us-west-2", ACCOUNT), ("us-west-2", "210987654321")]


def configuration(harness: ImportHarness, name: str = "everywhere") -> DistributionSettings:
    """A distribution configuration: a copy here, two in another Region."""
    made = harness.builder.imagebuilder.create_distribution_configuration(
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
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    """A stack that distributes its images to two Regions."""
    harness = ImportHarness(session, ledger, tmp_path)
    harness.distribution = configuration(harness)
    return harness


def data(harness: ImportHarness) -> dict[str, Any]:
    (answer,) = harness.answers()
    return dict(answer["detail"]["data"])


def places(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(ami["region"], ami["account"]) for ami in answer["amis"]]


def distributions(harness: ImportHarness) -> list[dict[str, Any]]:
    return harness.image_builder.history(kind="distribution")


def built(harness: ImportHarness, key: str = "a.iso", execution: str = "execution-1") -> Upload:
    """An upload whose image has just been finished, before its answer."""
    upload = harness.upload(key)
    outcome = harness.intake.process(upload, execution)
    assert outcome.build_arn is not None
    harness.wait_for(outcome.build_arn, upload, execution)
    return upload


def test_an_image_is_distributed_before_its_answer_which_lists_all_amis(
    harness: ImportHarness,
) -> None:
    harness.follow(harness.upload())

    published = harness.published()
    answer = published[-1]["detail"]["data"]
    (made,) = distributions(harness)
    assert [event["detail-type"] for event in published].count("ISO Import Succeeded") == 1
    assert published[-1]["detail-type"] == "ISO Import Succeeded"
    assert places(answer) == [(REGION, ACCOUNT), *THERE]
    assert len({ami["id"] for ami in answer["amis"]}) == 4
    assert answer["distributionArn"] == made["arn"]
    assert published[-1]["resources"] == [answer["buildArn"], answer["distributionArn"]]
    assert answer["minutesByStatus"]["distribution"] > 0
    assert harness.image_builder.controls.violations == []


def test_the_progress_of_a_distribution_is_published_as_such(harness: ImportHarness) -> None:
    harness.follow(harness.upload())

    published = [
        event for event in harness.published() if event["detail-type"] == "ISO Import Progressed"
    ]
    progressed = [
        (event["detail"]["data"]["distributionArn"], event["detail"]["data"]["status"])
        for event in published
    ]
    (made,) = distributions(harness)
    assert [arn for arn, _ in progressed] == sorted((arn for arn, _ in progressed), key=bool)
    assert {arn for arn, _ in progressed} == {None, made["arn"]}
    assert progressed[-1] == (made["arn"], "PENDING")
    assert len({event["detail"]["metadata"]["eventId"] for event in published}) == len(published)


def test_the_request_has_every_setting_of_the_stack(harness: ImportHarness) -> None:
    assert harness.distribution is not None
    upload = harness.upload()
    harness.follow(upload)

    (call,) = harness.image_builder.controls.calls_of("DistributeImage")
    (imported,) = harness.image_builder.controls.calls_of("ImportDiskImage")
    run = harness.claim_run(upload)
    sent = dict(call["parameters"])
    tags = sent.pop("tags")
    token = sent.pop("clientToken")
    assert sent == {
        "sourceImage": run.import_build.arn,
        "distributionConfigurationArn": harness.distribution.configuration_arn,
        "executionRole": ROLE,
    }
    assert len(token) == 36
    assert token != imported["parameters"]["clientToken"]
    assert (tags["isodrop:distribution"], 0) == run.distribution.attempt
    assert tags["isodrop:stack"] == "isodrop"
    # A search for the import by its tags must not find this.
    assert "isodrop:import" not in tags


def test_two_uploads_of_one_iso_share_one_distribution(harness: ImportHarness) -> None:
    harness.follow(harness.upload("a.iso"), "execution-1")
    harness.follow(harness.upload("b.iso"), "execution-2")

    first, second = (event["detail"]["data"] for event in harness.answers())
    assert first["amis"] == second["amis"]
    assert second["reused"] is True
    assert len(distributions(harness)) == 1


def test_an_ami_copy_in_another_account_is_not_considered_gone(
    harness: ImportHarness,
) -> None:
    """EC2 does not describe private AMIs of another account."""
    made = harness.builder.imagebuilder.create_distribution_configuration(
        name="next-door",
        distributions=[
            {
                "region": REGION,
                "amiDistributionConfiguration": {"targetAccountIds": ["210987654321"]},
            }
        ],
        clientToken="next-door",
    )
    harness.distribution = DistributionSettings(made["distributionConfigurationArn"], ROLE)

    harness.follow(harness.upload("a.iso"), "execution-1")
    harness.follow(harness.upload("b.iso"), "execution-2")

    first, second = (event["detail"]["data"] for event in harness.answers())
    assert places(first) == [(REGION, ACCOUNT), (REGION, "210987654321")]
    assert first["amis"] == second["amis"]
    assert len(distributions(harness)) == 1


def test_a_failed_distribution_names_the_image_and_a_retry_repeats_it(
    harness: ImportHarness,
) -> None:
    harness.image_builder.controls.fail_next_build(
        kind="distribution", message="no such role there"
    )
    harness.follow(harness.upload("a.iso"), "execution-1")
    failed = data(harness)

    harness.follow(harness.upload("b.iso"), "execution-2")

    assert failed["code"] == Code.DISTRIBUTION_FAILED
    for region, account in THERE:
        assert f"{region} {account}: no such role there" in failed["message"]
    assert "no such role there" in failed["message"]
    assert failed["status"] == "FAILED"
    assert failed["retryable"] is True
    assert places(failed) == [(REGION, ACCOUNT)]
    assert failed["buildArn"] != failed["distributionArn"]
    assert places(data(harness)) == [(REGION, ACCOUNT), *THERE]
    assert (harness.submissions(), len(distributions(harness))) == (1, 2)


def test_a_distribution_fails_at_most_as_often_as_the_stack_allows(harness: ImportHarness) -> None:
    harness.image_builder.controls.fail_next_build(9, kind="distribution")
    for number in range(3):
        harness.follow(harness.upload(), f"execution-{number}")

    answers = [event["detail"]["data"] for event in harness.answers()]
    assert [answer["code"] for answer in answers] == [
        Code.DISTRIBUTION_FAILED,
        Code.DISTRIBUTION_FAILED,
        Code.TOO_MANY_ATTEMPTS,
    ]
    assert "2 failed distributions of windows-11" in answers[-1]["message"]
    assert places(answers[-1]) == [(REGION, ACCOUNT)]
    assert (harness.submissions(), len(distributions(harness))) == (1, 2)


def test_a_successful_distribution_resets_the_count_of_failures(harness: ImportHarness) -> None:
    controls = harness.image_builder.controls
    controls.fail_next_build(kind="distribution")
    for number in range(2):
        harness.follow(harness.upload(), f"execution-{number}")
    harness.image_builder.delete(distributions(harness)[-1]["arn"])
    harness.advance_clock(minutes=11)  # EC2 does not find it, so it is gone
    controls.fail_next_build(kind="distribution")
    for number in range(2, 4):
        harness.follow(harness.upload(), f"execution-{number}")

    kinds = [event["detail-type"].rsplit(" ", 1)[-1] for event in harness.answers()]
    assert kinds == ["Failed", "Succeeded", "Failed", "Succeeded"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("InvalidRequestException", Code.DISTRIBUTION_FAILED),
        ("AccessDeniedException", Code.ACCESS_DENIED),
    ],
)
def test_a_refused_distribution_is_reported_and_not_sent_again(
    harness: ImportHarness, error: str, code: Code
) -> None:
    harness.image_builder.controls.fail_next("DistributeImage", error, message="not like this")
    upload = harness.upload()
    harness.follow(upload)
    refused = data(harness)

    harness.follow(upload)

    assert refused["code"] == code
    assert "not like this" in refused["message"]
    assert places(refused) == [(REGION, ACCOUNT)]
    assert len(harness.image_builder.controls.calls_of("DistributeImage")) == 1


def test_a_missing_distribution_configuration_is_reported(harness: ImportHarness) -> None:
    assert harness.distribution is not None
    harness.builder.imagebuilder.delete_distribution_configuration(
        distributionConfigurationArn=harness.distribution.configuration_arn
    )

    harness.follow(harness.upload())

    assert data(harness)["code"] == Code.DISTRIBUTION_FAILED


@pytest.mark.parametrize("error", ["ServiceQuotaExceededException", "TooManyRequestsException"])
def test_transient_errors_are_waited_out(harness: ImportHarness, error: str) -> None:
    harness.image_builder.controls.fail_next("DistributeImage", error, times=9)
    upload = built(harness)

    with pytest.raises(QuotaError if "Quota" in error else TransientError):
        harness.start_distribution(upload)
    harness.image_builder.controls.faults.clear()
    harness.follow(upload)

    assert places(data(harness)) == [(REGION, ACCOUNT), *THERE]
    assert len(distributions(harness)) == 1


@pytest.mark.parametrize("remembers", [True, False])
def test_a_lost_response_leads_to_the_same_distribution(
    harness: ImportHarness, *, remembers: bool
) -> None:
    harness.image_builder.controls.fail_next("DistributeImage", LOST_RESPONSE)
    upload = built(harness)
    with pytest.raises(TransientError) as lost:
        harness.start_distribution(upload)
    if not remembers:
        harness.image_builder.forget_tokens()

    harness.follow(upload)

    assert isinstance(lost.value.__cause__, ReadTimeoutError)
    assert places(data(harness)) == [(REGION, ACCOUNT), *THERE]
    assert len(distributions(harness)) == 1


def test_a_function_that_dies_anywhere_starts_one_distribution(harness: ImportHarness) -> None:
    upload = built(harness)
    for step in (
        "create_attempt",
        "set_attempt_status",
        "record_and_link_build",
        "record_status_seen",
    ):
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(Ledger, step, _dies)
            with pytest.raises(KeyboardInterrupt):
                harness.start_distribution(upload)

    harness.follow(upload)

    assert places(data(harness)) == [(REGION, ACCOUNT), *THERE]
    assert len(distributions(harness)) == 1


def _dies(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_build_that_failed_is_not_distributed(harness: ImportHarness) -> None:
    harness.image_builder.controls.fail_next_build()

    harness.follow(harness.upload())

    assert data(harness)["code"] == Code.BUILD_FAILED
    assert distributions(harness) == []


def test_a_distribution_tracked_to_the_limit_is_answered(harness: ImportHarness) -> None:
    upload = built(harness)
    harness.image_builder.controls.hold("DISTRIBUTING", kind="distribution")
    arn = harness.start_distribution(upload)
    harness.advance_clock(hours=20)

    repeated = harness.start_distribution(upload)
    harness.reporter.publish_answer(harness.claim_run(upload))

    answer = data(harness)
    assert repeated == arn
    assert answer["code"] == Code.DISTRIBUTION_FAILED
    assert "DISTRIBUTING" in answer["message"]


def test_a_running_distribution_is_tracked_after_the_setting_is_removed(
    harness: ImportHarness,
) -> None:
    upload = built(harness)
    harness.start_distribution(upload)
    harness.distribution = None

    harness.follow(upload)

    assert places(data(harness)) == [(REGION, ACCOUNT), *THERE]


def test_a_sent_distribution_is_completed_after_the_setting_is_removed(
    harness: ImportHarness,
) -> None:
    harness.image_builder.controls.fail_next("DistributeImage", LOST_RESPONSE)
    upload = built(harness)
    with pytest.raises(TransientError):
        harness.start_distribution(upload)
    harness.distribution = None

    harness.follow(upload)

    assert places(data(harness)) == [(REGION, ACCOUNT), *THERE]
    assert len(distributions(harness)) == 1


def test_another_configuration_is_another_distribution_of_the_same_image(
    harness: ImportHarness,
) -> None:
    harness.follow(harness.upload("a.iso"), "execution-1")
    harness.distribution = configuration(harness, "elsewhere")

    harness.follow(harness.upload("b.iso"), "execution-2")

    assert (harness.submissions(), len(distributions(harness))) == (1, 2)


def test_the_sweep_distributes_for_an_aborted_execution_and_answers(
    harness: ImportHarness,
) -> None:
    upload, execution = harness.upload(), harness.run("aborted")
    harness.intake.process(upload, execution)
    harness.abort(execution)
    harness.advance_clock(hours=2)

    waiting = harness.sweep()
    harness.advance_clock(hours=2)
    answered = harness.sweep()

    assert (waiting.waiting, waiting.answered) == (1, 0)
    assert (answered.waiting, answered.answered) == (0, 1)
    assert places(data(harness)) == [(REGION, ACCOUNT), *THERE]


def test_a_sweep_gives_up_on_one_that_does_not_end(harness: ImportHarness) -> None:
    upload, execution = harness.upload(), harness.run("aborted")
    harness.intake.process(upload, execution)
    harness.abort(execution)
    harness.image_builder.controls.hold("DISTRIBUTING", kind="distribution")
    # Later than the import's own limit: the distribution has its own.
    harness.advance_clock(hours=30)
    first = harness.sweep()
    harness.advance_clock(hours=17)

    second = harness.sweep()

    assert (first.waiting, second.answered) == (1, 1)
    assert data(harness)["code"] == Code.DISTRIBUTION_FAILED


def test_amis_in_other_regions_or_accounts_are_not_tagged(harness: ImportHarness) -> None:
    harness.follow(harness.upload())

    answer = data(harness)
    here = [ami["id"] for ami in answer["amis"] if ami["region"] == REGION]
    found = harness.client("ec2").describe_images(ImageIds=here)["Images"]
    assert answer["notes"] == []
    assert len(here) == 2
    for image in found:
        tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
        assert tags["isodrop:stack"] == "isodrop"


def test_an_ami_is_local_by_region_and_by_account_if_one_is_given(
    harness: ImportHarness,
) -> None:
    build_arn = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/x/1.0.0/1"
    places = [(REGION, ACCOUNT), (REGION, ""), (REGION, "210987654321"), ("us-west-2", ACCOUNT)]
    amis = [Ami(f"ami-{n}", region, account, "x") for n, (region, account) in enumerate(places)]

    assert [ami.id for ami in harness.builder.local_amis(amis, build_arn)] == ["ami-0", "ami-1"]


class TestOperators:
    """StackOperations commands while an image is being distributed."""

    def test_a_distribution_is_shown_as_the_current_step(self, harness: ImportHarness) -> None:
        upload = built(harness)
        arn = harness.start_distribution(upload)
        harness.advance_clock(seconds=60)

        snapshot = harness.operations.take_snapshot(harness.claim_run(upload))

        assert snapshot.run is not None
        progressed = as_json(snapshot.run)
        assert (progressed["state"], progressed["distributionArn"]) == ("distributing", arn)
        assert ("distribution", arn) in to_pairs(snapshot.run)
        assert snapshot.steps.total == 1
        events = list(known_events(snapshot, upload.key, harness.clock.time()))
        assert (events[-1].stage, events[-1].message) == ("distribution", "0 of 1 steps")
        assert events[-1].data["distributionArn"] == arn

    def test_cancel_cancels_the_distribution(self, harness: ImportHarness) -> None:
        upload = built(harness)
        arn = harness.start_distribution(upload)

        cancelled = harness.operations.cancel(
            harness.operations.get_history(BUCKET, "a.iso"), include_others=False
        )

        harness.follow(upload)
        answer = data(harness)
        assert cancelled == arn
        assert (answer["code"], answer["status"]) == (Code.DISTRIBUTION_FAILED, "CANCELLED")
        assert places(answer) == [(REGION, ACCOUNT)]
