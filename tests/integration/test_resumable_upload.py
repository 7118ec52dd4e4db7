"""Uploads in parts that are interrupted and resumed: the parts that are sent, and the object."""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError, ConnectionClosedError

from isodrop.errors import IsodropError, PermanentError, TransientError
from isodrop_cli.resumable_upload import Progress, ResumableUpload, UploadError, plan_parts
from tests.integration.conftest import BUCKET

SMALL = 64 << 10
SIZE = 10 * SMALL


def nothing(_: Progress) -> None:
    """Ignore the progress."""


@dataclass
class Wire:
    """Records the parts sent to S3, and can interrupt the upload or make parts fail."""

    sent: list[int] = field(default_factory=list)
    cut_after: int | None = None
    wrong: dict[int, list[Exception]] = field(default_factory=dict)

    def part(self, params: Mapping[str, Any], **_: Any) -> None:
        if self.cut_after is not None and len(self.sent) >= self.cut_after:
            raise KeyboardInterrupt
        self.sent.append(params["PartNumber"])
        errors = self.wrong.get(params["PartNumber"])
        if errors:
            raise errors.pop(0)

    def again(self, cut_after: int | None = None) -> list[int]:
        sent, self.sent, self.cut_after = self.sent, [], cut_after
        return sent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "a.iso"
    made.write_bytes(b"".join(hashlib.sha256(n.to_bytes(4)).digest() for n in range(SIZE // 32)))
    return made


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def transfer(
    session: boto3.Session, path: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ResumableUpload]:
    """Make an upload that sends one part at a time, so that the order is known."""
    monkeypatch.setenv("S3_UPLOAD_PART_MIN_SIZE", "1024")
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1024)
    monkeypatch.setattr("isodrop_cli.resumable_upload.THREADS", 1)
    client = session.client("s3")
    client.meta.events.register("provide-client-params.s3.UploadPart", wire.part)

    def make(metadata: Mapping[str, str] | None = None) -> ResumableUpload:
        given = dict(metadata or {})
        parts = plan_parts(path.stat().st_size, given, SMALL)
        return ResumableUpload(client, path, BUCKET, "a.iso", given, parts, retry_delays=(0.0,))

    return make


def broken_off(transfer: ResumableUpload, wire: Wire, after: int) -> list[int]:
    wire.again(after)
    with pytest.raises(KeyboardInterrupt):
        transfer.send(transfer.find_pending(), nothing)
    return wire.again()


def test_after_two_interruptions_each_part_is_sent_once(
    transfer: Callable[..., ResumableUpload], wire: Wire, path: Path
) -> None:
    one = transfer()
    first, second = broken_off(one, wire, 3), broken_off(one, wire, 4)

    sent = one.send(one.find_pending(), nothing)

    last = wire.again()
    assert (first, second) == ([1, 2, 3], [4, 5, 6, 7])
    assert last == list(range(8, one.plan.count + 1))
    assert (sent.part_count, sent.parts_sent) == (one.plan.count, len(last))
    assert one.s3.get_object(Bucket=BUCKET, Key="a.iso")["Body"].read() == path.read_bytes()


def test_a_changed_file_reuses_no_old_part(
    transfer: Callable[..., ResumableUpload], wire: Wire, path: Path
) -> None:
    broken_off(transfer(), wire, 5)
    changed = bytearray(path.read_bytes())
    changed[0] ^= 1
    path.write_bytes(changed)
    again = transfer()

    again.send(again.find_pending(), nothing)

    assert wire.again() == [1, *range(6, again.plan.count + 1)]
    assert again.s3.get_object(Bucket=BUCKET, Key="a.iso")["Body"].read() == changed


def test_other_overrides_do_not_resume_the_first_upload(
    transfer: Callable[..., ResumableUpload], wire: Wire
) -> None:
    broken_off(transfer({"edition": "EnterpriseN"}), wire, 5)
    other = transfer({"edition": "Education"})

    assert other.find_pending() is None
    assert transfer({"edition": "EnterpriseN"}).find_pending() is not None


def test_a_file_that_changes_while_it_is_sent_is_not_completed(
    transfer: Callable[..., ResumableUpload], path: Path
) -> None:
    one = transfer()

    def touch(_: Progress) -> None:
        path.write_bytes(bytes(SIZE))

    with pytest.raises(UploadError, match="changed during the upload"):
        one.send(None, touch)
    assert one.head_object() is None


@pytest.mark.parametrize("each", [SIZE, SMALL])
def test_the_same_bytes_uploaded_by_another_tool_are_recognized(
    transfer: Callable[..., ResumableUpload], path: Path, each: int
) -> None:
    one = transfer()
    how = TransferConfig(multipart_threshold=each + 1, multipart_chunksize=each)
    one.s3.upload_file(str(path), BUCKET, "a.iso", Config=how)
    head = one.head_object()

    assert head is not None
    assert one.has_same_bytes(head)
    path.write_bytes(bytes(SIZE))
    assert not one.has_same_bytes(head)


# Failing parts


def refused(code: str, status: int = 400) -> ClientError:
    """S3's error for a part, after the SDK's own retries."""
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "UploadPart")  # type: ignore[arg-type] # as much as is read of it


PASSING = {
    "throttled": refused("SlowDown", 503),
    "broken inside": refused("InternalError", 500),
    "too slow": refused("RequestTimeout"),
    "connection lost": ConnectionClosedError(endpoint_url="https://s3.invalid"),
    "damaged on the way": refused("BadDigest"),
    "damaged on the way, as its signature says": refused("XAmzContentSHA256Mismatch"),
}


@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING.keys())
def test_only_the_part_that_failed_is_sent_again(
    transfer: Callable[..., ResumableUpload], wire: Wire, path: Path, error: Exception
) -> None:
    wire.wrong[3] = [error]
    one = transfer()

    sent = one.send(None, nothing)

    assert wire.again() == [1, 2, 3, *range(3, one.plan.count + 1)]
    assert sent.parts_sent == one.plan.count
    assert one.s3.get_object(Bucket=BUCKET, Key="a.iso")["Body"].read() == path.read_bytes()


