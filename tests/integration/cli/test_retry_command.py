"""isodrop retry: another run of an upload."""

import json

import pytest

from isodrop_cli import operations
from tests.integration.cli.conftest import ADDRESS, Run, rejected
from tests.support.harness import ImportHarness


def test_retry_names_the_command_that_follows_it(harness: ImportHarness, run: Run) -> None:
    rejected(harness)

    status, out, _ = run("retry", ADDRESS, "--set", "edition=EnterpriseN", "--json")

    ((_, request, execution),) = harness.started()
    assert status == 0
    assert json.loads(out) == {
        "uploadId": json.loads(out)["uploadId"],
        "run": 1,
        "executionArn": execution,
    }
    assert request.overrides == {"edition": "EnterpriseN"}


def test_retry_that_waits_exits_with_the_status_of_the_answer(
    harness: ImportHarness, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected(harness)
    waited: list[float] = []

    def follow(seconds: float) -> None:
        waited.append(seconds)
        ((upload, request, execution),) = harness.started()
        harness.follow(upload, execution, request)

    monkeypatch.setattr("time.sleep", follow)

    status, out, _ = run("retry", ADDRESS, "--wait")

    assert status == 3
    assert "code\tserver-iso\n" in out
    assert waited == [operations.WAIT_SECONDS]


def test_retry_is_refused_while_an_execution_runs_and_names_it(
    harness: ImportHarness, run: Run
) -> None:
    harness.claim_run(harness.upload("a.iso"), "arn:of-the-execution")

    status, _, err = run("retry", ADDRESS)

    assert status == 1
    assert "arn:of-the-execution" in err
