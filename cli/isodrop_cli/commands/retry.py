"""``isodrop retry``: ask anew for an upload that has its answer."""

import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from isodrop.domain.overrides import RULES
from isodrop_cli.args import add_address
from isodrop_cli.output.console import complain, console, print_fields, print_json, print_pairs
from isodrop_cli.output.following import status_of, tell_all
from isodrop_cli.output.renderers import teller
from isodrop_cli.output.run_format import as_json, pairs
from isodrop_cli.override_args import add_set
from isodrop_cli.stack import add_options, operator

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterable

    from isodrop_cli.operations import Asked

_EPILOG: Final = f"""\
The upload is looked at again and gets another answer, told apart by
metadata.ask. What is set is laid over the object's metadata, whatever the stack
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
        story = asking.story(*options.upload)
        asked = asking.ask(story, dict(options.set))
        if not options.wait:
            _tell_asked(asked, as_one=options.json)
            return 0
        sights = asking.wait(asked, time.sleep, time.monotonic)
        if not options.json and console() is not None:
            with teller(title=story.address) as telling:
                return tell_all(telling, sights, options.upload.key)
        complain(f"asked; waiting for the answer of {asked.execution}")
        *_, last = sights
    if last.drop is not None and options.json:
        print_json(as_json(last.drop))
    elif last.drop is not None:
        _tell(pairs(last.drop))
    return status_of(last.drop)


def _tell_asked(asked: "Asked", *, as_one: bool) -> None:
    if as_one:
        print_json({"dropId": asked.drop_id, "ask": asked.ask, "execution": asked.execution})
    else:
        _tell([("ask", asked.ask), ("execution", asked.execution)])


def _tell(facts: "Iterable[tuple[str, object]]") -> None:
    if screen := console():
        print_pairs(screen, facts)
    else:
        for name, value in facts:
            print_fields(name, value)
