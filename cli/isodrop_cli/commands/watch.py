"""``isodrop watch``: follow what is going on, whoever dropped it."""

import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from datetime import timedelta
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NoReturn

from isodrop_cli.args import Address, add_address
from isodrop_cli.clock import utc_now
from isodrop_cli.output.following import render_all
from isodrop_cli.output.progress import ProgressTracker
from isodrop_cli.output.renderers import make_renderer
from isodrop_cli.stack import add_options, operator

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from isodrop.domain.run import Run
    from isodrop_cli.operations import Operator

_LAG: Final = timedelta(minutes=10)
"""So long after its claim a drop may first be seen; the ledger's index lags by less."""
_EPILOG: Final = """\
Without an address all drops that have no answer yet are followed, and those
that come, until Ctrl-C. In a pipe each line has these fields separated by tabs:
time, key (unless an address is given), step, what is new. With --json each line
is an object with event, time, key, step and message; the last one of a drop is
the event "answer" and has all that isodrop status --json tells.

examples:
  isodrop watch
  isodrop watch Win11.iso
  isodrop watch --json | jq -c 'select(.event == "answer") | [.key, .state]'

exit status: with an address that of the answer: 0 succeeded, 3 rejected,
4 failed; 1 could not ask, 2 wrong usage, 130 interrupted
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "watch",
        help=summary,
        description="Follow one drop to its answer, or all that are going on.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_address(command, optional=True)
    command.add_argument("--json", action="store_true", help="print one JSON object a line")
    add_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> int:
    """Follow, and answer with the exit status."""
    with operator(options) as asking:
        if options.upload is None:
            _all(asking, as_json=options.json)
        return _one(asking, options.upload, as_json=options.json)


def _one(asking: "Operator", address: Address, *, as_json: bool) -> int:
    history = asking.history(*address)
    sights = asking.follow(history.id, asking.latest(history), time.sleep, time.monotonic)
    with make_renderer(as_json=as_json, title=history.address) as telling:
        return render_all(telling, sights, address.key)


def _all(asking: "Operator", *, as_json: bool) -> NoReturn:

    from isodrop_cli import operations  # noqa: PLC0415 - needs an SDK

    told = ProgressTracker()
    began = utc_now()
    still_open: list[Run] = []
    with make_renderer(as_json=as_json, of_many=True) as telling:
        while True:
            since = max(began, utc_now() - _LAG).isoformat(timespec="milliseconds")
            runs = asking.going_on(since, still_open)
            fresh = [told.new(asking.snapshot(run), run.upload.key, utc_now()) for run in runs]
            for event in merge(*fresh, key=attrgetter("at")):
                telling.show(event)
            still_open = [run for run in runs if run.answered_at is None]
            time.sleep(operations.WAIT_SECONDS)
