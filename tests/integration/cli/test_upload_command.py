"""isodrop upload: metadata, encryption, tags, concurrent uploads, and how to resume."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.aws.s3 import get_current_upload
from isodrop.domain.model import ImportPlan
from isodrop_cli import resumable_upload
from isodrop_cli.main import main
from tests.integration.conftest import BUCKET
from tests.support.harness import ImportHarness

Run = Callable[..., tuple[int, str, str]]
KEY = "Win11.iso"
PART = 5 << 20
WORDS = "für die Büros in Zürich, Łódź und Århus: 日本語"


_head = resumable_upload.ResumableUpload.head_object


def head_without_checksum(self: resumable_upload.ResumableUpload) -> Any:
    """Leave out the checksum, because moto's differs from S3's; the ETag is sufficient."""
    found = _head(self)
    return found and {key: value for key, value in found.items() if key != "ChecksumSHA256"}


@pytest.fixture
def harness(
    session: boto3.Session,
    ledger: Ledger,
    tmp_path: Any,
    stacks: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> ImportHarness:
    harness = ImportHarness(session, ledger, tmp_path)
    monkeypatch.setattr(ImageBuilder, "connect", lambda _session: harness.builder)
    monkeypatch.setattr(resumable_upload, "THREADS", 1)
    monkeypatch.setattr(resumable_upload.plan_parts, "__defaults__", (PART,))
    monkeypatch.setattr(resumable_upload.ResumableUpload, "head_object", head_without_checksum)
    stacks["isodrop"] = {
        "UploadBucketName": BUCKET,
        "ImportStateMachineArn": harness.executions.machine_arn,
        "LedgerTableName": "ledger",
        "ImportIsoFunctionName": "import-iso",
        "UploadUri": f"s3://{BUCKET}/",
    }
    body = harness.iso()
    (tmp_path / KEY).write_bytes(body + bytes(3 * PART - len(body)))
    return harness


@pytest.fixture
def run(
    harness: ImportHarness, environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> Run:
    environment["ALLOWED_OVERRIDES"] = "description"

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main(["upload", str(harness.folder / KEY), "--no-wait", "--json", *arguments])
        return (status, *capfd.readouterr())

    return run


def head(harness: ImportHarness) -> dict[str, Any]:
    found: dict[str, Any] = harness.client("s3").head_object(Bucket=BUCKET, Key=KEY)
    return found


def versions(harness: ImportHarness) -> int:
    return len(harness.client("s3").list_object_versions(Bucket=BUCKET)["Versions"])


def gone() -> ClientError:
    """S3's error for an upload that no longer exists; moto's is another one."""
    return ClientError({"Error": {"Code": "NoSuchUpload"}}, "CompleteMultipartUpload")


def before(monkeypatch: pytest.MonkeyPatch, operation: str, action: Callable[..., None]) -> None:
    """Do something once, before an operation is sent."""
    send = resumable_upload.ResumableUpload.send
    left = [action]

    def watched(self: resumable_upload.ResumableUpload, *arguments: Any) -> Any:
        def once(params: dict[str, Any], **_: Any) -> None:
            if left:
                left.pop()(self, params)

        self.s3.meta.events.register(f"provide-client-params.s3.{operation}", once)
        return send(self, *arguments)

    monkeypatch.setattr(resumable_upload.ResumableUpload, "send", watched)


def test_a_description_that_is_not_ascii_is_used_unchanged(
    harness: ImportHarness, run: Run
) -> None:
    status, _, err = run("--set", f"description={WORDS}")

    (raw,) = head(harness)["Metadata"].values()
    upload = get_current_upload(harness.client("s3"), BUCKET, KEY).upload
    harness.follow(upload)
    plan = harness.claim_run(upload).decision
    assert (status, err) == (0, "")
    assert raw.isascii()
    assert isinstance(plan, ImportPlan)
    assert plan.description == WORDS


def test_an_object_with_matching_metadata_is_recognized(harness: ImportHarness, run: Run) -> None:
    run("--set", f"description={WORDS}")

    status, out, _ = run("--set", f"description={WORDS}")

    assert (status, json.loads(out.splitlines()[-1])["sent"], versions(harness)) == (0, False, 1)


def test_an_object_is_encrypted_and_tagged_as_requested(harness: ImportHarness, run: Run) -> None:
    key = harness.client("kms").create_key()["KeyMetadata"]["KeyId"]

    status, _, _ = run("--sse", "aws:kms", "--sse-kms-key-id", key, "--tag", "team=a + b")

    tags = harness.client("s3").get_object_tagging(Bucket=BUCKET, Key=KEY)["TagSet"]
    assert (status, head(harness)["ServerSideEncryption"]) == (0, "aws:kms")
    assert head(harness)["SSEKMSKeyId"].endswith(key)
    assert tags == [{"Key": "team", "Value": "a + b"}]


def test_an_object_under_another_kms_key_is_sent_again(harness: ImportHarness, run: Run) -> None:
    run()

    status, out, _ = run("--sse", "aws:kms")

    assert (status, json.loads(out.splitlines()[-1])["sent"], versions(harness)) == (0, True, 2)


def test_a_key_without_its_encryption_is_wrong_usage(run: Run) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--sse-kms-key-id", "key")
    assert ended.value.code == 2


def test_two_concurrent_uploads_of_one_file_both_succeed(
    harness: ImportHarness, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complete(_: resumable_upload.ResumableUpload, params: dict[str, Any]) -> None:
        harness.client("s3").complete_multipart_upload(**params)
        raise gone()

    before(monkeypatch, "CompleteMultipartUpload", complete)

    status, out, err = run()

    last = json.loads(out.splitlines()[-1])
    assert (status, err, versions(harness)) == (0, "", 1)
    assert (last["event"], last["versionId"]) == ("uploaded", head(harness)["VersionId"])


def test_an_upload_aborted_before_its_end_is_started_again(
    harness: ImportHarness, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def abort(_: resumable_upload.ResumableUpload, params: dict[str, Any]) -> None:
        named = {name: params[name] for name in ("Bucket", "Key", "UploadId")}
        harness.client("s3").abort_multipart_upload(**named)
        raise gone()

    before(monkeypatch, "CompleteMultipartUpload", abort)

    status, out, err = run()

    assert (status, err, versions(harness)) == (0, "", 1)
    assert json.loads(out.splitlines()[-1])["sent"] is True


@pytest.mark.parametrize(("arrived", "lines"), [(0, 1), (1, 2)])
def test_resuming_is_announced_only_where_a_part_has_arrived(
    run: Run,
    refused: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    arrived: int,
    lines: int,
) -> None:
    part = resumable_upload.ResumableUpload._upload_part

    def sent(self: resumable_upload.ResumableUpload, upload: str, number: int, *more: Any) -> Any:
        if number > arrived:
            refused["UploadPart"] = "ExpiredToken"
        return part(self, upload, number, *more)

    monkeypatch.setattr(resumable_upload.ResumableUpload, "_upload_part", sent)

    status, _, err = run()
    refused.clear()

    assert (status, len(err.splitlines())) == (1, lines)
    assert ("run the same command again to resume the upload" in err) is (arrived > 0)
