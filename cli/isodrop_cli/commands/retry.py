"""``isodrop retry``: import an upload again, without uploading it again."""

import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from isodrop.domain.overrides import RULES
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.console import console, print_error, print_fields, print_json, print_pairs
from isodrop_cli.output.following import get_exit_code, render_all
from isodrop_cli.output.renderers import make_renderer
from isodrop_cli.output.run_format import as_json, to_pairs
from isodrop_cli.override_args import add_set
from isodrop_cli.stack import add_stack_options, open_operations
from isodrop_cli.upload_args import add_address

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterable

    from isodrop_cli.operations import StartedRun

_EPILOG: Final = f"""\
The upload is inspected again and gets another answer, whose event has the next
number in detail.metadata.run. Overrides take precedence over the object's user
metadata, and the stack's AllowedOverrides does not restrict them; with an empty
value, the override in the metadata is ignored. The overrides are:
  {" ".join(RULES)}

examples:
  isodrop retry Win11.iso
  isodrop retry Win11.iso --set edition=EnterpriseN --wait
  isodrop retry Win11.iso --set image-index=

exit status: 0 started, 1 could not start, 2 usage error, 130 interrupted;
with --wait the result: 0 succeeded, 3 rejected, 4 failed
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "retry",
        help=summary,
        description="Start another run of an upload that already has an answer, or the first\n"
        "run of one whose event was not delivered.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_address(command)
    add_set(
        command,
        "override a value that is read from the ISO or from the object's metadata; may be repeated",
    )
    command.add_argument("--wait", action="store_true", help="wait for the answer, and print it")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> ExitCode:
    """Start a run, follow it with ``--wait``, and return the exit status."""
    with open_operations(options) as operations:
        history = operations.get_history(*options.upload)
        started = operations.retry(history, dict(options.set))
        if not options.wait:
            _print_started(started, as_json_object=options.json)
            return ExitCode.OK
        snapshots = operations.follow_execution(started, time.sleep, time.monotonic)
        if not options.json and console() is not None:
            with make_renderer(title=history.uri) as renderer:
                return render_all(renderer, snapshots, options.upload.key)
        print_error(f"started {started.execution}; waiting for its answer")
        *_, last = snapshots
    if last.run is not None and options.json:
        print_json(as_json(last.run))
    elif last.run is not None:
        _print_pairs(to_pairs(last.run))
    return get_exit_code(last.run)


def _print_started(started: "StartedRun", *, as_json_object: bool) -> None:
    if as_json_object:
        print_json(
            {
                "uploadId": started.upload_id,
                "run": started.number,
                "executionArn": started.execution,
            }
        )
    else:
        _print_pairs([("run", started.number), ("execution", started.execution)])


def _print_pairs(pairs: "Iterable[tuple[str, object]]") -> None:
    if screen := console():
        print_pairs(screen, pairs)
    else:
        for name, value in pairs:
            print_fields(name, value)
