"""isodrop cancel: the runs and builds that it ends."""

from tests.integration.cli.conftest import ADDRESS, Run
from tests.support.harness import ImportHarness


def test_cancel_reports_that_there_was_no_build_yet(harness: ImportHarness, run: Run) -> None:
    harness.claim_run(harness.upload("a.iso"), "execution-1")

    status, out, _ = run("cancel", ADDRESS)

    assert (status, out.partition(";")[0]) == (0, "cancelled before its build started")
    assert run("cancel", ADDRESS)[0] == 0  # again, it is the same
