"""``make paths``: run all paths with all interpreters, and write docs/state-machine.md.

Exits with 1 and lists the differences if one is not explained.
"""

import sys
from collections.abc import Mapping
from pathlib import Path as File
from typing import Final

from tests.resilience.interpreters import (
    DIFFERENCES,
    EMULATOR,
    OURS,
    SFNX,
    Run,
    counted,
    differs,
    on_the_emulator,
    simulated,
    with_sfnx,
)
from tests.resilience.paths import PATHS, Path

PAGE: Final = File(__file__).resolve().parents[2] / "docs/state-machine.md"
_HEAD: Final = """\
# Paths through the state machine

Written by `make paths`. {count} paths through
[import.asl.json](../statemachine/import.asl.json), each run by three interpreters of Amazon
States Language: the one that simulates the [guarantees](guarantees.md), the patched emulator's,
which `make demo` uses, and [sfnx](https://github.com/iwamot/sfnx), whose author verified it on
AWS. They agree if calls, states, and output or error are the same. Messages about
expressions that cannot be evaluated are not compared, because each has its own.

None of them is Step Functions. All three evaluate JSONata with the same library, jsonata-python, so
they do not verify that. No time passes here, so they do not verify waits and timeouts either.

| path | calls | ends in | {ours} | {emulator} | {sfnx} |
|---|---|---|---|---|---|
"""


def page(runs: Mapping[str, Mapping[str, Run]]) -> str:
    """Write the page.

    Parameters
    ----------
    runs : mapping
        The result of each run, by interpreter and path.
    """
    head = _HEAD.format(count=len(PATHS), ours=OURS, emulator=EMULATOR, sfnx=SFNX)
    notes = [f"{number}. {words}" for number, words in enumerate(DIFFERENCES.values(), 1)]
    explained = "\n".join(["", "What differs, and why:", "", *(f"{each}." for each in notes), ""])
    return head + "".join(_row(path, runs) for path in PATHS) + explained


def _row(path: Path, runs: Mapping[str, Mapping[str, Run]]) -> str:
    ours = runs[OURS][path.name]
    calls = ", ".join(
        kind if number == 1 else f"{kind} ({number})" for kind, number in counted(ours).items()
    )
    end = f"error {ours['error']}" if ours["error"] else ours["states"][-1]
    same = (_sameness(path.name, other, runs) for other in (EMULATOR, SFNX))
    return (
        f"| {path.name} | {calls} | {end} | {len(ours['states'])} states | {' | '.join(same)} |\n"
    )


def _sameness(path: str, other: str, runs: Mapping[str, Mapping[str, Run]]) -> str:
    found = differs(runs[OURS][path], runs[other][path])
    if not found:
        return "the same"
    explained = [*DIFFERENCES].index((path, other)) + 1 if (path, other) in DIFFERENCES else "?"
    return f"other {found} ({explained})"


def all_runs() -> dict[str, dict[str, Run]]:
    """Run every path with every interpreter."""
    return {
        OURS: {path.name: simulated(path) for path in PATHS},
        EMULATOR: on_the_emulator([path.name for path in PATHS]),
        SFNX: {path.name: with_sfnx(path) for path in PATHS},
    }


def main() -> int:
    """Write the page, and print the differences that are not explained."""
    runs = all_runs()
    PAGE.write_text(page(runs), encoding="utf-8")
    found = unexplained(runs)
    for each in found:
        print(each, file=sys.stderr)
    print(f"{len(PATHS)} paths, {len(found)} differences without an explanation: {PAGE.name}")
    return 1 if found else 0


def unexplained(runs: Mapping[str, Mapping[str, Run]]) -> list[str]:
    """List unexplained differences, and explanations without a difference."""
    return [
        f"{path.name}: {other} has {found or 'no'} other than explained"
        for path in PATHS
        for other in (EMULATOR, SFNX)
        if bool(found := differs(runs[OURS][path.name], runs[other][path.name]))
        is not ((path.name, other) in DIFFERENCES)
    ]


if __name__ == "__main__":
    sys.exit(main())
