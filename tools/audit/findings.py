"""What a check found, what is excepted of it and why, and what came of the check."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

EXCEPTIONS: Final = Path(__file__).with_name("exceptions.toml")
_KEYS: Final = {"rule", "places", "reason", "only"}


class AuditError(Exception):
    """A check could not be made, or its exceptions cannot be read. Never a pass."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a program found.

    Attributes
    ----------
    rule : str
        Its identifier there, such as ``CKV_AWS_18``.
    place : str
        A logical id, a file or a package.
    where : str
        Where exactly, for people.
    message : str
    variant : str
        Which of several variants of the template it was found in; empty if there is one.
    """

    rule: str
    place: str
    where: str
    message: str
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Exemption:
    """What is excepted, and why.

    Attributes
    ----------
    rule : str
    place : str
        A logical id, a package, or a pattern of paths as ``fnmatch`` reads them.
    reason : str
    only : frozenset of str
        The variants of the template that it is for; all if it is empty.
    """

    rule: str
    place: str
    reason: str
    only: frozenset[str] = frozenset()

    def covers(self, finding: Finding) -> bool:
        """Whether it is for this finding."""
        return (
            self.rule == finding.rule
            and fnmatchcase(finding.place, self.place)
            and (not self.only or finding.variant in self.only)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a check.

    Attributes
    ----------
    summary : str
        In one line.
    problems : tuple of str
        What fails it; none if it passed.
    """

    summary: str
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing fails it."""
        return not self.problems


def read_exemptions(check: str, path: Path = EXCEPTIONS) -> list[Exemption]:
    """Read the exceptions of one check.

    Raises
    ------
    AuditError
        If one has no reason, or is not of the file's form.
    """
    found = []
    for entry in tomllib.loads(path.read_text()).get(check, []):
        found += _parse(check, entry, path.name)
    return found


def _parse(check: str, entry: dict[str, Any], name: str) -> list[Exemption]:
    rule = entry.get("rule", "an exception without a rule")
    if not str(entry.get("reason", "")).strip():
        raise AuditError(f"{name}: {check}: {rule} has no reason")
    if entry.keys() - _KEYS or not entry.get("rule") or not entry.get("places"):
        raise AuditError(f"{name}: {check}: {rule} needs rule, places and reason, and no other key")
    only = frozenset(entry.get("only", []))
    return [Exemption(rule, place, entry["reason"], only) for place in entry["places"]]


def apply_exemptions(
    findings: Iterable[Finding], exemptions: Sequence[Exemption], scope: str
) -> Outcome:
    """Hold what was found to what is excepted.

    Parameters
    ----------
    findings : iterable of Finding
    exemptions : sequence of Exemption
        One that is for nothing found fails the check, too.
    scope : str
        What was checked, for the summary.
    """
    used: set[Exemption] = set()
    problems = []
    excepted = 0
    for finding in findings:
        covering = {each for each in exemptions if each.covers(finding)}
        used |= covering
        excepted += bool(covering)
        if not covering:
            variant = f" ({finding.variant})" if finding.variant else ""
            problems.append(f"{finding.rule} {finding.where}{variant}: {finding.message}")
    problems += [
        f"{each.rule} {each.place}: excepted, and no longer found; remove the exception"
        for each in exemptions
        if each not in used
    ]
    return Outcome(f"{scope}; {excepted} findings excepted", tuple(dict.fromkeys(problems)))
