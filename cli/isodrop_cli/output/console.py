"""Printing: tables and colors on a terminal, tab-separated fields in a pipe."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from isodrop.text import printable
from isodrop_cli.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console

MAX_FIELD = 400
"""Maximum characters of a field; no value of a genuine ISO is longer."""
_WIDTH = 80
"""Columns to assume for a terminal that reports none."""
MAX_COMMAND = 70_000
"""Maximum characters of a command in a remedy, which may contain a whole bucket policy."""


def configure_streams() -> None:
    """Print a backslash escape for each character that the terminal's encoding does not have.

    Raises
    ------
    OutputError
        Standard output is closed.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed; redirect it to a file, or to /dev/null")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_error(*messages: str) -> None:
    """Print messages to stderr, each on its own line."""
    for message in messages:
        # If stderr is closed, there is no way to report that.
        with suppress(OSError):
            print(f"isodrop: {printable(message, limit=MAX_FIELD)}", file=sys.stderr)


def discard_output() -> None:
    """Discard unwritten output, so that Python does not report an error at exit.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        standard = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return  # closed, or not a file of the operating system
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, standard)
    os.close(nowhere)


def console() -> "Console | None":
    """Return rich's console if stdout is a terminal and rich is installed."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - not part of the layer
    except ImportError:
        return None
    console = Console(highlight=False, markup=False, emoji=False)
    # Some programs set COLUMNS=0; nothing would be visible.
    return (
        console
        if console.width > 0
        else Console(highlight=False, markup=False, emoji=False, width=_WIDTH)
    )


def print_json(value: Any) -> None:
    """Print a JSON document in ASCII, so that no encoding can break it."""
    print(json.dumps(value, indent=2))


def print_trace(count: int, offset: int, length: int, seconds: float) -> None:
    """Print one range that was read, to stderr, so that it does not mix with the output."""
    print(f"read {count}: {length:,} bytes at {offset:,}, {seconds * 1000:.1f} ms", file=sys.stderr)


def print_fields(*fields: object, limit: int = MAX_FIELD) -> None:
    """Print one line of tab-separated fields; ``None`` is an empty field."""
    print("\t".join(_cell(field, limit) for field in fields))


def print_table(
    screen: "Console",
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    chosen: Callable[[Sequence[object]], bool] = lambda _: False,
    folding: Sequence[str] = ("Name",),
) -> None:
    """Print a table; rows that are ``chosen`` are highlighted.

    If the terminal is too narrow, only the columns in ``folding`` wrap.
    """
    from rich import box  # noqa: PLC0415 - see console
    from rich.table import Table  # noqa: PLC0415 - see console
    from rich.text import Text  # noqa: PLC0415 - see console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=column not in folding, overflow="fold")
    for row in rows:
        # Text, not str: markup in file names must not be interpreted.
        table.add_row(
            *(Text(_cell(field) or "-") for field in row), style="bold green" if chosen(row) else ""
        )
    screen.print(table)


def print_pairs(screen: "Console", pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns."""
    from rich.table import Table  # noqa: PLC0415 - see console
    from rich.text import Text  # noqa: PLC0415 - see console

    grid = Table.grid(padding=(0, 2))
    for name, value in pairs:
        grid.add_row(Text(f"  {name}", style="dim"), Text(_cell(value), overflow="fold"))
    screen.print(grid)


_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def print_check_results(
    screen: "Console", findings: Iterable[tuple[str, str, str, str | None]]
) -> None:
    """Print level, name, message and remedy of each check as a table."""
    from rich.table import Table  # noqa: PLC0415 - see console
    from rich.text import Text  # noqa: PLC0415 - see console

    grid = Table.grid(padding=(0, 2))
    for level, name, message, remedy in findings:
        cell = Text(_cell(message), overflow="fold")
        if remedy is not None:
            cell.append(f"\n-> {_cell(remedy, MAX_COMMAND)}", style="bold")
        grid.add_row(Text(level.upper(), style=_STYLES[level]), Text(name), cell)
    screen.print(grid)


def build_number(build: int | None, revision: int | None) -> str | None:
    """Format a build number as Microsoft does, as far as it is known."""
    return ".".join(str(part) for part in (build, revision) if part is not None) or None


def format_time(at: datetime) -> str:
    """Format a time for people, in UTC and whole seconds.

    Examples
    --------
    >>> format_time(datetime.fromisoformat("2026-11-24T10:12:05.678+01:00"))
    '2026-11-24T09:12:05Z'
    """
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def format_size(count: int) -> str:
    """Format a number of bytes for people.

    Examples
    --------
    >>> format_size(759808), format_size(5_600_000_000)
    ('742 KiB', '5.22 GiB')
    """
    if count < 1 << 20:
        return f"{count / (1 << 10):,.0f} KiB"
    return f"{count / (1 << 20):,.0f} MiB" if count < 1 << 30 else f"{count / (1 << 30):,.2f} GiB"


def _cell(value: object, limit: int = MAX_FIELD) -> str:
    return "" if value is None else printable(str(value), limit)
