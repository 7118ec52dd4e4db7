"""``isodrop status``: show every run of one upload."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.console import console, print_error, print_fields, print_json, print_pairs
from isodrop_cli.output.run_format import as_json, to_pairs
from isodrop_cli.stack import add_stack_options, open_operations
from isodrop_cli.upload_args import add_address

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_EPILOG: Final = """\
In a pipe each line is a name and its value, separated by a tab; each run begins
with a line "run".

examples:
  isodrop status Win11.iso
  isodrop status Win11.iso --json | jq '.[-1].answer'
  isodrop status Win11.iso --version-id 3HL4kqtJlcpXroDTDmJ

exit status: 0 printed, 1 could not read it, or its import has not started,
2 usage error, 130 interrupted
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "status",
        help=summary,
        description="Show every run of one upload: its state, plan, build, answer and execution.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_address(command)
    command.add_argument(
        "--version-id", metavar="ID", help="an earlier or deleted version of the object"
    )
    command.add_argument(
        "--json", action="store_true", help="print a JSON list, the latest run last"
    )
    add_stack_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> ExitCode:
    """Print the runs, and return the exit status."""
    with open_operations(options) as operations:
        bucket, key = options.upload
        history = operations.get_history(bucket, key, options.version_id)
    if not history.runs:
        print_error(
            f"{history.uri}: its import has not started; the sweep starts imports whose event"
            " was not delivered, isodrop retry does so at once"
        )
        return ExitCode.ERROR
    if options.json:
        print_json([as_json(run) for run in history.runs])
    elif screen := console():
        for run in history.runs:
            print_pairs(screen, to_pairs(run))
            screen.print()
    else:
        for run in history.runs:
            for name, value in to_pairs(run):
                print_fields(name, value)
    return ExitCode.OK
