"""Show progress events as they come: live views on a terminal, lines in a pipe, JSON."""

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
from isodrop_cli.output.console import MAX_FIELD, console, format_time, print_fields
from isodrop_cli.output.progress import ProgressEvent, format_duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

UPLOAD_LINE_SECONDS: Final = 10.0
"""Seconds between two lines about the progress of an upload."""
_REFRESH: Final = 8  # times a second
_CLOSING_EVENTS: Final = frozenset({"answer", "uploaded"})
"""Events that may be the last."""
_BAR: Final = 44  # characters
_STYLES: Final = {"success": "bold green", "error": "bold red", "": ""}


class Renderer(Protocol):
    """Shows events; a context manager around all of them."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, event: ProgressEvent) -> None:
        """Show one event."""


def make_renderer(*, as_json: bool = False, many_runs: bool = False, title: str = "") -> Renderer:
    """Choose the renderer by where the output goes."""
    if as_json:
        return LineRenderer(_print_json)
    screen = console()
    if screen is None:
        return LineRenderer(_print_many if many_runs else _print_one)
    return RunsView(screen, utc_now) if many_runs else StepsView(screen, utc_now, title)


class LineRenderer:
    """Print each event as a line at once; the progress of an upload only every few seconds.

    Times never decrease from line to line: an event whose time is before the previous line's,
    because clocks differ or it was read late, gets the previous line's time.
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
        if event.kind == "uploading":
            if self._now() < self._next:
                return
            self._next = self._now() + UPLOAD_LINE_SECONDS
        self._last = max(self._last, event.at)
        self._write(replace(event, at=self._last))
        sys.stdout.flush()


def _print_json(event: ProgressEvent) -> None:
    line = {
        "event": event.kind,
        "time": format_time(event.at),
        "key": event.key,
        "stage": event.stage,
    }
    print(json.dumps({**line, "message": event.message, **event.data}))


def _print_one(event: ProgressEvent) -> None:
    print_fields(format_time(event.at), event.stage, _single_line(event))


def _print_many(event: ProgressEvent) -> None:
    print_fields(format_time(event.at), event.key, event.stage, _single_line(event))


def _single_line(event: ProgressEvent) -> str:
    line, *more = event.message.splitlines() or [""]
    for each in more:
        line += f"{' ' if line.endswith('.') else '; '}{each}"
    return line


@dataclass(slots=True)
class _Row:
    """The latest event of a stage, and when the stage began."""

    event: ProgressEvent
    began: datetime


class LiveRenderer(ABC):
    """A view that is redrawn several times a second, and stays on the screen at the end."""

    def __init__(self, screen: "Console", now: Callable[[], datetime]) -> None:
        from rich.live import Live  # noqa: PLC0415 - see console.console
        from rich.spinner import Spinner  # noqa: PLC0415 - see console.console

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
        """Add an event to the view."""

    @abstractmethod
    def render(self) -> "RenderableType":
        """Draw the view as it is now."""

    def _symbol(self, event: ProgressEvent, *, is_running: bool) -> "RenderableType":
        from rich.text import Text  # noqa: PLC0415 - see console.console

        plain = self._screen.options.ascii_only
        if event.severity == "error":
            return Text("x" if plain else "✘", "bold red")
        if not is_running:
            return Text("+" if plain else "✔", "green")
        if self._is_over:
            return Text("." if plain else "·", "dim")
        return self._spinner

    def _message(self, event: ProgressEvent, *, is_running: bool) -> "RenderableType":
        from rich.console import Group  # noqa: PLC0415 - see console.console
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - see console.console
        from rich.text import Text  # noqa: PLC0415 - see console.console

        lines = [printable(line, limit=MAX_FIELD) for line in event.message.splitlines()]
        # Text, not str: markup in file names must not be interpreted.
        text = Text("\n".join(lines), _STYLES[event.severity], overflow="fold")
        if event.fraction is None:
            return text
        if not is_running:
            return Text("")  # the last known progress is out of date: the stage has ended
        bar = ProgressBar(total=1.0, completed=event.fraction, width=_BAR, complete_style="green")
        return Group(text, bar)

    def _elapsed(self, began: datetime, ended: datetime | None) -> "Text":
        from rich.text import Text  # noqa: PLC0415 - see console.console

        seconds = ((ended or self._now()) - began).total_seconds()
        return Text(format_duration(max(0.0, seconds)), "dim")


class StepsView(LiveRenderer):
    """One run: its stages, one per line, and how long each took."""

    def __init__(self, screen: "Console", now: Callable[[], datetime], title: str) -> None:
        self._title = title
        super().__init__(screen, now)

    def show(self, event: ProgressEvent) -> None:
        """Add an event to the view."""
        row = self._rows.get(event.stage)
        if row is None:
            self._rows[event.stage] = _Row(event, event.at)
        else:
            row.event = event

    def render(self) -> "RenderableType":
        """Draw the stages."""
        from rich.table import Table  # noqa: PLC0415 - see console.console
        from rich.text import Text  # noqa: PLC0415 - see console.console

        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(width=1)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(justify="right")
        rows = tuple(self._rows.values())
        if self._title:
            grid.title, grid.title_justify = (
                Text(printable(self._title, limit=MAX_FIELD), "bold"),
                "left",
            )
        for row, next_row in zip_longest(rows, rows[1:]):
            is_answer = row.event.kind == "answer"
            is_over = row.event.kind in _CLOSING_EVENTS or row.event.severity == "error"
            is_running = next_row is None and not is_over
            began = rows[0].began if is_answer else row.began
            ended = next_row.began if next_row else row.event.at if is_over else None
            grid.add_row(
                self._symbol(row.event, is_running=is_running),
                Text(row.event.stage, _STYLES[row.event.severity]),
                self._message(row.event, is_running=is_running),
                self._elapsed(began, ended),
            )
        return grid


class RunsView(LiveRenderer):
    """Many runs: one line for each, and how long it has been in progress."""

    def show(self, event: ProgressEvent) -> None:
        """Add an event to the view."""
        name = event.data.get("uploadId", event.key)
        row = self._rows.get(name)
        if row is None:
            self._rows[name] = _Row(event, event.at)
        else:
            row.event = event

    def render(self) -> "RenderableType":
        """Draw as many runs as fit, the latest at the end."""
        from rich.table import Table  # noqa: PLC0415 - see console.console
        from rich.text import Text  # noqa: PLC0415 - see console.console

        rows = tuple(self._rows.values())[-max(1, self._screen.height - 2) :]
        if not rows:
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_row(*(() if self._is_over else (self._spinner,)), "no imports in progress")
            return grid
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(width=1)
        grid.add_column(overflow="fold")
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column(justify="right")
        for row in rows:
            event = row.event
            is_running = event.kind != "answer"
            grid.add_row(
                self._symbol(event, is_running=is_running),
                Text(printable(event.key, limit=MAX_FIELD)),
                Text(event.stage, _STYLES[event.severity]),
                Text(printable(_single_line(event), limit=MAX_FIELD), _STYLES[event.severity]),
                self._elapsed(row.began, None if is_running else event.at),
            )
        return grid
