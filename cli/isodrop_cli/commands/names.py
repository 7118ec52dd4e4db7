"""``isodrop names``: show what can be read from file names alone."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from isodrop.windows.file_names import FileName, parse_file_name
from isodrop_cli.exit_codes import ExitCode
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

# On a terminal: fewer columns, and the long one last, where it may wrap.
_HEADINGS: Final = ("Windows", "Release", "Build", "Arch", "Language", "Importable", "Name")

_EPILOG: Final = f"""\
In a pipe the output is one line per name, with these fields separated by tabs;
a field that the name does not give is empty:
  {" ".join(COLUMNS)}

family is the naming scheme of the file name. importable is yes, no or unknown,
according to the name alone. "no" means that the name gives a product, release,
edition or architecture that isodrop does not import: it imports Windows 11
Enterprise for x64. The name alone does not decide: isodrop inspect reads
the ISO itself.

examples:
  isodrop names Win11_24H2_English_x64.iso
  isodrop names *.iso | cut -f 1,4,9           name, release, importable
  isodrop names --json *.iso | jq '.[] | select(.importable == "yes")'

exit status: 0 printed, 1 could not print, 2 usage error, 130 interrupted
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        COMMAND,
        help=summary,
        description="Show what can be read from the file names of ISOs. Files are not opened.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument("names", nargs="+", metavar="NAME", help="a file name, a path or a key")
    command.add_argument("--json", action="store_true", help="print a JSON list")
    command.set_defaults(run=run)
    return command


def separate_names(arguments: Sequence[str]) -> list[str]:
    """Move all names after ``--``, so that one with a leading hyphen is not parsed as an option.

    A shell's ``*.iso`` may expand to such a name. Whatever begins with one hyphen is a name, except
    ``-h``; whatever begins with two is a name if it has a dot, so that a misspelled option is still
    reported.

    Examples
    --------
    >>> separate_names(["names", "-Win11.iso", "--json"])
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


def run(options: Namespace) -> ExitCode:
    """Print the fields of each name, and return the exit status."""
    found = [parse_file_name(name) for name in options.names]
    if options.json:
        print_json([as_json(name) for name in found])
    elif screen := console():
        print_table(screen, _HEADINGS, map(_row, found))
    else:
        for name in found:
            print_fields(*(getattr(name, column) for column in COLUMNS))
    return ExitCode.OK


def as_json(name: FileName) -> dict[str, Any]:
    """Convert a name to the documented JSON of ``names --json``."""
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
