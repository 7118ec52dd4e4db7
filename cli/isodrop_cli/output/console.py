"""Where the command writes: tables and colours for a person, plain fields for a pipe."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from isodrop.text import printable
from isodrop_cli.failures import OutputError

if TYPE_CHECKING:
    from rich.console import Console

CELL = 400
"""Characters of one field at the most; nothing that is shown is longer on honest media."""
_WIDTH = 80
"""Columns of a terminal that says it has none."""
WHOLE = 70_000
"""Characters of a field that is there to be copied: more than CloudFormation lets a stack have."""


def prepare() -> None:
    """Let no character of a file name break the output, whatever the terminal's encoding.

    Raises
    ------
    OutputError
        Standard output is closed.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed; let it go to a file, or to /dev/null")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_error(*messages: str) -> None:
    """Tell on stderr why nothing can be done, and what can; each a line."""
    for message in messages:
        # Where nobody hears it, there is nobody to tell so.
        with suppress(OSError):
            print(f"isodrop: {printable(message, limit=CELL)}", file=sys.stderr)


def discard_output() -> None:
    """Let what was not written yet go nowhere, so that Python does not complain at the end.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        standard = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return  # closed, or none of the system's
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, standard)
    os.close(nowhere)


def console() -> "Console | None":
    """Give rich's console where a person reads and rich is installed."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - the layer ships without it
    except ImportError:
        return None
    console = Console(highlight=False, markup=False, emoji=False)
    # COLUMNS=0 is what some programs set that know no width; nothing would be seen.
    return (
        console
        if console.width > 0
        else Console(highlight=False, markup=False, emoji=False, width=_WIDTH)
    )


def print_json(value: Any) -> None:
    """Print one JSON document, ASCII, so that it survives every pipe."""
    print(json.dumps(value, indent=2))


def print_trace(count: int, offset: int, length: int, seconds: float) -> None:
    """Tell one range read, on stderr, where it does not disturb what a pipe reads."""
    print(f"read {count}: {length:,} bytes at {offset:,}, {seconds * 1000:.1f} ms", file=sys.stderr)


def print_fields(*fields: object, limit: int = CELL) -> None:
    """Print one line of tab-separated fields; an empty field for what is not known."""
    print("\t".join(_cell(field, limit) for field in fields))


def print_table(
    screen: "Console",
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    chosen: Callable[[Sequence[object]], bool] = lambda _: False,
    folding: Sequence[str] = ("Name",),
) -> None:
    """Print a table for a person; rows that are ``chosen`` stand out.

    Where the terminal is too narrow only the columns that are ``folding`` are folded.
    """
    from rich import box  # noqa: PLC0415 - see console
    from rich.table import Table  # noqa: PLC0415 - see console
    from rich.text import Text  # noqa: PLC0415 - see console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=column not in folding, overflow="fold")
    for row in rows:
        # Text, not str: no markup is read out of a stranger's words.
        table.add_row(
            *(Text(_cell(field) or "-") for field in row), style="bold green" if chosen(row) else ""
        )
    screen.print(table)


def print_pairs(screen: "Console", pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values for a person, one beside the other."""
    from rich.table import Table  # noqa: PLC0415 - see console
    from rich.text import Text  # noqa: PLC0415 - see console

    grid = Table.grid(padding=(0, 2))
    for name, value in pairs:
        grid.add_row(Text(f"  {name}", style="dim"), Text(_cell(value), overflow="fold"))
    screen.print(grid)


_STYLES = {"ok": "green", "warning": "yellow", "broken": "bold red"}


def print_findings(screen: "Console", findings: Iterable[tuple[str, str, str, str | None]]) -> None:
    """Print level, name, what is so and what mends it, for a person."""
    from rich.table import Table  # noqa: PLC0415 - see console
    from rich.text import Text  # noqa: PLC0415 - see console

    grid = Table.grid(padding=(0, 2))
    for level, name, message, remedy in findings:
        said = Text(_cell(message), overflow="fold")
        if remedy is not None:
            said.append(f"\n-> {_cell(remedy, WHOLE)}", style="bold")
        grid.add_row(Text(level.upper(), style=_STYLES[level]), Text(name), said)
    screen.print(grid)


def build_number(build: int | None, revision: int | None) -> str | None:
    """Write a build as Microsoft does, as far as it is known."""
    return ".".join(str(part) for part in (build, revision) if part is not None) or None


def format_time(at: datetime) -> str:
    """Write a time as it is written everywhere for people; JSON has it as the ledger does.

    Examples
    --------
    >>> format_time(datetime.fromisoformat("2026-11-24T10:12:05.678+01:00"))
    '2026-11-24T09:12:05Z'
    """
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def format_size(count: int) -> str:
    """Write a number of bytes for a person.

    Examples
    --------
    >>> format_size(759808), format_size(5_600_000_000)
    ('742 KiB', '5.22 GiB')
    """
    if count < 1 << 20:
        return f"{count / (1 << 10):,.0f} KiB"
    return f"{count / (1 << 20):,.0f} MiB" if count < 1 << 30 else f"{count / (1 << 30):,.2f} GiB"


def _cell(value: object, limit: int = CELL) -> str:
    return "" if value is None else printable(str(value), limit)
