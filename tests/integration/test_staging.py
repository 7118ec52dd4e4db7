"""The private copy: how it is made, begun again, checked, shared and deleted."""

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
from isodrop.domain.run import Standing
from isodrop.errors import TransientError
from isodrop.services.intake import Decision
from isodrop_local.iso_maker import server_editions
from isodrop_local.s3_multipart import Behaviour
from tests.integration.conftest import BUCKET, STAGING
from tests.support.harness import Way

PART = 256 * 1024


@pytest.fixture
def way(
    session: boto3.Session, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Way:
    monkeypatch.setattr(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 1024)
    return Way(session, ledger, tmp_path, part_size=PART)


def unversioned(way: Way) -> None:
    way.client("s3").put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
    )


def twin_of(body: bytes) -> bytes:
    """Make a file that says the same of itself, and is another."""
    twin = bytearray(body)
    twin[-400] ^= 1
    return bytes(twin)


def code(answer: dict[str, Any]) -> str:
    return str(answer["detail"]["data"].get("code", answer["detail-type"].split()[-1]))


def codes(way: Way) -> list[str]:
    return [code(answer) for answer in way.answers()]


def fail(way: Way, operation: str, error: Exception, *, after: int = 0, times: int = 1) -> None:
    """Let calls of S3 fail before they are sent."""
    seen = 0

    def refuse(**_: Any) -> None:
        nonlocal seen
        seen += 1
        if after < seen <= after + times:
            raise error

    way.client("s3").meta.events.register(f"before-call.s3.{operation}", refuse)


def lose(way: Way, operation: str) -> None:
    """Let the next answer be lost after the call took effect."""
    left = [True]

    def lost(**_: Any) -> None:
        if left and left.pop():
            raise ReadTimeoutError(endpoint_url="https://s3")

    way.client("s3").meta.events.register(f"after-call.s3.{operation}", lost)


