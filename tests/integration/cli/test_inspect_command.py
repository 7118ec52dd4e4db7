"""isodrop inspect on generated ISOs, with the real reader."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from isodrop_cli import aws_errors
from isodrop_cli.main import main
from isodrop_local.iso_maker import (
    EditionSpec,
    business_editions,
    consumer_editions,
    evaluation_editions,
    ltsc_editions,
    make_iso,
    server_editions,
)
from tests.integration.conftest import BUCKET

KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "none"}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("editions", "code"),
    [
        (business_editions(architecture="arm64"), "wrong-architecture"),
        (consumer_editions(), "no-such-edition"),
        (evaluation_editions(), "evaluation-iso"),
        (ltsc_editions(), "ltsc-iso"),
        (server_editions(), "server-iso"),
        (business_editions(build=19045), "not-windows-11"),
        (business_editions(build=28000), "unsupported-release"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_iso_of_each_refused_kind_is_reported_by_its_code(
    run: Run, tmp_path: Path, editions: Sequence[EditionSpec], code: str
) -> None:
    status, out, _ = run("inspect", make_iso(tmp_path / "x.iso", editions=editions), "--json")
    assert (status, json.loads(out)["rejection"]["code"]) == (3, code)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "not-an-iso"), (b"Dear diary,\n", "not-an-iso"), (bytes(1_000_000), "not-an-iso")],
)
def test_an_empty_file_is_rejected(run: Run, tmp_path: Path, data: bytes, code: str) -> None:
    path = tmp_path / "x.iso"
    path.write_bytes(data)
    status, out, _ = run("inspect", path, "--json")
    output = json.loads(out)
    assert (status, output["iso"], output["rejection"]["code"]) == (3, None, code)


def test_an_iso_of_5_gb_is_inspected_with_a_few_short_reads(run: Run, tmp_path: Path) -> None:
    iso = make_iso(tmp_path / "Win11_24H2_Enterprise_x64.iso", size=5_900_000_000)
    status, out, err = run("inspect", iso, "--json", "--trace")
    output = json.loads(out)
    assert (status, output["plan"]["imageIndex"]) == (0, 5)
    assert output["iso"]["requests"] == len(err.splitlines()) <= 4
    assert output["iso"]["bytesRead"] <= 512 * 1024


# In S3


def test_an_object_is_inspected_with_its_own_key_and_metadata(
    run: Run, tmp_path: Path, session: boto3.Session
) -> None:
    key = "isos/Win11 24H2+Enterprise x64.iso"
    session.client("s3").upload_file(
        str(make_iso(tmp_path / "x.iso")),
        BUCKET,
        key,
        ExtraArgs={"Metadata": {"edition": "EnterpriseN"}},
    )
    status, out, _ = run("inspect", f"s3://{BUCKET}/{key}", "--json")
    plan = json.loads(out)["plan"]
    assert (status, plan["edition"]) == (0, "EnterpriseN")
    assert plan["tags"]["isodrop:source"] == f"s3://{BUCKET}/{key}"
    assert plan["tags"]["isodrop:etag"]
    assert run("inspect", f"s3://{BUCKET}/{key}", "--metadata", "edition=No")[0] == 3


def test_the_first_traced_read_is_the_one_that_opened_the_object(
    run: Run, tmp_path: Path, session: boto3.Session
) -> None:
    session.client("s3").upload_file(str(make_iso(tmp_path / "x.iso")), BUCKET, "x.iso")
    _, _, err = run("inspect", f"s3://{BUCKET}/x.iso", "--trace")
    (line,) = err.splitlines()
    assert line.startswith("read 1: 235,520 bytes at 524,288, ")
    assert not line.endswith(" 0.0 ms")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"s3://{BUCKET}/missing.iso", "there is no such object"),
        ("s3://no-such-bucket/x.iso", "NoSuchBucket"),
        ("s3://", "not of the form s3://bucket/key"),
        ("s3://UPPER/x.iso", "not of the form s3://bucket/key"),
    ],
)
@pytest.mark.usefixtures("session")
def test_without_an_object_inspect_exits_1_in_one_sentence(
    run: Run, address: str, reason: str
) -> None:
    status, out, err = run("inspect", address)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("isodrop: ")
    assert reason in err


@pytest.mark.parametrize(
    ("environ", "reason", "way_out"),
    [
        ({}, "Unable to locate credentials", "aws sso login"),
        ({"AWS_ACCESS_KEY_ID": "x"}, "Partial credentials found", "aws sso login"),
        ({"AWS_PROFILE": "nobody"}, "profile (nobody)", "aws configure list-profiles"),
        ({"AWS_CONFIG_FILE": "{here}/broken"}, "Unable to parse", "AWS_CONFIG_FILE"),
        ({**KEYS, "AWS_DEFAULT_REGION": "the moon"}, "the moon", "set AWS_DEFAULT_REGION"),
        ({**KEYS, "AWS_ENDPOINT_URL": "moon"}, "Invalid endpoint: moon", "AWS_ENDPOINT_URL"),
        ({**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect", "the network"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_access_to_aws_inspect_suggests_a_remedy(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    environ: dict[str, str],
    reason: str,
    way_out: str,
) -> None:
    (tmp_path / "broken").write_text("[default]\nregion")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in environ.items():
        monkeypatch.setenv(name, value.format(here=tmp_path))
    status, out, err = run("inspect", "s3://some-bucket/x.iso")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("isodrop: s3://some-bucket/x.iso: ")
    assert reason in err
    assert way_out in err


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        ("ExpiredToken", "sign in"),
        ("AccessDenied", "s3:GetObject"),
        ("InvalidObjectState", "restore it"),
    ],
)
def test_an_object_that_s3_refuses_is_reported_with_a_remedy(
    run: Run, session: boto3.Session, monkeypatch: pytest.MonkeyPatch, code: str, way_out: str
) -> None:
    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "No."}}, "GetObject")

    client = session.client("s3")
    client.meta.events.register("before-call.s3.GetObject", refuse)
    monkeypatch.setattr(aws_errors, "s3_client", lambda *_: client)
    status, out, err = run("inspect", f"s3://{BUCKET}/x.iso")
    assert (status, out) == (1, "")
    assert f"{code}: No; " in err
    assert way_out in err
