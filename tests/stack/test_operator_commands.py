"""StackOperations commands on the deployed template."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from isodrop.codes import Code
from isodrop_cli import operations
from isodrop_cli.main import main
from isodrop_local.iso_maker import consumer_editions
from isodrop_local.stack import EmulatedStack
from tests.stack.conftest import MakeIso, upload_failing_iso

Run = Callable[..., tuple[int, Any]]

pytestmark = pytest.mark.usefixtures("shell")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run isodrop as `make local` suggests; return its output, parsed if it is JSON."""
    monkeypatch.setattr(operations, "WAIT_SECONDS", 0.1)

    def run(*arguments: str) -> tuple[int, Any]:
        capfd.readouterr()
        status = main(arguments)
        out = capfd.readouterr().out
        return status, json.loads(out) if "--json" in arguments else out

    return run


def test_a_failed_build_is_retried_and_succeeds(
    stack: EmulatedStack, iso: MakeIso, run: Run
) -> None:
    key = upload_failing_iso(stack, iso(), message="Setup found no TPM.")
    first = stack.wait_for_answer(key)

    status, entry = run("retry", f"s3://{stack.bucket}/{key}", "--wait", "--json")

    second = stack.wait_for_answer(key, nth=2)
    metadata = [answer["detail"]["metadata"] for answer in (first, second)]
    assert (status, entry["state"]) == (0, "succeeded")
    assert entry["answer"]["detail"] == second["detail"]
    assert [each["run"] for each in metadata] == [0, 1]
    assert metadata[0]["uploadId"] == metadata[1]["uploadId"]
    assert metadata[0]["eventId"] != metadata[1]["eventId"]
    assert second["detail"]["data"]["attempt"] == 1


def test_another_edition_is_imported_by_a_retry_without_an_upload(
    stack: EmulatedStack, iso: MakeIso, run: Run
) -> None:
    address = f"s3://{stack.bucket}/{(key := stack.upload(iso(consumer_editions())))}"
    rejected = stack.wait_for_answer(key)["detail"]["data"]

    succeeded, _ = run("retry", address, "--set", "edition=Professional", "--wait")
    again, _ = run("retry", address, "--set", "edition=", "--wait")

    _, output = run("status", address, "--json")
    assert rejected["code"] == Code.NO_SUCH_EDITION
    assert (succeeded, again) == (0, 3)
    assert [entry["state"] for entry in output] == ["rejected", "succeeded", "rejected"]
    assert output[1]["plan"]["edition"] == "Professional"


def test_a_running_build_is_listed_refused_and_cancelled(
    stack: EmulatedStack, iso: MakeIso, run: Run
) -> None:
    stack.image_builder.hold("BUILDING")
    key = stack.upload(iso())
    address = f"s3://{stack.bucket}/{key}"
    stack.wait_for(
        lambda: any(
            entry["source"]["key"] == key and entry["state"] == "building"
            for entry in run("list", "--open", "--json")[1]
        )
    )

    refused, _ = run("retry", address)
    cancelled, output = run("cancel", address)
    stack.image_builder.release()

    answer = stack.wait_for_answer(key)
    assert (refused, cancelled) == (1, 0)
    assert "cancelling arn:aws:imagebuilder:" in output
    assert answer["detail"]["data"]["code"] == Code.BUILD_CANCELLED


def test_an_import_that_waits_is_cancelled_before_it_has_a_build(
    stack: EmulatedStack, iso: MakeIso, run: Run
) -> None:
    stack.image_builder.fail_next("ImportDiskImage", code="TooManyRequestsException", times=999)
    key = stack.upload(iso())
    stack.wait_for(lambda: stack.image_builder.calls("ImportDiskImage"))

    status, output = run("cancel", f"s3://{stack.bucket}/{key}")

    answer = stack.wait_for_answer(key)
    assert (status, output.partition(";")[0]) == (0, "cancelled before its build started")
    assert answer["detail-type"] == "ISO Import Failed"
    assert answer["detail"]["data"]["code"] == Code.BUILD_CANCELLED
