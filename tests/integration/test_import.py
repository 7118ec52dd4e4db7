"""From the upload to the answer, in one process: decisions, requests, the ledger and events."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.ids import client_token, import_key
from isodrop.domain.model import ImportPlan
from isodrop.domain.run import Failure
from isodrop.errors import QuotaError, TransientError
from isodrop.services.intake import NextStep
from isodrop_local.iso_maker import (
    consumer_editions,
    evaluation_editions,
    ltsc_editions,
    server_editions,
)
from tests.integration.conftest import STAGING
from tests.support.answers import the_answer
from tests.support.harness import ImportHarness


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    return ImportHarness(session, ledger, tmp_path)


def test_an_iso_becomes_an_ami_and_each_step_is_published(harness: ImportHarness) -> None:
    harness.follow(harness.upload("Büro + 100%.iso"))

    published = harness.published()
    kinds = [event["detail-type"].removeprefix("ISO Import ") for event in published]
    answer = published[-1]["detail"]["data"]
    amis = harness.session.client("ec2").describe_images(ImageIds=[answer["amis"][0]["id"]])
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == ("Started", "Succeeded", {"Progressed"})
    assert len({event["detail"]["metadata"]["eventId"] for event in published}) == len(published)
    assert answer["source"]["key"] == "Büro + 100%.iso"
    assert answer["plan"]["name"] == "windows-11-enterprise-x64-en-us"
    assert answer["plan"]["semanticVersion"] == "11.26100.1742"
    assert answer["plan"]["imageIndex"] == 5
    assert answer["reused"] is False
    assert amis["Images"][0]["State"] == "available"
    assert sum(answer["minutesByStatus"].values()) > 10
    assert harness.image_builder.controls.violations == []


def test_the_request_is_all_that_was_decided(harness: ImportHarness) -> None:
    upload = harness.upload(
        "a.iso", edition="EnterpriseN", description="for Berlin", rebuild="2026-11"
    )

    harness.follow(upload)

    (call,) = harness.image_builder.controls.calls_of("ImportDiskImage")
    sent = dict(call["parameters"])
    tags = sent.pop("tags")
    assert sent == {
        "clientToken": sent["clientToken"],
        "name": "windows-11-enterprisen-x64-en-us",
        "semanticVersion": "11.26100.1742",
        "description": "for Berlin",
        "platform": "Windows",
        "osVersion": "Microsoft Windows 11",
        "infrastructureConfigurationArn": harness.settings.infrastructure_configuration_arn,
        "uri": f"s3://{STAGING}/{harness.claim_run(upload).upload_id}-0.iso",
        "windowsConfiguration": {"imageIndex": 3},
    }
    assert len(sent["clientToken"]) == 36
    assert tags["isodrop:upload"] == harness.claim_run(upload).upload_id
    assert tags["isodrop:attempt"] == "0"


def test_the_token_is_derived_from_the_inspected_bytes(harness: ImportHarness) -> None:
    upload = harness.upload()

    harness.follow(upload)

    plan = harness.claim_run(upload).decision
    assert isinstance(plan, ImportPlan)
    (call,) = harness.image_builder.controls.calls_of("ImportDiskImage")
    content = harness.claim_run(upload).content
    assert content is not None
    identity = import_key(plan, content.id)
    assert call["parameters"]["clientToken"] == client_token(upload.etag, identity, "isodrop", 0)


@pytest.mark.parametrize(
    ("editions", "code"),
    [
        (consumer_editions(), Code.NO_SUCH_EDITION),
        (server_editions(), Code.SERVER_ISO),
        (evaluation_editions(), Code.EVALUATION_ISO),
        (ltsc_editions(), Code.LTSC_ISO),
    ],
)
def test_an_iso_that_cannot_be_imported_is_rejected_before_any_build(
    harness: ImportHarness, editions: Any, code: Code
) -> None:
    harness.follow(harness.upload(body=harness.iso(editions)))

    answer = the_answer(harness)
    assert answer["detail-type"] == "ISO Import Rejected"
    assert answer["detail"]["data"]["code"] == code
    assert answer["detail"]["data"]["remedy"]
    assert harness.submissions() == 0


@pytest.mark.parametrize(
    ("key", "body", "code"),
    [
        ("notes.iso", b"dear diary", Code.NOT_AN_ISO),
        ("empty.iso", b"", Code.NOT_AN_ISO),
        ("win11.iSo", b"dear diary", Code.NOT_AN_ISO),
        ("\x1b[31m\nwin.iso", b"dear diary", Code.NOT_AN_ISO),
    ],
)
def test_any_bytes_under_any_key_are_answered(
    harness: ImportHarness, key: str, body: bytes, code: Code
) -> None:
    harness.follow(harness.upload(key, body))

    answer = the_answer(harness)
    assert answer["detail"]["data"]["code"] == code
    assert answer["detail"]["data"]["source"]["key"] == key
    assert "\n" not in answer["detail"]["data"]["message"]
    assert "\x1b" not in answer["detail"]["data"]["message"]


def test_a_wrong_override_is_rejected(harness: ImportHarness) -> None:
    harness.follow(harness.upload(image_index="first"))

    assert the_answer(harness)["detail"]["data"]["code"] == Code.INVALID_OVERRIDE


def test_a_repeated_delivery_publishes_nothing(harness: ImportHarness) -> None:
    upload = harness.upload()
    harness.follow(upload, "execution-1")

    again = harness.intake.process(upload, "execution-2")

    assert again.next_step is NextStep.SKIP
    assert harness.submissions() == 1
    assert len(harness.answers()) == 1


@pytest.mark.parametrize("key", ["isos/demo", "isos/Win11.iso.tornado", "isos/iso", "isos/LOGO"])
def test_a_key_without_the_iso_suffix_ends_without_an_answer(
    harness: ImportHarness, key: str
) -> None:
    # The rule matches such keys below a prefix.
    upload = harness.upload(key)

    outcome = harness.follow(upload)

    assert outcome.next_step is NextStep.SKIP
    assert (
        harness.reporter.claim_run(upload, "execution-1") is None
    )  # nor is there an answer if that fails
    assert harness.ledger.table.scan()["Items"] == []
    assert harness.published() == []


def test_the_same_execution_again_publishes_and_starts_nothing(harness: ImportHarness) -> None:
    upload = harness.upload()
    harness.follow(upload)
    first = harness.answers()
    harness.follow(upload)

    assert len(first) == len(harness.counted) == 1
    assert harness.answers() == []
    assert harness.submissions() == 1


def test_an_answer_published_before_a_crash_is_counted(
    harness: ImportHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise SystemExit

    # Given an answer that was published, but is not marked as published
    upload = harness.upload()
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "mark_answered", killed)
        with pytest.raises(SystemExit):
            harness.follow(upload)
    # When the function is invoked again, twice
    harness.reporter.publish_answer(harness.claim_run(upload))
    harness.reporter.publish_answer(harness.claim_run(upload))
    # Then it is counted as often as it was published, and no more
    published = [event["detail-type"] for event in harness.answers()]
    assert harness.counted == published == ["ISO Import Succeeded"] * 2


def test_the_same_iso_under_another_key_is_the_same_import(harness: ImportHarness) -> None:
    harness.follow(harness.upload("a.iso"), "execution-1")
    harness.follow(harness.upload("b.ISO"), "execution-2")

    first, second = harness.answers()
    assert (first["detail"]["data"]["reused"], second["detail"]["data"]["reused"]) == (False, True)
    assert first["detail"]["data"]["amis"] == second["detail"]["data"]["amis"]
    assert first["detail"]["metadata"]["eventId"] != second["detail"]["metadata"]["eventId"]
    assert first["detail"]["metadata"]["attemptId"] == second["detail"]["metadata"]["attemptId"]
    assert harness.submissions() == 1


def test_two_uploads_of_one_iso_share_one_build_and_its_failure(
    harness: ImportHarness,
) -> None:
    harness.image_builder.controls.fail_next_build(status="BUILDING", message="no TPM")
    one, two = harness.upload("a.iso"), harness.upload("b.iso")
    first = harness.intake.process(one, "execution-1")
    second = harness.intake.process(two, "execution-2")
    harness.advance_clock(hours=2)
    for upload, execution in ((one, "execution-1"), (two, "execution-2")):
        harness.reporter.publish_answer(harness.claim_run(upload, execution))

    assert first == second
    for answer in harness.answers():
        assert answer["detail-type"] == "ISO Import Failed"
        assert answer["detail"]["data"]["code"] == Code.BUILD_FAILED
        assert "no TPM" in answer["detail"]["data"]["message"]
        assert answer["detail"]["data"]["failedStep"]
        assert answer["detail"]["data"]["logGroup"].startswith("/aws/imagebuilder/")
        assert answer["detail"]["data"]["retryable"] is True
    assert len(harness.image_builder.builds) == 1


def test_a_cancelled_build_is_reported_and_an_upload_builds_again(harness: ImportHarness) -> None:
    upload = harness.upload()
    outcome = harness.intake.process(upload, "execution-1")
    assert outcome.build_arn is not None
    harness.advance_clock(minutes=8)
    harness.builder.imagebuilder.cancel_image_creation(
        imageBuildVersionArn=outcome.build_arn, clientToken="by hand"
    )
    harness.follow(upload, "execution-1")
    harness.follow(harness.upload(), "execution-2")

    cancelled, good = harness.answers()
    assert cancelled["detail"]["data"]["code"] == Code.BUILD_CANCELLED
    assert good["detail-type"] == "ISO Import Succeeded"
    assert good["detail"]["data"]["attempt"] == 1


def test_an_image_without_its_ami_is_built_again(harness: ImportHarness) -> None:
    harness.follow(harness.upload(), "execution-1")
    (first,) = harness.answers()
    harness.session.client("ec2").deregister_image(ImageId=first["detail"]["data"]["amis"][0]["id"])
    harness.advance_clock(minutes=11)

    harness.follow(harness.upload(), "execution-2")

    second = the_answer(harness)["detail"]["data"]
    assert (second["reused"], second["attempt"]) == (False, 1)
    assert second["amis"] != first["detail"]["data"]["amis"]


def test_an_image_that_was_disabled_is_built_again(harness: ImportHarness) -> None:
    harness.follow(harness.upload(), "execution-1")
    (first,) = harness.answers()
    harness.image_builder.set_status(first["detail"]["data"]["buildArn"], "DISABLED")

    harness.follow(harness.upload(), "execution-2")

    assert the_answer(harness)["detail"]["data"]["attempt"] == 1


@pytest.mark.parametrize("listed", [True, False], ids=["in the list", "not yet in the list"])
def test_a_response_lost_after_it_took_effect_leads_to_the_same_build(
    harness: ImportHarness, monkeypatch: pytest.MonkeyPatch, *, listed: bool
) -> None:
    if not listed:
        monkeypatch.setattr(ImageBuilder, "find_build_by_tags", lambda *_: None)
    harness.image_builder.controls.fail_next("ImportDiskImage", "ServiceException", committed=True)
    upload = harness.upload()
    with pytest.raises(TransientError):
        harness.intake.process(upload, "execution-1")

    harness.follow(upload, "execution-1")

    assert the_answer(harness)["detail-type"] == "ISO Import Succeeded"
    assert harness.submissions() == (1 if listed else 2)
    assert len(harness.image_builder.builds) == 1
    assert harness.image_builder.controls.violations == []


def test_a_request_that_one_run_could_not_send_is_sent_by_the_next(
    harness: ImportHarness,
) -> None:
    harness.image_builder.controls.fail_next("ImportDiskImage", "ServiceException", committed=True)
    with pytest.raises(TransientError):
        harness.intake.process(harness.upload("a.iso"), "execution-1")  # and never runs again

    harness.follow(harness.upload("b.iso"), "execution-2")

    assert the_answer(harness)["detail"]["data"]["reused"] is True
    assert len(harness.image_builder.builds) == 1


def test_a_request_with_a_forgotten_token_is_found_by_its_tags(harness: ImportHarness) -> None:
    harness.image_builder.controls.fail_next("ImportDiskImage", "ServiceException", committed=True)
    upload = harness.upload()
    with pytest.raises(TransientError):
        harness.intake.process(upload, "execution-1")
    harness.image_builder.forget_tokens()

    harness.follow(upload, "execution-1")

    assert the_answer(harness)["detail-type"] == "ISO Import Succeeded"
    assert len(harness.image_builder.builds) == 1


def test_a_request_that_was_refused_is_not_sent_again(harness: ImportHarness) -> None:
    # Given an execution that was killed between the refusal and its record
    harness.image_builder.controls.fail_next("ImportDiskImage", "ClientException")
    upload = harness.upload()
    intake = harness.intake
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(Ledger, "record_failure", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            intake.process(upload, "execution-1")

    harness.follow(harness.upload("b.iso"), "execution-2")
    harness.follow(upload, "execution-1")

    good, refused = harness.answers()
    assert good["detail-type"] == "ISO Import Succeeded"
    assert refused["detail"]["data"]["code"] == Code.IMPORT_REFUSED
    assert len(harness.image_builder.builds) == 1


def test_a_refused_request_is_reported_and_a_fixed_stack_proceeds(harness: ImportHarness) -> None:
    good = harness.settings
    harness.settings = good.__class__("isodrop", good.infrastructure_configuration_arn + "-wrong")
    harness.follow(harness.upload(), "execution-1")
    refused = the_answer(harness)["detail"]
    harness.settings = good

    harness.follow(harness.upload(), "execution-2")

    assert refused["data"]["code"] == Code.IMPORT_REFUSED
    assert refused["data"]["retryable"] is False
    assert the_answer(harness)["detail-type"] == "ISO Import Succeeded"


def test_a_build_that_never_ends_is_reported_as_timed_out(harness: ImportHarness) -> None:
    harness.image_builder.controls.hold("BUILDING")
    upload = harness.upload()
    harness.intake.process(upload, "execution-1")
    harness.advance_clock(hours=16)

    harness.reporter.publish_answer(harness.claim_run(upload))

    assert the_answer(harness)["detail"]["data"]["code"] == Code.BUILD_TIMED_OUT


def test_a_manually_deleted_build_is_reported_as_deleted(harness: ImportHarness) -> None:
    upload = harness.upload()
    outcome = harness.intake.process(upload, "execution-1")
    assert outcome.build_arn is not None
    harness.advance_clock(hours=2)
    harness.builder.imagebuilder.delete_image(imageBuildVersionArn=outcome.build_arn)

    harness.follow(upload, "execution-1")

    assert the_answer(harness)["detail"]["data"]["code"] == Code.BUILD_GONE


def test_a_failed_execution_answers_exactly_once(harness: ImportHarness) -> None:
    upload = harness.upload()

    harness.answer_broken(upload, "Sandbox.Timedout", "\x1b[31mlong\nstory" * 900, "execution-1")
    harness.answer_broken(upload, "Another", "cause", "execution-1")
    harness.follow(upload, "execution-1")

    data = the_answer(harness)["detail"]["data"]
    assert data["code"] == Code.INTERNAL_ERROR
    assert data["executionArn"] == "execution-1"
    assert data["message"].startswith("Sandbox.Timedout: ")
    assert "\n" not in data["message"]
    assert len(data["message"]) < 2000


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TransientError.__name__, Code.SERVICE_UNAVAILABLE),
        (QuotaError.__name__, Code.SERVICE_UNAVAILABLE),
        ("Imagebuilder.CallRateLimitExceededException", Code.SERVICE_UNAVAILABLE),
        ("Imagebuilder.ForbiddenException", Code.ACCESS_DENIED),
        ("States.Timeout", Code.INTERNAL_ERROR),
    ],
)
def test_an_answer_has_the_code_of_the_error_of_the_execution(
    harness: ImportHarness, error: str, code: Code
) -> None:
    harness.answer_broken(harness.upload(body=b"any"), error, "cause", "execution-1")

    assert the_answer(harness)["detail"]["data"]["code"] == code


def test_an_answer_that_the_bus_refused_is_the_same_when_accepted(
    harness: ImportHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = harness.upload(body=b"no iso")
    harness.intake.process(upload, "execution-1")
    reporter = harness.reporter
    with monkeypatch.context() as broken:
        refusal = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
        broken.setattr(reporter.publisher.client, "put_events", lambda **_: refusal)
        with pytest.raises(TransientError, match="InternalFailure"):
            reporter.publish_answer(harness.claim_run(upload))
    frozen = harness.claim_run(upload).answer_json
    harness.advance_clock(minutes=5)

    harness.follow(upload, "execution-1")

    published = the_answer(harness)
    assert frozen is not None
    assert published["detail"]["metadata"]["time"] in frozen
    assert harness.claim_run(upload).answered_at is not None


def test_a_build_created_while_a_failure_was_written_is_tracked(
    harness: ImportHarness,
) -> None:
    one, two = harness.upload("a.iso"), harness.upload("b.iso")
    outcome = harness.intake.process(one, "execution-1")
    late = harness.claim_run(two, "execution-2")
    first = harness.claim_run(one)
    assert outcome.build_arn is not None
    assert first.import_build.attempt is not None
    attempt = harness.ledger.get_attempt(first.import_build.attempt)
    harness.ledger.record_decision(late, first.decision)  # type: ignore[arg-type] # it is decided
    harness.ledger.link_attempt(late, replace(attempt, build_arn=None))
    harness.ledger.record_failure(
        late, Failure(Code.BUILD_CANCELLED, "while it was being submitted")
    )
    harness.ledger.link_build(late, outcome.build_arn)

    harness.follow(two, "execution-2")

    assert the_answer(harness)["detail-type"] == "ISO Import Succeeded"
