"""``isodrop doctor``: check that a stack is ready for a build, and print remedies if not."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import Counter
from typing import TYPE_CHECKING, Final

from isodrop_cli.clock import utc_now
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.console import (
    MAX_COMMAND,
    console,
    print_check_results,
    print_fields,
    print_json,
)
from isodrop_cli.stack import add_stack_options, find_stack

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from isodrop_cli.doctor import NamedResult

_EPILOG: Final = """\
The command changes nothing and incurs no cost. A check for which you
lack a permission results in a warning that names it; AWS's managed policy
ReadOnlyAccess includes all of them. In a pipe the output is one line per
check, with these fields separated by tabs: level, check, message, remedy.
The level is ok, warning or error.

examples:
  isodrop doctor
  isodrop doctor --stack imports --region eu-central-1
  isodrop doctor --json | jq '.checks[] | select(.level == "error")'

exit status: 0 no errors (warnings are possible), 1 could not check,
2 usage error, 4 at least one error, 130 interrupted
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "doctor",
        help=summary,
        description="Check a deployed stack, and print a remedy for each problem.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    add_stack_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> ExitCode:
    """Run the checks, print their results, and return the exit status."""
    with find_stack(options) as (session, stack):
        from isodrop_cli.doctor import CachingApi, CheckContext, run_checks  # noqa: PLC0415 - needs the SDK

        context = CheckContext(CachingApi(session), stack, utc_now(), options.profile)
        results = tuple(run_checks(context))
    if options.json:
        print_json(as_json(options.stack, results))
    else:
        print_results(results)
    return ExitCode.FAILED if has_errors(results) else ExitCode.OK


def print_results(results: "tuple[NamedResult, ...]") -> None:
    """Print the results: as a table on a terminal, as lines in a pipe."""
    rows = [
        (each.result.level.value, each.check, each.result.message, each.result.remedy)
        for each in results
    ]
    if screen := console():
        print_check_results(screen, rows)
        count = Counter(level for level, *_ in rows)
        print(", ".join(_count_level(level, number) for level, number in count.items()))
    else:
        for line in rows:
            print_fields(*line, limit=MAX_COMMAND)


def _count_level(level: str, number: int) -> str:
    return f"{number} {level}{'s' if level == 'warning' and number > 1 else ''}"


def has_errors(results: "tuple[NamedResult, ...]") -> bool:
    """Whether any check found an error."""
    return any(each.result.level == "error" for each in results)


def as_json(stack: str, results: "tuple[NamedResult, ...]") -> dict[str, object]:
    """Convert the results to the documented JSON."""
    return {
        "stack": stack,
        "hasErrors": has_errors(results),
        "checks": [
            {
                "check": each.check,
                "level": each.result.level.value,
                "message": each.result.message,
                "remedy": each.result.remedy,
            }
            for each in results
        ],
    }
