"""Runs pip-audit on the locked packages: whether a version has a published vulnerability.

If an index does not have a package, pip-audit exits with 0 and a list of skipped packages, and it
cannot tell packages without vulnerabilities from an index that publishes none. Neither may pass
as an audit. So each skipped package fails the check, and a release with a known vulnerability is
looked up first.
https://github.com/pypa/pip-audit
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tools.audit.findings import AuditError, Exemption, Finding, Outcome, apply_exemptions
from tools.audit.programs import last_line, read_report

LOCKS: Final = ("layers/isodrop/requirements.txt", "requirements/dev.txt")
KNOWN_BAD: Final = "urllib3==1.26.4"
"""Has PYSEC-2021-108 (CVE-2021-33503), among others."""


def check(exemptions: list[Exemption]) -> Outcome:
    """Check the packages that are locked for the layer and for development.

    Raises
    ------
    AuditError
        Something could not be looked up.
    """
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder, "known-bad.txt")
        canary.write_text(f"{KNOWN_BAD}\n")
        if not list(read(_report([canary]))):
            raise AuditError(
                f"could not audit: the index reports no vulnerability of {KNOWN_BAD}, which "
                "has some: it does not publish vulnerabilities. Use an index that does."
            )
    report = _report([Path(name) for name in LOCKS])
    scope = f"{len(report['dependencies'])} packages of {', '.join(LOCKS)}"
    return apply_exemptions(list(read(report)), exemptions, scope)


def _report(files: Sequence[Path]) -> Any:
    try:
        return read_report(
            *("pip-audit", "--disable-pip", "--no-deps", "--format", "json"),
            *("--progress-spinner", "off"),
            *(part for path in files for part in ("--requirement", str(path))),
        )
    except AuditError as error:
        raise AuditError(f"could not audit: {last_line(str(error))}") from error


def read(report: Any) -> Iterator[Finding]:
    """Read the report of pip-audit.

    Raises
    ------
    AuditError
        It skipped a package, or looked up none.
    """
    packages = report["dependencies"]
    if not packages:
        raise AuditError("could not audit: no package was looked up")
    skipped = [each for each in packages if "skip_reason" in each]
    if skipped:
        raise AuditError(
            f"could not audit: {len(skipped)} of {len(packages)} packages were skipped, the "
            f"first with: {skipped[0]['skip_reason']} Is the advisory service reachable?"
        )
    for package in packages:
        for vulnerability in package["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version"
            yield Finding(
                rule=vulnerability["id"],
                place=package["name"],
                where=f"{package['name']} {package['version']}",
                message=f"fixed in {fixed}",
            )
