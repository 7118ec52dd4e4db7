"""``isodrop inspect --sha256``, and the decision with a stack's allow-list."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from isodrop.aws.allow_list import AllowListSource
from isodrop.aws.ledger import Ledger
from isodrop.domain.allow_list import AllowListMode
from isodrop_cli.commands import inspect
from isodrop_cli.commands.upload import hash_in_background
from isodrop_cli.iso_source import open_source
from isodrop_cli.main import main
from isodrop_cli.stack import Stack
from isodrop_local.iso_maker import business_editions, make_iso
from tests.support.harness import ImportHarness

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    return make_iso(tmp_path / "Win11.iso", editions=business_editions())


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        status = main(("inspect", *arguments, "--json"))
        return status, json.loads(capsys.readouterr().out)

    return run


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_has_the_names_that_its_import_will_have(
    iso: Path, run: Run, session: boto3.Session, ledger: Ledger, tmp_path: Path
) -> None:
    harness = ImportHarness(session, ledger, tmp_path, allow_list_mode=AllowListMode.WARN)
    harness.follow(harness.upload("a.iso", iso.read_bytes()))
    (answer,) = harness.answers()
    source = answer["detail"]["data"]["source"]

    status, output = run(str(iso), "--sha256")

    assert (status, output["sha256"]) == (0, sha256(iso))
    assert (output["sha256"], output["contentId"]) == (source["sha256"], source["contentId"])


def test_an_object_has_the_same_names_as_the_file(
    iso: Path, run: Run, session: boto3.Session
) -> None:
    session.client("s3").upload_file(str(iso), "isodrop-upload", "Win11.iso")

    _, of_the_file = run(str(iso), "--sha256")
    _, of_the_object = run("s3://isodrop-upload/Win11.iso", "--sha256")

    for name in ("sha256", "contentId"):
        assert of_the_file[name] == of_the_object[name]


def test_without_the_flag_no_hash_is_computed_or_shown(iso: Path, run: Run) -> None:
    _, output = run(str(iso))
    assert {"sha256", "contentId"} & output.keys() == set()


def test_in_a_pipe_both_are_fields(iso: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(("inspect", str(iso), "--sha256"))
    fields = dict(line.split("\t", 1) for line in capsys.readouterr().out.splitlines())
    assert fields["sha256"] == sha256(iso)
    assert len(fields["content"]) == 64


@pytest.mark.parametrize(
    ("stack", "hashed", "decision", "note"),
    [
        (("enforce", True), True, "accepted", ""),
        (("enforce", False), True, "unknown-iso", "not on the stack's allow-list"),
        (("warn", False), True, "accepted", "not on the stack's allow-list"),
        (("enforce", False), False, "accepted", "use --sha256 to check the ISO against its list"),
        (("off", False), True, "accepted", ""),
    ],
)
def test_the_decision_uses_the_list_of_the_stack(  # noqa: PLR0917 - arguments and expectations
    iso: Path,
    session: boto3.Session,
    monkeypatch: pytest.MonkeyPatch,
    stack: tuple[str, bool],
    hashed: bool,
    decision: str,
    note: str,
) -> None:
    mode, listed = stack
    ssm = session.client("ssm")
    value = sha256(iso) if listed else "0" * 64
    ssm.put_parameter(Name="/isos", Value=value, Type="String")
    source = AllowListSource(lambda: session.client("s3"), lambda: ssm, "ssm:/isos")
    monkeypatch.setattr(Stack, "read_allow_list_settings", lambda _: (AllowListMode(mode), source))
    with open_source(str(iso)) as opened:
        look = inspect.inspect_iso(opened, None, {})
        hashes = inspect._hash(opened) if hashed else None

    found = inspect._apply_allow_list(replace(look, hashes=hashes), Stack(session, {}))

    output = inspect.as_json(found)
    assert decision == (
        output["decision"] if output["rejection"] is None else output["rejection"]["code"]
    )
    text = json.dumps([output["rejection"], output["plan"] and output["plan"]["notes"]])
    assert note in text
    assert ("allow-list" in text or "AllowListMode" in text) == bool(note)


def test_an_upload_hashes_its_file_in_the_background(iso: Path) -> None:
    with hash_in_background(iso) as hashes:
        assert hashes().sha256 == sha256(iso)


def test_an_interrupted_upload_stops_hashing(tmp_path: Path) -> None:
    path = tmp_path / "large.iso"
    with path.open("wb") as file:
        file.truncate(20 * 1024**3)
    with pytest.raises(KeyboardInterrupt), hash_in_background(path):
        raise KeyboardInterrupt
