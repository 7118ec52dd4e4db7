"""The command ``isodrop``: look before you upload."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Final

from isodrop import __version__
from isodrop.cli import event, inspect, names
from isodrop.cli.screen import complain, prepare

WRONG_USAGE: Final = 2  # as argparse has it
INTERRUPTED: Final = 130  # what a shell makes of Ctrl-C

_EPILOG: Final = """\
examples:
  isodrop inspect Win11.iso     what is on it, and what would be imported
  isodrop names *.iso           what the file names alone say
  isodrop event s3://bucket/key S3's event for it, to try a function with

exit status: 0 accepted, 3 rejected, 1 could not look, 2 wrong usage
"""


def parser() -> ArgumentParser:
    """Make the parser of the whole command."""
    whole = ArgumentParser(
        prog="isodrop",
        description="Drop a Windows ISO into a bucket, get an AMI: see beforehand what will come.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    whole.set_defaults(run=None)
    whole.add_argument("--version", action="version", version=f"isodrop {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND")
    for command in (inspect, names, event):
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
    options: Namespace = whole.parse_args(arguments)
    if options.run is None:
        whole.print_help(sys.stderr)
        return WRONG_USAGE
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads us has seen enough; Python must not complain while it closes stdout.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    return status
