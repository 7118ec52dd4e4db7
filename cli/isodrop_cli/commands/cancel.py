"""``isodrop cancel``: stop what an upload has started."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from isodrop_cli.args import add_address
from isodrop_cli.stack import add_options, operator

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_EPILOG: Final = """\
The upload gets its answer all the same: it has failed, with the code
build-cancelled, or distribution-failed if its image was being distributed.
An import that still waits for a quota or a throttle ends with
that at its next try.

examples:
  isodrop cancel Win11.iso
  isodrop cancel s3://my-bucket/Win11.iso --yes    others wait for it, too

exit status: 0 cancelled, 1 could not, or nothing runs, 2 wrong usage
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "cancel",
        help=summary,
        description="Cancel the build of an upload, its import before there is a build, or then\n"
        "the distribution of its image.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_address(command)
    command.add_argument("--version-id", metavar="ID", help="an earlier version, or a deleted one")
    command.add_argument(
        "--yes", action="store_true", help="even if other uploads wait for the same build"
    )
    add_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> int:
    """Cancel, tell, and answer with the exit status."""
    with operator(options) as asking:
        bucket, key = options.upload
        history = asking.history(bucket, key, options.version_id)
        build_arn = asking.cancel(history, others_too=options.yes)
    if build_arn is None:
        print("cancelled before there was a build; its answer comes at its next try")
    else:
        print(f"cancelling {build_arn}; its answer comes when the build has stopped")
    return 0
