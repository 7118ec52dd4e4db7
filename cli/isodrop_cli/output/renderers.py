"""How news are told as they come: a view for eyes, lines for pipes, JSON for programs."""

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import zip_longest
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from isodrop.text import printable
from isodrop_cli.clock import utc_now
from isodrop_cli.output.console import CELL, console, format_time, print_fields
from isodrop_cli.output.progress import ProgressEvent, clock

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

NOW_AND_THEN: Final = 10.0
"""Seconds between two lines that only say how far an upload is."""
_REFRESH: Final = 8  # times a second
_LAST: Final = frozenset({"answer", "uploaded"})
"""After these there need be nothing more."""
_BAR: Final = 44  # characters
_STYLES: Final = {"good": "bold green", "bad": "bold red", "": ""}


class Renderer(Protocol):
    """Tells news; to be entered before, and left when there are no more."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, event: ProgressEvent) -> None:
        """Tell one thing."""


def make_renderer(*, as_json: bool = False, of_many: bool = False, title: str = "") -> Renderer:
    """Choose how to tell by who reads."""
    if as_json:
        return LineRenderer(_print_json)
    screen = console()
    if screen is None:
        return LineRenderer(_print_many if of_many else _print_one)
    return RunsView(screen, utc_now) if of_many else StepsView(screen, utc_now, title)


class LineRenderer:
    """One line for each thing, at once; how far an upload is only now and then.

    No line is of an earlier time than the one before: what came about before that was told, but is
    heard of only now, by a clock of AWS or in another look, is told as of then.
    """

    def __init__(
        self, write: Callable[[ProgressEvent], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._now = now
        self._next = 0.0
        self._last = datetime.min.replace(tzinfo=UTC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def show(self, event: ProgressEvent) -> None:
        """Write one event as a line."""
        if event.event == "uploading":
            if self._now() < self._next:
                return
            self._next = self._now() + NOW_AND_THEN
        self._last = max(self._last, event.at)
        self._write(replace(event, at=self._last))
        sys.stdout.flush()


def _print_json(event: ProgressEvent) -> None:
    line = {
        "event": event.event,
        "time": format_time(event.at),
        "key": event.key,
        "step": event.step,
    }
    print(json.dumps({**line, "message": event.message, **event.data}))


def _print_one(event: ProgressEvent) -> None:
    print_fields(format_time(event.at), event.step, _in_a_line(event))


def _print_many(event: ProgressEvent) -> None:
    print_fields(format_time(event.at), event.key, event.step, _in_a_line(event))


def _in_a_line(event: ProgressEvent) -> str:
    line, *more = event.message.splitlines() or [""]
    for each in more:
        line += f"{' ' if line.endswith('.') else '; '}{each}"
    return line


@dataclass(slots=True)
class _Row:
    """The last that was told of a step, and since when the step has gone on."""

    event: ProgressEvent
    began: datetime


class LiveRenderer(ABC):
    """What is drawn anew several times a second, and stays on the screen at the end."""

    def __init__(self, screen: "Console", now: Callable[[], datetime]) -> None:
        from rich.live import Live  # noqa: PLC0415 - see screen.console
        from rich.spinner import Spinner  # noqa: PLC0415 - see screen.console

        self._now = now
        self._screen = screen
        self._is_over = False
        self._rows: dict[str, _Row] = {}
        self._spinner = Spinner("line" if screen.options.ascii_only else "dots", style="cyan")
        self._live = Live(get_renderable=self.render, console=screen, refresh_per_second=_REFRESH)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._live.stop()

    @abstractmethod
    def show(self, event: ProgressEvent) -> None:
        """Take it into the picture."""

    @abstractmethod
    def render(self) -> "RenderableType":
        """Draw the picture as it is now."""

    def _mark(self, event: ProgressEvent, *, goes_on: bool) -> "RenderableType":
        from rich.text import Text  # noqa: PLC0415 - see screen.console

        plain = self._screen.options.ascii_only
        if event.severity == "bad":
            return Text("x" if plain else "✘", "bold red")
        if not goes_on:
            return Text("+" if plain else "✔", "green")
        if self._is_over:
            return Text("." if plain else "·", "dim")
        return self._spinner

    def _words(self, event: ProgressEvent, *, goes_on: bool) -> "RenderableType":
        from rich.console import Group  # noqa: PLC0415 - see screen.console
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - see screen.console
        from rich.text import Text  # noqa: PLC0415 - see screen.console

        lines = [printable(line, limit=CELL) for line in event.message.splitlines()]
        # Text, not str: no markup is read out of a stranger's words.
        words = Text("\n".join(lines), _STYLES[event.severity], overflow="fold")
        if event.share is None:
            return words
        if not goes_on:
            return Text("")  # so far it was when it was last looked at, and now it is through
        bar = ProgressBar(total=1.0, completed=event.share, width=_BAR, complete_style="green")
        return Group(words, bar)

    def _passed(self, began: datetime, ended: datetime | None) -> "Text":
        from rich.text import Text  # noqa: PLC0415 - see screen.console

        seconds = ((ended or self._now()) - began).total_seconds()
        return Text(clock(max(0.0, seconds)), "dim")


class StepsView(LiveRenderer):
    """One drop: its steps one below the other, and how long each took."""

    def __init__(self, screen: "Console", now: Callable[[], datetime], title: str) -> None:
        self._title = title
        super().__init__(screen, now)

    def show(self, event: ProgressEvent) -> None:
        """Take it into the picture."""
        row = self._rows.get(event.step)
        if row is None:
            self._rows[event.step] = _Row(event, event.at)
        else:
            row.event = event

    def render(self) -> "RenderableType":
        """Draw the steps."""
        from rich.table import Table  # noqa: PLC0415 - see screen.console
        from rich.text import Text  # noqa: PLC0415 - see screen.console

        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(width=1)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(justify="right")
        rows = tuple(self._rows.values())
        if self._title:
            grid.title, grid.title_justify = (
                Text(printable(self._title, limit=CELL), "bold"),
                "left",
            )
        for row, after in zip_longest(rows, rows[1:]):
            is_answer = row.event.event == "answer"
            is_over = row.event.event in _LAST or row.event.severity == "bad"
            goes_on = after is None and not is_over
            began = rows[0].began if is_answer else row.began
            ended = after.began if after else row.event.at if is_over else None
            grid.add_row(
                self._mark(row.event, goes_on=goes_on),
                Text(row.event.step, _STYLES[row.event.severity]),
                self._words(row.event, goes_on=goes_on),
                self._passed(began, ended),
            )
        return grid


class RunsView(LiveRenderer):
    """Many drops: a line for each, and how long it has gone on."""

    def show(self, event: ProgressEvent) -> None:
        """Take it into the picture."""
        name = event.data.get("uploadId", event.key)
        row = self._rows.get(name)
        if row is None:
            self._rows[name] = _Row(event, event.at)
        else:
            row.event = event

    def render(self) -> "RenderableType":
        """Draw the drops, those that came last at the end, as many as there is room for."""
        from rich.table import Table  # noqa: PLC0415 - see screen.console
        from rich.text import Text  # noqa: PLC0415 - see screen.console

        rows = tuple(self._rows.values())[-max(1, self._screen.height - 2) :]
        if not rows:
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_row(*(() if self._is_over else (self._spinner,)), "nothing is going on")
            return grid
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(width=1)
        grid.add_column(overflow="fold")
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column(justify="right")
        for row in rows:
            event = row.event
            goes_on = event.event != "answer"
            grid.add_row(
                self._mark(event, goes_on=goes_on),
                Text(printable(event.key, limit=CELL)),
                Text(event.step, _STYLES[event.severity]),
                Text(printable(_in_a_line(event), limit=CELL), _STYLES[event.severity]),
                self._passed(row.began, None if goes_on else event.at),
            )
        return grid
