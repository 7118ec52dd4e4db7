"""``isodrop watch``: follow uploads in progress, whoever made them."""

import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from datetime import timedelta
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NoReturn

from isodrop.text import timestamp
from isodrop_cli.clock import utc_now
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.following import render_all
from isodrop_cli.output.progress import ProgressTracker
from isodrop_cli.output.renderers import make_renderer
from isodrop_cli.stack import add_stack_options, open_operations
from isodrop_cli.upload_args import UploadAddress, add_address

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from isodrop.domain.run import Run
    from isodrop_cli.operations import StackOperations

_LAG: Final = timedelta(minutes=10)
"""The longest time from a run's claim to its appearance in the eventually consistent index."""
_EPILOG: Final = """\
Without KEY the command follows all imports in progress and all new ones, until
Ctrl-C. In a pipe each line has these fields separated by tabs: time, key (only
without KEY), stage, message. With --json each line is an object with event,
time, key, stage and message; the last event of a run is "answer" and has all
fields of isodrop status --json.

examples:
  isodrop watch
  isodrop watch Win11.iso
  isodrop watch --json | jq -c 'select(.event == "answer") | [.key, .state]'

exit status: with KEY the result: 0 succeeded, 3 rejected, 4 failed;
1 could not follow it, 2 usage error, 130 interrupted
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "watch",
        help=summary,
        description="Follow the import of one upload to its answer, or all imports in progress.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_address(command, optional=True)
    command.add_argument("--json", action="store_true", help="print one JSON object per line")
    add_stack_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> ExitCode:
    """Follow the runs, and return the exit status."""
    with open_operations(options) as operations:
        if options.upload is None:
            _follow_all(operations, as_json=options.json)
        return _follow_one(operations, options.upload, as_json=options.json)


def _follow_one(
    operations: "StackOperations", address: UploadAddress, *, as_json: bool
) -> ExitCode:
    history = operations.get_history(*address)
    snapshots = operations.follow_run(
        history.upload_id, operations.find_latest_run(history), time.sleep, time.monotonic
    )
    with make_renderer(as_json=as_json, title=history.uri) as renderer:
        return render_all(renderer, snapshots, address.key)


def _follow_all(operations: "StackOperations", *, as_json: bool) -> NoReturn:

    from isodrop_cli.operations import WAIT_SECONDS  # noqa: PLC0415 - needs the SDK

    tracker = ProgressTracker()
    began = utc_now()
    still_open: list[Run] = []
    with make_renderer(as_json=as_json, many_runs=True) as renderer:
        while True:
            since = timestamp(max(began, utc_now() - _LAG))
            runs = operations.list_active(since, still_open)
            fresh = [
                tracker.new_events(operations.take_snapshot(run), run.upload.key, utc_now())
                for run in runs
            ]
            for event in merge(*fresh, key=attrgetter("at")):
                renderer.show(event)
            still_open = [run for run in runs if run.answered_at is None]
            time.sleep(WAIT_SECONDS)
