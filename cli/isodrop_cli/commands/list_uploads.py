"""``isodrop list``: list uploads and their results."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.console import console, print_fields, print_json, print_table
from isodrop_cli.output.run_format import STATES, as_json, to_row
from isodrop_cli.stack import add_stack_options, open_operations

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterable, Iterator

    from isodrop.domain.build_limits import BuildLimits, BuildUsage
    from isodrop.domain.run import Run

COLUMNS: Final = ("started", "state", "code", "run", "image", "version", "build", "key")
_HEADINGS: Final = ("Started", "State", "Result", "Key")
"""On a terminal: fewer columns, the long ones last, where they may wrap."""
_LIMIT: Final = 20
_EPILOG: Final = f"""\
In a pipe the output is one line per run, with these fields separated by tabs;
a field without a value is empty:
  {" ".join(COLUMNS)}
The state is one of: {", ".join(STATES[:4])},
{", ".join(STATES[4:])}. The run is 0 for the upload itself,
and 1, 2, ... for each isodrop retry. On a terminal the runs of one upload are
grouped below the latest one, and the last line compares the number of builds
with the limits.

examples:
  isodrop list
  isodrop list --open --limit 100
  isodrop list --json | jq '.[] | select(.state == "failed") | .source.key'

exit status: 0 listed, 1 could not list, 2 usage error, 130 interrupted
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "list",
        help=summary,
        description="List uploads and their results, newest first.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument("--open", action="store_true", help="only imports in progress")
    command.add_argument(
        "--limit",
        type=_parse_count,
        default=_LIMIT,
        metavar="N",
        help=f"list at most N runs (default: {_LIMIT})",
    )
    command.add_argument("--json", action="store_true", help="print a JSON list")
    add_stack_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> ExitCode:
    """Print the runs, and return the exit status."""
    with open_operations(options) as operations:
        runs = operations.list_recent(options.limit, only_open=options.open)
        usage = operations.get_build_usage(datetime.now(UTC)) if console() else None
    if options.json:
        print_json([as_json(run) for run in runs])
    elif screen := console():
        if runs:
            print_table(screen, _HEADINGS, _by_upload(runs), folding=_HEADINGS[2:])
        else:
            print("no imports in progress" if options.open else "no uploads yet")
        if usage is not None and usage.limits is not None:
            print(_format_usage(usage, usage.limits))
    else:
        for run in runs:
            print_fields(*to_row(run))
    return ExitCode.OK


def _format_usage(usage: "BuildUsage", limits: "BuildLimits") -> str:
    return (
        f"builds: {usage.under_way} of {limits.at_once} in progress,"
        f" {usage.today} of {limits.per_day} started today (UTC)"
    )


def _by_upload(runs: "Iterable[Run]") -> "Iterator[list[object]]":
    """Make the rows of the table: the runs of one upload are grouped below the latest one."""
    uploads: dict[str, list[Run]] = {}
    for run in runs:
        uploads.setdefault(run.upload_id, []).append(run)
    for last, *earlier in uploads.values():
        number = last.run_request.number
        key = last.upload.key
        yield [*_shorten(*to_row(last)), f"{key} (run {number})" if number else key]
        for run in earlier:
            yield [*_shorten(*to_row(run)), f"  run {run.run_request.number}"]


def _shorten(*fields: object) -> list[object]:
    """Shorten a row for the terminal: the code if there is one, else the image."""
    claimed, state, code, _, image, version, *_ = fields
    named = None if image is None else f"{image} {version}"
    return [claimed, state, code or named]


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"'{text}' is not a number greater than 0")
    return int(text)
