"""isodrop watch: its output, and how it ends."""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from isodrop.domain.model import FIRST_RUN, RunRequest
from isodrop_cli import operations
from isodrop_cli.main import main
from isodrop_local.iso_maker import server_editions
from tests.integration.cli.conftest import ADDRESS, Run, Terminal, rejected
from tests.support.harness import ImportHarness


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """Run the command on a terminal; return what remains on the screen."""

    def see(*arguments: str) -> tuple[int, list[str]]:
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setenv("NO_COLOR", "1")
        with monkeypatch.context() as here:  # not longer: pytest has a stdout of its own
            here.setattr(sys, "stdout", screen := Terminal())
            status = main(arguments)
        return status, screen.last()

    return see


def set_clock_ahead(harness: ImportHarness) -> None:
    """Set the clock so that claims come after the start of a command, which uses the real time."""
    harness.clock.now = datetime.now(UTC).timestamp() + 60


def test_watch_without_runs_waits_until_it_is_interrupted(
    harness: ImportHarness, run: Run, while_waiting: Callable[..., None]
) -> None:
    rejected(harness)  # and answered before the command started
    while_waiting(lambda: None)

    status, out, err = run("watch")

    assert (status, out, err) == (130, "", "isodrop: interrupted\n")


def test_in_a_pipe_watch_prints_each_change_once_with_its_key(
    harness: ImportHarness, run: Run, while_waiting: Callable[..., None]
) -> None:
    set_clock_ahead(harness)
    first = harness.upload("a.iso", harness.iso(server_editions()))
    harness.claim_run(first, "execution-a")
    second = harness.upload("b.iso", harness.iso())
    while_waiting(
        lambda: None,
        lambda: harness.follow(second, "execution-b"),
        lambda: harness.follow(first, "execution-a"),
    )

    status, out, _ = run("watch")

    shown = [line.split("\t")[1:3] for line in out.splitlines()]
    assert status == 130
    assert shown == [
        ["a.iso", "decide"],
        ["b.iso", "decide"],
        *(["b.iso", stage] for stage in ("pending", "building", "testing", "succeeded")),
        ["a.iso", "decide"],
        ["a.iso", "rejected"],
    ]


def test_in_a_pipe_watch_prints_changes_in_order_of_time(
    harness: ImportHarness, run: Run, while_waiting: Callable[..., None]
) -> None:
    while_waiting()
    harness.image_builder.controls.hold("BUILDING")
    first = harness.upload("a.iso")
    harness.intake.process(first, "execution-a")
    for status, before, other in (("PENDING", None, "b.iso"), ("BUILDING", "PENDING", "c.iso")):
        harness.advance_clock(minutes=1)
        seen = harness.reporter.record_status(first, "execution-a", FIRST_RUN, status)
        assert seen is not None
        harness.reporter.publish_progress(seen, status, before)
        harness.advance_clock(minutes=1)
        harness.claim_run(harness.upload(other, b"not inspected yet"), f"execution-{other}")

    _, out, _ = run("watch")

    shown = [line.split("\t") for line in out.splitlines()]
    assert [fields[1:3] for fields in shown] == [
        *(["a.iso", "decide"], ["a.iso", "pending"], ["b.iso", "decide"]),
        *(["a.iso", "building"], ["c.iso", "decide"]),
    ]
    assert [fields[0] for fields in shown] == sorted({fields[0] for fields in shown})


def test_watch_reports_a_run_that_began_and_ended_between_polls(
    harness: ImportHarness, run: Run, while_waiting: Callable[..., None]
) -> None:
    set_clock_ahead(harness)
    while_waiting(lambda: rejected(harness, "quick.iso"), lambda: None)

    _, out, _ = run("watch", "--json")

    shown = [json.loads(line) for line in out.splitlines()]
    assert [(each["event"], each["key"], each["stage"]) for each in shown] == [
        ("state", "quick.iso", "decide"),
        ("answer", "quick.iso", "rejected"),
    ]
    assert shown[-1]["answer"]["detail"]["data"]["code"] == "server-iso"


