"""The allow-list, from its file to the answer."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.allow_list import AllowListMode
from isodrop.domain.model import RunRequest
from isodrop.errors import TransientError
from isodrop_local.iso_maker import business_editions
from tests.support.harness import ImportHarness

LIST_BUCKET, LIST = "isodrop-lists", "s3://isodrop-lists/allowed.txt"


@pytest.fixture
def harness(session: boto3.Session, ledger: Ledger, tmp_path: Path) -> ImportHarness:
    harness = ImportHarness(session, ledger, tmp_path)
    harness.client("s3").create_bucket(
        Bucket=LIST_BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    harness.allow_list_mode = AllowListMode.ENFORCE
    harness.allow_list_source = LIST
    return harness


def allow(harness: ImportHarness, *bodies: bytes) -> None:
    lines = [f"{sha256(body).upper()} *{number}.iso\r\n" for number, body in enumerate(bodies)]
    text = "\ufeff# ours\r\n" + "".join(lines)
    harness.client("s3").put_object(Bucket=LIST_BUCKET, Key="allowed.txt", Body=text.encode())


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def data(harness: ImportHarness) -> dict[str, Any]:
    (answer,) = harness.answers()
    found: dict[str, Any] = answer["detail"]["data"]
    return found


def ranges_of_copies(harness: ImportHarness) -> list[str]:
    """The ranges of copies that are read from now on."""
    found: list[str] = []

    def read(params: dict[str, Any], **_: Any) -> None:
        if params["url_path"].partition("?")[0].count("-0.iso"):
            found.append(params["headers"]["Range"])

    harness.client("s3").meta.events.register("before-call.s3.GetObject", read)
    return found


def test_a_listed_iso_is_imported_and_its_hash_is_published(harness: ImportHarness) -> None:
    body = harness.iso()
    allow(harness, b"another", body)

    harness.follow(harness.upload("a.iso", body))

    answer = data(harness)
    assert (answer["amis"] != [], answer["source"]["sha256"]) == (True, sha256(body))
    (call,) = harness.image_builder.controls.calls_of("ImportDiskImage")
    assert call["parameters"]["tags"]["isodrop:sha256"] == sha256(body)


def test_an_unlisted_iso_is_rejected_before_any_build(
    harness: ImportHarness,
) -> None:
    allow(harness, b"another")
    body = harness.iso()

    harness.follow(harness.upload("a.iso", body))

    answer = data(harness)
    assert (answer["code"], harness.submissions(), harness.staged()) == (Code.UNKNOWN_ISO, 0, [])
    assert answer["source"]["sha256"] == sha256(body)
    assert f"{sha256(body)}, which is not on the stack's allow-list (1 entry)" in answer["message"]


def test_a_twin_with_the_same_claims_is_not_on_the_list(harness: ImportHarness) -> None:
    body = harness.iso()
    allow(harness, body)
    twin = body[:-1] + bytes([body[-1] ^ 1])

    harness.follow(harness.upload("twin.iso", twin))

    assert data(harness)["code"] == Code.UNKNOWN_ISO


def test_in_mode_warn_an_unlisted_iso_is_imported_with_a_note(harness: ImportHarness) -> None:
    harness.allow_list_mode = AllowListMode.WARN
    allow(harness, b"another")

    harness.follow(harness.upload())

    notes = data(harness)["plan"]["notes"]
    assert any("is not on the stack's allow-list" in note for note in notes)
    assert harness.submissions() == 1


def test_in_mode_warn_an_unreadable_list_is_mentioned_in_a_note(harness: ImportHarness) -> None:
    harness.allow_list_mode = AllowListMode.WARN

    harness.follow(harness.upload())

    notes = data(harness)["plan"]["notes"]
    assert any("allow-list cannot be read" in note for note in notes)


def test_in_mode_off_no_list_is_read(harness: ImportHarness) -> None:
    harness.allow_list_mode = AllowListMode.OFF
    read = ranges_of_copies(harness)

    harness.follow(harness.upload())

    answer = data(harness)
    assert (answer["source"]["sha256"], read, harness.submissions()) == (None, [], 1)


def test_no_list_at_all_rejects_everything(harness: ImportHarness) -> None:
    harness.allow_list_source = None

    harness.follow(harness.upload())

    answer = data(harness)
    assert (answer["code"], "(0 entries)" in answer["message"]) == (Code.UNKNOWN_ISO, True)


def test_a_list_that_cannot_be_read_is_waited_for(harness: ImportHarness) -> None:
    body = harness.iso()
    upload = harness.upload("a.iso", body)
    for _ in range(2):
        with pytest.raises(TransientError, match="nothing is imported until it can be"):
            harness.intake.process(upload, "execution-1")
    allow(harness, body)

    harness.follow(upload)

    assert data(harness)["amis"]


def test_a_list_that_may_not_be_read_is_waited_for_too(harness: ImportHarness) -> None:
    body = harness.iso()
    upload = harness.upload("a.iso", body)
    allow(harness, body)

    def denied(params: dict[str, Any], **_: Any) -> None:
        if "allowed.txt" in params["url_path"]:
            error: Any = {"Error": {"Code": "AccessDenied", "Message": "no"}}
            raise ClientError(error, "GetObject")

    harness.client("s3").meta.events.register("before-call.s3.GetObject", denied)
    with pytest.raises(TransientError, match="AccessDenied"):
        harness.intake.process(upload, "execution-1")


def test_a_wrong_line_is_named_by_its_number_in_the_rejection(harness: ImportHarness) -> None:
    body = harness.iso()
    text = f"# ours\n{sha256(body)[:-1]}  typo.iso\n"
    harness.client("s3").put_object(Bucket=LIST_BUCKET, Key="allowed.txt", Body=text.encode())

    harness.follow(harness.upload("a.iso", body))

    assert "(0 entries; line 2 cannot be read)" in data(harness)["message"]


def test_a_few_hashes_may_be_in_a_parameter(harness: ImportHarness) -> None:
    body = harness.iso()
    harness.allow_list_source = "ssm:/lists/isos"
    harness.client("ssm").put_parameter(Name="/lists/isos", Value=sha256(body), Type="String")

    harness.follow(harness.upload("a.iso", body))
    assert data(harness)["amis"]
    harness.follow(
        harness.upload("b.iso", harness.iso(business_editions(revision=5))), "execution-2"
    )
    assert data(harness)["code"] == Code.UNKNOWN_ISO


def test_the_same_bytes_are_hashed_once_across_uploads(harness: ImportHarness) -> None:
    body = harness.iso()
    allow(harness, body)
    read = ranges_of_copies(harness)
    harness.follow(harness.upload("a.iso", body))
    once = len(read)
    assert once > 0
    for number in range(3):
        harness.follow(harness.upload(f"{number}.iso", body), f"execution-{number}")

    assert len(read) == once


def test_after_a_rejection_and_a_longer_list_a_retry_is_imported(harness: ImportHarness) -> None:
    allow(harness, b"another")
    body = harness.iso()
    upload = harness.upload("a.iso", body)
    harness.follow(upload)
    assert data(harness)["code"] == Code.UNKNOWN_ISO
    allow(harness, b"another", body)

    harness.follow(upload, "execution-2", RunRequest(1))

    assert data(harness)["amis"]


class KilledError(BaseException):
    """The process is killed; no handler of exceptions catches this."""


@pytest.mark.parametrize("operation", ["s3.GetObject", "dynamodb.PutItem", "ssm.GetParameter"])
@pytest.mark.parametrize("when", ["before-call", "after-call"])
def test_an_interrupted_hash_starts_again_with_the_same_result(
    harness: ImportHarness, operation: str, when: str
) -> None:
    body = harness.iso()
    harness.allow_list_source = "ssm:/lists/isos"
    harness.client("ssm").put_parameter(Name="/lists/isos", Value=sha256(body), Type="String")
    upload = harness.upload("a.iso", body)
    client = {
        "s3": harness.client("s3"),
        "dynamodb": harness.ledger.table.meta.client,
        "ssm": harness.client("ssm"),
    }[operation.partition(".")[0]]
    calls = 0

    def kill(**_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls in {1, 3, 6}:
            raise KilledError

    client.meta.events.register(f"{when}.{operation}", kill)
    for _ in range(5):
        try:
            harness.intake.process(upload, "execution-1")
        except KilledError:
            continue
        break
    client.meta.events.unregister(f"{when}.{operation}", kill)

    harness.follow(upload)

    assert data(harness)["source"]["sha256"] == sha256(body)
    assert harness.submissions() == 1


def test_occasional_connection_errors_do_not_end_the_read(
    harness: ImportHarness,
) -> None:
    body = harness.iso()
    allow(harness, body)
    # Several ranges are read at once: each fails twice and succeeds at the third try.
    requests: Counter[str] = Counter()

    def broken(params: dict[str, Any], **_: Any) -> None:
        if params["url_path"].count("-0.iso"):
            span = params["headers"]["Range"]
            requests[span] += 1
            if requests[span] < 3:
                error: Any = {"Error": {"Code": "SlowDown", "Message": "slow down"}}
                raise ClientError(error, "GetObject")

    harness.client("s3").meta.events.register("before-call.s3.GetObject", broken)
    harness.follow(harness.upload("a.iso", body))

    assert data(harness)["source"]["sha256"] == sha256(body)
    assert set(requests.values()) == {3}
