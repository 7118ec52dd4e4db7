"""``isodrop names``: what file names alone say."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from isodrop.windows.file_names import FileName, parse_file_name
from isodrop_cli.output.console import build_number, console, print_fields, print_json, print_table

if TYPE_CHECKING:
    from argparse import _SubParsersAction

COMMAND: Final = "names"
COLUMNS: Final = (
    "name",
    "family",
    "windows",
    "release",
    "build",
    "revision",
    "architecture",
    "language",
    "importable",
)

# For a person: fewer columns, and the long one last, where it may fold.
_HEADINGS: Final = ("Windows", "Release", "Build", "Arch", "Language", "Importable", "Name")

_EPILOG: Final = f"""\
In a pipe there is one line for each name, with these fields separated by
tabs, empty where the name does not say:
  {" ".join(COLUMNS)}

examples:
  isodrop names Win11_24H2_English_x64.iso
  isodrop names *.iso | cut -f 1,4
  isodrop names --json *.iso | jq '.[] | select(.importable == "yes")'
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        COMMAND,
        help=summary,
        description="Tell what the names of ISOs say. Nothing is read but the names.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument("names", nargs="+", metavar="NAME", help="a file name, a path or a key")
    command.add_argument("--json", action="store_true", help="print a JSON list")
    command.set_defaults(run=run)
    return command


def names_apart(arguments: Sequence[str]) -> list[str]:
    """Keep names that begin with a hyphen from being taken for options.

    A shell's ``*.iso`` may well give such a name. Options come first then, behind ``--`` what is
    none: all that begins with one hyphen, but for ``-h``, and with two if there is a dot in it,
    so that a misspelt option is told all the same.

    Examples
    --------
    >>> names_apart(["names", "-Win11.iso", "--json"])
    ['names', '--json', '--', '-Win11.iso']
    """
    if not arguments or arguments[0] != COMMAND:
        return list(arguments)
    given = list(arguments[1:])
    end = given.index("--") if "--" in given else len(given)
    options = [word for word in given[:end] if _is_option(word)]
    names = [word for word in given[:end] if not _is_option(word)] + given[end + 1 :]
    return [COMMAND, *options, "--", *names] if names else [COMMAND, *options]


def _is_option(word: str) -> bool:
    return word == "-h" or (word.startswith("--") and "." not in word)


def run(options: Namespace) -> int:
    """Print what each name says."""
    found = [parse_file_name(name) for name in options.names]
    if options.json:
        print_json([as_json(name) for name in found])
    elif screen := console():
        print_table(screen, _HEADINGS, map(_row, found))
    else:
        for name in found:
            print_fields(*(getattr(name, column) for column in COLUMNS))
    return 0


def as_json(name: FileName) -> dict[str, Any]:
    """Say it as the contract of ``names --json`` does."""
    return {column: getattr(name, column) for column in COLUMNS}


def _row(name: FileName) -> tuple[object, ...]:
    return (
        name.windows,
        name.release,
        build_number(name.build, name.revision),
        name.architecture,
        name.language,
        name.importable,
        name.name,
    )
