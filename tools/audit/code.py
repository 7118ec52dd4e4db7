"""Runs bandit on all code except tests and examples.

https://bandit.readthedocs.io/en/latest/plugins/
"""

from collections.abc import Iterator
from typing import Any, Final

from tools.audit.findings import AuditError, Exemption, Finding, Outcome, apply_exemptions
from tools.audit.programs import read_report

FOLDERS: Final = ("layers", "functions", "cli", "local", "tools")


def check(exemptions: list[Exemption]) -> Outcome:
    """Run bandit.

    Raises
    ------
    AuditError
        Bandit could not be run.
    """
    report = read_report("bandit", "--quiet", "--format", "json", "--recursive", *FOLDERS)
    findings = list(read(report))
    lines = report["metrics"]["_totals"]["loc"]
    return apply_exemptions(findings, exemptions, f"{lines:,} lines of {', '.join(FOLDERS)}")


def read(report: Any) -> Iterator[Finding]:
    """Read the report of bandit.

    Raises
    ------
    AuditError
        It read nothing or not everything, or a comment makes an exemption.
    """
    totals = report["metrics"]["_totals"]
    if report["errors"]:
        raise AuditError(f"bandit could not read {report['errors']}")
    if not totals["loc"]:
        raise AuditError("bandit read no code")
    if totals["nosec"] or totals["skipped_tests"]:
        raise AuditError(
            "a comment suppresses a finding of bandit; exemptions belong in exemptions.toml"
        )
    for found in report["results"]:
        yield Finding(
            rule=found["test_id"],
            place=found["filename"].removeprefix("./"),
            where=f"{found['filename']}:{found['line_number']}",
            message=found["issue_text"],
        )
