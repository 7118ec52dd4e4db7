"""Verify in a real account what is not documented, before the first paid build: ``make probe``.

It asks for consent before each write, removes what it wrote, and builds nothing. It costs only a
few requests. ``make smoke`` verifies what requires a build.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from isodrop.errors import IsodropError
from isodrop_cli.doctor import CHECKS, CachingApi, CheckContext, Level, run_checks
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.console import console, print_error, print_fields, print_table
from isodrop_cli.stack import add_stack_options, find_stack
from tools.probe.points import PROBES, Probe, Stack
from tools.smoke.points import DIFFERS, MATCHES, NOT_OBSERVED, POINT_DIFFERS, Point

_EPILOG: Final = """\
exit status: 0 no point differs, 1 could not read the stack, 2 usage error,
5 a point differs from what is expected
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the probes and print their results; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="make probe",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--yes", action="store_true", help="write without asking for consent")
    add_stack_options(parser)
    options = parser.parse_args(arguments)
    try:
        with find_stack(options) as (session, stack):
            context = CheckContext(CachingApi(session), stack, datetime.now(UTC), options.profile)
            found = list(_points(session, context, consented=options.yes))
    except IsodropError as error:
        print_error(str(error))
        return ExitCode.ERROR
    _print_results(found)
    return POINT_DIFFERS if any(each.result == DIFFERS for each in found) else 0


def _points(session: Any, context: CheckContext, *, consented: bool) -> Iterator[Point]:
    stack = Stack(
        name=context.name,
        bucket=context.bucket,
        machine_arn=context.resource("ImportStateMachine"),
        resources={"UploadRule": context.resource("UploadRule")},
    )
    for probe in PROBES:
        if probe.writes and not (consented or _ask_consent(probe, stack)):
            yield probe.declined()
        else:
            print(f"checking: {probe.name}", file=sys.stderr, flush=True)
            yield probe.point(session, stack)
    print("checking: permissions of the roles", file=sys.stderr, flush=True)
    yield _check_permissions(context)


def _ask_consent(probe: Probe, stack: Stack) -> bool:
    print(f"{probe.name}: {probe.writes.format(bucket=stack.bucket)}")
    try:
        return input("Type yes to do that: ").strip().lower() == "yes"
    except EOFError:
        return False


def _check_permissions(context: CheckContext) -> Point:
    """Let IAM simulate what the roles need, as doctor does."""
    checks = [each for each in CHECKS if each.name.startswith("can-")]
    found = list(run_checks(context, checks))
    denied = [each.result.message for each in found if each.result.level is Level.ERROR]
    skipped = [each.result.message for each in found if each.result.level is Level.WARNING]
    expected = "IAM allows each role what it needs"
    if denied:
        return Point("permissions of the roles", expected, "; ".join(denied), DIFFERS)
    if skipped:
        return Point("permissions of the roles", expected, "; ".join(skipped), NOT_OBSERVED)
    return Point(
        "permissions of the roles", expected, f"{len(found)} of {len(found)} allowed", MATCHES
    )


def _print_results(found: Sequence[Point]) -> None:
    rows = [(each.result, each.name, each.expected, each.observed) for each in found]
    if screen := console():
        columns = ("Result", "Point", "Expected", "Observed")
        print_table(screen, columns, rows, folding=columns[2:])
    else:
        for row in rows:
            print_fields(*row)


if __name__ == "__main__":
    sys.exit(main())
