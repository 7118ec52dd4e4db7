"""``isodrop list``: what was dropped, and what became of it."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from isodrop_cli.output.console import console, print_fields, print_json, print_table
from isodrop_cli.output.run_format import as_json, to_row
from isodrop_cli.stack import add_options, operator

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterable, Iterator

    from isodrop.domain.budget import BudgetUse, BuildLimits
    from isodrop.domain.run import Run

COLUMNS: Final = ("claimed", "state", "code", "run", "image", "version", "build", "key")
_HEADINGS: Final = ("Claimed", "State", "What came of it", "Name")
"""For a person: fewer columns, the long ones last, where they may fold."""
_LIMIT: Final = 20
_EPILOG: Final = f"""\
In a pipe there is one line for each drop, with these fields separated by
tabs, empty for what there is not (yet):
  {" ".join(COLUMNS)}
On a terminal the asks of one upload stand together, below the last of them,
and the last line says how much of the budget of builds is used.

examples:
  isodrop list
  isodrop list --open --limit 100
  isodrop list --json | jq '.[] | select(.state == "failed") | .source.key'

exit status: 0 listed, 1 could not ask, 2 wrong usage
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "list",
        help=summary,
        description="Tell what was dropped and what became of it, the newest first.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument("--open", action="store_true", help="only what has no answer yet")
    command.add_argument(
        "--limit", type=_count, default=_LIMIT, metavar="N", help=f"so many at the most ({_LIMIT})"
    )
    command.add_argument("--json", action="store_true", help="print a JSON list")
    add_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> int:
    """Ask, tell, and answer with the exit status."""
    with operator(options) as asking:
        runs = asking.recent(options.limit, only_open=options.open)
        use = asking.budget_use(datetime.now(UTC)) if console() else None
    if options.json:
        print_json([as_json(run) for run in runs])
    elif screen := console():
        if runs:
            print_table(screen, _HEADINGS, _by_upload(runs), folding=_HEADINGS[2:])
        else:
            print("nothing waits for its answer" if options.open else "nothing was dropped yet")
        if use is not None and use.limits is not None:
            print(_budget(use, use.limits))
    else:
        for run in runs:
            print_fields(*to_row(run))
    return 0


def _budget(use: "BudgetUse", limits: "BuildLimits") -> str:
    return (
        f"builds: {use.at_once} of {limits.at_once} at once, {use.today} of {limits.per_day} today"
        " (UTC)"
    )


def _by_upload(runs: "Iterable[Run]") -> "Iterator[list[object]]":
    """Make a person's rows: the asks of one upload together, where the last of them stands."""
    uploads: dict[str, list[Run]] = {}
    for run in runs:
        uploads.setdefault(run.upload_id, []).append(run)
    for last, *earlier in uploads.values():
        number = last.request.number
        key = last.upload.key
        yield [*_short(*to_row(last)), f"{key} (ask {number})" if number else key]
        for run in earlier:
            yield [*_short(*to_row(run)), f"  ask {run.request.number}"]


def _short(*fields: object) -> list[object]:
    """Shorten a row for a person: the code where there is one, else the image."""
    claimed, state, code, _, image, version, *_ = fields
    named = None if image is None else f"{image} {version}"
    return [claimed, state, code or named]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"'{text}' is not a number from 1 on")
    return int(text)
