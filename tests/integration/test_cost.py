"""The S3 requests of an import, from which docs/deploying.md calculates costs."""

from collections import Counter
from pathlib import Path
from typing import Any

import boto3

from isodrop.aws.ledger import Ledger
from tests.support.harness import ImportHarness


def test_an_import_makes_only_a_few_requests_to_s3(
    session: boto3.Session, ledger: Ledger, tmp_path: Path
) -> None:
    # Given an upload, and a count of the requests from then on
    requests: Counter[str] = Counter()

    def count(event_name: str, **_: Any) -> None:
        requests[event_name.rpartition(".")[2]] += 1

    session.events.register("before-call.s3", count)
    harness = ImportHarness(session, ledger, tmp_path)
    upload = harness.upload()
    requests.clear()
    # When
    harness.follow(upload)
    # Then; the fake Image Builder lists the bucket
    del requests["ListObjectsV2"]
    assert harness.answers()
    assert requests.pop("GetObject") <= 4
    # One part is copied in one request; an ISO of 6 GB has 45 of them.
    assert requests == {
        "CreateMultipartUpload": 1,
        "UploadPartCopy": 1,
        "CompleteMultipartUpload": 1,
        "GetObjectTagging": 1,
        "PutObjectTagging": 1,
        "DeleteObject": 1,
    }