def error(said: str, status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": said, "Message": "said"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "Any")


def calls(way: Way) -> list[str]:
    seen: list[str] = []
    way.client("s3").meta.events.register(
        "before-call.s3", lambda model, **_: seen.append(model.name)
    )
    return seen


def begun(way: Way, upload: Upload) -> str:
    return f"{way.drop(upload).id}-0.iso"


# ---------------------------------------------------------------- made


def test_what_is_imported_is_a_copy_in_parts_with_s3s_checksums(way: Way) -> None:
    upload = way.upload("win11.iSo")
    outcome = way.intake.take(upload, "execution-1")

    copy = way.client("s3").head_object(
        Bucket=STAGING, Key=begun(way, upload), ChecksumMode="ENABLED"
    )
    content = way.drop(upload).content
    assert content is not None
    assert outcome.decision is Decision.FOLLOW
    assert (copy["ContentLength"], copy["ChecksumSHA256"]) == (content.size, content.checksum)
    assert content.checksum.endswith(f"-{-(-upload.size // PART)}")


def test_the_content_is_told_in_tags_and_events(way: Way) -> None:
    upload = way.upload()
    way.follow(upload)

    content = way.drop(upload).content
    (answer,) = way.answers()
    (call,) = way.image_builder.controls.calls_of("ImportDiskImage")
    assert content is not None
    assert answer["detail"]["data"]["source"]["contentId"] == content.id
    assert call["parameters"]["tags"]["isodrop:content"] == content.id


def test_a_rejected_iso_costs_four_requests_at_the_most_and_no_copy(way: Way) -> None:
    upload = way.upload(body=way.iso(server_editions()))
    seen = calls(way)

    way.intake.take(upload, "execution-1")

    assert len(seen) <= 4
    assert set(seen) == {"GetObject"}
    assert way.staged() == []


def test_all_parts_are_copied_once_and_complete_has_all_checksums(way: Way) -> None:
    upload = way.upload()
    seen = calls(way)

    way.intake.take(upload, "execution-1")

    parts = -(-upload.size // PART)
    assert seen[1:] == [
        *("CreateMultipartUpload", "ListParts", *["UploadPartCopy"] * parts),
        *("CompleteMultipartUpload", "HeadObject"),
    ]


# ---------------------------------------------------------------- begun again


@pytest.mark.parametrize("operation", ["UploadPartCopy", "CompleteMultipartUpload"])
def test_a_copy_that_was_broken_off_goes_on_where_it_was(way: Way, operation: str) -> None:
    upload = way.upload()
    fail(way, operation, error("SlowDown", 503), after=1 if operation == "UploadPartCopy" else 0)
    with pytest.raises(TransientError):
        way.intake.take(upload, "execution-1")
    seen = calls(way)

    way.follow(upload, "execution-1")

    assert codes(way) == ["Succeeded"]
    assert "CreateMultipartUpload" not in seen
    assert seen.count("UploadPartCopy") < -(-upload.size // PART)


@pytest.mark.parametrize("again", [False, True], ids=["NoSuchUpload", "answered again"])
def test_a_completion_whose_answer_was_lost_is_found(
    way: Way, s3_behaviour: Behaviour, *, again: bool
) -> None:
    s3_behaviour.answers_again = again
    upload = way.upload()
    lose(way, "CompleteMultipartUpload")
    with pytest.raises(TransientError):
        way.intake.take(upload, "execution-1")

    way.follow(upload, "execution-1")

    assert codes(way) == ["Succeeded"]
    assert len(way.image_builder.builds) == 1


@pytest.mark.parametrize(
    ("said", "status"),
    [("NoSuchUpload", 404), ("PreconditionFailed", 412), ("ConditionalRequestConflict", 409)],
)
def test_a_completion_that_is_refused_leads_to_a_new_copy(way: Way, said: str, status: int) -> None:
    upload = way.upload()
    fail(way, "CompleteMultipartUpload", error(said, status))

    way.follow(upload)

    assert codes(way) == ["Succeeded"]
    way.later(minutes=11)
    way.sweep()
    assert way.staged() == []


def test_other_bytes_under_the_copys_key_are_not_imported(way: Way) -> None:
    upload = way.upload()
    key = begun(way, upload)
    way.client("s3").put_object(Bucket=STAGING, Key=key, Body=b"other")

    way.follow(upload)

    content = way.drop(upload).content
    (build,) = way.image_builder.history()
    assert content is not None
    assert codes(way) == ["Succeeded"]
    assert str(build["etagRead"]).endswith(f"-{content.checksum.rpartition('-')[2]}")


@pytest.mark.parametrize("operation", ["UploadPartCopy", "ListParts", "HeadObject"])
def test_checksums_that_are_missing_are_a_failure_with_a_code(way: Way, operation: str) -> None:
    if operation == "ListParts":
        fail(way, "CompleteMultipartUpload", error("SlowDown", 503))
        upload = way.upload()
        with pytest.raises(TransientError):
            way.intake.take(upload, "execution-1")
    else:
        upload = way.upload()

    def forget(parsed: dict[str, Any], **_: Any) -> None:
        for found in (parsed, parsed.get("CopyPartResult", {}), *parsed.get("Parts", [])):
            found.pop("ChecksumSHA256", None)

    way.client("s3").meta.events.register(f"after-call.s3.{operation}", forget)
    way.follow(upload, "execution-1")

    (answer,) = way.answers()
    assert answer["detail-type"] == "ISO Import Failed"
    assert code(answer) == Code.CHECKSUM_MISSING


# ---------------------------------------------------------------- lies


def test_a_twin_that_comes_first_is_not_handed_on(way: Way) -> None:
    body = way.iso()
    way.follow(way.upload("twin.iso", twin_of(body)), "execution-1")
    way.follow(way.upload("win11.iso", body), "execution-2")

    answers = [answer["detail"]["data"] for answer in way.answers()]
    assert [answer["reused"] for answer in answers] == [False, False]
    assert answers[0]["amis"] != answers[1]["amis"]


def test_twins_that_fail_use_up_nobody_elses_attempts(way: Way) -> None:
    body = way.iso()
    way.image_builder.controls.fail_next_build(status="BUILDING", times=2)
    for number in range(3):
        way.follow(way.upload("twin.iso", twin_of(body)), f"execution-{number}")

    way.follow(way.upload("win11.iso", body), "execution-4")

    assert codes(way) == ["build-failed", "build-failed", "too-many-attempts", "Succeeded"]


def meanwhile(way: Way, operation: str, do: Callable[[], Any]) -> None:
    """Do something just before a call of S3's."""
    left = [do]

    def now(**_: Any) -> None:
        if left:
            left.pop()()

    way.client("s3").meta.events.register_first(f"before-call.s3.{operation}", now)


@pytest.mark.parametrize("operation", ["UploadPartCopy", "CompleteMultipartUpload", "HeadObject"])
@pytest.mark.parametrize("versions", [True, False])
def test_replaced_and_put_back_on_the_way_is_never_the_twins_image(
    way: Way, operation: str, *, versions: bool
) -> None:
    if not versions:
        unversioned(way)
    body = way.iso()
    upload = way.upload("a.iso", body)
    content = _content_of(way, body)
    s3 = way.session.client("s3")
    meanwhile(way, operation, lambda: s3.put_object(Bucket=BUCKET, Key="a.iso", Body=twin_of(body)))
    outcome = way.intake.take(upload, "execution-1")
    s3.put_object(Bucket=BUCKET, Key="a.iso", Body=body)
    way.follow(upload, "execution-1")

    gone = not versions and operation == "UploadPartCopy"
    assert codes(way) == ["object-gone" if gone else "Succeeded"]
    if not gone:
        assert outcome.build_arn is not None
        assert way.drop(upload).content == content


def _content_of(way: Way, body: bytes) -> Any:
    """Import bytes under another key, to know what is to come of them."""
    upload = way.upload("known.iso", body, rebuild="known")
    way.follow(upload, "execution-known")
    way.answers()
    return way.drop(upload, "execution-known").content


@pytest.mark.parametrize("versions", [True, False])
def test_an_object_replaced_before_the_look(way: Way, *, versions: bool) -> None:
    if not versions:
        unversioned(way)
    upload = way.upload("a.iso")
    way.upload("a.iso", way.iso(server_editions()))

    way.follow(upload)

    assert codes(way) == ["Succeeded" if versions else "object-gone"]


def test_a_copy_that_is_not_what_was_looked_at_is_not_imported(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two files of one MD5, which is all that ties the copy to the look without versions
    unversioned(way)
    body, server = way.iso(), way.iso(server_editions())
    upload = way.upload("a.iso", body)
    monkeypatch.setattr(
        "moto.s3.models.FakeKey.etag", property(lambda _: f'"{upload.etag}"'), raising=True
    )
    s3 = way.session.client("s3")
    meanwhile(
        way,
        "CreateMultipartUpload",
        lambda: s3.put_object(Bucket=BUCKET, Key="a.iso", Body=server.ljust(len(body))),
    )

    way.follow(upload)

    assert codes(way) == ["object-gone"]
    assert way.submissions() == 0
    assert way.staged() == []


# ---------------------------------------------------------------- moved, deleted


@pytest.mark.parametrize("when", ["before", "after the copy", "while it builds"])
def test_an_upload_deleted_in_a_versioned_bucket_is_imported(way: Way, when: str) -> None:
    upload = way.upload("a.iso")
    if when == "before":
        way.delete("a.iso")
    way.intake.take(upload, "execution-1")
    if when == "while it builds":
        way.later(minutes=5)
        way.image_builder.tick()
    way.client("s3").delete_object(Bucket=BUCKET, Key="a.iso", VersionId=upload.version_id)
    way.follow(upload)

    assert codes(way) == ["Succeeded"]


@pytest.mark.parametrize("versions", [True, False])
def test_an_upload_that_is_renamed_is_one_build_and_two_answers(
    way: Way, *, versions: bool
) -> None:
    if not versions:
        unversioned(way)
    body = way.iso()
    first = way.upload("upload.tmp.iso", body)
    way.intake.take(first, "execution-1")
    second = way.upload("win11.iso", body)
    way.delete("upload.tmp.iso")

    way.follow(first, "execution-1")
    way.follow(second, "execution-2")

    assert codes(way) == ["Succeeded", "Succeeded"]
    assert len(way.image_builder.builds) == 1


# ---------------------------------------------------------------- shared, lost


def waiting(way: Way, key: str = "a.iso") -> Upload:
    """An upload whose request was frozen and never sent, for its copy could not be looked at."""
    upload = way.upload(key)
    fail(way, "HeadObject", error("SlowDown", 503))
    with pytest.raises(TransientError):
        way.intake.take(upload, "execution-1")
    return upload


def test_who_joins_deletes_its_copy_and_the_other_stays_until_the_end(way: Way) -> None:
    first = way.upload("a.iso")
    way.intake.take(first, "execution-1")
    way.intake.take(way.upload("b.iso"), "execution-2")
    assert way.staged() == [begun(way, first)]

    way.follow(first, "execution-1")

    assert way.staged() == []


def test_a_copy_that_was_lost_while_its_import_waited_is_made_again(way: Way) -> None:
    upload = waiting(way)
    way.stager.bucket.delete(begun(way, upload))

    way.follow(upload, "execution-1")

    assert codes(way) == ["Succeeded"]


def test_a_copy_lost_with_its_upload_is_told_and_counts_as_no_lost_build(way: Way) -> None:
    for number in range(3):
        upload = waiting(way, f"{number}.iso")
        way.stager.bucket.delete(begun(way, upload))
        way.client("s3").delete_object(Bucket=BUCKET, Key=upload.key, VersionId=upload.version_id)
        way.follow(upload, "execution-1")
    way.follow(way.upload("last.iso"), "execution-2")

    assert codes(way) == [*[Code.STAGING_LOST] * 3, "Succeeded"]


def test_who_joins_an_attempt_whose_copy_is_lost_begins_from_its_own(way: Way) -> None:
    first = waiting(way)
    way.stager.bucket.delete(begun(way, first))
    second = way.upload("b.iso")

    way.follow(second, "execution-2")
    way.follow(first, "execution-1")

    joined, lost = way.answers()
    attempts = way.ledger.attempts(str(way.drop(second, "execution-2").identity))
    assert (code(joined), joined["detail"]["data"]["attempt"]) == ("Succeeded", 1)
    assert code(lost) == Code.STAGING_LOST
    assert [each.standing for each in attempts] == [Standing.LOST, Standing.GOOD]


def test_who_joins_sends_what_was_never_sent_with_the_copy_there_is(way: Way) -> None:
    first = waiting(way)

    way.follow(way.upload("b.iso"), "execution-2")

    (call,) = way.image_builder.controls.calls_of("ImportDiskImage")
    assert call["parameters"]["uri"] == f"s3://{STAGING}/{begun(way, first)}"


# ---------------------------------------------------------------- over


@pytest.mark.parametrize(
    ("prepare", "answer"),
    [
        (lambda way: way.image_builder.controls.fail_next_build(), "build-failed"),
        (
            lambda way: way.image_builder.controls.fail_next("ImportDiskImage", "ClientException"),
            "import-refused",
        ),
        (lambda _: None, "Succeeded"),
    ],
)
def test_a_copy_is_deleted_when_its_attempt_is_over(
    way: Way, prepare: Callable[[Way], None], answer: str
) -> None:
    prepare(way)

    way.follow(way.upload())

    assert codes(way) == [answer]
    assert way.staged() == []


def test_the_sweep_removes_what_is_over_and_nothing_else(way: Way) -> None:
    bucket = way.stager.bucket
    over, runs = way.upload("over.iso", b"no iso"), way.upload("runs.iso")
    way.follow(over, "execution-1")
    execution = way.run("runs")
    way.intake.take(runs, execution)
    bucket.client.put_object(Bucket=STAGING, Key=begun(way, over), Body=b"left")
    unfinished = bucket.begin(begun(way, over))
    bucket.client.put_object(Bucket=STAGING, Key=f"{'0' * 32}-0.iso", Body=b"not known")
    way.later(minutes=11)

    tally = way.sweep()

    assert tally.removed == 2
    assert unfinished not in {each.upload_id for each in bucket.list_staged()}
    kept = {f"{'0' * 32}-0.iso", f"{way.drop(runs, execution).id}-0.iso"}
    assert set(way.staged()) == kept


def test_what_is_eight_days_old_goes_whatever_it_is(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moto.s3.models, "utcnow", lambda: way.clock.time().replace(tzinfo=None))
    way.client("s3").put_object(Bucket=STAGING, Key="strange", Body=b"not known")
    way.later(days=7, hours=23)
    way.sweep()
    assert way.staged() == ["strange"]

    way.later(hours=2)
    way.sweep()

    assert way.staged() == []


def test_a_request_that_may_have_been_sent_keeps_its_copy(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    way.image_builder.controls.fail_next("ImportDiskImage", "ServiceException", committed=True)
    upload = way.upload()
    execution = way.run("killed")
    with pytest.raises(TransientError):
        way.intake.take(upload, execution)
    way.abort(execution)
    with monkeypatch.context() as late:
        # Lists may lag behind.
        late.setattr("isodrop.aws.image_builder.Builder.find", lambda *_: None)
        for _ in range(2):
            way.later(minutes=11)
            way.sweep()
        assert len(way.staged()) == 1
    way.sweep()
    assert len(way.staged()) == 1, "its build goes on"

    way.later(hours=2)
    way.sweep()

    assert way.staged() == []


def test_an_emptied_bucket_has_neither_copies_nor_what_was_begun(way: Way) -> None:
    bucket = StagingBucket(way.client("s3"), STAGING)
    bucket.begin("a.iso")
    bucket.client.put_object(Bucket=STAGING, Key="b.iso", Body=b"b")

    assert (bucket.empty(), bucket.empty()) == (2, 0)


def test_what_s3_refuses_for_good_is_told(way: Way) -> None:
    fail(way, "CreateMultipartUpload", error("AccessDenied", 403))

    way.follow(way.upload())

    assert codes(way) == [Code.ACCESS_DENIED]
