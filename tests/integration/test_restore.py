"""docs/restore.md: missing items are copied back to the ledger, and nothing is built again."""

import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3

from isodrop.aws.ledger import Ledger
from tests.support.harness import ImportHarness

PAGE = Path(__file__).parents[2] / "docs/restore.md"


def copied_back(session: boto3.Session) -> None:
    """Run the page's code on the tables of this test."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = code.replace("<LedgerTableName>", "ledger").splitlines()
    with patch.object(boto3, "resource", session.resource):
        exec("\n".join(line[3:] for line in lines), {})  # noqa: S102 - the page is ours


def items(table: Any) -> dict[tuple[str, str], Any]:
    return {(each["pk"], each["sk"]): each for each in table.scan()["Items"]}


def test_restored_items_are_copied_back_and_nothing_is_built_again(
    session: boto3.Session, ledger: Ledger, tmp_path: Path
) -> None:
    harness = ImportHarness(session, ledger, tmp_path)
    first = harness.upload("a.iso")
    harness.follow(first, "execution-1")
    before = items(ledger.table)
    kept = session.resource("dynamodb").create_table(
        TableName="ledger-restored",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")
        ],
        KeySchema=ledger.table.key_schema,
    )
    for item in before.values():
        kept.put_item(Item=item)
    for pk, sk in before:  # lost, and then another upload comes
        ledger.table.delete_item(Key={"pk": pk, "sk": sk})
    later = harness.upload("later.iso", body=b"no iso at all" * 100)
    harness.follow(later, "execution-2")
    came_later = items(ledger.table)

    copied_back(session)

    assert items(ledger.table) == before | came_later
    again = harness.upload("b.iso")  # the same bytes
    harness.follow(again, "execution-3")
    assert harness.submissions() == 1
    assert harness.answers()[-1]["detail"]["data"]["reused"] is True