def test_watch_reports_both_runs_of_one_upload(
    harness: ImportHarness, run: Run, while_waiting: Callable[..., None]
) -> None:
    upload = harness.upload("a.iso", harness.iso(server_editions()))
    harness.claim_run(upload, "execution-0")

    def answer_and_retry() -> None:
        harness.follow(upload, "execution-0")
        harness.claim_run(upload, "execution-1", RunRequest(1, {}))

    while_waiting(
        answer_and_retry, lambda: harness.follow(upload, "execution-1", RunRequest(1, {}))
    )

    _, out, _ = run("watch", "--json")

    answers = [each for line in out.splitlines() if (each := json.loads(line))["event"] == "answer"]
    assert [each["run"] for each in answers] == [0, 1]


def test_on_a_terminal_watch_keeps_one_line_for_each_run(
    harness: ImportHarness,
    see: Callable[..., tuple[int, list[str]]],
    while_waiting: Callable[..., None],
) -> None:
    first = harness.upload("a.iso", harness.iso(server_editions()))
    harness.claim_run(first, "execution-a")
    harness.advance_clock(minutes=1)
    harness.claim_run(harness.upload("b.iso", b"not inspected yet"), "execution-b")
    while_waiting(lambda: harness.follow(first, "execution-a"))

    status, (one, other) = see("watch")

    assert status == 130
    assert one.startswith("✘  a.iso  rejected  server-iso; ")
    assert other.startswith("·  b.iso  decide    inspecting the ISO")


def test_watching_one_run_keeps_its_steps_and_exits_with_its_answer(
    harness: ImportHarness,
    see: Callable[..., tuple[int, list[str]]],
    while_waiting: Callable[..., None],
) -> None:
    upload = harness.upload("a.iso")
    harness.claim_run(upload, "execution-a")
    while_waiting(lambda: harness.follow(upload, "execution-a"))

    status, screen = see("watch", ADDRESS)

    assert (status, screen[0]) == (0, ADDRESS)
    assert [line.split()[:2] for line in screen[1:]] == [
        ["✔", stage] for stage in ("decide", "pending", "building", "testing", "succeeded")
    ]


def test_watch_shows_no_older_answer_for_an_unclaimed_run(
    harness: ImportHarness, run: Run, while_waiting: Callable[..., None]
) -> None:
    rejected(harness)
    run("retry", ADDRESS)
    ((upload, request, execution),) = harness.started()
    while_waiting(lambda: harness.follow(upload, execution, request))

    status, out, _ = run("watch", ADDRESS, "--json")

    shown = [json.loads(line) for line in out.splitlines()]
    assert status == 3
    assert shown[0]["message"] == "waiting for the import to start"
    assert [each["run"] for each in shown if each["event"] == "answer"] == [1]


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_watch_suggests_a_remedy_when_nothing_is_claimed_for_a_minute(
    harness: ImportHarness,
    run: Run,
    while_waiting: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    how: tuple[str, ...],
) -> None:
    upload = harness.upload("a.iso", harness.iso(server_editions()))
    passed, real = [0.0], time.monotonic
    monkeypatch.setattr("time.monotonic", lambda: real() + passed[0])
    while_waiting(
        lambda: passed.append(passed.pop() + operations.UNCLAIMED_SECONDS),
        lambda: None,
        lambda: harness.follow(upload, "execution-a"),
    )

    status, out, _ = run("watch", ADDRESS, *how)

    first, late, *rest = out.splitlines()
    assert (status, len(rest)) == (3, 2)
    assert "waiting for the import to start" in first
    assert "the import has not started yet" in late
    assert "isodrop doctor" in late


def test_watch_shows_the_last_answer_when_a_retry_was_aborted(
    harness: ImportHarness, run: Run
) -> None:
    rejected(harness)
    run("retry", ADDRESS)
    ((_, _, execution),) = harness.started()
    harness.abort(execution)

    status, out, _ = run("watch", ADDRESS, "--json")

    assert status == 3
    assert json.loads(out.splitlines()[-1])["run"] == 0


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_watch_reports_a_stack_that_stops_responding(
    harness: ImportHarness, run: Run, while_waiting: Callable[..., None], how: tuple[str, ...]
) -> None:
    harness.claim_run(harness.upload("a.iso"), "execution-a")
    while_waiting(harness.ledger.table.delete)

    status, out, err = run("watch", *how)

    assert (status, len(out.splitlines())) == (1, 1)
    assert "ResourceNotFoundException" in err
