"""Further runs of an upload: retries, their overrides, and uploads after a failure."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.model import ImportPlan, ImportSettings, RunRequest
from isodrop.errors import TransientError
from isodrop.services.intake import NextStep
from tests.support.answers import the_answer
from tests.support.harness import ImportHarness


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    return ImportHarness(session, ledger, tmp_path)


def test_uploads_after_failed_builds_build_again_up_to_the_limit(
    harness: ImportHarness,
) -> None:
    harness.image_builder.controls.fail_next_build(status="BUILDING", times=9)
    for number in range(3):
        harness.follow(harness.upload(), f"execution-{number}")

    answers = [event["detail"]["data"] for event in harness.answers()]
    assert [answer["code"] for answer in answers] == [
        Code.BUILD_FAILED,
        Code.BUILD_FAILED,
        Code.TOO_MANY_ATTEMPTS,
    ]
    assert [answer.get("attempt") for answer in answers] == [0, 1, None]
    assert len(harness.image_builder.builds) == 2
    assert harness.image_builder.controls.violations == []


def test_a_rebuild_on_purpose_is_another_import(harness: ImportHarness) -> None:
    harness.follow(harness.upload(), "execution-1")
    harness.follow(harness.upload(rebuild="again"), "execution-2")

    assert [event["detail"]["data"]["reused"] for event in harness.answers()] == [False, False]
    assert len(harness.image_builder.builds) == 2


@pytest.mark.parametrize("error", ["TooManyRequestsException", "ServiceUnavailableException"])
def test_transient_errors_are_raised_to_be_retried(harness: ImportHarness, error: str) -> None:
    harness.image_builder.controls.fail_next("ImportDiskImage", error)
    upload = harness.upload()

    with pytest.raises(TransientError):
        harness.intake.process(upload, "execution-1")
    harness.follow(upload, "execution-1")

    assert the_answer(harness)["detail-type"] == "ISO Import Succeeded"
    assert len(harness.image_builder.builds) == 1


def test_a_refused_request_succeeds_when_retried_after_the_fix(
    harness: ImportHarness,
) -> None:
    good = harness.settings
    harness.settings = good.__class__("isodrop", good.infrastructure_configuration_arn + "-wrong")
    upload = harness.upload()
    harness.follow(upload, "execution-1")
    harness.settings = good

    harness.follow(upload, "execution-2", RunRequest(1))

    refused, repaired = harness.answers()
    assert refused["detail"]["data"]["code"] == Code.IMPORT_REFUSED
    assert repaired["detail-type"] == "ISO Import Succeeded"
    assert repaired["detail"]["metadata"]["run"] == 1


def test_a_retried_upload_has_a_second_answer_with_its_own_id(harness: ImportHarness) -> None:
    upload = harness.upload()
    harness.follow(upload, "execution-1")

    harness.follow(upload, "execution-2", RunRequest(1))

    first, second = harness.answers()
    metadata = [answer["detail"]["metadata"] for answer in (first, second)]
    assert [each["run"] for each in metadata] == [0, 1]
    assert metadata[0]["uploadId"] == metadata[1]["uploadId"]
    assert metadata[0]["eventId"] != metadata[1]["eventId"]
    assert [answer["detail"]["data"]["reused"] for answer in (first, second)] == [False, True]
    assert harness.submissions() == 1


def test_the_overrides_of_a_retry_take_precedence_over_the_objects(harness: ImportHarness) -> None:
    upload = harness.upload(edition="Education", rebuild="1")
    harness.follow(upload, "execution-1")

    harness.follow(upload, "execution-2", RunRequest(1, {"edition": "EnterpriseN", "rebuild": ""}))

    first, second = (answer["detail"]["data"]["plan"]["edition"] for answer in harness.answers())
    plan = harness.claim_run(upload, "execution-2", RunRequest(1)).decision
    assert (first, second) == ("Education", "EnterpriseN")
    assert isinstance(plan, ImportPlan)
    assert plan.rebuild is None


def test_an_operator_may_use_overrides_that_uploaders_may_not(harness: ImportHarness) -> None:
    harness.settings = replace(harness.settings, allowed_overrides=frozenset({"edition"}))
    upload = harness.upload(rebuild="1")
    harness.follow(upload, "execution-1")

    harness.follow(upload, "execution-2", RunRequest(1, {"image-name": "golden"}))
    harness.follow(upload, "execution-3", RunRequest(2, {"image-name": "golden", "rebuild": ""}))

    first, second, third = (answer["detail"]["data"] for answer in harness.answers())
    assert (first["code"], second["code"]) == (Code.INVALID_OVERRIDE, Code.INVALID_OVERRIDE)
    assert third["plan"]["name"] == "golden"


@pytest.mark.parametrize(
    "metadata",
    [{"image_name": "golden"}, {"semantic_version": "1073741823.0.0"}, {"rebuild": "1"}],
)
def test_by_default_uploaders_neither_move_the_latest_nor_rebuild(
    harness: ImportHarness, metadata: dict[str, Any]
) -> None:
    settings = ImportSettings("isodrop", harness.settings.infrastructure_configuration_arn)
    harness.settings = settings

    harness.follow(harness.upload(**metadata))

    (answer,) = harness.answers()
    assert answer["detail"]["data"]["code"] == Code.INVALID_OVERRIDE
    assert harness.submissions() == 0


def test_retries_after_failed_builds_build_again_up_to_the_limit(
    harness: ImportHarness,
) -> None:
    harness.image_builder.controls.fail_next_build(status="BUILDING", times=9)
    upload = harness.upload()
    for number in range(3):
        harness.follow(upload, f"execution-{number}", RunRequest(number))

    answers = [event["detail"]["data"] for event in harness.answers()]
    assert [answer["code"] for answer in answers] == [
        Code.BUILD_FAILED,
        Code.BUILD_FAILED,
        Code.TOO_MANY_ATTEMPTS,
    ]
    assert len(harness.image_builder.builds) == 2


def test_a_repeated_retry_event_publishes_nothing(harness: ImportHarness) -> None:
    upload = harness.upload()
    for number in range(2):
        harness.follow(upload, f"execution-{number}", RunRequest(number))

    again = harness.intake.process(upload, "execution-2", RunRequest(1, {"edition": "Education"}))

    assert again.next_step is NextStep.SKIP
    assert len(harness.answers()) == 2


def test_an_execution_redriven_after_its_answer_starts_nothing(harness: ImportHarness) -> None:
    upload = harness.upload()
    harness.answer_broken(upload, "States.Timeout", "", "execution-1")

    again = harness.intake.process(upload, "execution-1")

    assert again.next_step is NextStep.ANSWER
    assert harness.submissions() == 0
