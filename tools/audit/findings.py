"""The findings of a check, its exemptions with their reasons, and its outcome."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

EXEMPTIONS: Final = Path(__file__).with_name("exemptions.toml")
_KEYS: Final = {"rule", "places", "reason", "only"}


class AuditError(Exception):
    """A check cannot be run, or its exemptions cannot be read; it counts as failed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of a program.

    Attributes
    ----------
    rule : str
        The program's identifier, such as ``CKV_AWS_18``.
    place : str
        A logical id, a file or a package.
    where : str
        The exact location, for people.
    message : str
    variant : str
        The variant of the template; empty if there is only one.
    """

    rule: str
    place: str
    where: str
    message: str
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Exemption:
    """An exemption, with its reason.

    Attributes
    ----------
    rule : str
    place : str
        A logical id, a package, or a pattern of paths as ``fnmatch`` reads them.
    reason : str
    only : frozenset of str
        The variants of the template to which it applies; all if it is empty.
    """

    rule: str
    place: str
    reason: str
    only: frozenset[str] = frozenset()

    def covers(self, finding: Finding) -> bool:
        """Whether it applies to this finding."""
        return (
            self.rule == finding.rule
            and fnmatchcase(finding.place, self.place)
            and (not self.only or finding.variant in self.only)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a check.

    Attributes
    ----------
    summary : str
        A summary in one line.
    problems : tuple of str
        Why it failed; empty if it passed.
    """

    summary: str
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        return not self.problems


def read_exemptions(check: str, path: Path = EXEMPTIONS) -> list[Exemption]:
    """Read the exemptions of one check.

    Raises
    ------
    AuditError
        One has no reason, or does not have the file's format.
    """
    found = []
    for entry in tomllib.loads(path.read_text()).get(check, []):
        found += _parse(check, entry, path.name)
    return found


def _parse(check: str, entry: dict[str, Any], name: str) -> list[Exemption]:
    rule = entry.get("rule", "an exemption without a rule")
    if not str(entry.get("reason", "")).strip():
        raise AuditError(f"{name}: {check}: {rule} has no reason")
    if entry.keys() - _KEYS or not entry.get("rule") or not entry.get("places"):
        raise AuditError(f"{name}: {check}: {rule} needs rule, places and reason, and no other key")
    only = frozenset(entry.get("only", []))
    return [Exemption(rule, place, entry["reason"], only) for place in entry["places"]]


def apply_exemptions(
    findings: Iterable[Finding], exemptions: Sequence[Exemption], scope: str
) -> Outcome:
    """Apply exemptions to findings.

    Parameters
    ----------
    findings : iterable of Finding
    exemptions : sequence of Exemption
        One without a finding fails the check, too.
    scope : str
        What was checked, for the summary.
    """
    used: set[Exemption] = set()
    problems = []
    exempted = 0
    for finding in findings:
        covering = {each for each in exemptions if each.covers(finding)}
        used |= covering
        exempted += bool(covering)
        if not covering:
            variant = f" ({finding.variant})" if finding.variant else ""
            problems.append(f"{finding.rule} {finding.where}{variant}: {finding.message}")
    problems += [
        f"{each.rule} {each.place}: exempted, and no longer found; remove the exemption"
        for each in exemptions
        if each not in used
    ]
    return Outcome(f"{scope}; {exempted} findings exempted", tuple(dict.fromkeys(problems)))
