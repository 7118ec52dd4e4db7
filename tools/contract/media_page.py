"""``docs/media.md``: the decision for each kind of ISO, made on generated images."""

from collections.abc import Iterable
from typing import Final

from isodrop.windows.releases import MAX_REVISION, MEDIA_RULES, MediaRule
from tests.support.real_media import ACCEPTED, CASES, NOTED, SILENT, Case

MADE: Final = "<!-- Made by: make contract -->\n"

_PAGE: Final = """\
# Supported ISOs

Each row is an ISO that the tests generate, inspect and decide on, by default parameters unless the
row says otherwise, with the resulting message. The file name is uninformative unless it is given.
[codes.md](codes.md) explains each code. `.venv/bin/pytest tests/unit/test_real_media.py` compares
all results with the expected ones.

## Releases

ISOs of 22H2 and of 23H2 both contain build 22621; the revision distinguishes them.

{rules}

If the ISO leaves a choice, the file name decides; if that does not help, a note says so. If they
contradict each other, the ISO decides, and a note says so.

## Accepted

{accepted}

## Accepted with a note

{noted}

## Rejected

{rejected}
"""


def media_page() -> str:
    """Write the page: outcomes and words are those of the decisions."""
    results = [(case, *case.result()) for case in CASES]
    return MADE + _PAGE.format(
        rules=_table(("build on the ISO", "release", "source"), map(_rule, MEDIA_RULES)),
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


def _rule(rule: MediaRule) -> tuple[str, str, str]:
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
