"""Reading an uploaded object in ranges, and detecting that it changed."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop.aws.s3 import is_current, open_object, read_text
from isodrop.codes import Code
from isodrop.domain.model import Upload
from isodrop.errors import PermanentError, RejectedError
from isodrop.iso.range_reader import FIRST_READ
from tests.integration.conftest import BUCKET

START, LENGTH = FIRST_READ
BIG = bytes(range(256)) * ((START + LENGTH) // 256 + 1000)


def put(session: boto3.Session, key: str, body: bytes, **metadata: str) -> Upload:
    response = session.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body, Metadata=metadata)
    return Upload(
        bucket=BUCKET,
        key=key,
        etag=response["ETag"].strip('"'),
        size=len(body),
        sequencer="1",
        version_id=response["VersionId"],
    )


def count_calls(client: object) -> list[str]:
    seen: list[str] = []
    client.meta.events.register(  # type: ignore[attr-defined] # any client has it
        "before-call.s3", lambda model, **_: seen.append(model.name)
    )
    return seen


def test_opening_takes_one_request_for_the_header_and_the_first_range(
    session: boto3.Session,
) -> None:
    upload = put(session, "Büro + 100%.iso", BIG, edition="EnterpriseN")
    s3 = session.client("s3")
    seen = count_calls(s3)

    found = open_object(s3, BUCKET, upload.key, etag=upload.etag, size=upload.size)
    first = found.read(START, LENGTH)
    inner = found.read(START + 2048, 2048)

    assert (found.size, found.etag, found.version_id) == (len(BIG), upload.etag, upload.version_id)
    assert found.metadata == {"edition": "EnterpriseN"}
    assert first == BIG[START : START + LENGTH]
    assert inner == BIG[START + 2048 : START + 4096]
    assert seen == ["GetObject"]


def test_another_range_is_another_request(session: boto3.Session) -> None:
    upload = put(session, "a.iso", BIG)
    found = open_object(session.client("s3"), BUCKET, "a.iso", etag=upload.etag)

    assert found.read(10, 20) == BIG[10:30]
    assert found.read(len(BIG) - 7, 7) == BIG[-7:]


@pytest.mark.parametrize("size", [1, 2048, START, START + 1, START + LENGTH, START + LENGTH + 1])
@pytest.mark.parametrize("with_size", [True, False])
def test_an_object_of_any_size_is_opened(
    session: boto3.Session, size: int, with_size: bool
) -> None:
    upload = put(session, "a.iso", BIG[:size])

    found = open_object(
        session.client("s3"), BUCKET, "a.iso", size=upload.size if with_size else None
    )

    assert found.size == size
    assert found.read(0, min(size, 512)) == BIG[: min(size, 512)]


def test_an_empty_object_is_opened(session: boto3.Session) -> None:
    upload = put(session, "empty.iso", b"", edition="Enterprise")

    found = open_object(session.client("s3"), BUCKET, "empty.iso", etag=upload.etag, size=0)

    assert found.size == 0
    assert found.metadata == {"edition": "Enterprise"}


def test_a_replaced_object_is_not_read(session: boto3.Session) -> None:
    upload = put(session, "a.iso", BIG)
    found = open_object(session.client("s3"), BUCKET, "a.iso", etag=upload.etag)
    put(session, "a.iso", BIG[::-1])

    with pytest.raises(RejectedError, match="replaced") as late:
        found.read(10, 20)
    with pytest.raises(RejectedError, match="replaced") as early:
        open_object(session.client("s3"), BUCKET, "a.iso", etag=upload.etag, size=upload.size)

    assert late.value.code is early.value.code is Code.OBJECT_GONE
    assert not is_current(session.client("s3"), upload)


def test_a_version_is_read_though_it_was_replaced_and_deleted(session: boto3.Session) -> None:
    upload = put(session, "a.iso", BIG)
    put(session, "a.iso", BIG[::-1])
    session.client("s3").delete_object(Bucket=BUCKET, Key="a.iso")

    found = open_object(
        session.client("s3"), BUCKET, "a.iso", etag=upload.etag, version=upload.version_id
    )

    assert found.read(10, 20) == BIG[10:30]
    assert found.read(START, 20) == BIG[START : START + 20]


def test_a_deleted_object_is_not_read(session: boto3.Session) -> None:
    upload = put(session, "a.iso", BIG)
    session.client("s3").delete_object(Bucket=BUCKET, Key="a.iso")

    with pytest.raises(RejectedError, match="deleted"):
        open_object(session.client("s3"), BUCKET, "a.iso", etag=upload.etag, size=upload.size)
    assert not is_current(session.client("s3"), upload)


def test_the_same_bytes_written_again_are_unchanged(session: boto3.Session) -> None:
    upload = put(session, "a.iso", BIG)
    put(session, "a.iso", BIG)

    assert is_current(session.client("s3"), upload)


def test_a_hostile_key_is_escaped_in_the_message(session: boto3.Session) -> None:
    with pytest.raises(RejectedError) as gone:
        open_object(session.client("s3"), BUCKET, "a\n\x1b[31mFAKE.iso")

    assert "\n" not in str(gone.value)
    assert "\x1b" not in str(gone.value)


def test_a_missing_bucket_is_not_reported_as_a_changed_object(session: boto3.Session) -> None:
    with pytest.raises(PermanentError, match="NoSuchBucket"):
        open_object(session.client("s3"), "isodrop-nowhere", "a.iso")


@pytest.mark.parametrize(
    ("error_code", "status", "code"),
    [
        ("AccessDenied", 403, Code.UNREADABLE_OBJECT),
        ("InvalidRequest", 400, Code.UNREADABLE_OBJECT),
        ("KMS.DisabledException", 400, Code.UNREADABLE_OBJECT),
        ("InvalidObjectState", 403, Code.ARCHIVED_OBJECT),
        ("NoSuchVersion", 404, Code.OBJECT_GONE),
    ],
)
def test_an_unreadable_object_is_rejected_with_its_own_code(
    session: boto3.Session, error_code: str, status: int, code: Code
) -> None:
    s3 = session.client("s3")

    def refuse(**_: object) -> None:
        error: Any = {
            "Error": {"Code": error_code, "Message": "as S3 says"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        raise ClientError(error, "GetObject")

    s3.meta.events.register("before-call.s3.GetObject", refuse)

    with pytest.raises(RejectedError) as refused:
        open_object(s3, BUCKET, "a.iso")
    assert refused.value.code is code


def test_small_text_is_read_and_large_text_refused(session: boto3.Session) -> None:
    put(session, "uefi", b"QU1aTlVFRkk=\n")
    put(session, "large", b"x" * 101)
    put(session, "binary", b"\xff\xfe")
    s3 = session.client("s3")

    assert read_text(s3, f"s3://{BUCKET}/uefi", 100) == "QU1aTlVFRkk="
    with pytest.raises(PermanentError, match="larger than 100"):
        read_text(s3, f"s3://{BUCKET}/large", 100)
    with pytest.raises(PermanentError, match="not ASCII"):
        read_text(s3, f"s3://{BUCKET}/binary", 100)
