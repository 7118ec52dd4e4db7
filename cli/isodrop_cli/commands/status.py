"""``isodrop status``: all that was asked for one upload, and what became of it."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from isodrop_cli.args import add_address
from isodrop_cli.exit_codes import COULD_NOT
from isodrop_cli.output.console import console, print_error, print_fields, print_json, print_pairs
from isodrop_cli.output.run_format import as_json, pairs
from isodrop_cli.stack import add_options, operator

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_EPILOG: Final = """\
In a pipe each line is the name of a fact and its value, separated by a tab;
each ask begins with a line "run".

examples:
  isodrop status Win11.iso
  isodrop status s3://my-bucket/Win11.iso --json | jq '.[-1].answer'
  isodrop status s3://my-bucket/Win11.iso --version-id 3HL4kqtJlcpXroDTDmJ

exit status: 0 told, 1 could not ask, or nobody has claimed it, 2 wrong usage
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "status",
        help=summary,
        description="Tell all that was asked for one upload: state, plan, build, answer,\n"
        "execution.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_address(command)
    command.add_argument("--version-id", metavar="ID", help="an earlier version, or a deleted one")
    command.add_argument("--json", action="store_true", help="print a JSON list, the last ask last")
    add_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> int:
    """Ask, tell, and answer with the exit status."""
    with operator(options) as asking:
        bucket, key = options.upload
        history = asking.history(bucket, key, options.version_id)
    if not history.runs:
        print_error(
            f"{history.address}: nobody has claimed it (yet); the sweep starts what was not"
            " delivered, isodrop retry does so at once"
        )
        return COULD_NOT
    if options.json:
        print_json([as_json(run) for run in history.runs])
    elif screen := console():
        for run in history.runs:
            print_pairs(screen, pairs(run))
            screen.print()
    else:
        for run in history.runs:
            for name, value in pairs(run):
                print_fields(name, value)
    return 0
