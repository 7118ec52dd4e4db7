"""``docs/supported-isos.md``: the decision for each kind of ISO, made on generated images."""

from collections.abc import Iterable
from typing import Final

from isodrop.windows.releases import MAX_REVISION, RELEASE_RULES, ReleaseRule
from tests.support.real_isos import ACCEPTED, CASES, NOTED, SILENT, Case

MADE: Final = "<!-- Made by: make contract -->\n"

_PAGE: Final = """\
# Supported ISOs

Each row is an ISO that the tests generate and inspect, with default parameters unless the
row says otherwise. The file name says nothing about the ISO unless it is given here.
[codes.md](codes.md) explains each code. `.venv/bin/pytest tests/unit/test_real_media.py` compares
all results with the expected ones.

## Releases

ISOs of 22H2 and of 23H2 both contain build 22621; the revision distinguishes them.

{rules}

If the ISO allows both, the file name decides; if it says nothing either, a note says so. If they
contradict each other, the ISO decides, and a note says so.

## Accepted

{accepted}

## Accepted with a note

{noted}

## Rejected

{rejected}
"""


def supported_isos_page() -> str:
    """Return the page; outcomes and messages come from the decisions themselves."""
    results = [(case, *case.result()) for case in CASES]
    return MADE + _PAGE.format(
        rules=_table(("build on the ISO", "release", "source"), map(_rule, RELEASE_RULES)),
        accepted=_table(
            ("ISO", "imported image"),
            (
                (_describe_case(case), words)
                for case, outcome, words in results
                if outcome == ACCEPTED
            ),
        ),
        noted=_table(
            ("ISO", "note"),
            ((_describe_case(case), words) for case, outcome, words in results if outcome == NOTED),
        ),
        rejected=_table(
            ("ISO", "code", "message"),
            (
                (_describe_case(case), f"[`{outcome}`](codes.md#{outcome})", words)
                for case, outcome, words in results
                if outcome not in {ACCEPTED, NOTED}
            ),
        ),
    )


def _rule(rule: ReleaseRule) -> tuple[str, str, str]:
    if (rule.first, rule.last) == (0, MAX_REVISION):
        text = f"{rule.build}"
    elif rule.last == MAX_REVISION:
        text = f"{rule.build}.{rule.first} and above"
    else:
        text = f"{rule.build}.{rule.first} to {rule.build}.{rule.last}"
    return text, " or ".join(rule.releases), f"[Microsoft]({rule.source})"


def _describe_case(case: Case) -> str:
    return case.what if case.key == SILENT else f"{case.what}: `{case.key}`"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
