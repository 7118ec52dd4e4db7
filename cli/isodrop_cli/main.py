"""The command ``isodrop``: look before you upload, drop, follow; see, ask anew and cancel.

A command is imported when it is chosen, so that ``isodrop names`` and ``isodrop --help`` start at
once: boto3 alone takes longer than all that they do. What goes wrong in a command is caught here
and nowhere else.
"""

import sys
from argparse import SUPPRESS, Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final

from isodrop import __version__
from isodrop_cli import exit_codes, signals
from isodrop_cli.failures import describe_failure
from isodrop_cli.output.console import discard_output, prepare, print_error

COMMANDS: Final = MappingProxyType(
    {
        "inspect": "tell what is on an ISO and whether it would be imported",
        "drop": "upload an ISO and follow it to its answer",
        "watch": "follow what is going on, whoever dropped it",
        "list": "tell what was dropped and what became of it",
        "status": "tell what became of one upload",
        "retry": "ask anew for an upload, without another upload",
        "cancel": "stop the build of an upload",
        "doctor": "check a deployed stack before the first paid build",
        "names": "tell what file names alone say",
        "event": "print the event that S3 sends for an object",
        "env": "print the functions' settings, for sam local invoke",
    }
)
"""Each command, and what it is for; its module has the rest."""
_MODULES: Final = {"list": "list_uploads"}
"""Whose module has another name than the command."""
_DEBUG: Final = "show where it went wrong, for a report"

_EPILOG: Final = """\
examples:
  isodrop inspect Win11.iso                 what is on it, what would come of it
  isodrop names *.iso                       what the file names alone say
  isodrop drop Win11.iso                    upload it, follow it to its answer
  isodrop watch                             follow what others have dropped
  isodrop doctor                            is the stack fit for a first build?
  isodrop list                              what was dropped, what became of it
  isodrop status Win11.iso                  the whole story of one upload
  isodrop retry Win11.iso                   ask anew, without another upload
  isodrop cancel Win11.iso                  stop its build
  isodrop event s3://my-bucket/Win11.iso    S3's event for it, to try a function
  isodrop env                               the functions' settings, likewise

exit status: 0 well, 1 could not look or ask, 2 wrong usage, 3 rejected,
4 failed; isodrop COMMAND --help says which of them a command has
"""


class _PrintCompletion(Action):
    """Prints a shell's completion, of all commands and their options, and exits."""

    def __call__(self, parser: ArgumentParser, *arguments: object) -> None:
        """Print it."""
        import shtab  # noqa: PLC0415 - seldom needed

        shell = arguments[1]
        print(shtab.complete(whole_parser(), shell=str(shell)))
        parser.exit()


def whole_parser() -> ArgumentParser:
    """Make the parser with the arguments of all commands."""
    return parser(tuple(COMMANDS))


def parser(chosen: Sequence[str]) -> ArgumentParser:
    """Make the parser of the whole command.

    Parameters
    ----------
    chosen : sequence of str
        The commands whose arguments are to be known; of the others only their names are.
    """
    whole = ArgumentParser(
        prog="isodrop",
        description="Drop a Windows ISO into a bucket, get an AMI: see what will come of it, and\n"
        "what did.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    whole.set_defaults(run=None)
    whole.add_argument("--version", action="version", version=f"isodrop {__version__}")
    whole.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print what lets that shell complete the command",
    )
    whole.add_argument("--debug", action="store_true", help=_DEBUG)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        if name not in chosen:
            commands.add_parser(name, help=summary)
            continue
        module = import_module(f"isodrop_cli.commands.{_MODULES.get(name, name)}")
        command: ArgumentParser = module.add_to(commands, summary)
        # Suppressed, lest its absence here undo what stands before the command.
        command.add_argument("--debug", action="store_true", default=SUPPRESS, help=_DEBUG)
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
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        prepare()
        with signals.raised():
            status = _run(given)
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads us has seen enough; Python must not complain while it closes stdout.
        discard_output()
        return exit_codes.OK
    except KeyboardInterrupt as error:
        print_error(signals.describe(error), *_notes(error))
        return signals.exit_status(error)
    except Exception as error:  # noqa: BLE001 - the one place that says what went wrong
        return _fail(error, debug="--debug" in given)
    return status


def _run(given: Sequence[str]) -> int:
    named = next((each for each in given if not each.startswith("-")), "")
    whole = parser((named,))
    if named == "names":
        from isodrop_cli.commands.names import names_apart  # noqa: PLC0415 - it is loaded by now

        given = names_apart(given)
    options: Namespace = whole.parse_args(given)
    if options.run is None:
        whole.print_help(sys.stderr)
        return exit_codes.WRONG_USAGE
    status: int = options.run(options)
    return status


def _fail(error: Exception, *, debug: bool) -> int:
    """Say what went wrong, and what to do about it."""
    if debug:
        import traceback  # noqa: PLC0415 - seldom needed

        traceback.print_exception(error)
    print_error(describe_failure(error), *_notes(error))
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        discard_output()  # that is what went wrong, and would once more at the end
    return exit_codes.COULD_NOT


def _notes(error: BaseException) -> list[str]:
    """Give what was added to an error on its way here: how to go on."""
    return list(getattr(error, "__notes__", ()))
