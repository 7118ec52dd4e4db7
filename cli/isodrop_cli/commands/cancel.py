"""``isodrop cancel``: cancel the import of an upload."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.stack import add_stack_options, open_operations
from isodrop_cli.upload_args import add_address

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_EPILOG: Final = """\
The upload still gets its answer: Failed, with the code build-cancelled, or
distribution-failed if its image was being distributed. An import that waits
for a quota, or is throttled, is cancelled at its next retry.

examples:
  isodrop cancel Win11.iso
  isodrop cancel Win11.iso --include-others   even if others use the same build

exit status: 0 cancelled, 1 could not cancel, or nothing to cancel,
2 usage error, 130 interrupted
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "cancel",
        help=summary,
        description="Cancel the import of an upload: its build, the distribution of its image, or\n"
        "the import itself before its build starts.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_address(command)
    command.add_argument(
        "--version-id", metavar="ID", help="an earlier or deleted version of the object"
    )
    command.add_argument(
        "--include-others",
        action="store_true",
        help="cancel even if other uploads use the same build",
    )
    add_stack_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> ExitCode:
    """Cancel the import, and return the exit status."""
    with open_operations(options) as operations:
        bucket, key = options.upload
        history = operations.get_history(bucket, key, options.version_id)
        arn = operations.cancel(history, include_others=options.include_others)
    if arn is None:
        print(
            "cancelled before its build started; the answer is published at the import's next retry"
        )
    else:
        print(f"cancelling {arn}; the answer is published when it has stopped")
    return ExitCode.OK
