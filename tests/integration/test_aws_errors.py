"""Errors of AWS that users have reported, from the failing call to the answer."""

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from isodrop.aws.ledger import Ledger
from isodrop.aws.s3 import get_current_upload
from isodrop.codes import Code
from isodrop.errors import CredentialsError, TransientError
from tests.support.harness import ImportHarness, failing


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    return ImportHarness(session, ledger, tmp_path)


def the_answer(harness: ImportHarness) -> dict[str, Any]:
    (answer,) = harness.answers()
    return answer


def client_of(harness: ImportHarness, operation: str) -> Any:
    is_s3 = operation.endswith("Object")
    return harness.client("s3") if is_s3 else harness.ledger.table.meta.client


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("GetObject", "ExpiredToken"),
        ("GetObject", "RequestTimeTooSkewed"),
        ("PutItem", "ExpiredTokenException"),
        ("UpdateItem", "RequestExpired"),
    ],
)
def test_a_token_that_expired_in_a_warm_function_is_waited_out(
    harness: ImportHarness, operation: str, code: str
) -> None:
    upload = harness.upload()
    with (
        failing(client_of(harness, operation), operation, code),
        pytest.raises(TransientError, match=code) as error,
    ):
        harness.intake.process(upload, "execution-1")

    harness.follow(upload, "execution-1")

    assert type(error.value) is TransientError
    assert the_answer(harness)["detail-type"] == "ISO Import Succeeded"


class Page(io.BytesIO):
    """A raw response, as botocore reads it."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()


@pytest.mark.parametrize("operation", ["GetObject", "HeadObject", "ListObjectVersions"])
def test_an_html_page_instead_of_a_response_is_retried(
    harness: ImportHarness, operation: str
) -> None:
    s3, upload = harness.client("s3"), harness.upload()
    page = b"" if operation == "HeadObject" else b"<html><p>Sign in to the network<br></html>"

    def portal(request: Any, **_: Any) -> AWSResponse:
        headers = HTTPHeaders.from_dict({"Content-Type": "text/html"})
        return AWSResponse(request.url, 200, headers, Page(page))

    s3.meta.events.register_first(f"before-send.s3.{operation}", portal)
    calls_by_operation: dict[str, Callable[[], object]] = {
        "GetObject": lambda: harness.intake.process(upload, "execution-1"),
        "HeadObject": lambda: get_current_upload(s3, upload.bucket, upload.key),
        "ListObjectVersions": harness.sweep,
    }
    with pytest.raises(TransientError):
        calls_by_operation[operation]()
    s3.meta.events.unregister(f"before-send.s3.{operation}", portal)

    harness.follow(upload, "execution-1")

    assert the_answer(harness)["detail-type"] == "ISO Import Succeeded"


def test_credentials_that_stay_unknown_end_in_an_answer(harness: ImportHarness) -> None:
    upload = harness.upload()
    with (
        failing(harness.client("s3"), "GetObject", "InvalidAccessKeyId", 403),
        pytest.raises(CredentialsError) as error,
    ):
        harness.intake.process(upload, "execution-1")

    harness.answer_broken(upload, type(error.value).__name__, str(error.value), "execution-1")

    assert the_answer(harness)["detail"]["data"]["code"] == Code.ACCESS_DENIED


@pytest.mark.parametrize(
    ("code", "status"),
    [("AccessDenied", 403), ("KMS.DisabledException", 400), ("InvalidRequest", 400)],
)
def test_an_unreadable_object_is_rejected_with_the_message_of_s3(
    harness: ImportHarness, code: str, status: int
) -> None:
    upload = harness.upload()
    with failing(harness.client("s3"), "GetObject", code, status):
        harness.follow(upload)

    answer = the_answer(harness)
    data = answer["detail"]["data"]
    assert answer["detail-type"] == "ISO Import Rejected"
    assert data["code"] == Code.UNREADABLE_OBJECT
    assert f"S3 says: GetObject: {code}" in data["message"]
    assert "malware scan" in data["remedy"]
    assert "Image Builder" not in data["message"]


def test_an_error_of_another_service_is_not_import_refused(
    harness: ImportHarness,
) -> None:
    harness.follow(harness.upload("a.iso"))
    harness.answers()
    upload = harness.upload("b.iso")
    ec2 = harness.builder.ec2
    with failing(ec2, "DescribeImages", "InvalidParameterValue"):
        harness.follow(upload)

    assert the_answer(harness)["detail"]["data"]["code"] == Code.REQUEST_REFUSED


@pytest.mark.parametrize("error", ["States.DataLimitExceeded", "States.Runtime"])
def test_the_sweep_answers_a_failure_that_no_state_machine_can_catch(
    harness: ImportHarness, error: str
) -> None:
    harness.clock.now = datetime.now(UTC).timestamp() // 1
    upload, execution = harness.upload(), harness.run("one")
    build = harness.intake.process(upload, execution).build_arn
    assert build is not None
    harness.wait_for(build, upload, execution)
    harness.client("stepfunctions").stop_execution(executionArn=execution, error=error)
    harness.advance_clock(minutes=11)

    harness.sweep()

    assert the_answer(harness)["detail-type"] == "ISO Import Succeeded"
