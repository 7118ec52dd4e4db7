"""From the upload to the answer, in one process: what is decided, sent, kept and told."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from isodrop.aws.image_builder import Builder
from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.ids import client_token, import_identity
from isodrop.domain.model import Ask, ImportPlan, ImportSettings
from isodrop.domain.run import Trouble
from isodrop.errors import QuotaError, TransientError
from isodrop.services.intake import Decision
from isodrop_local.iso_maker import (
    consumer_editions,
    evaluation_editions,
    ltsc_editions,
    server_editions,
)
from tests.integration.conftest import STAGING
from tests.support.harness import Way


@pytest.fixture
def way(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> Way:
    return Way(session, ledger, tmp_path)


def the_answer(way: Way) -> dict[str, Any]:
    (answer,) = way.answers()
    return answer


def test_an_iso_becomes_an_ami_and_is_told_step_by_step(way: Way) -> None:
    way.follow(way.upload("Büro + 100%.iso"))

    heard = way.heard()
    kinds = [event["detail-type"].removeprefix("ISO Import ") for event in heard]
    answer = heard[-1]["detail"]["data"]
    amis = way.session.client("ec2").describe_images(ImageIds=[answer["amis"][0]["id"]])
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == ("Started", "Succeeded", {"Progressed"})
    assert len({event["detail"]["metadata"]["eventId"] for event in heard}) == len(heard)
    assert answer["source"]["key"] == "Büro + 100%.iso"
    assert answer["plan"]["name"] == "windows-11-enterprise-x64-en-us"
    assert answer["plan"]["semanticVersion"] == "11.26100.1742"
    assert answer["plan"]["imageIndex"] == 5
    assert answer["reused"] is False
    assert amis["Images"][0]["State"] == "available"
    assert sum(answer["minutes"].values()) > 10
    assert way.image_builder.controls.violations == []


def test_the_request_is_all_that_was_decided(way: Way) -> None:
    upload = way.upload("a.iso", edition="EnterpriseN", description="for Berlin", rebuild="2026-11")

    way.follow(upload)

    (call,) = way.image_builder.controls.calls_of("ImportDiskImage")
    sent = dict(call["parameters"])
    tags = sent.pop("tags")
    assert sent == {
        "clientToken": sent["clientToken"],
        "name": "windows-11-enterprisen-x64-en-us",
        "semanticVersion": "11.26100.1742",
        "description": "for Berlin",
        "platform": "Windows",
        "osVersion": "Microsoft Windows 11",
        "infrastructureConfigurationArn": way.settings.infrastructure_configuration_arn,
        "uri": f"s3://{STAGING}/{way.drop(upload).id}-0.iso",
        "windowsConfiguration": {"imageIndex": 3},
    }
    assert len(sent["clientToken"]) == 36
    assert tags["isodrop:drop"] == way.drop(upload).id
    assert tags["isodrop:attempt"] == "0"


def test_the_token_names_the_bytes_that_were_looked_at(way: Way) -> None:
    upload = way.upload()

    way.follow(upload)

    plan = way.drop(upload).verdict
    assert isinstance(plan, ImportPlan)
    (call,) = way.image_builder.controls.calls_of("ImportDiskImage")
    content = way.drop(upload).content
    assert content is not None
    identity = import_identity(plan, content.id)
    assert call["parameters"]["clientToken"] == client_token(upload.etag, identity, "isodrop", 0)


@pytest.mark.parametrize(
    ("editions", "code"),
    [
        (consumer_editions(), Code.NO_SUCH_EDITION),
        (server_editions(), Code.SERVER_MEDIA),
        (evaluation_editions(), Code.EVALUATION_MEDIA),
        (ltsc_editions(), Code.LTSC_MEDIA),
    ],
)
def test_what_cannot_be_imported_is_rejected_before_anything_is_spent(
    way: Way, editions: Any, code: Code
) -> None:
    way.follow(way.upload(body=way.iso(editions)))

    answer = the_answer(way)
    assert answer["detail-type"] == "ISO Import Rejected"
    assert answer["detail"]["data"]["code"] == code
    assert answer["detail"]["data"]["remedy"]
    assert way.submissions() == 0


@pytest.mark.parametrize(
    ("key", "body", "code"),
    [
        ("notes.iso", b"dear diary", Code.NOT_AN_ISO),
        ("empty.iso", b"", Code.NOT_AN_ISO),
        ("win11.iSo", b"dear diary", Code.NOT_AN_ISO),
        ("\x1b[31m\nwin.iso", b"dear diary", Code.NOT_AN_ISO),
    ],
)
def test_any_bytes_under_any_key_get_an_answer(way: Way, key: str, body: bytes, code: Code) -> None:
    way.follow(way.upload(key, body))

    answer = the_answer(way)
    assert answer["detail"]["data"]["code"] == code
    assert answer["detail"]["data"]["source"]["key"] == key
    assert "\n" not in answer["detail"]["data"]["message"]
    assert "\x1b" not in answer["detail"]["data"]["message"]


def test_a_wrong_override_is_rejected(way: Way) -> None:
    way.follow(way.upload(image_index="first"))

    assert the_answer(way)["detail"]["data"]["code"] == Code.INVALID_OVERRIDE


def test_a_repeated_delivery_is_silent(way: Way) -> None:
    upload = way.upload()
    way.follow(upload, "execution-1")

    again = way.intake.take(upload, "execution-2")

    assert again.decision is Decision.NOTHING
    assert way.submissions() == 1
    assert len(way.answers()) == 1


@pytest.mark.parametrize("key", ["isos/demo", "isos/Win11.iso.tornado", "isos/iso", "isos/LOGO"])
def test_what_is_no_iso_by_its_name_ends_quietly(way: Way, key: str) -> None:
    # What the rule lets through below a prefix.
    upload = way.upload(key)

    outcome = way.follow(upload)

    assert outcome.decision is Decision.NOTHING
    assert (
        way.reporter.claimed(upload, "execution-1") is None
    )  # nor is there an answer if that broke
    assert way.ledger.table.scan()["Items"] == []
    assert way.heard() == []


def test_the_same_execution_again_says_and_does_nothing_new(way: Way) -> None:
    upload = way.upload()
    way.follow(upload)
    first = way.answers()
    way.follow(upload)

    assert len(first) == len(way.counted) == 1
    assert way.answers() == []
    assert way.submissions() == 1


def test_an_answer_whose_function_died_before_the_ledger_knew_is_counted_all_the_same(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise SystemExit

    # Given an answer that was published, but is not written down as that
    upload = way.upload()
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "answered", killed)
        with pytest.raises(SystemExit):
            way.follow(upload)
    # When the function is asked again, and again
    way.reporter.answer(way.drop(upload))
    way.reporter.answer(way.drop(upload))
    # Then it is counted as often as it was published, and no more
    published = [event["detail-type"] for event in way.answers()]
    assert way.counted == published == ["ISO Import Succeeded"] * 2


def test_the_same_disc_under_another_key_is_the_same_import(way: Way) -> None:
    way.follow(way.upload("a.iso"), "execution-1")
    way.follow(way.upload("b.ISO"), "execution-2")

    first, second = way.answers()
    assert (first["detail"]["data"]["reused"], second["detail"]["data"]["reused"]) == (False, True)
    assert first["detail"]["data"]["amis"] == second["detail"]["data"]["amis"]
    assert first["detail"]["metadata"]["eventId"] != second["detail"]["metadata"]["eventId"]
    assert first["detail"]["metadata"]["importId"] == second["detail"]["metadata"]["importId"]
    assert way.submissions() == 1


def test_two_drops_of_one_disc_at_once_follow_one_build_and_both_hear_that_it_failed(
    way: Way,
) -> None:
    way.image_builder.controls.fail_next_build(status="BUILDING", message="no TPM")
    one, two = way.upload("a.iso"), way.upload("b.iso")
    first = way.intake.take(one, "execution-1")
    second = way.intake.take(two, "execution-2")
    way.later(hours=2)
    for upload, execution in ((one, "execution-1"), (two, "execution-2")):
        way.reporter.answer(way.drop(upload, execution))

    assert first == second
    for answer in way.answers():
        assert answer["detail-type"] == "ISO Import Failed"
        assert answer["detail"]["data"]["code"] == Code.BUILD_FAILED
        assert "no TPM" in answer["detail"]["data"]["message"]
        assert answer["detail"]["data"]["failedStep"]
        assert answer["detail"]["data"]["logGroup"].startswith("/aws/imagebuilder/")
        assert answer["detail"]["data"]["dropAgain"] is True
    assert len(way.image_builder.builds) == 1


def test_dropping_again_after_a_failed_build_builds_again_and_at_most_so_often(way: Way) -> None:
    way.image_builder.controls.fail_next_build(status="BUILDING", times=9)
    for number in range(3):
        way.follow(way.upload(), f"execution-{number}")

    answers = [event["detail"]["data"] for event in way.answers()]
    assert [answer["code"] for answer in answers] == [
        Code.BUILD_FAILED,
        Code.BUILD_FAILED,
        Code.TOO_MANY_ATTEMPTS,
    ]
    assert [answer.get("attempt") for answer in answers] == [0, 1, None]
    assert len(way.image_builder.builds) == 2
    assert way.image_builder.controls.violations == []


def test_a_cancelled_build_is_told_and_dropping_again_builds_again(way: Way) -> None:
    upload = way.upload()
    outcome = way.intake.take(upload, "execution-1")
    assert outcome.build_arn is not None
    way.later(minutes=8)
    way.builder.imagebuilder.cancel_image_creation(
        imageBuildVersionArn=outcome.build_arn, clientToken="by hand"
    )
    way.follow(upload, "execution-1")
    way.follow(way.upload(), "execution-2")

    cancelled, good = way.answers()
    assert cancelled["detail"]["data"]["code"] == Code.BUILD_CANCELLED
    assert good["detail-type"] == "ISO Import Succeeded"
    assert good["detail"]["data"]["attempt"] == 1


def test_an_image_whose_ami_is_gone_is_built_again(way: Way) -> None:
    way.follow(way.upload(), "execution-1")
    (first,) = way.answers()
    way.session.client("ec2").deregister_image(ImageId=first["detail"]["data"]["amis"][0]["id"])
    way.later(minutes=11)

    way.follow(way.upload(), "execution-2")

    second = the_answer(way)["detail"]["data"]
    assert (second["reused"], second["attempt"]) == (False, 1)
    assert second["amis"] != first["detail"]["data"]["amis"]


def test_an_image_that_was_disabled_is_built_again(way: Way) -> None:
    way.follow(way.upload(), "execution-1")
    (first,) = way.answers()
    way.image_builder.set_status(first["detail"]["data"]["buildArn"], "DISABLED")

    way.follow(way.upload(), "execution-2")

    assert the_answer(way)["detail"]["data"]["attempt"] == 1


def test_a_rebuild_on_purpose_is_another_import(way: Way) -> None:
    way.follow(way.upload(), "execution-1")
    way.follow(way.upload(rebuild="again"), "execution-2")

    assert [event["detail"]["data"]["reused"] for event in way.answers()] == [False, False]
    assert len(way.image_builder.builds) == 2


@pytest.mark.parametrize("error", ["TooManyRequestsException", "ServiceUnavailableException"])
def test_what_will_pass_is_raised_to_be_waited_out(way: Way, error: str) -> None:
    way.image_builder.controls.fail_next("ImportDiskImage", error)
    upload = way.upload()

    with pytest.raises(TransientError):
        way.intake.take(upload, "execution-1")
    way.follow(upload, "execution-1")

    assert the_answer(way)["detail-type"] == "ISO Import Succeeded"
    assert len(way.image_builder.builds) == 1


@pytest.mark.parametrize("listed", [True, False], ids=["in the list", "not yet in the list"])
def test_an_answer_that_was_lost_after_it_took_effect_leads_to_the_same_build(
    way: Way, monkeypatch: pytest.MonkeyPatch, *, listed: bool
) -> None:
    if not listed:
        monkeypatch.setattr(Builder, "find", lambda *_: None)
    way.image_builder.controls.fail_next("ImportDiskImage", "ServiceException", committed=True)
    upload = way.upload()
    with pytest.raises(TransientError):
        way.intake.take(upload, "execution-1")

    way.follow(upload, "execution-1")

    assert the_answer(way)["detail-type"] == "ISO Import Succeeded"
    assert way.submissions() == (1 if listed else 2)
    assert len(way.image_builder.builds) == 1
    assert way.image_builder.controls.violations == []


def test_a_request_that_its_drop_could_not_send_is_sent_by_the_next_one(way: Way) -> None:
    way.image_builder.controls.fail_next("ImportDiskImage", "ServiceException", committed=True)
    with pytest.raises(TransientError):
        way.intake.take(way.upload("a.iso"), "execution-1")  # and never comes again

    way.follow(way.upload("b.iso"), "execution-2")

    assert the_answer(way)["detail"]["data"]["reused"] is True
    assert len(way.image_builder.builds) == 1


def test_a_request_whose_token_was_forgotten_is_found_by_its_tags(way: Way) -> None:
    way.image_builder.controls.fail_next("ImportDiskImage", "ServiceException", committed=True)
    upload = way.upload()
    with pytest.raises(TransientError):
        way.intake.take(upload, "execution-1")
    way.image_builder.forget_tokens()

    way.follow(upload, "execution-1")

    assert the_answer(way)["detail-type"] == "ISO Import Succeeded"
    assert len(way.image_builder.builds) == 1


def test_a_request_that_was_refused_is_not_sent_again(way: Way) -> None:
    # Given an execution that was killed between the refusal and its own note of it
    way.image_builder.controls.fail_next("ImportDiskImage", "ClientException")
    upload = way.upload()
    intake = way.intake
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(Ledger, "hinder", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            intake.take(upload, "execution-1")

    way.follow(way.upload("b.iso"), "execution-2")
    way.follow(upload, "execution-1")

    good, refused = way.answers()
    assert good["detail-type"] == "ISO Import Succeeded"
    assert refused["detail"]["data"]["code"] == Code.IMPORT_REFUSED
    assert len(way.image_builder.builds) == 1


def test_a_refused_request_is_told_and_a_repaired_stack_goes_on(way: Way) -> None:
    good = way.settings
    way.settings = good.__class__("isodrop", good.infrastructure_configuration_arn + "-wrong")
    way.follow(way.upload(), "execution-1")
    refused = the_answer(way)["detail"]
    way.settings = good

    way.follow(way.upload(), "execution-2")

    assert refused["data"]["code"] == Code.IMPORT_REFUSED
    assert refused["data"]["dropAgain"] is False
    assert the_answer(way)["detail-type"] == "ISO Import Succeeded"


def test_a_refused_request_that_is_asked_anew_after_the_repair_goes_through(way: Way) -> None:
    good = way.settings
    way.settings = good.__class__("isodrop", good.infrastructure_configuration_arn + "-wrong")
    upload = way.upload()
    way.follow(upload, "execution-1")
    way.settings = good

    way.follow(upload, "execution-2", Ask(1))

    refused, repaired = way.answers()
    assert refused["detail"]["data"]["code"] == Code.IMPORT_REFUSED
    assert repaired["detail-type"] == "ISO Import Succeeded"
    assert repaired["detail"]["metadata"]["ask"] == 1


def test_a_build_that_never_ends_is_told_as_that(way: Way) -> None:
    way.image_builder.controls.hold("BUILDING")
    upload = way.upload()
    way.intake.take(upload, "execution-1")
    way.later(hours=16)

    way.reporter.answer(way.drop(upload))

    assert the_answer(way)["detail"]["data"]["code"] == Code.BUILD_TIMED_OUT


def test_a_build_deleted_by_hand_is_told_as_that(way: Way) -> None:
    upload = way.upload()
    outcome = way.intake.take(upload, "execution-1")
    assert outcome.build_arn is not None
    way.later(hours=2)
    way.builder.imagebuilder.delete_image(imageBuildVersionArn=outcome.build_arn)

    way.follow(upload, "execution-1")

    assert the_answer(way)["detail"]["data"]["code"] == Code.BUILD_GONE


def test_an_execution_that_broke_answers_too_and_only_once(way: Way) -> None:
    upload = way.upload()

    way.answer_broken(upload, "Sandbox.Timedout", "\x1b[31mlong\nstory" * 900, "execution-1")
    way.answer_broken(upload, "Another", "cause", "execution-1")
    way.follow(upload, "execution-1")

    data = the_answer(way)["detail"]["data"]
    assert data["code"] == Code.INTERNAL_ERROR
    assert data["execution"] == "execution-1"
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
def test_whose_fault_it_was_is_told(way: Way, error: str, code: Code) -> None:
    way.answer_broken(way.upload(body=b"any"), error, "cause", "execution-1")

    assert the_answer(way)["detail"]["data"]["code"] == code


def test_an_answer_that_the_bus_refuses_is_the_same_when_it_is_taken(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = way.upload(body=b"no iso")
    way.intake.take(upload, "execution-1")
    reporter = way.reporter
    with monkeypatch.context() as broken:
        refusal = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
        broken.setattr(reporter.publisher.client, "put_events", lambda **_: refusal)
        with pytest.raises(TransientError, match="InternalFailure"):
            reporter.answer(way.drop(upload))
    frozen = way.drop(upload).answer
    way.later(minutes=5)

    way.follow(upload, "execution-1")

    told = the_answer(way)
    assert frozen is not None
    assert told["detail"]["metadata"]["time"] in frozen
    assert way.drop(upload).answered is not None


def test_asked_anew_an_upload_is_answered_again_and_told_apart(way: Way) -> None:
    upload = way.upload()
    way.follow(upload, "execution-1")

    way.follow(upload, "execution-2", Ask(1))

    first, second = way.answers()
    told = [answer["detail"]["metadata"] for answer in (first, second)]
    assert [each["ask"] for each in told] == [0, 1]
    assert told[0]["dropId"] == told[1]["dropId"]
    assert told[0]["eventId"] != told[1]["eventId"]
    assert [answer["detail"]["data"]["reused"] for answer in (first, second)] == [False, True]
    assert way.submissions() == 1


def test_an_ask_lays_its_overrides_over_the_objects(way: Way) -> None:
    upload = way.upload(edition="Education", rebuild="1")
    way.follow(upload, "execution-1")

    way.follow(upload, "execution-2", Ask(1, {"edition": "EnterpriseN", "rebuild": ""}))

    first, second = (answer["detail"]["data"]["plan"]["edition"] for answer in way.answers())
    plan = way.drop(upload, "execution-2", Ask(1)).verdict
    assert (first, second) == ("Education", "EnterpriseN")
    assert isinstance(plan, ImportPlan)
    assert plan.rebuild is None


def test_an_operator_is_not_held_to_what_uploaders_may_override(way: Way) -> None:
    way.settings = replace(way.settings, allowed_overrides=frozenset({"edition"}))
    upload = way.upload(rebuild="1")
    way.follow(upload, "execution-1")

    way.follow(upload, "execution-2", Ask(1, {"image-name": "golden"}))
    way.follow(upload, "execution-3", Ask(2, {"image-name": "golden", "rebuild": ""}))

    first, second, third = (answer["detail"]["data"] for answer in way.answers())
    assert (first["code"], second["code"]) == (Code.INVALID_OVERRIDE, Code.INVALID_OVERRIDE)
    assert third["plan"]["name"] == "golden"


@pytest.mark.parametrize(
    "metadata",
    [{"image_name": "golden"}, {"semantic_version": "1073741823.0.0"}, {"rebuild": "1"}],
)
def test_by_default_no_uploader_moves_others_latest_or_builds_anew(
    way: Way, metadata: dict[str, Any]
) -> None:
    settings = ImportSettings("isodrop", way.settings.infrastructure_configuration_arn)
    way.settings = settings

    way.follow(way.upload(**metadata))

    (answer,) = way.answers()
    assert answer["detail"]["data"]["code"] == Code.INVALID_OVERRIDE
    assert way.submissions() == 0


def test_asking_anew_after_a_failed_build_builds_again_and_at_most_so_often(way: Way) -> None:
    way.image_builder.controls.fail_next_build(status="BUILDING", times=9)
    upload = way.upload()
    for number in range(3):
        way.follow(upload, f"execution-{number}", Ask(number))

    answers = [event["detail"]["data"] for event in way.answers()]
    assert [answer["code"] for answer in answers] == [
        Code.BUILD_FAILED,
        Code.BUILD_FAILED,
        Code.TOO_MANY_ATTEMPTS,
    ]
    assert len(way.image_builder.builds) == 2


def test_a_repeated_ask_is_silent(way: Way) -> None:
    upload = way.upload()
    for number in range(2):
        way.follow(upload, f"execution-{number}", Ask(number))

    again = way.intake.take(upload, "execution-2", Ask(1, {"edition": "Education"}))

    assert again.decision is Decision.NOTHING
    assert len(way.answers()) == 2


def test_an_execution_redriven_after_its_answer_starts_nothing(way: Way) -> None:
    upload = way.upload()
    way.answer_broken(upload, "States.Timeout", "", "execution-1")

    again = way.intake.take(upload, "execution-1")

    assert again.decision is Decision.ANSWER
    assert way.submissions() == 0


def test_a_build_that_came_to_be_while_trouble_was_written_is_followed(way: Way) -> None:
    one, two = way.upload("a.iso"), way.upload("b.iso")
    outcome = way.intake.take(one, "execution-1")
    late = way.drop(two, "execution-2")
    way.ledger.hinder(late, Trouble(Code.BUILD_CANCELLED, "while it was being submitted"))
    first = way.drop(one)
    assert outcome.build_arn is not None
    assert first.identity is not None
    way.ledger.follow(late, way.ledger.attempts(first.identity)[0])
    way.ledger.decide(late, first.verdict)  # type: ignore[arg-type] # it is decided
    way.ledger.followed(late, outcome.build_arn)

    way.follow(two, "execution-2")

    assert the_answer(way)["detail-type"] == "ISO Import Succeeded"
