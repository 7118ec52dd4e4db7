"""The private copy: how it is made, resumed, checked, shared and deleted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import moto.s3.models
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from isodrop.aws.ledger import Ledger
from isodrop.aws.staging import StagingBucket
from isodrop.codes import Code
from isodrop.domain.model import Upload
from isodrop.domain.run import AttemptStatus
from isodrop.errors import TransientError
from isodrop.services.intake import NextStep
from isodrop_local.iso_maker import server_editions
from isodrop_local.s3_multipart import Behavior
from tests.integration.conftest import BUCKET, STAGING
from tests.support.harness import ImportHarness

PART = 256 * 1024


@pytest.fixture
def harness(
    session: boto3.Session, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ImportHarness:
    monkeypatch.setattr(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 1024)
    return ImportHarness(session, ledger, tmp_path, part_size=PART)


def unversioned(harness: ImportHarness) -> None:
    harness.client("s3").put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
    )


def twin_of(body: bytes) -> bytes:
    """Make a file with the same metadata and other bytes."""
    twin = bytearray(body)
    twin[-400] ^= 1
    return bytes(twin)


def code(answer: dict[str, Any]) -> str:
    return str(answer["detail"]["data"].get("code", answer["detail-type"].split()[-1]))


def codes(harness: ImportHarness) -> list[str]:
    return [code(answer) for answer in harness.answers()]


def fail(
    harness: ImportHarness, operation: str, error: Exception, *, after: int = 0, times: int = 1
) -> None:
    """Make calls of S3 fail before they are sent."""
    seen = 0

    def refuse(**_: Any) -> None:
        nonlocal seen
        seen += 1
        if after < seen <= after + times:
            raise error

    harness.client("s3").meta.events.register(f"before-call.s3.{operation}", refuse)


def lose(harness: ImportHarness, operation: str) -> None:
    """Lose the next response after the call took effect."""
    left = [True]

    def lost(**_: Any) -> None:
        if left and left.pop():
            raise ReadTimeoutError(endpoint_url="https://s3")

    harness.client("s3").meta.events.register(f"after-call.s3.{operation}", lost)


def error(error_code: str, status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": error_code, "Message": "refused"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "Any")


def calls(harness: ImportHarness) -> list[str]:
    seen: list[str] = []
    harness.client("s3").meta.events.register(
        "before-call.s3", lambda model, **_: seen.append(model.name)
    )
    return seen


def copy_key(harness: ImportHarness, upload: Upload) -> str:
    return f"{harness.claim_run(upload).upload_id}-0.iso"


# ---------------------------------------------------------------- made


def test_the_imported_object_is_a_multipart_copy_with_checksums(harness: ImportHarness) -> None:
    upload = harness.upload("win11.iSo")
    outcome = harness.intake.process(upload, "execution-1")

    copy = harness.client("s3").head_object(
        Bucket=STAGING, Key=copy_key(harness, upload), ChecksumMode="ENABLED"
    )
    content = harness.claim_run(upload).content
    assert content is not None
    assert outcome.next_step is NextStep.TRACK
    assert (copy["ContentLength"], copy["ChecksumSHA256"]) == (content.size, content.checksum)
    assert content.checksum.endswith(f"-{-(-upload.size // PART)}")


def test_the_content_id_is_in_tags_and_events(harness: ImportHarness) -> None:
    upload = harness.upload()
    harness.follow(upload)

    content = harness.claim_run(upload).content
    (answer,) = harness.answers()
    (call,) = harness.image_builder.controls.calls_of("ImportDiskImage")
    assert content is not None
    assert answer["detail"]["data"]["source"]["contentId"] == content.id
    assert call["parameters"]["tags"]["isodrop:content"] == content.id


def test_a_rejected_iso_costs_four_requests_at_the_most_and_no_copy(harness: ImportHarness) -> None:
    upload = harness.upload(body=harness.iso(server_editions()))
    seen = calls(harness)

    harness.intake.process(upload, "execution-1")

    assert len(seen) <= 4
    assert set(seen) == {"GetObject"}
    assert harness.staged() == []


def test_all_parts_are_copied_once_and_complete_has_all_checksums(harness: ImportHarness) -> None:
    upload = harness.upload()
    seen = calls(harness)

    harness.intake.process(upload, "execution-1")

    parts = -(-upload.size // PART)
    assert seen[1:] == [
        *("CreateMultipartUpload", *["UploadPartCopy"] * parts),
        "CompleteMultipartUpload",
    ]


# ---------------------------------------------------------------- resumed


@pytest.mark.parametrize("operation", ["UploadPartCopy", "CompleteMultipartUpload"])
def test_an_interrupted_copy_is_resumed(harness: ImportHarness, operation: str) -> None:
    upload = harness.upload()
    fail(
        harness, operation, error("SlowDown", 503), after=1 if operation == "UploadPartCopy" else 0
    )
    with pytest.raises(TransientError):
        harness.intake.process(upload, "execution-1")
    seen = calls(harness)

    harness.follow(upload, "execution-1")

    assert codes(harness) == ["Succeeded"]
    assert "CreateMultipartUpload" not in seen
    assert seen.count("UploadPartCopy") < -(-upload.size // PART)


@pytest.mark.parametrize("again", [False, True], ids=["NoSuchUpload", "answered again"])
def test_a_completion_whose_response_was_lost_is_found(
    harness: ImportHarness, s3_behavior: Behavior, *, again: bool
) -> None:
    s3_behavior.repeats_response = again
    upload = harness.upload()
    lose(harness, "CompleteMultipartUpload")
    with pytest.raises(TransientError):
        harness.intake.process(upload, "execution-1")

    harness.follow(upload, "execution-1")

    assert codes(harness) == ["Succeeded"]
    assert len(harness.image_builder.builds) == 1


def test_a_completion_that_the_sdk_repeats_copies_nothing_again(
    harness: ImportHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = harness.client("s3")
    complete = client.complete_multipart_upload

    def complete_twice(**request: Any) -> Any:
        complete(**request)  # its response is lost
        return complete(**request)

    monkeypatch.setattr(client, "complete_multipart_upload", complete_twice)
    upload = harness.upload()
    seen = calls(harness)

    harness.intake.process(upload, "execution-1")

    assert seen.count("CreateMultipartUpload") == 1
    assert seen.count("UploadPartCopy") == -(-upload.size // PART)


@pytest.mark.parametrize(
    ("error_code", "status"),
    [("NoSuchUpload", 404), ("PreconditionFailed", 412), ("ConditionalRequestConflict", 409)],
)
def test_a_completion_that_is_refused_leads_to_a_new_copy(
    harness: ImportHarness, error_code: str, status: int
) -> None:
    upload = harness.upload()
    fail(harness, "CompleteMultipartUpload", error(error_code, status))

    harness.follow(upload)

    assert codes(harness) == ["Succeeded"]
    harness.advance_clock(minutes=11)
    harness.sweep()
    assert harness.staged() == []


def test_other_bytes_under_the_copys_key_are_not_imported(harness: ImportHarness) -> None:
    upload = harness.upload()
    key = copy_key(harness, upload)
    harness.client("s3").put_object(Bucket=STAGING, Key=key, Body=b"other")

    harness.follow(upload)

    content = harness.claim_run(upload).content
    (build,) = harness.image_builder.history()
    assert content is not None
    assert codes(harness) == ["Succeeded"]
    assert str(build["etagRead"]).endswith(f"-{content.checksum.rpartition('-')[2]}")


@pytest.mark.parametrize("operation", ["UploadPartCopy", "ListParts", "HeadObject"])
def test_checksums_that_are_missing_are_a_failure_with_a_code(
    harness: ImportHarness, operation: str
) -> None:
    if operation == "ListParts":
        fail(harness, "CompleteMultipartUpload", error("SlowDown", 503))
        upload = harness.upload()
        with pytest.raises(TransientError):
            harness.intake.process(upload, "execution-1")
    elif operation == "HeadObject":
        upload = waiting(harness)
    else:
        upload = harness.upload()

    def forget(parsed: dict[str, Any], **_: Any) -> None:
        for found in (parsed, parsed.get("CopyPartResult", {}), *parsed.get("Parts", [])):
            found.pop("ChecksumSHA256", None)

    harness.client("s3").meta.events.register(f"after-call.s3.{operation}", forget)
    harness.follow(upload, "execution-1")

    (answer,) = harness.answers()
    assert answer["detail-type"] == "ISO Import Failed"
    assert code(answer) == Code.CHECKSUM_MISSING


# ---------------------------------------------------------------- twins


def test_a_twin_copied_first_is_not_imported(harness: ImportHarness) -> None:
    body = harness.iso()
    harness.follow(harness.upload("twin.iso", twin_of(body)), "execution-1")
    harness.follow(harness.upload("win11.iso", body), "execution-2")

    answers = [answer["detail"]["data"] for answer in harness.answers()]
    assert [answer["reused"] for answer in answers] == [False, False]
    assert answers[0]["amis"] != answers[1]["amis"]


def test_failing_twins_use_up_no_attempts_of_others(harness: ImportHarness) -> None:
    body = harness.iso()
    harness.image_builder.controls.fail_next_build(status="BUILDING", times=2)
    for number in range(3):
        harness.follow(harness.upload("twin.iso", twin_of(body)), f"execution-{number}")

    harness.follow(harness.upload("win11.iso", body), "execution-4")

    assert codes(harness) == ["build-failed", "build-failed", "too-many-attempts", "Succeeded"]


def before_next_call(harness: ImportHarness, operation: str, do: Callable[[], Any]) -> None:
    """Do something just before the next call of an S3 operation."""
    left = [do]

    def now(**_: Any) -> None:
        if left:
            left.pop()()

    harness.client("s3").meta.events.register_first(f"before-call.s3.{operation}", now)


@pytest.mark.parametrize("operation", ["UploadPartCopy", "CompleteMultipartUpload", "HeadObject"])
@pytest.mark.parametrize("versions", [True, False])
def test_an_object_replaced_and_restored_never_gives_the_twins_image(
    harness: ImportHarness, operation: str, *, versions: bool
) -> None:
    if not versions:
        unversioned(harness)
    body = harness.iso()
    upload = harness.upload("a.iso", body)
    content = _content_of(harness, body)
    s3 = harness.session.client("s3")
    before_next_call(
        harness, operation, lambda: s3.put_object(Bucket=BUCKET, Key="a.iso", Body=twin_of(body))
    )
    outcome = harness.intake.process(upload, "execution-1")
    s3.put_object(Bucket=BUCKET, Key="a.iso", Body=body)
    harness.follow(upload, "execution-1")

    gone = not versions and operation == "UploadPartCopy"
    assert codes(harness) == ["object-gone" if gone else "Succeeded"]
    if not gone:
        assert outcome.build_arn is not None
        assert harness.claim_run(upload).content == content


def _content_of(harness: ImportHarness, body: bytes) -> Any:
    """Import bytes under another key, to know the expected result."""
    upload = harness.upload("known.iso", body, rebuild="known")
    harness.follow(upload, "execution-known")
    harness.answers()
    return harness.claim_run(upload, "execution-known").content


@pytest.mark.parametrize("versions", [True, False])
def test_an_object_replaced_before_inspection_is_read_as_it_is_now(
    harness: ImportHarness, *, versions: bool
) -> None:
    if not versions:
        unversioned(harness)
    upload = harness.upload("a.iso")
    harness.upload("a.iso", harness.iso(server_editions()))

    harness.follow(upload)

    assert codes(harness) == ["Succeeded" if versions else "object-gone"]


def test_a_copy_that_differs_from_the_inspected_bytes_is_not_imported(
    harness: ImportHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two files with one MD5, the only link of copy and inspection without versions
    unversioned(harness)
    body, server = harness.iso(), harness.iso(server_editions())
    upload = harness.upload("a.iso", body)
    monkeypatch.setattr(
        "moto.s3.models.FakeKey.etag", property(lambda _: f'"{upload.etag}"'), raising=True
    )
    s3 = harness.session.client("s3")
    before_next_call(
        harness,
        "CreateMultipartUpload",
        lambda: s3.put_object(Bucket=BUCKET, Key="a.iso", Body=server.ljust(len(body))),
    )

    harness.follow(upload)

    assert codes(harness) == ["object-gone"]
    assert harness.submissions() == 0
    assert harness.staged() == []


# ---------------------------------------------------------------- moved, deleted


@pytest.mark.parametrize("when", ["before", "after the copy", "while it builds"])
def test_an_upload_deleted_in_a_versioned_bucket_is_imported(
    harness: ImportHarness, when: str
) -> None:
    upload = harness.upload("a.iso")
    if when == "before":
        harness.delete("a.iso")
    harness.intake.process(upload, "execution-1")
    if when == "while it builds":
        harness.advance_clock(minutes=5)
        harness.image_builder.tick()
    harness.client("s3").delete_object(Bucket=BUCKET, Key="a.iso", VersionId=upload.version_id)
    harness.follow(upload)

    assert codes(harness) == ["Succeeded"]


@pytest.mark.parametrize("versions", [True, False])
def test_an_upload_that_is_renamed_is_one_build_and_two_answers(
    harness: ImportHarness, *, versions: bool
) -> None:
    if not versions:
        unversioned(harness)
    body = harness.iso()
    first = harness.upload("upload.tmp.iso", body)
    harness.intake.process(first, "execution-1")
    second = harness.upload("win11.iso", body)
    harness.delete("upload.tmp.iso")

    harness.follow(first, "execution-1")
    harness.follow(second, "execution-2")

    assert codes(harness) == ["Succeeded", "Succeeded"]
    assert len(harness.image_builder.builds) == 1


# ---------------------------------------------------------------- shared, lost


def waiting(harness: ImportHarness, key: str = "a.iso") -> Upload:
    """An upload whose request was stored but not sent, because its function was killed."""
    upload = harness.upload(key)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Ledger, "set_attempt_status", _ends)
        with pytest.raises(TransientError):
            harness.intake.process(upload, "execution-1")
    return upload


def _ends(*_: Any) -> None:
    raise TransientError("the function ended")


def test_a_run_that_shares_an_import_deletes_its_own_copy_only(
    harness: ImportHarness,
) -> None:
    first = harness.upload("a.iso")
    harness.intake.process(first, "execution-1")
    harness.intake.process(harness.upload("b.iso"), "execution-2")
    assert harness.staged() == [copy_key(harness, first)]

    harness.follow(first, "execution-1")

    assert harness.staged() == []


def test_a_copy_that_was_lost_while_its_import_waited_is_made_again(harness: ImportHarness) -> None:
    upload = waiting(harness)
    harness.stager.bucket.delete_copy(copy_key(harness, upload))

    harness.follow(upload, "execution-1")

    assert codes(harness) == ["Succeeded"]


def test_a_copy_lost_with_its_upload_is_not_reported_as_a_lost_build(
    harness: ImportHarness,
) -> None:
    for number in range(3):
        upload = waiting(harness, f"{number}.iso")
        harness.stager.bucket.delete_copy(copy_key(harness, upload))
        harness.client("s3").delete_object(
            Bucket=BUCKET, Key=upload.key, VersionId=upload.version_id
        )
        harness.follow(upload, "execution-1")
    harness.follow(harness.upload("last.iso"), "execution-2")

    assert codes(harness) == [*[Code.STAGING_LOST] * 3, "Succeeded"]


def test_a_run_that_shares_an_attempt_without_a_copy_makes_a_copy(
    harness: ImportHarness,
) -> None:
    first = waiting(harness)
    harness.stager.bucket.delete_copy(copy_key(harness, first))
    second = harness.upload("b.iso")

    harness.follow(second, "execution-2")
    harness.follow(first, "execution-1")

    shared, lost = harness.answers()
    bound = harness.claim_run(second, "execution-2").import_build.attempt
    assert bound is not None
    attempts = harness.ledger.list_attempts(bound.task_key)
    assert (code(shared), shared["detail"]["data"]["attempt"]) == ("Succeeded", 1)
    assert code(lost) == Code.STAGING_LOST
    assert [each.status for each in attempts] == [AttemptStatus.LOST, AttemptStatus.SUCCEEDED]


def test_a_run_that_shares_an_unsent_request_sends_it_with_its_copy(
    harness: ImportHarness,
) -> None:
    first = waiting(harness)

    harness.follow(harness.upload("b.iso"), "execution-2")

    (call,) = harness.image_builder.controls.calls_of("ImportDiskImage")
    assert call["parameters"]["uri"] == f"s3://{STAGING}/{copy_key(harness, first)}"


# ---------------------------------------------------------------- deleted afterwards


@pytest.mark.parametrize(
    ("prepare", "answer"),
    [
        (lambda harness: harness.image_builder.controls.fail_next_build(), "build-failed"),
        (
            lambda harness: harness.image_builder.controls.fail_next(
                "ImportDiskImage", "ClientException"
            ),
            "import-refused",
        ),
        (lambda _: None, "Succeeded"),
    ],
)
def test_a_copy_is_deleted_when_its_attempt_is_over(
    harness: ImportHarness, prepare: Callable[[ImportHarness], None], answer: str
) -> None:
    prepare(harness)

    harness.follow(harness.upload())

    assert codes(harness) == [answer]
    assert harness.staged() == []


def test_the_sweep_removes_finished_copies_only(harness: ImportHarness) -> None:
    bucket = harness.stager.bucket
    over, runs = harness.upload("over.iso", b"no iso"), harness.upload("runs.iso")
    harness.follow(over, "execution-1")
    execution = harness.run("runs")
    harness.intake.process(runs, execution)
    bucket.client.put_object(Bucket=STAGING, Key=copy_key(harness, over), Body=b"left")
    unfinished = bucket.create_multipart_upload(copy_key(harness, over))
    bucket.client.put_object(Bucket=STAGING, Key=f"{'0' * 32}-0.iso", Body=b"not known")
    harness.advance_clock(minutes=11)

    summary = harness.sweep()

    assert summary.removed == 2
    assert unfinished not in {each.multipart_id for each in bucket.list_copies()}
    kept = {f"{'0' * 32}-0.iso", f"{harness.claim_run(runs, execution).upload_id}-0.iso"}
    assert set(harness.staged()) == kept


def test_every_copy_older_than_eight_days_is_removed(
    harness: ImportHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moto.s3.models, "utcnow", lambda: harness.clock.time().replace(tzinfo=None))
    harness.client("s3").put_object(Bucket=STAGING, Key="strange", Body=b"not known")
    harness.advance_clock(days=7, hours=23)
    harness.sweep()
    assert harness.staged() == ["strange"]

    harness.advance_clock(hours=2)
    harness.sweep()

    assert harness.staged() == []


def test_a_request_that_may_have_been_sent_keeps_its_copy(
    harness: ImportHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.image_builder.controls.fail_next("ImportDiskImage", "ServiceException", committed=True)
    upload = harness.upload()
    execution = harness.run("killed")
    with pytest.raises(TransientError):
        harness.intake.process(upload, execution)
    harness.abort(execution)
    with monkeypatch.context() as late:
        # Lists may lag behind.
        late.setattr("isodrop.aws.image_builder.ImageBuilder.find_build_by_tags", lambda *_: None)
        for _ in range(2):
            harness.advance_clock(minutes=11)
            harness.sweep()
        assert len(harness.staged()) == 1
    harness.sweep()
    assert len(harness.staged()) == 1, "its build goes on"

    harness.advance_clock(hours=2)
    harness.sweep()

    assert harness.staged() == []


def test_an_emptied_bucket_has_no_copies_and_no_multipart_uploads(harness: ImportHarness) -> None:
    bucket = StagingBucket(harness.client("s3"), STAGING)
    bucket.create_multipart_upload("a.iso")
    bucket.client.put_object(Bucket=STAGING, Key="b.iso", Body=b"b")

    assert (bucket.empty(), bucket.empty()) == (2, 0)


def test_a_permanent_refusal_of_s3_is_reported(harness: ImportHarness) -> None:
    fail(harness, "CreateMultipartUpload", error("AccessDenied", 403))

    harness.follow(harness.upload())

    assert codes(harness) == [Code.ACCESS_DENIED]
