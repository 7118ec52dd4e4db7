"""isodrop list: its output as text and as JSON."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from isodrop.domain.model import RunRequest
from isodrop_local.iso_maker import server_editions
from tests.integration.cli.conftest import ADDRESS, Run, rejected
from tests.support.harness import ImportHarness


def test_in_a_pipe_list_prints_each_run_as_a_line_of_fields(
    harness: ImportHarness, run: Run
) -> None:
    rejected(harness)
    harness.advance_clock(minutes=1)
    harness.claim_run(harness.upload("b\tc.iso"), "execution-b")

    status, out, _ = run("list")

    lines = [line.split("\t") for line in out.splitlines()]
    assert status == 0
    assert [line[1:3] for line in lines] == [["inspecting", ""], ["rejected", "server-iso"]]
    assert [line[-1] for line in lines] == ["b\\tc.iso", "a.iso"]


def test_list_truncates_nothing_in_80_columns(
    harness: ImportHarness, shown: Callable[..., str]
) -> None:
    long = "en-us_windows_11_business_editions_version_24h2_x64_dvd_59a1851e.iso"
    harness.follow(harness.upload(long), "execution-good")
    harness.advance_clock(minutes=1)
    rejected(harness, "bad.iso")

    screen = shown("list")

    assert max(map(len, screen.splitlines())) <= 80
    heading, _, bad, *good = (line[1:] for line in screen.splitlines() if line.strip())
    assert heading.split() == ["Started", "State", "Result", "Key"]
    assert bad.split()[1:] == ["rejected", "server-iso", "bad.iso"]
    assert good[0].split()[1] == "succeeded"
    second, third = heading.index("Result"), heading.index("Key")
    outcome, name = (
        "".join(line[start:end].rstrip() for line in good)
        for start, end in ((second, third), (third, None))
    )
    assert outcome.replace(" ", "") == "windows-11-enterprise-x64-en-us11.26100.1742"
    assert name == long


def test_runs_of_one_upload_are_listed_together(
    harness: ImportHarness, run: Run, shown: Callable[..., str]
) -> None:
    upload = harness.upload("a.iso", harness.iso(server_editions()))
    harness.follow(upload, "execution-0")
    for number in (1, 2):
        harness.advance_clock(minutes=1)
        rejected(harness, f"other-{number}.iso")
        harness.advance_clock(minutes=1)
        harness.follow(upload, f"execution-{number}", RunRequest(number, {}))

    screen = [line for line in shown("list").splitlines() if line.strip()]

    where = screen[0].index("Key")
    assert [line[where:].rstrip() for line in screen[2:]] == [
        *("a.iso (run 2)", "  run 1", "  run 0", "other-2.iso", "other-1.iso")
    ]
    piped = [line.split("\t") for line in run("list")[1].splitlines()]
    assert [fields[3] for fields in piped if fields[-1] == "a.iso"] == ["2", "1", "0"]
    assert piped == sorted(piped, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "output"),
    [((), "no uploads yet\n"), (("--open",), "no imports in progress\n")],
)
@pytest.mark.usefixtures("harness")
def test_on_a_terminal_an_empty_list_is_a_sentence(
    run: Run, shown: Callable[..., str], arguments: tuple[str, ...], output: str
) -> None:
    assert shown("list", *arguments) == output
    assert run("list", *arguments) == (0, "", "")


def test_times_have_one_form_for_people_and_the_ledgers_in_json(
    harness: ImportHarness, run: Run, shown: Callable[..., str]
) -> None:
    harness.clock.now = datetime(2026, 11, 24, 9, 12, 34, 567_000, UTC).timestamp()
    rejected(harness)

    time = "2026-11-24T09:12:34Z"
    for command in (("list",), ("status", ADDRESS), ("watch", ADDRESS)):
        assert time in run(*command)[1]
    for command in (("list",), ("status", ADDRESS)):
        assert time in shown(*command)
        (entry,) = json.loads(run(*command, "--json")[1])
        assert entry["startedAt"] == "2026-11-24T09:12:34.567+00:00"


def test_list_as_json_has_whole_runs(harness: ImportHarness, run: Run) -> None:
    rejected(harness)

    status, out, _ = run("list", "--json", "--limit", "1")

    (entry,) = json.loads(out)
    assert status == 0
    assert entry["state"] == "rejected"
    assert entry["source"]["key"] == "a.iso"
    assert entry["answer"]["detail"]["data"]["code"] == "server-iso"


def test_list_can_show_open_runs_only(harness: ImportHarness, run: Run) -> None:
    rejected(harness)

    assert run("list", "--open") == (0, "", "")
