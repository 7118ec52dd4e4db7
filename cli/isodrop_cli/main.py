"""The command ``isodrop``: inspect, upload and follow ISOs; list, retry and cancel their runs.

A command's module is imported only when that command runs, so that ``isodrop names`` and
``isodrop --help`` start at once: importing boto3 takes longer than everything else they do. The
errors of all commands are handled here and nowhere else.
"""

import sys
from argparse import SUPPRESS, Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final

from isodrop import __version__
from isodrop_cli import signals
from isodrop_cli.errors import describe_error
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.console import configure_streams, discard_output, print_error

COMMANDS: Final = MappingProxyType(
    {
        "inspect": "show what is on an ISO and whether it would be imported",
        "upload": "upload an ISO and follow its import",
        "watch": "follow imports in progress, whoever uploaded them",
        "list": "list uploads and their results",
        "status": "show every run of one upload",
        "retry": "import an upload again, without uploading it again",
        "cancel": "cancel the import of an upload",
        "doctor": "check a deployed stack before its first paid build",
        "names": "show what can be read from file names alone",
        "event": "print the event that S3 sends for an object",
        "env": "print the functions' environment, for sam local invoke",
    }
)
"""Each command and its summary; its module has the rest."""
_MODULES: Final = {"list": "list_uploads"}
"""The commands whose module has another name."""
_DEBUG: Final = "print a traceback on errors, for a bug report"

_EPILOG: Final = """\
examples:
  isodrop inspect Win11.iso     show its editions and the planned import
  isodrop names *.iso           show what can be read from the file names
  isodrop upload Win11.iso      upload it and follow its import
  isodrop watch                 follow all imports in progress
  isodrop doctor                check that the stack is ready for a build
  isodrop list                  list uploads and their results
  isodrop status Win11.iso      show every run of one upload
  isodrop retry Win11.iso       import it again, without uploading it again
  isodrop cancel Win11.iso      cancel its import
  isodrop event Win11.iso       print S3's event for it, to test a function
  isodrop env                   print the environment to test it with

status, retry, cancel, watch and event take the key of an object in the
stack's bucket, such as Win11.iso; the URI s3://BUCKET/KEY is accepted, too.

exit status: 0 succeeded, 1 command failed (reason on stderr), 2 usage error,
3 rejected, 4 failed, 130 interrupted (Ctrl-C); isodrop COMMAND --help lists
those of each command
"""


class _PrintCompletion(Action):
    """Print the completion script of a shell, with all commands and options, and exit."""

    def __call__(self, parser: ArgumentParser, *arguments: object) -> None:
        """Print it."""
        import shtab  # noqa: PLC0415 - rarely needed

        shell = arguments[1]
        print(shtab.complete(full_parser(), shell=str(shell)))
        parser.exit()


def full_parser() -> ArgumentParser:
    """Create the parser with the arguments of all commands."""
    return make_parser(tuple(COMMANDS))


def make_parser(chosen: Sequence[str]) -> ArgumentParser:
    """Create the top-level parser.

    Parameters
    ----------
    chosen : sequence of str
        The commands to add with their arguments; the others are added by name only.
    """
    root = ArgumentParser(
        prog="isodrop",
        description="Upload a Windows ISO to a bucket and get an AMI.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    root.set_defaults(run=None)
    root.add_argument("--version", action="version", version=f"isodrop {__version__}")
    root.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print a completion script for that shell",
    )
    root.add_argument("--debug", action="store_true", help=_DEBUG)
    commands = root.add_subparsers(title="commands", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        if name not in chosen:
            commands.add_parser(name, help=summary)
            continue
        module = import_module(f"isodrop_cli.commands.{_MODULES.get(name, name)}")
        command: ArgumentParser = module.add_to(commands, summary)
        # Suppressed: the default must not overwrite a --debug before the command.
        command.add_argument("--debug", action="store_true", default=SUPPRESS, help=_DEBUG)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: the arguments of the process.

    Returns
    -------
    int
        The exit status.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        configure_streams()
        with signals.signals_as_exceptions():
            status = _run(arguments)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe; Python must not complain when it closes stdout.
        discard_output()
        return ExitCode.OK
    except KeyboardInterrupt as error:
        print_error(signals.describe(error), *_notes(error))
        return signals.exit_code(error)
    except Exception as error:  # noqa: BLE001 - the one place that handles errors
        return _report_failure(error, debug="--debug" in arguments)
    return status


def _run(arguments: Sequence[str]) -> int:
    command_name = next((each for each in arguments if not each.startswith("-")), "")
    root = make_parser((command_name,))
    if command_name == "names":
        from isodrop_cli.commands.names import separate_names  # noqa: PLC0415 - loaded by now

        arguments = separate_names(arguments)
    options: Namespace = root.parse_args(arguments)
    if options.run is None:
        root.print_help(sys.stderr)
        return ExitCode.USAGE
    status: int = options.run(options)
    return status


def _report_failure(error: Exception, *, debug: bool) -> int:
    """Print what went wrong, and what to do about it."""
    if debug:
        import traceback  # noqa: PLC0415 - rarely needed

        traceback.print_exception(error)
    print_error(describe_error(error), *_notes(error))
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        discard_output()  # stdout is what failed, and flushing it at exit would fail again
    return ExitCode.ERROR


def _notes(error: BaseException) -> list[str]:
    """Return the notes that were added to an error: how to continue."""
    return list(getattr(error, "__notes__", ()))
