"""An operator's commands against a stack in this process, as typed on a terminal."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop_cli import operations
from isodrop_cli.main import main
from isodrop_local.iso_maker import server_editions
from tests.integration.conftest import BUCKET
from tests.support.harness import ImportHarness

Run = Callable[..., tuple[int, str, str]]
ADDRESS = f"s3://{BUCKET}/a.iso"
KEY = "Win11.iso"


@pytest.fixture
def harness(
    session: boto3.Session,
    ledger: Ledger,
    tmp_path: Path,
    stacks: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> ImportHarness:
    """A stack that can be found by its name; moto has no Image Builder, so it uses the fake one."""
    harness = ImportHarness(session, ledger, tmp_path)
    monkeypatch.setattr(ImageBuilder, "connect", lambda _session: harness.builder)
    stacks["isodrop"] = {
        "UploadBucketName": BUCKET,
        "ImportStateMachineArn": harness.executions.machine_arn,
        "LedgerTableName": "ledger",
        "ImportIsoFunctionName": "import-iso",
        "ReportBuildFunctionName": "report-build",
        "SweepFunctionName": "sweep",
        "UploadUri": f"s3://{BUCKET}/",
    }
    return harness


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("ISODROP_STACK", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            status = main(arguments)
        except SystemExit as leaving:  # how argparse ends
            status = int(leaving.code or 0)
        return (status, *capfd.readouterr())

    return run


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command on a terminal with 80 columns."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(*arguments: str) -> str:
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "dumb")
        with monkeypatch.context() as here:  # not longer: pytest has a stdout of its own
            here.setattr(sys, "stdout", screen := Terminal())
            main(arguments)
        return screen.getvalue()

    return shown


def rejected(harness: ImportHarness, key: str = "a.iso") -> None:
    """An upload that has its answer."""
    harness.follow(harness.upload(key, harness.iso(server_editions())), f"execution-{key}")


class Terminal(io.StringIO):
    """A terminal; of text that is drawn repeatedly only the last state remains."""

    def isatty(self) -> bool:
        return True

    def last(self) -> list[str]:
        drawn = re.sub(r"\x1b\[[?\d;]*[a-z]", "", self.getvalue().rpartition("\x1b[2K")[2])
        return [line.rstrip() for line in drawn.splitlines()]


@pytest.fixture
def while_waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Perform one action each time that a command waits; then interrupt it."""

    def perform(*actions: Callable[[], object]) -> None:
        left = list(actions)

        def sleep(seconds: float) -> None:
            assert seconds == operations.WAIT_SECONDS
            if not left:
                raise KeyboardInterrupt
            left.pop(0)()

        monkeypatch.setattr("time.sleep", sleep)

    return perform


Call = tuple[str, str, dict[str, Any]]
"""Service, operation and arguments of a call of AWS."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, harness: ImportHarness) -> list[Call]:
    """The calls of AWS by the operator's commands, without those of the stack."""
    calls: list[Call] = []
    request = BaseClient._make_api_call  # type: ignore[attr-defined] # the one of the fixture stacks

    def record(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        calls.append((self.meta.service_model.service_name, operation, arguments))
        return request(self, operation, arguments)

    def sleep(_: float) -> None:
        """Let the stack handle all started runs; interrupt the command if there are none."""
        with monkeypatch.context() as unseen:
            unseen.setattr(BaseClient, "_make_api_call", request)
            runs = harness.operations.get_history(BUCKET, KEY).runs
            todo = harness.started()[len(runs) :]
            if not todo:
                raise KeyboardInterrupt
            for upload, number, execution in todo:
                harness.follow(upload, execution, number)

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    return calls