@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING.keys())
def test_a_part_that_always_fails_keeps_the_other_parts(
    transfer: Callable[..., ResumableUpload], wire: Wire, error: Exception
) -> None:
    one = transfer()
    wire.wrong[3] = [error] * (len(one.retry_delays) + 1)

    with pytest.raises(IsodropError):
        one.send(None, nothing)
    tries = wire.again().count(3)
    pending = one.find_pending()
    assert pending is not None
    one.send(pending, nothing)

    assert tries == len(one.retry_delays) + 1
    assert pending.listed_parts.keys() >= {1, 2}
    assert wire.again() == [
        n for n in range(1, one.plan.count + 1) if n not in pending.listed_parts
    ]


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestTimeTooSkewed", "AccessDenied"])
def test_a_part_that_is_refused_is_not_retried(
    transfer: Callable[..., ResumableUpload], wire: Wire, code: str
) -> None:
    one = transfer()
    wire.wrong[3] = [refused(code, 403)]

    with pytest.raises((PermanentError, TransientError), match=f"UploadPart: {code}"):
        one.send(None, nothing)

    pending = one.find_pending()
    assert wire.again().count(3) == 1
    assert pending is not None
    assert 3 not in pending.listed_parts


def test_the_progress_decreases_when_a_part_fails(
    transfer: Callable[..., ResumableUpload], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    far: list[int] = []
    send = Progress.update_part

    def watched(self: Progress, number: int, position: int) -> None:
        send(self, number, position)
        if number == 3:
            far.append(position)

    monkeypatch.setattr(Progress, "update_part", watched)
    wire.wrong[3] = [refused("SlowDown", 503)]
    one = transfer()

    one.send(None, nothing)

    _, length = one.plan.byte_range(3)
    assert far[0] == 0
    assert (far == sorted(far), far[-1]) == (True, length)


class Stop(threading.Event):
    """An event that is never set, and whose waits take no time."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return False


def test_each_delay_between_tries_of_a_part_is_waited_once(
    transfer: Callable[..., ResumableUpload], wire: Wire
) -> None:
    one, stop = replace(transfer(), retry_delays=(1.0, 2.0, 4.0)), Stop()
    wire.wrong[1] = [refused("SlowDown", 503)] * 3

    one._upload_part(one._create_multipart_upload(), 1, None, Progress(SIZE), stop)

    assert stop.waited == [1.0, 2.0, 4.0]


# Files that change


def test_a_file_that_shrinks_while_it_is_sent_is_not_completed(
    transfer: Callable[..., ResumableUpload], wire: Wire, path: Path
) -> None:
    one = transfer()

    def shrink(params: Mapping[str, Any], **_: Any) -> None:
        if params["PartNumber"] == 2:
            os.truncate(path, SMALL)

    one.s3.meta.events.register("provide-client-params.s3.UploadPart", shrink)

    with pytest.raises(UploadError, match="became shorter while it was being read"):
        one.send(None, nothing)
    assert set(wire.again()) == {1, 2}
    assert one.head_object() is None


def test_a_file_deleted_while_it_is_sent_is_not_completed(
    transfer: Callable[..., ResumableUpload], path: Path
) -> None:
    one = transfer()

    with pytest.raises(FileNotFoundError):
        one.send(None, lambda _: path.unlink(missing_ok=True))
    assert one.head_object() is None
