"""``isodrop env``: the functions' settings, as ``sam local invoke --env-vars`` reads them."""

import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from isodrop_cli.output.console import print_json
from isodrop_cli.stack import add_options, stack

if TYPE_CHECKING:
    from argparse import _SubParsersAction

FUNCTIONS: Final = {
    "ImportIso": "ImportFunction",
    "ReportBuild": "ReportFunction",
    "Sweep": "SweepFunction",
}
"""The functions by their names in the template, and the outputs that name them in the account."""
ENDPOINT: Final = "AWS_ENDPOINT_URL"

_EPILOG: Final = """\
sam local invoke knows the template only, not what was made of it: which table is
the ledger, which infrastructure builds are to run on. This prints the settings
that the stack's functions have, one object for each function. A function that
runs on your machine with them, and with your credentials, writes the stack's
own ledger and starts builds that cost money.

examples:
  isodrop env > env.json
  isodrop event s3://my-bucket/Win11.iso --sequencer 1 > event.json
  sam local invoke ImportIso --event event.json --env-vars env.json

exit status: 0 printed, 1 the stack could not be asked, 2 wrong usage
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "env",
        help=summary,
        description="Print the settings of a stack's functions, as sam local invoke reads them.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--endpoint-url",
        metavar="URL",
        default=os.environ.get(ENDPOINT, ""),
        help=f"where the functions find AWS ({ENDPOINT}, or AWS itself)",
    )
    add_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> int:
    """Print the settings, and answer with the exit status."""
    with stack(options) as found:
        settings = {name: found.variables(output) for name, output in FUNCTIONS.items()}
    print_json({name: {**each, ENDPOINT: options.endpoint_url} for name, each in settings.items()})
    return 0
