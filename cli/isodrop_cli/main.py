"""The command ``isodrop``: look before you upload, drop, follow; see, ask anew and cancel."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Final

from isodrop import __version__
from isodrop_cli.commands import (
    cancel,
    doctor,
    drop,
    event,
    inspect,
    list_uploads,
    names,
    retry,
    status,
    watch,
)
from isodrop_cli.output.console import complain, prepare

WRONG_USAGE: Final = 2  # as argparse has it
INTERRUPTED: Final = 130  # what a shell makes of Ctrl-C

_EPILOG: Final = """\
examples:
  isodrop inspect Win11.iso                 what is on it, what would come of it
  isodrop names *.iso                       what the file names alone say
  isodrop drop Win11.iso                    upload it, follow it to its answer
  isodrop watch                             follow what others have dropped
  isodrop doctor                            is the stack fit for a first build?
  isodrop list                              what was dropped, what became of it
  isodrop status s3://my-bucket/Win11.iso   the whole story of one upload
  isodrop retry s3://my-bucket/Win11.iso    ask anew, without another upload
  isodrop cancel s3://my-bucket/Win11.iso   stop its build
  isodrop event s3://my-bucket/Win11.iso    S3's event for it, to try a function

exit status: 0 well, 1 could not look or ask, 2 wrong usage, 3 rejected,
4 failed; isodrop COMMAND --help says which of them a command has
"""


def parser() -> ArgumentParser:
    """Make the parser of the whole command."""
    whole = ArgumentParser(
        prog="isodrop",
        description="Drop a Windows ISO into a bucket, get an AMI: see what will come of it, and\n"
        "what did.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    whole.set_defaults(run=None)
    whole.add_argument("--version", action="version", version=f"isodrop {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND")
    for command in (
        *(inspect, drop, watch, list_uploads, status, retry, cancel),
        *(doctor, names, event),
    ):
        command.add_to(commands)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process unless given.

    Returns
    -------
    int
        The exit status.
    """
    prepare()
    whole = parser()
    given = names.names_apart(sys.argv[1:] if arguments is None else arguments)
    options: Namespace = whole.parse_args(given)
    if options.run is None:
        whole.print_help(sys.stderr)
        return WRONG_USAGE
    try:
        left: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads us has seen enough; Python must not complain while it closes stdout.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    return left
