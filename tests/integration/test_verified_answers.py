"""Answers that subscribers compare with the ledger and Image Builder before they act."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop.aws.ledger import Ledger
from isodrop.events import UnknownEventError, UnverifiedEventError, parse, verify
from isodrop_local.iso_maker import server_editions
from tests.integration.test_distribution import configuration
from tests.support.harness import ImportHarness, failing

Event = dict[str, Any]


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    return ImportHarness(session, ledger, tmp_path)


@pytest.fixture
def answer(harness: ImportHarness) -> Event:
    """A genuine answer, as a subscriber gets it."""
    return answered(harness)


def answered(harness: ImportHarness) -> Event:
    harness.follow(harness.upload())
    (answer,) = harness.answers()
    return answer


def verified(harness: ImportHarness, event: Any) -> Any:
    return verify(event, harness.ledger.table, harness.builder.imagebuilder)


def forged(answer: Event, change: Callable[[Event], None]) -> Event:
    event = copy.deepcopy(answer)
    change(event)
    return event


def test_a_genuine_answer_is_returned(harness: ImportHarness, answer: Event) -> None:
    assert verified(harness, answer) == parse(answer)


def test_a_rejection_is_verified_too(harness: ImportHarness) -> None:
    harness.follow(harness.upload(body=harness.iso(server_editions())))
    (answer,) = harness.answers()
    assert verified(harness, answer) == parse(answer)


def test_a_distributed_image_is_checked_against_both_builds(harness: ImportHarness) -> None:
    harness.distribution = configuration(harness)
    found = verified(harness, answered(harness))
    assert len(found.data.amis) == 4


def test_notes_added_after_the_answer_are_not_a_difference(harness: ImportHarness) -> None:
    with failing(harness.client("s3"), "PutObjectTagging", "AccessDenied", 403):
        answer = answered(harness)
    assert answer["detail"]["data"]["notes"]
    assert verified(harness, answer) == parse(answer)


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("data.amis", lambda e: e["detail"]["data"]["amis"][0].update(id="ami-00000000badbadbad")),
        ("data.buildArn", lambda e: e["detail"]["data"].update(buildArn="arn:aws:other")),
        ("data.plan.name", lambda e: e["detail"]["data"]["plan"].update(name="golden")),
        ("data.notes", lambda e: e["detail"]["data"].update(notes=["All is well."])),
        ("metadata.stack", lambda e: e["detail"]["metadata"].update(stack="other")),
    ],
)
def test_an_answer_that_was_changed_is_refused_and_the_field_named(
    harness: ImportHarness, answer: Event, where: str, change: Callable[[Event], None]
) -> None:
    with pytest.raises(UnverifiedEventError, match=where) as caught:
        verified(harness, forged(answer, change))
    assert caught.value.differences == (where,)


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e["detail"]["metadata"].update(uploadId="0" * 32),
        lambda e: e["detail"]["metadata"].update(uploadId="x" * 4000),
        lambda e: e["detail"]["metadata"].update(uploadId=""),
        lambda e: e["detail"]["metadata"].update(run=7),
        lambda e: e["detail"]["metadata"].update(run=-1),
        lambda e: e["detail"]["metadata"].update(run=10**40),
    ],
    ids=["other-upload", "long-upload", "no-upload", "other-run", "negative-run", "huge-run"],
)
def test_an_answer_for_an_unknown_upload_is_refused(
    harness: ImportHarness, answer: Event, change: Callable[[Event], None]
) -> None:
    with pytest.raises(UnverifiedEventError, match="has no answer"):
        verified(harness, forged(answer, change))


def test_a_run_without_an_answer_verifies_nothing(harness: ImportHarness) -> None:
    upload = harness.upload()
    harness.intake.process(upload, "execution-1")
    true = json.loads(
        (Path(__file__).parents[2] / "events/out/iso-import-succeeded.json").read_text()
    )
    true["detail"]["metadata"]["uploadId"] = harness.claim_run(upload).upload_id
    with pytest.raises(UnverifiedEventError, match="has no answer"):
        verified(harness, true)


def test_another_stacks_answer_kept_elsewhere_is_refused(
    harness: ImportHarness, session: boto3.Session, answer: Event
) -> None:
    """A subscriber that was given another table's name verifies nothing."""
    definition = harness.ledger.table
    other = session.resource("dynamodb").create_table(
        TableName="stale",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")
        ],
        KeySchema=definition.key_schema,
    )
    with pytest.raises(UnverifiedEventError, match="has no answer"):
        verify(answer, other, harness.builder.imagebuilder)


