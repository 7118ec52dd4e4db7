"""Items that another version of isodrop wrote: read, or told of without stopping the others."""

from typing import Any

import pytest

from isodrop.aws.ledger import Ledger
from isodrop.aws.ledger_items import (
    SCHEMA_VERSION,
    UnreadableItemError,
    attempt_key,
    drop_key,
    key_of,
    parse_image,
)
from isodrop.codes import Code, Rejection
from isodrop.domain.run import Drop
from tests.integration.test_ledger import NOW, a_plan, an_attempt, claimed

IMAGE_ARN = "arn:aws:imagebuilder:eu-central-1:123456789012:image/windows-11/11.26100.1742/1"


def change(ledger: Ledger, key: dict[str, str], expression: str, **values: Any) -> None:
    """Change an item as another version of the code would have written it."""
    given = {f":{name}": value for name, value in values.items()}
    more = {"ExpressionAttributeValues": given} if given else {}
    ledger.table.update_item(Key=key, UpdateExpression=expression, **more)  # type: ignore[arg-type] # the stubs see every keyword in the mapping


def read(ledger: Ledger, drop: Drop) -> Drop | None:
    return ledger.drop(drop.id, drop.ask.number)


@pytest.mark.parametrize("verdict", [a_plan(), Rejection.of(Code.NOT_AN_ISO)])
def test_attributes_that_a_newer_version_added_are_ignored(ledger: Ledger, verdict: Any) -> None:
    drop = claimed(ledger)
    ledger.decide(drop, verdict)
    before = read(ledger, drop)

    change(ledger, key_of(drop), "SET colour = :colour, schemaVersion = :v", colour="red", v=2)
    item = ledger.table.get_item(Key=key_of(drop))["Item"]
    for name in ("upload", "verdict"):
        inner = str(item[name]).replace('"message"', '"colour": "red", "message"')
        inner = inner.replace('"size"', '"colour": "red", "size"')
        inner = inner.replace('"image_index"', '"colour": "red", "image_index"')
        assert inner != item[name]
        change(ledger, key_of(drop), f"SET {name} = :words", words=inner)

    assert before is not None
    assert read(ledger, drop) == before


def test_attributes_that_an_older_version_did_not_write_have_defaults(ledger: Ledger) -> None:
    drop = claimed(ledger)
    change(ledger, key_of(drop), "REMOVE overrides, timeline, schemaVersion")
    upload = '{"bucket": "b", "key": "k.iso", "etag": "e", "size": 1, "sequencer": "1"}'
    change(ledger, key_of(drop), "SET upload = :upload", upload=upload)
    assert ledger.begin(an_attempt())
    change(ledger, attempt_key("i", 0), "REMOVE ask, schemaVersion")

    found = read(ledger, drop)

    assert found is not None
    assert (found.ask.overrides, found.timeline, found.upload.version_id) == ({}, {}, None)
    assert [attempt.ask for attempt in ledger.attempts("i")] == [0]


def test_each_item_says_which_version_wrote_it(ledger: Ledger) -> None:
    drop = claimed(ledger)
    assert ledger.begin(an_attempt())
    ledger.know(parse_image({"pk": "IMAGE#windows-11", "sk": "1", "arn": IMAGE_ARN, "build": 1}))

    items = ledger.table.scan()["Items"]

    assert {item["pk"] for item in items} == {f"DROP#{drop.id}", "ATTEMPTS#i", "IMAGE#windows-11"}
    assert {item["schemaVersion"] for item in items} == {SCHEMA_VERSION}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("upload", "{"),
        ("upload", '{"bucket": "b"}'),
        ("verdict", '{"rejection": {"code": "of-tomorrow", "message": "", "remedy": ""}}'),
        ("verdict", '{"perhaps": {}}'),
        ("attempt", "first"),
    ],
)
def test_an_item_that_cannot_be_read_is_named_by_its_key(
    ledger: Ledger, name: str, words: str
) -> None:
    drop = claimed(ledger)
    change(ledger, key_of(drop), f"SET {name} = :words", words=words)

    with pytest.raises(UnreadableItemError, match=f"DROP#{drop.id} ASK#000000.*{name}"):
        read(ledger, drop)


def test_an_image_that_cannot_be_read_is_named_by_its_key() -> None:
    with pytest.raises(UnreadableItemError, match=r"IMAGE#a 1\.0\.0/1"):
        parse_image({"pk": "IMAGE#a", "sk": "1.0.0/1", "arn": "arn:of:nothing", "build": 1})


def test_one_item_that_cannot_be_read_keeps_no_other_from_being_read(ledger: Ledger) -> None:
    drop = claimed(ledger)
    garbage = drop_key("garbage", 0)
    ledger.table.put_item(Item={**garbage, "state": "open", "claimed": NOW})
    told: list[UnreadableItemError] = []

    found = ledger.marked([garbage, key_of(drop)], told.append)

    assert found == (drop,)
    assert [error.key for error in told] == [garbage]
