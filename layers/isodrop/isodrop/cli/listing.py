"""``isodrop list``: what was dropped, and what became of it."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

from isodrop.cli.drops import as_json, row
from isodrop.cli.screen import complain, console, print_fields, print_json, print_table
from isodrop.cli.stacks import COULD_NOT, add_options, operator
from isodrop.codes import IsodropError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

COLUMNS: Final = ("claimed", "state", "code", "ask", "image", "version", "build", "key")
_SHOWN: Final = (0, 1, 2, 4, 5, 7)
"""For a person: fewer columns, and the long one last, where it may fold."""
_HEADINGS: Final = ("Claimed", "State", "Code", "Image", "Version", "Name")
_MINUTE: Final = len("2026-11-24T09:12")
_LIMIT: Final = 20
_EPILOG: Final = f"""\
In a pipe there is one line for each drop, with these fields separated by
tabs, empty for what there is not (yet):
  {" ".join(COLUMNS)}

examples:
  isodrop list
  isodrop list --open --limit 100
  isodrop list --json | jq '.[] | select(.state == "failed") | .source.key'

exit status: 0 listed, 1 could not ask, 2 wrong usage
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "list",
        help="tell what was dropped and what became of it",
        description="Tell what was dropped and what became of it, the newest first.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument("--open", action="store_true", help="only what has no answer yet")
    command.add_argument(
        "--limit", type=_count, default=_LIMIT, metavar="N", help=f"so many at the most ({_LIMIT})"
    )
    command.add_argument("--json", action="store_true", help="print a JSON list")
    add_options(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Ask, tell, and answer with the exit status."""
    try:
        with operator(options) as asking:
            drops = asking.recent(options.limit, only_open=options.open)
    except IsodropError as error:
        complain(str(error))
        return COULD_NOT
    if options.json:
        print_json([as_json(drop) for drop in drops])
    elif screen := console():
        print_table(screen, _HEADINGS, (_short(row(drop)) for drop in drops))
    else:
        for drop in drops:
            print_fields(*row(drop))
    return 0


def _short(fields: tuple[object, ...]) -> list[object]:
    short = [fields[column] for column in _SHOWN]
    return [str(short[0])[:_MINUTE].replace("T", " "), *short[1:]]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"'{text}' is not a number from 1 on")
    return int(text)
