"""The emulator copies an object in parts as S3 does, from memory and from files."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from isodrop_local.faults import LOST_RESPONSE
from isodrop_local.stack import EmulatedStack, credentials
from tests.support.s3_copy import COMPOSITE, KEY, SOURCE, Copy, S3CopyTests, S3Setup, refused

Put = Callable[[str, bytes], tuple[str, str]]

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedStack]:
    with EmulatedStack(wait_scale=0.01, files=[tmp_path_factory.getbasetemp()]) as started:
        yield started


@pytest.fixture
def source(emulator: EmulatedStack) -> str:
    """An empty versioned bucket."""
    s3, name = emulator.client("s3"), f"source-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def target(emulator: EmulatedStack) -> str:
    """An empty bucket."""
    name = f"target-{next(_numbers)}"
    emulator.client("s3").create_bucket(Bucket=name)
    return name


def a_world(emulator: EmulatedStack, source: str, target: str, put: Put) -> Iterator[S3Setup]:
    yield S3Setup(emulator.client("s3"), source, target, put, emulator.s3_behavior)
    emulator.s3_behavior(repeats_response=False, small_ranges=True)


class TestInMemory(S3CopyTests):
    @pytest.fixture
    def s3_setup(self, emulator: EmulatedStack, source: str, target: str) -> Iterator[S3Setup]:
        def put(key: str, body: bytes) -> tuple[str, str]:
            made = emulator.client("s3").put_object(Bucket=source, Key=key, Body=body)
            return made["VersionId"], made["ETag"]

        yield from a_world(emulator, source, target, put)


@pytest.fixture
def linked(emulator: EmulatedStack, source: str, target: str, tmp_path: Path) -> Iterator[S3Setup]:
    """A world whose source objects are files."""

    def put(key: str, body: bytes) -> tuple[str, str]:
        path = tmp_path / f"{next(_numbers)}.iso"
        path.write_bytes(body)
        request = {"bucket": source, "key": key, "path": str(path)}
        made = emulator.control("objects", request)
        return made["versionId"], made["etag"]

    yield from a_world(emulator, source, target, put)


class TestByReference(S3CopyTests):
    @pytest.fixture
    def s3_setup(self, linked: S3Setup) -> S3Setup:
        return linked

    def test_the_file_itself_is_never_deleted(self, linked: S3Setup, tmp_path: Path) -> None:
        """The file is the user's; objects only refer to it."""
        copy = Copy(linked, *linked.put("a folder/src.iso", SOURCE))
        copy.begin()
        copy.complete(copy.parts())
        for bucket, key in ((linked.target, KEY), (linked.source, "a folder/src.iso")):
            linked.s3.delete_object(Bucket=bucket, Key=key)
        linked.s3.delete_object(**copy.source)
        (path,) = tmp_path.iterdir()
        assert path.read_bytes() == SOURCE

    def test_an_object_copied_at_once_is_by_reference_too(self, linked: S3Setup) -> None:
        """As ``aws s3 mv`` does with a small one."""
        linked.put("a folder/src.iso", SOURCE)
        which = {"Bucket": linked.target, "Key": "moved.iso"}
        source = {"Bucket": linked.source, "Key": "a folder/src.iso"}
        linked.s3.copy_object(**which, CopySource=source)
        assert linked.s3.get_object(**which)["Body"].read() == SOURCE

    def test_bytes_that_s3_reads_to_copy_are_not_counted_as_requested(
        self, emulator: EmulatedStack, linked: S3Setup
    ) -> None:
        """So that tests can check how much of an ISO was read."""
        copy = Copy(linked, *linked.put("a folder/src.iso", SOURCE))
        copy.begin()
        copy.complete(copy.parts())
        span = {"Range": "bytes=5-9", "VersionId": copy.version}
        key = copy.source["Key"]
        linked.s3.get_object(Bucket=linked.source, Key=key, **span)["Body"].read()
        request = {"bucket": linked.source, "key": key}
        assert emulator.control("objects/reads", request) == [[5, 5]]

    def test_a_big_object_is_copied_in_little_memory(
        self, emulator: EmulatedStack, source: str, target: str, tmp_path: Path
    ) -> None:
        """Two sparse gigabytes in parts of 128 MiB, sixteen at once."""
        size, part = 2 << 30, 128 << 20
        path = tmp_path / "huge.iso"
        with path.open("wb") as file:
            file.truncate(size)
        request = {"bucket": source, "key": "huge.iso", "path": str(path)}
        version = emulator.control("objects", request)["versionId"]
        s3, which = emulator.client("s3"), {"Bucket": target, "Key": "huge.iso"}
        started = s3.create_multipart_upload(**which, ChecksumAlgorithm="SHA256")
        where = which | {"UploadId": started["UploadId"]}
        before = resident(emulator, "VmRSS")
        forget_peak(emulator)

        def copied(number: int) -> dict[str, Any]:
            start = (number - 1) * part
            made = s3.upload_part_copy(
                **where,
                PartNumber=number,
                CopySource={"Bucket": source, "Key": "huge.iso", "VersionId": version},
                CopySourceRange=f"bytes={start}-{start + part - 1}",
            )["CopyPartResult"]
            return {name: made[name] for name in ("ETag", "ChecksumSHA256")}

        numbers = range(1, size // part + 1)
        with ThreadPoolExecutor(16) as pool:
            parts = [
                {"PartNumber": n} | made for n, made in enumerate(pool.map(copied, numbers), 1)
            ]
        asked_for = {"MultipartUpload": {"Parts": parts}, "MpuObjectSize": size}
        s3.complete_multipart_upload(**where, IfNoneMatch="*", **asked_for)
        assert s3.head_object(**which)["ContentLength"] == size
        end = s3.get_object(**which, Range=f"bytes={size - 4}-")
        assert end["Body"].read() == bytes(4)
        s3.delete_object(**which)
        assert resident(emulator, "VmHWM") - before < 64 << 20


def process(emulator: EmulatedStack) -> Path:
    """The /proc folder of the emulator's process."""
    assert emulator._server
    return Path(f"/proc/{emulator._server.pid}")


def resident(emulator: EmulatedStack, which: str) -> int:
    """The emulator's memory (VmRSS) or its maximum (VmHWM), in bytes."""
    status = (process(emulator) / "status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith(f"{which}:")]
    return int(line.split()[1]) << 10


def forget_peak(emulator: EmulatedStack) -> None:
    """Reset VmHWM, see proc_pid_clear_refs(5)."""
    (process(emulator) / "clear_refs").write_text("5")


class TestFaults:
    """Each call of a copy can fail for a function, and for no other caller."""

    @pytest.fixture
    def copy(self, emulator: EmulatedStack, linked: S3Setup) -> Copy:
        """A copy whose caller looks like a function to the emulator."""
        version, etag = linked.put("a folder/src.iso", SOURCE)
        session: Any = boto3.session.Session(**credentials())
        quick = Config(user_agent_extra="app/environment-x", retries={"total_max_attempts": 1})
        s3 = session.client("s3", endpoint_url=emulator.endpoint, config=quick)
        return Copy(S3Setup(s3, linked.source, linked.target, linked.put, print), version, etag)

    @pytest.mark.parametrize(
        ("operation", "call"),
        [
            ("CreateMultipartUpload", lambda copy: copy.begin()),
            ("UploadPartCopy", lambda copy: copy.part(1)),
            ("ListParts", lambda copy: copy.s3_setup.s3.list_parts(**copy.where)),
            ("CompleteMultipartUpload", lambda copy: copy.complete([{"PartNumber": 1}])),
            (
                "AbortMultipartUpload",
                lambda copy: copy.s3_setup.s3.abort_multipart_upload(**copy.where),
            ),
            (
                "DeleteObject",
                lambda copy: copy.s3_setup.s3.delete_object(Bucket=copy.s3_setup.source, Key="k"),
            ),
            (
                "DeleteObjects",
                lambda copy: copy.s3_setup.s3.delete_objects(
                    Bucket=copy.s3_setup.source, Delete={"Objects": [{"Key": "k"}]}
                ),
            ),
            (
                "ListObjectsV2",
                lambda copy: copy.s3_setup.s3.list_objects_v2(Bucket=copy.s3_setup.source),
            ),
            (
                "ListMultipartUploads",
                lambda copy: copy.s3_setup.s3.list_multipart_uploads(Bucket=copy.s3_setup.source),
            ),
            (
                "PutObject",
                lambda copy: copy.s3_setup.s3.put_object(Bucket=copy.s3_setup.source, Key="k"),
            ),
            (
                "CopyObject",
                lambda copy: copy.s3_setup.s3.copy_object(
                    Bucket=copy.s3_setup.source, Key="k", CopySource=f"{copy.s3_setup.source}/k"
                ),
            ),
            ("UploadPart", lambda copy: copy.s3_setup.s3.upload_part(**copy.where, PartNumber=1)),
            (
                "GetObjectTagging",
                lambda copy: copy.s3_setup.s3.get_object_tagging(
                    Bucket=copy.s3_setup.source, Key="k"
                ),
            ),
        ],
    )
    def test_a_call_can_go_wrong(
        self, emulator: EmulatedStack, copy: Copy, operation: str, call: Callable[[Copy], Any]
    ) -> None:
        if operation != "CreateMultipartUpload":
            copy.begin()
        before = emulator.counts().get(f"s3.{operation}", 0)
        emulator.fail_next("s3", operation, code="SlowDown")
        assert refused(lambda: call(copy)) == (503, "SlowDown")
        assert emulator.faults_left() == 0
        assert emulator.counts()[f"s3.{operation}"] == before + 1

    def test_the_answer_to_a_completion_can_be_lost(
        self, emulator: EmulatedStack, copy: Copy
    ) -> None:
        copy.begin()
        parts = copy.parts()
        emulator.fail_next("s3", "CompleteMultipartUpload", code=LOST_RESPONSE, committed=True)
        with pytest.raises(ConnectionClosedError):
            copy.complete(parts)
        which = {"Bucket": copy.s3_setup.target, "Key": KEY}
        head = copy.s3_setup.s3.head_object(**which, ChecksumMode="ENABLED")
        assert head["ChecksumSHA256"] == COMPOSITE
        assert refused(lambda: copy.complete(parts)) == (404, "NoSuchUpload")

    def test_a_completion_can_fail_after_status_200(
        self, emulator: EmulatedStack, copy: Copy
    ) -> None:
        """API_CompleteMultipartUpload.html: the body of a 200 can contain an error."""
        copy.begin()
        parts = copy.parts()
        emulator.fail_next("s3", "CompleteMultipartUpload", code="InternalError", status=200)
        assert refused(lambda: copy.complete(parts))[1] == "InternalError"
        assert copy.complete(parts)["ChecksumSHA256"] == COMPOSITE
