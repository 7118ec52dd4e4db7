"""How the same events are rendered on a terminal, in a pipe and for a program."""

import io
import json
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from isodrop_cli.output import renderers
from isodrop_cli.output.progress import ProgressEvent
from isodrop_cli.output.renderers import UPLOAD_LINE_SECONDS, RunsView, StepsView, make_renderer

KEY = "isos/Win11.iso"
NINE = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
LATER = NINE + timedelta(minutes=30)
AMI = "ami-0123456789abcdef0 eu-central-1"


def at(minute: float, event: str, stage: str, sentence: str = "", **more: Any) -> ProgressEvent:
    key = more.pop("key", KEY)
    return ProgressEvent(event, key, stage, sentence, NINE + timedelta(minutes=minute), **more)


INSPECTED = at(0, "inspected", "inspect", "windows-11-enterprise-x64-en-us 11.26100.1742")
HALF = at(1, "uploading", "upload", "3 GiB of 6 GiB, 50 MiB/s, 1:01 left", fraction=0.5)
UPLOADED = at(3, "uploaded", "upload", "6 GiB in 693 parts", data={"parts": 693})
BUILDING = at(4, "state", "building", "2 of 8 steps", fraction=0.25)
SUCCEEDED = at(25.5, "answer", "succeeded", AMI, severity="success")
FAILED = at(25.5, "answer", "failed", "build-failed\nIt broke.\nRepair it.", severity="error")


def a_console(width: int = 80, height: int = 10, encoding: str = "utf-8") -> Console:
    """A terminal of that size, without colors and with a static spinner."""
    return Console(
        file=io.TextIOWrapper(io.BytesIO(), encoding=encoding),
        width=width,
        height=height,
        force_terminal=True,
        color_system=None,
        markup=False,
        get_time=lambda: 0.0,
    )


def picture(view: StepsView | RunsView, screen: Console) -> list[str]:
    """The lines of the current view."""
    with screen.capture() as drawn:
        screen.print(view.render())
    return [line.rstrip() for line in drawn.get().splitlines()]


def steps(
    *events: ProgressEvent, title: str = "", width: int = 80, encoding: str = "utf-8"
) -> list[str]:
    """The view of one run at half past nine."""
    view = StepsView(screen := a_console(width, encoding=encoding), lambda: LATER, title)
    for event in events:
        view.show(event)
    return picture(view, screen)


def board(*events: ProgressEvent, width: int = 80, height: int = 10) -> list[str]:
    """The view of many runs at half past nine."""
    view = RunsView(screen := a_console(width, height), lambda: LATER)
    for event in events:
        view.show(event)
    return picture(view, screen)


# A terminal that follows one run


def test_each_step_of_a_run_has_a_line_with_its_duration() -> None:
    assert steps(INSPECTED, UPLOADED, BUILDING, title="Win11.iso to s3://uploads/Win11.iso") == [
        "Win11.iso to s3://uploads/Win11.iso",
        "✔  inspect   windows-11-enterprise-x64-en-us 11.26100.1742                  3:00",
        "✔  upload    6 GiB in 693 parts                                             1:00",
        "⠋  building  2 of 8 steps                                                  26:00",
        "             ━━━━━━━━━━━",
    ]


def test_the_bar_of_an_upload_shows_its_share() -> None:
    *_, line, bar = steps(HALF)

    assert line == f"⠋  upload  {HALF.message}{'29:00':>34}"
    assert bar.strip() == "━" * 22


def test_an_ended_status_is_drawn_without_its_steps() -> None:
    assert steps(BUILDING, at(9, "state", "testing"))[0] == f"✔  building{'5:00':>69}"


def test_the_answer_is_drawn_with_the_time_of_the_whole_run() -> None:
    assert steps(INSPECTED, BUILDING, SUCCEEDED)[-1] == f"✔  succeeded  {AMI}{'25:30':>32}"


def test_each_sentence_of_a_failure_has_a_line() -> None:
    assert steps(INSPECTED, FAILED)[1:] == [
        f"✘  failed   build-failed{'25:30':>56}",
        "            It broke.",
        "            Repair it.",
    ]


def test_a_rejection_before_the_upload_leaves_no_running_step() -> None:
    rejected = at(0, "inspected", "inspect", "server-iso", severity="error")

    assert steps(rejected) == [f"✘  inspect  server-iso{'0:00':>58}"]


def test_a_narrow_terminal_wraps_lines_and_loses_nothing() -> None:
    lines = steps(INSPECTED, width=40)

    assert all(len(line) <= 40 for line in lines)
    words = "".join(line[12:34] for line in lines)
    assert words.replace(" ", "") == INSPECTED.message.replace(" ", "")


def test_an_ascii_terminal_gets_ascii_marks() -> None:
    lines = steps(INSPECTED, UPLOADED, FAILED, encoding="ascii")

    assert [line[0] for line in lines if line[0] != " "] == ["+", "+", "x"]
    assert "\n".join(lines).isascii()


def test_control_codes_in_foreign_text_are_escaped() -> None:
    evil = at(0, "state", "decide", "[bold]\x1b[31mred\x07")

    assert steps(evil, title="[red]a\x1b.iso")[:2] == [
        "[red]a\\x1b.iso",
        f"⠋  decide  [bold]\\x1b[31mred\\x07{'30:00':>48}",
    ]


# A terminal that follows many runs


