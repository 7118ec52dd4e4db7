"""``isodrop doctor``: whether the stack is fit for its first paid build, and what to do if not."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import Counter
from typing import TYPE_CHECKING, Final

from isodrop_cli.clock import utc_now
from isodrop_cli.output.console import (
    WHOLE,
    console,
    print_fields,
    print_findings,
    print_json,
)
from isodrop_cli.stack import add_options, described

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from isodrop_cli.doctor import Finding

BROKEN: Final = 3

_EPILOG: Final = """\
Nothing is changed and nothing is spent. What you may not see is a warning that
names the permission; AWS's managed policy ReadOnlyAccess has all of them. In a
pipe there is one line for each check: level, check, what is so, what mends it.

examples:
  isodrop doctor
  isodrop doctor --stack imports --region eu-central-1
  isodrop doctor --json | jq '.findings[] | select(.level == "broken")'

exit status: 0 well, or warnings only, 1 could not look, 2 wrong usage,
3 something is broken
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "doctor",
        help=summary,
        description="Check a deployed stack: what is well, what is broken, and what mends it.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    add_options(command)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> int:
    """Look, tell, and answer with the exit status."""
    with described(options) as (session, stack):
        from isodrop_cli.doctor import Aws, CheckContext, run_checks  # noqa: PLC0415 - needs an SDK

        context = CheckContext(Aws(session), stack, utc_now(), options.profile)
        findings = tuple(run_checks(context))
    if options.json:
        print_json(as_json(options.stack, findings))
    else:
        show(findings)
    return BROKEN if is_broken(findings) else 0


def show(findings: "tuple[Finding, ...]") -> None:
    """Tell the findings: to a person, or line by line."""
    told = [
        (each.result.level.value, each.check, each.result.message, each.result.remedy)
        for each in findings
    ]
    if screen := console():
        print_findings(screen, told)
        count = Counter(level for level, *_ in told)
        print(", ".join(_counted(level, number) for level, number in count.items()))
    else:
        for line in told:
            print_fields(*line, limit=WHOLE)


def _counted(level: str, number: int) -> str:
    return f"{number} {level}{'s' if level == 'warning' and number > 1 else ''}"


def is_broken(findings: "tuple[Finding, ...]") -> bool:
    """Whether anything is broken."""
    return any(each.result.level == "broken" for each in findings)


def as_json(stack: str, findings: "tuple[Finding, ...]") -> dict[str, object]:
    """Say it as the contract of ``--json`` does."""
    return {
        "stack": stack,
        "broken": is_broken(findings),
        "findings": [
            {
                "check": each.check,
                "level": each.result.level.value,
                "message": each.result.message,
                "remedy": each.result.remedy,
            }
            for each in findings
        ],
    }
