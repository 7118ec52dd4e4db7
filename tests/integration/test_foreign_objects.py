"""Executions that are started by hand for an object of another bucket or prefix."""

from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from isodrop.aws.ledger import Ledger
from isodrop.services.intake import NextStep
from tests.integration.conftest import BUCKET, STAGING
from tests.support.harness import ImportHarness


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    return ImportHarness(session, ledger, tmp_path)


@pytest.mark.parametrize(
    ("bucket", "prefix", "key", "taken"),
    [
        (BUCKET, "isos/", "isos/a.iso", True),
        (BUCKET, "", "a.iso", True),
        (BUCKET, "isos/", "secrets/a.iso", False),
        (STAGING, "", "a.iso", False),
        ("somebody-elses", "isos/", "isos/a.iso", False),
    ],
)
def test_only_uploads_of_the_stacks_own_bucket_and_prefix_are_taken(
    harness: ImportHarness, bucket: str, prefix: str, key: str, *, taken: bool
) -> None:
    upload = harness.upload(key)
    if bucket == STAGING:  # the role may read copies of other uploads, too
        harness.client("s3").put_object(Bucket=STAGING, Key=key, Body=harness.iso())
    intake = replace(harness.intake, bucket=BUCKET, prefix=prefix)

    outcome = intake.process(replace(upload, bucket=bucket), "execution-1")

    assert (outcome.next_step is NextStep.TRACK) is taken
    assert (outcome.next_step is NextStep.SKIP) is not taken
    assert harness.submissions() == int(taken)
    items = harness.ledger.table.scan()["Items"]
    assert any(str(item["pk"]).startswith("UPLOAD#") for item in items) is taken
