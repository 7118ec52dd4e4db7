"""isodrop event: the event of an object, with and without S3."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.stub import Stubber

from isodrop.aws.s3_events import parse_event
from isodrop.domain.ids import upload_id
from isodrop_cli import aws_errors
from isodrop_cli.main import main
from tests.integration.conftest import ACCOUNT, BUCKET

Run = Callable[..., tuple[int, str, str]]
MIB = 1024 * 1024
KEY = "isos/Büro Windows 11 + 100%41.iso"
ADDRESS = f"s3://{BUCKET}/{KEY}"
MORE = (("--sequencer", "1"), ("--sequencer", "2"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        try:
            status = main(["event", *map(str, arguments)])
        except SystemExit as leaving:  # how argparse ends
            status = int(leaving.code or 0)
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def printed(run: Run) -> Callable[..., dict[str, Any]]:
    def printed(*arguments: str | Path) -> dict[str, Any]:
        status, out, err = run(*arguments)
        assert (status, err) == (0, "")
        event: dict[str, Any] = json.loads(out)
        return event

    return printed


def test_the_event_of_an_object_parses_as_that_upload(
    session: boto3.Session, printed: Callable[..., dict[str, Any]]
) -> None:
    put = session.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=b"windows")
    event = printed(ADDRESS)
    upload = parse_event(event).upload
    assert (upload.bucket, upload.key, upload.size) == (BUCKET, KEY, 7)
    assert (upload.etag, upload.version_id) == (put["ETag"].strip('"'), put["VersionId"])
    assert event["region"] == "eu-central-1"
    assert event == printed(ADDRESS), "the same object gives the same event"


def test_another_upload_has_another_event(
    session: boto3.Session, printed: Callable[..., dict[str, Any]]
) -> None:
    s3 = session.client("s3")
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"windows")
    first = printed(ADDRESS)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"windows")
    second = printed(ADDRESS)
    version = first["detail"]["object"]["version-id"]
    assert parse_event(first).upload.sequencer != parse_event(second).upload.sequencer
    assert first["id"] != second["id"]
    assert printed(ADDRESS, "--version-id", version) == first


def test_another_sequencer_is_another_upload_of_the_object(
    session: boto3.Session, printed: Callable[..., dict[str, Any]]
) -> None:
    session.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=b"windows")
    first, *others = (printed(ADDRESS, *more) for more in ((), *MORE))
    read = [parse_event(event).upload for event in others]
    assert [upload.sequencer for upload in read] == ["1", "2"]
    assert {upload.etag for upload in read} == {parse_event(first).upload.etag}
    assert len({upload_id(parse_event(event).upload) for event in (first, *others)}) == len(
        (first, *others)
    )


@pytest.mark.parametrize("size", [0, 5, 8 * MIB - 1, 8 * MIB, 16 * MIB, 17 * MIB])
def test_the_event_of_a_file_has_the_etag_of_its_upload(
    session: boto3.Session, printed: Callable[..., dict[str, Any]], tmp_path: Path, size: int
) -> None:
    # Given
    file = tmp_path / "Win11.iso"
    file.write_bytes(bytes(size))
    s3 = session.client("s3")
    s3.upload_file(str(file), BUCKET, KEY)
    # When
    seen = printed(ADDRESS, "--file", file)["detail"]["object"]
    # Then
    assert f'"{seen["etag"]}"' == s3.head_object(Bucket=BUCKET, Key=KEY)["ETag"]
    assert (seen["size"], seen["key"]) == (size, KEY)


def test_with_etag_and_size_s3_is_not_called(
    printed: Callable[..., dict[str, Any]],
) -> None:
    with patch.dict(os.environ, {"PATH": os.environ["PATH"]}, clear=True):
        event = printed(ADDRESS, "--etag", '"abc-3"', "--size", "9", "--version-id", "v")
    assert (
        event["detail"]["object"].items() >= {"etag": "abc-3", "size": 9, "version-id": "v"}.items()
    )
    assert event["detail"]["reason"] == "CompleteMultipartUpload"
    assert parse_event(event).upload.sequencer


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (f"s3://{BUCKET}/missing.iso", "there is no such object"),
        ("s3://no-such-bucket/x.iso", "there is no such object"),
    ],
)
@pytest.mark.usefixtures("session")
def test_without_an_object_it_exits_1_with_a_hint(run: Run, address: str, message: str) -> None:
    status, out, err = run(address)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"isodrop: {address}: ")
    assert message in err


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"AWS_EC2_METADATA_DISABLED": "true"}, "sign in (aws sso login, aws configure)"),
        ({"AWS_PROFILE": "nobody"}, "aws configure list-profiles lists the profiles"),
        ({"AWS_ACCESS_KEY_ID": "half"}, "sign in (aws sso login, aws configure)"),
    ],
)
def test_without_credentials_it_names_the_ways_to_get_them(
    run: Run, tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    with patch.dict(os.environ, {"HOME": str(tmp_path), **environ}, clear=True):
        status, out, err = run(ADDRESS)
    assert (status, out) == (1, "")
    assert message in err
    assert "--etag ETAG --size BYTES" in err


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("403", "s3:GetObject on it is required"),
        ("ExpiredToken", "sign in (aws sso login, aws configure)"),
        ("503", "the object is not read"),
    ],
)
def test_an_s3_error_without_a_message_is_reported_with_a_remedy(
    run: Run, session: boto3.Session, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    client = session.client("s3")
    monkeypatch.setattr(aws_errors, "s3_client", lambda *_: client)
    with Stubber(client) as stubbed:
        stubbed.add_client_error("head_object", code)
        status, out, err = run(ADDRESS)
    assert (status, out, err.count("\n"), message in err) == (1, "", 1, True)


@pytest.mark.usefixtures("session")
def test_without_a_connection_to_s3_inspect_explains_offline_use(run: Run) -> None:
    with patch.dict(os.environ, {**ACCOUNT, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, clear=True):
        status, _, err = run(ADDRESS)
    assert (status, "the object is not read" in err) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("",),
        ("s3://bucket",),
        ("s3:///key",),
        (ADDRESS, "--etag", "abc"),
        (ADDRESS, "--size", "9"),
        (ADDRESS, "--etag", "abc", "--size", "9 GB"),
        (ADDRESS, "--etag", "abc", "--size", "9", "--file", "x"),
    ],
)
def test_wrong_usage_of_event_exits_2(run: Run, arguments: tuple[str, ...]) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: isodrop event")


def test_a_missing_file_exits_1(run: Run, tmp_path: Path) -> None:
    status, _, err = run(ADDRESS, "--file", tmp_path / "missing.iso")
    assert (status, "no such file or directory" in err) == (1, True)


def test_the_event_of_an_upload_requests_a_report(
    printed: Callable[..., dict[str, Any]],
) -> None:
    where = (ADDRESS, "--etag", "abc", "--size", "7")
    assert printed(*where, "--report", "answer") == {
        **printed(*where),
        "report": {"kind": "answer"},
    }
