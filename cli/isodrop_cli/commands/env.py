"""``isodrop env``: the functions' environment, as ``sam local invoke --env-vars`` reads it."""

import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.console import print_json
from isodrop_cli.stack import add_stack_options, open_stack

if TYPE_CHECKING:
    from argparse import _SubParsersAction

FUNCTIONS: Final = {
    "ImportIso": "ImportIsoFunctionName",
    "ReportBuild": "ReportBuildFunctionName",
    "Sweep": "SweepFunctionName",
}
"""The functions' logical ids, and the outputs whose values are their names."""
ENDPOINT: Final = "AWS_ENDPOINT_URL"
BUCKET: Final = "UPLOAD_BUCKET"

_EPILOG: Final = """\
sam local invoke knows only the template, not the resources that were created
from it, such as the ledger table. This command prints the environment variables
of the stack's functions, one object per function. A function that runs on your
machine with them and your credentials writes to the stack's ledger and starts
builds that cost money.

examples:
  isodrop env --bucket my-bucket > env.json
  isodrop event s3://my-bucket/Win11.iso --sequencer 1 > event.json
  sam local invoke ImportIso --event event.json --env-vars env.json

exit status: 0 printed, 1 could not read the stack, 2 usage error,
130 interrupted
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "env",
        help=summary,
        description="Print the environment variables of a stack's functions, as sam local invoke\n"
        "--env-vars reads them.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--endpoint-url",
        metavar="URL",
        default=os.environ.get(ENDPOINT, ""),
        help=f"the functions' AWS endpoint (default: {ENDPOINT}, or AWS itself)",
    )
    command.add_argument(
        "--bucket",
        metavar="BUCKET",
        help="the bucket from which ImportIso takes ISOs (default: the stack's upload bucket)",
    )
    add_stack_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> ExitCode:
    """Print the environment, and return the exit status."""
    with open_stack(options) as stack:
        settings = {name: stack.read_environment(output) for name, output in FUNCTIONS.items()}
    if options.bucket:
        settings["ImportIso"] = {**settings["ImportIso"], BUCKET: options.bucket}
    print_json({name: {**each, ENDPOINT: options.endpoint_url} for name, each in settings.items()})
    return ExitCode.OK
