"""Items of another version of isodrop: read, or reported without blocking others."""

from dataclasses import replace
from typing import Any

import pytest

from isodrop.aws.ledger import Ledger
from isodrop.aws.ledger_items import (
    SCHEMA_VERSION,
    UnreadableItemError,
    attempt_item_key,
    parse_image,
    parse_run,
    run_key,
    upload_run_key,
)
from isodrop.codes import Code, Rejection
from isodrop.domain.build_limits import BuildLimits
from isodrop.domain.run import Run
from isodrop.events import ledger_key
from tests.integration.test_ledger import NOW, a_plan, an_attempt, claimed
from tests.support.ledger_actions import create_attempt, put_image

IMAGE_ARN = "arn:aws:imagebuilder:eu-central-1:123456789012:image/windows-11/11.26100.1742/1"


def change(ledger: Ledger, key: dict[str, str], expression: str, **values: Any) -> None:
    """Change an item to what another version of the code would write."""
    given = {f":{name}": value for name, value in values.items()}
    more = {"ExpressionAttributeValues": given} if given else {}
    ledger.table.update_item(Key=key, UpdateExpression=expression, **more)  # type: ignore[arg-type] # mypy checks the mapping's values against every parameter


def read(ledger: Ledger, run: Run) -> Run | None:
    return ledger.get_run(run.upload_id, run.run_request.number)


@pytest.mark.parametrize("decision", [a_plan(), Rejection.of(Code.NOT_AN_ISO)])
def test_attributes_that_a_newer_version_added_are_ignored(ledger: Ledger, decision: Any) -> None:
    run = claimed(ledger)
    ledger.record_decision(run, decision)
    before = read(ledger, run)

    change(ledger, run_key(run), "SET color = :color, schemaVersion = :v", color="red", v=2)
    item = ledger.table.get_item(Key=run_key(run))["Item"]
    for name in ("upload", "decision"):
        inner = str(item[name]).replace('"message"', '"color": "red", "message"')
        inner = inner.replace('"size"', '"color": "red", "size"')
        inner = inner.replace('"image_index"', '"color": "red", "image_index"')
        assert inner != item[name]
        change(ledger, run_key(run), f"SET {name} = :text", text=inner)

    assert before is not None
    assert read(ledger, run) == before


def test_a_subscriber_finds_an_answer_where_the_ledger_keeps_it() -> None:
    for number in (0, 7, 123_456):
        assert ledger_key("0" * 32, number) == upload_run_key("0" * 32, number)


def test_attributes_that_an_older_version_did_not_write_have_defaults(ledger: Ledger) -> None:
    run = claimed(ledger)
    change(ledger, run_key(run), "REMOVE overrides, timeline, schemaVersion")
    upload = '{"bucket": "b", "key": "k.iso", "etag": "e", "size": 1, "sequencer": "1"}'
    change(ledger, run_key(run), "SET upload = :upload", upload=upload)
    assert create_attempt(ledger, an_attempt())
    change(ledger, attempt_item_key(an_attempt().key), "REMOVE ask, schemaVersion")

    found = read(ledger, run)

    assert found is not None
    assert (found.run_request.overrides, found.status_first_seen_at, found.upload.version_id) == (
        {},
        {},
        None,
    )
    assert [attempt.run_number for attempt in ledger.list_attempts("i")] == [0]


def test_each_item_has_the_version_that_wrote_it(ledger: Ledger) -> None:
    run = claimed(ledger)
    assert create_attempt(ledger, an_attempt())
    image = parse_image({"pk": "IMAGE#windows-11", "sk": "1", "arn": IMAGE_ARN, "windowsBuild": 1})
    put_image(ledger, image, "2026-11-25T10:00:00.000+00:00")
    ledger.record_content_sha256("c", "0" * 64)
    counted = replace(an_attempt(), number=1, day="2026-11-25")
    assert create_attempt(ledger, counted, BuildLimits(1, 1))

    items = ledger.table.scan()["Items"]

    others = {item["pk"] for item in items if item.get("executionArn") == "other-execution"}
    assert {item["pk"] for item in items} - others == {
        f"UPLOAD#{run.upload_id}",
        "ATTEMPTS#i",
        "IMAGE#windows-11",
        "NAMES",
        "CONTENT#c",
        "BUILDS",
    }
    assert {item["schemaVersion"] for item in items} == {SCHEMA_VERSION}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("upload", "{"),
        ("upload", '{"bucket": "b"}'),
        ("decision", '{"rejection": {"code": "of-tomorrow", "message": "", "remedy": ""}}'),
        ("decision", '{"perhaps": {}}'),
        ("attempt", "first"),
    ],
)
def test_an_item_that_cannot_be_read_is_named_by_its_key(
    ledger: Ledger, name: str, text: str
) -> None:
    run = claimed(ledger)
    change(ledger, run_key(run), f"SET {name} = :text", text=text)

    with pytest.raises(UnreadableItemError, match=f"UPLOAD#{run.upload_id} RUN#000000.*{name}"):
        read(ledger, run)


def test_a_cancellation_with_the_attributes_of_a_run_is_not_a_run(ledger: Ledger) -> None:
    # Given an item that an operator's policy allows, with attributes for the sweep to publish
    run = claimed(ledger)
    item = ledger.table.get_item(Key=run_key(run))["Item"]
    forged = {**item, "pk": f"CANCEL#{run.upload_id}", "sk": "RUN#000000", "answer": "{}"}

    with pytest.raises(UnreadableItemError, match=r"CANCEL#.*pk"):
        parse_run(forged)


def test_an_image_that_cannot_be_read_is_named_by_its_key() -> None:
    with pytest.raises(UnreadableItemError, match=r"IMAGE#a 1\.0\.0/1"):
        parse_image({"pk": "IMAGE#a", "sk": "1.0.0/1", "arn": "arn:of:nothing", "windowsBuild": 1})


def test_an_unreadable_item_does_not_block_the_others(ledger: Ledger) -> None:
    run = claimed(ledger)
    garbage = upload_run_key("garbage", 0)
    ledger.table.put_item(Item={**garbage, "state": "open", "claimedAt": NOW})
    unreadable: list[UnreadableItemError] = []

    found = ledger.get_runs([garbage, run_key(run)], unreadable.append)

    assert found == (run,)
    assert [error.key for error in unreadable] == [garbage]
