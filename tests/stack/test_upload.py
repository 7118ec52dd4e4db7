"""isodrop upload on the deployed template: interrupted, resumed, answered."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from botocore.client import BaseClient

from isodrop_cli import operations, resumable_upload
from isodrop_cli.main import main
from isodrop_local.iso_maker import server_editions
from isodrop_local.stack import EmulatedStack
from tests.stack.conftest import MakeIso

Run = Callable[..., tuple[int, list[dict[str, Any]]]]
pytestmark = pytest.mark.usefixtures("shell")

PART = 5 << 20  # S3's minimum


@pytest.fixture
def sent() -> list[int]:
    """The parts that were sent in the last run."""
    return []


@pytest.fixture
def run(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sent: list[int],
) -> Run:
    """Run isodrop upload, interrupted by Ctrl-C after some parts."""
    monkeypatch.setattr(operations, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(resumable_upload, "THREADS", 1)
    monkeypatch.setattr(resumable_upload.plan_parts, "__defaults__", (PART,))
    request = BaseClient._make_api_call  # type: ignore[attr-defined] # what every call goes through
    until: list[int | None] = [None]

    def call(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "UploadPart":
            if until[0] is not None and len(sent) >= until[0]:
                raise KeyboardInterrupt
            sent.append(arguments["PartNumber"])
        return request(self, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)

    def run(*arguments: str, after: int | None = None) -> tuple[int, list[dict[str, Any]]]:
        sent.clear()
        until[0] = after
        capfd.readouterr()
        status = main(["upload", *arguments, "--json"])
        return status, [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    return run


def test_an_upload_interrupted_twice_is_resumed_and_followed_to_its_answer(
    stack: EmulatedStack, iso: MakeIso, run: Run, sent: list[int]
) -> None:
    path = iso()
    os.truncate(path, 10 * PART)

    first, _ = run(str(path), after=2)
    parts = list(sent)
    second, _ = run(str(path), after=3)
    parts += sent
    status, events = run(str(path))
    parts += sent

    body = stack.client("s3").get_object(Bucket=stack.bucket, Key=path.name)["Body"].read()
    uploaded = next(each for each in events if each["event"] == "uploaded")
    assert (first, second, status) == (130, 130, 0)
    assert parts == list(range(1, uploaded["parts"] + 1))
    assert uploaded["partsSent"] == len(sent) == uploaded["parts"] - 5
    assert body == path.read_bytes()
    assert events[0]["settings"] == "stack"
    assert events[-1]["event"] == "answer"
    assert events[-1]["answer"]["detail"] == stack.wait_for_answer(path.name)["detail"]

    again, events = run(str(path))

    assert (again, sent) == (0, [])
    assert events[-1]["state"] == "succeeded"


def test_an_iso_that_would_be_rejected_is_not_uploaded(
    iso: MakeIso, run: Run, sent: list[int]
) -> None:
    status, events = run(str(iso(server_editions())))

    assert (status, sent) == (3, [])
    assert events[-1]["rejection"]["code"] == "server-iso"
