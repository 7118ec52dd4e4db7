"""Answers with more AMIs than fit in an EventBridge event."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop.aws.ledger import Ledger
from isodrop.domain.model import DistributionSettings
from isodrop.events import DETAIL_LIMIT, NOTES_LIMIT, Event, parse, verify
from tests.integration.test_distribution import ROLE
from tests.support.harness import REGION, ImportHarness

ENTRY_LIMIT = 256 * 1024
REGIONS = 30
ACCOUNTS = 100
OUT = Path(__file__).parents[2] / "events/out"


def entry_size(entry: dict[str, Any]) -> int:
    """Return the size of an entry as EventBridge counts it.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html
    """
    texts = (entry["Source"], entry["DetailType"], entry["Detail"], *entry["Resources"])
    return 14 + sum(len(text.encode()) for text in texts)


def refuse_large_entries(params: dict[str, Any], **_: Any) -> None:
    """Make PutEvents refuse entries that are too large, which moto accepts."""
    for entry in params["Entries"]:
        if entry_size(entry) >= ENTRY_LIMIT:
            message = "Total size of the entries in the request is over the limit."
            error = {"Error": {"Code": "ValidationException", "Message": message}}
            raise ClientError(error, "PutEvents")  # type: ignore[arg-type] # the stubs want all of it


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    """A stack that distributes its images to 3,000 destinations."""
    harness = ImportHarness(session, ledger, tmp_path)
    harness.client("events").meta.events.register(
        "provide-client-params.events.PutEvents", refuse_large_entries
    )
    accounts = [f"{210_000_000_000 + each}" for each in range(ACCOUNTS)]
    made = harness.builder.imagebuilder.create_distribution_configuration(
        name="everywhere",
        distributions=[
            {
                "region": f"eu-north-{each + 1}",
                "amiDistributionConfiguration": {"targetAccountIds": accounts},
            }
            for each in range(REGIONS)
        ],
        clientToken="everywhere",
    )
    harness.distribution = DistributionSettings(made["distributionConfigurationArn"], ROLE)
    return harness


def test_3000_amis_are_answered_with_the_first_and_a_count_of_the_others(
    harness: ImportHarness,
) -> None:
    harness.follow(harness.upload())

    (answer,) = harness.answers()
    data = answer["detail"]["data"]
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert len(data["amis"]) + data["amisOmitted"] == 1 + REGIONS * ACCOUNTS
    assert len(data["amis"]) > 1000
    assert data["amis"][0]["region"] == REGION
    everywhere = harness.builder.get_build(data["distributionArn"])
    assert everywhere is not None
    assert len(everywhere.amis) == REGIONS * ACCOUNTS
    builder = harness.builder.imagebuilder
    assert verify(answer, harness.ledger.table, builder) == parse(answer)


@pytest.mark.parametrize("name", ["iso-import-succeeded", "iso-import-failed-distribution"])
@pytest.mark.parametrize("key", ["a", "\U0001f4bf" * 256], ids=["short", "long"])
def test_an_answer_of_any_size_fits_and_omits_only_what_it_must(name: str, key: str) -> None:
    event = json.loads((OUT / f"{name}.json").read_text())
    data = event["detail"]["data"]
    data["source"]["key"] = key + ".iso"
    for count in (1, 1000, 1400, 1700, 12_000):
        ami = {**data["amis"][0], "name": "n" * 20 + "\u00e9"}
        data["amis"] = [{**ami, "id": f"ami-{each:017x}"} for each in range(count)]
        whole = parse(event)
        trim_amis = whole.trim_amis()
        size = len(trim_amis.detail().encode())
        one = len(json.dumps(ami))
        assert size <= DETAIL_LIMIT
        assert trim_amis == whole or size > DETAIL_LIMIT - 2 * one
        assert trim_amis.trim_amis() == trim_amis


def test_notes_are_cut_to_their_limit() -> None:
    answer: Event = parse(json.loads((OUT / "iso-import-succeeded.json").read_text()))
    notes = tuple(f"ami-{each:017x} was not tagged: AWS was too slow" for each in range(3000))
    found = answer.with_notes(notes).data.notes  # type: ignore[union-attr] # an answer has notes
    assert 0 < len(found) < len(notes)
    assert found == notes[: len(found)]
    assert NOTES_LIMIT - 100 < sum(len(json.dumps(note)) for note in found) <= NOTES_LIMIT