def test_each_of_many_runs_has_one_line() -> None:
    other = at(2, "state", "decide", "inspecting the ISO", key="b.iso")

    assert board(BUILDING, other, SUCCEEDED) == [
        f"✔  {KEY}  succeeded  {AMI}{'21:30':>16}",
        f"⠋  b.iso           decide     inspecting the ISO{'28:00':>32}",
    ]


def test_two_runs_of_one_key_have_two_lines() -> None:
    asked = [at(1, "state", "decide", data={"uploadId": name}) for name in ("one", "two", "one")]

    assert len(board(*asked)) == 2


def test_with_more_runs_than_lines_the_last_ones_are_shown() -> None:
    runs = [at(1, "state", "decide", key=f"{number}.iso") for number in range(9)]

    assert [line.split()[1] for line in board(*runs, height=6)] == [
        *("5.iso", "6.iso", "7.iso", "8.iso")
    ]


def test_among_many_runs_a_long_answer_is_cut_to_its_line() -> None:
    (line,) = board(
        at(1, "answer", "failed", "It broke.\nRepair it." * 20, severity="error"), width=60
    )

    assert (len(line), line.count("…")) == (60, 1)
    assert "It broke. Repair it." in line


def test_without_a_run_the_view_is_a_sentence() -> None:
    assert board() == ["⠋  no imports in progress"]


# What stays on the terminal


class Terminal(io.StringIO):
    """The contents of a terminal; of a live view only the last state remains."""

    def isatty(self) -> bool:
        return True

    def last(self) -> str:
        drawn = self.getvalue().rpartition("\x1b[2K")[2]
        return re.sub(r"\x1b\[[?\d;]*[a-z]", "", drawn)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Show events on a terminal, and return its final contents."""

    def show(events: Iterable[ProgressEvent], **how: Any) -> str:
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(renderers, "utc_now", lambda: LATER)
        monkeypatch.delenv("TERM", raising=False)
        with monkeypatch.context() as here:  # only here: pytest has its own stdout
            here.setattr(sys, "stdout", screen := Terminal())
            with make_renderer(**how) as renderer:
                for event in events:
                    renderer.show(event)
        return screen.last()

    return show


def test_after_one_run_on_a_terminal_its_steps_stay(
    terminal: Callable[..., str],
) -> None:
    screen = terminal([INSPECTED, UPLOADED, SUCCEEDED], title="Win11.iso")

    assert [line.split()[0] for line in screen.splitlines()] == ["Win11.iso", "✔", "✔", "✔"]


def test_a_terminal_left_early_marks_the_running_steps(
    terminal: Callable[..., str],
) -> None:
    one = terminal([INSPECTED, HALF])
    many = terminal(
        [BUILDING, at(2, "answer", "failed", key="b.iso", severity="error")], many_runs=True
    )

    assert one.splitlines()[1].startswith("·  upload")
    assert [line[0] for line in many.splitlines()] == ["·", "✘"]


def test_without_events_no_spinner_stays_on_a_terminal(
    terminal: Callable[..., str],
) -> None:
    assert terminal([], many_runs=True).strip() == "no imports in progress"


# A pipe, and a program


def lines(
    capfd: pytest.CaptureFixture[str], events: Iterable[ProgressEvent], **how: Any
) -> list[str]:
    capfd.readouterr()
    with make_renderer(**how) as renderer:
        for event in events:
            renderer.show(event)
    return capfd.readouterr().out.splitlines()


def test_in_a_pipe_a_line_has_time_step_and_message(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert lines(capfd, [INSPECTED, FAILED], title="not in a pipe") == [
        f"2026-11-24T09:00:00Z\tinspect\t{INSPECTED.message}",
        "2026-11-24T09:25:30Z\tfailed\tbuild-failed; It broke. Repair it.",
    ]


def test_in_a_pipe_the_key_of_many_runs_follows_the_time(
    capfd: pytest.CaptureFixture[str],
) -> None:
    evil = at(1, "state", "decide", key="a\tb\x1b.iso")

    assert lines(capfd, [evil], many_runs=True) == [
        "2026-11-24T09:01:00Z\ta\\tb\\x1b.iso\tdecide\t"
    ]


def test_as_json_each_line_is_an_object_with_all_data(
    capfd: pytest.CaptureFixture[str],
) -> None:
    (line,) = lines(capfd, [UPLOADED], as_json=True)

    assert json.loads(line) == {
        "event": "uploaded",
        "time": "2026-11-24T09:03:00Z",
        "key": KEY,
        "stage": "upload",
        "message": "6 GiB in 693 parts",
        "parts": 693,
    }


def test_in_lines_the_progress_of_an_upload_is_printed_rarely() -> None:
    written: list[ProgressEvent] = []
    clock = iter(
        [100.0, 100.0, 100.0 + UPLOAD_LINE_SECONDS / 2, 100.0 + UPLOAD_LINE_SECONDS, 999.0]
    )
    renderer = renderers.LineRenderer(written.append, lambda: next(clock))

    for event in (HALF, HALF, UPLOADED, HALF):
        renderer.show(event)

    assert [(event.kind, event.message) for event in written] == [
        (event.kind, event.message) for event in (HALF, UPLOADED, HALF)
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_an_earlier_event_gets_the_time_of_the_line_before(
    capfd: pytest.CaptureFixture[str], as_json: bool
) -> None:
    events = lines(capfd, [INSPECTED, UPLOADED, HALF, BUILDING], as_json=as_json)

    times = [f"2026-11-24T09:0{minute}:00Z" for minute in (0, 3, 3, 4)]
    assert [
        json.loads(line)["time"] if as_json else line.split("\t")[0] for line in events
    ] == times
