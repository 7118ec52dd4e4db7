"""``isodrop retry``: ask anew for an upload that has its answer."""

import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from isodrop.domain.overrides import RULES
from isodrop_cli.args import add_address
from isodrop_cli.output.console import console, print_error, print_fields, print_json, print_pairs
from isodrop_cli.output.following import render_all, status_of
from isodrop_cli.output.renderers import make_renderer
from isodrop_cli.output.run_format import as_json, pairs
from isodrop_cli.override_args import add_set
from isodrop_cli.stack import add_options, operator

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterable

    from isodrop_cli.operations import StartedRun

_EPILOG: Final = f"""\
The upload is looked at again and gets another answer, told apart by
metadata.run. What is set is laid over the object's metadata, whatever the stack
allows to uploaders; an empty value takes the object's own away.
To be set are:
  {" ".join(RULES)}

examples:
  isodrop retry Win11.iso
  isodrop retry Win11.iso --set edition=EnterpriseN --wait
  isodrop retry s3://my-bucket/Win11.iso --set image-index=

exit status: 0 asked, 1 could not ask, 2 wrong usage; with --wait that of the
answer: 0 succeeded, 3 rejected, 4 failed
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "retry",
        help=summary,
        description="Ask anew for an upload that has its answer, or that nobody was told of.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_address(command)
    add_set(command, "override what the object's metadata say; may be repeated")
    command.add_argument("--wait", action="store_true", help="wait for the answer, and show it")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    add_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> int:
    """Ask, tell, and answer with the exit status."""
    with operator(options) as asking:
        history = asking.history(*options.upload)
        asked = asking.retry(history, dict(options.set))
        if not options.wait:
            _tell_asked(asked, as_one=options.json)
            return 0
        sights = asking.wait(asked, time.sleep, time.monotonic)
        if not options.json and console() is not None:
            with make_renderer(title=history.address) as telling:
                return render_all(telling, sights, options.upload.key)
        print_error(f"asked; waiting for the answer of {asked.execution}")
        *_, last = sights
    if last.run is not None and options.json:
        print_json(as_json(last.run))
    elif last.run is not None:
        _tell(pairs(last.run))
    return status_of(last.run)


def _tell_asked(asked: "StartedRun", *, as_one: bool) -> None:
    if as_one:
        print_json(
            {"uploadId": asked.upload_id, "run": asked.number, "executionArn": asked.execution}
        )
    else:
        _tell([("run", asked.number), ("execution", asked.execution)])


def _tell(facts: "Iterable[tuple[str, object]]") -> None:
    if screen := console():
        print_pairs(screen, facts)
    else:
        for name, value in facts:
            print_fields(name, value)
