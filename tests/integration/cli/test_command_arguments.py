"""Arguments and clock of an operator's commands."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from isodrop_cli import clock as clock_module
from isodrop_cli.clock import ServiceClock
from tests.integration.cli.conftest import ADDRESS, Run, rejected
from tests.integration.conftest import BUCKET
from tests.support.harness import ImportHarness


@pytest.mark.parametrize("address", [ADDRESS, "a.iso"])
def test_a_key_alone_refers_to_the_stacks_bucket(
    harness: ImportHarness, run: Run, address: str
) -> None:
    rejected(harness)

    status, _, _ = run("status", address)
    watched, _, _ = run("watch", address)
    printed, event, _ = run("event", address)
    retried, _, _ = run("retry", address)
    cancelled, _, err = run("cancel", address)

    assert (status, watched, printed, retried, cancelled) == (0, 3, 0, 0, 1)
    assert json.loads(event)["detail"]["bucket"] == {"name": BUCKET}
    assert "nothing to cancel" in err


def test_an_answer_is_found_though_the_local_clock_is_ahead(
    harness: ImportHarness,
    run: Run,
    while_waiting: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = datetime.now(UTC) - timedelta(minutes=3)
    clock = ServiceClock()
    clock.synchronize({"date": format_datetime(service, usegmt=True)})
    monkeypatch.setattr(clock_module, "CLOCK", clock)

    def come_and_go() -> None:
        harness.clock.now = service.timestamp() + 30
        rejected(harness)

    while_waiting(come_and_go, lambda: None)

    _, out, _ = run("watch", "--json")

    assert [json.loads(line)["event"] for line in out.splitlines()][-1:] == ["answer"]