def test_an_answer_that_the_ledger_cannot_confirm_is_refused(
    harness: ImportHarness, answer: Event
) -> None:
    metadata = answer["detail"]["metadata"]
    key = {"pk": f"UPLOAD#{metadata['uploadId']}", "sk": "RUN#000000"}
    for spoiled in ("{", "[]", '{"detail-type": "ISO Import Succeeded", "detail": {}}'):
        harness.ledger.table.update_item(
            Key=key,
            UpdateExpression="SET answer = :it",
            ExpressionAttributeValues={":it": spoiled},
        )
        with pytest.raises(UnverifiedEventError, match="cannot be read"):
            verified(harness, answer)


def test_an_answer_is_not_verified_without_its_table(harness: ImportHarness, answer: Event) -> None:
    harness.ledger.table.delete()
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        verified(harness, answer)


class Builds:
    """An Image Builder that returns given builds."""

    def __init__(self, status: str, amis: list[dict[str, str]]) -> None:
        self.image = {"state": {"status": status}, "outputResources": {"amis": amis}}

    def get_image(self, *, imageBuildVersionArn: str) -> Any:  # noqa: N803 - boto3's name
        assert imageBuildVersionArn
        return {"image": self.image}


@pytest.mark.parametrize(
    ("builds", "reason"),
    [
        (Builds("DISABLED", []), "is DISABLED now"),
        (Builds("AVAILABLE", []), "does not return 1 of the AMIs"),
        (
            Builds(
                "AVAILABLE", [{"image": "ami-1", "region": "eu-central-1", "accountId": "1" * 12}]
            ),
            "does not return 1 of the AMIs",
        ),
    ],
)
def test_an_ami_that_image_builder_does_not_name_is_refused(
    harness: ImportHarness, answer: Event, builds: Builds, reason: str
) -> None:
    """An attacker with access to the ledger cannot change Image Builder's builds."""
    with pytest.raises(UnverifiedEventError, match=reason):
        verify(answer, harness.ledger.table, builds)


def test_a_notification_is_not_verified(harness: ImportHarness) -> None:
    harness.follow(harness.upload())
    started, *_ = harness.published()
    assert started["detail-type"] == "ISO Import Started"
    with pytest.raises(UnknownEventError, match="is not an answer"):
        verified(harness, started)


JUNK: tuple[Any, ...] = (
    None,
    1,
    1.5,
    True,
    "",
    "x" * 256 * 1024,
    [],
    {},
    [{}],
    {"a": {"b": None}},
    "\x00\u202e",
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a JSON value."""
    yield path
    named = value.items() if isinstance(value, dict) else ()
    for name, each in [*named, *enumerate(value if isinstance(value, list) else ())]:
        yield from paths(each, (*path, name))


def test_a_field_of_a_wrong_type_is_refused_or_has_no_effect(
    harness: ImportHarness, answer: Event
) -> None:
    refused: list[str] = []
    for path in paths(answer):
        for junk in JUNK:
            event: Any = junk if not path else copy.deepcopy(answer)
            if path:
                place = event
                for name in path[:-1]:
                    place = place[name]
                place[path[-1]] = junk
            try:
                assert verified(harness, event) == parse(answer)
            except (UnknownEventError, UnverifiedEventError) as error:
                refused.append(str(error))
    assert len(refused) > 500
    assert max(map(len, refused)) < 2000
