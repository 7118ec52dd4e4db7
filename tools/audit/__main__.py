"""Audit the template, the code and the dependencies: ``make audit``."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Final

from isodrop_local.packaging import PackageError
from tools.audit import advisories, code, layer, templates
from tools.audit.findings import AuditError, Outcome, read_exemptions
from tools.licenses import LicenseError

_EPILOG: Final = """\
checkov     template.yaml and monitoring.yaml, as written and as transformed
bandit      all code except tests
licenses    of everything that is shipped, against tools/licenses.toml
sbom        the layer's bill of materials, against CycloneDX's schema
pip-audit   published vulnerabilities of locked packages; needs the network

exemptions, each with its reason: tools/audit/exemptions.toml
exit status: 0 all passed, 1 one failed or could not be run, 2 wrong usage
"""
_libraries: Final = cache(layer.built_libraries)

CHECKS: Final[Mapping[str, Callable[[], Outcome]]] = {
    "checkov": lambda: templates.check(read_exemptions("checkov")),
    "bandit": lambda: code.check(read_exemptions("bandit")),
    "licenses": lambda: layer.check_licenses({"layer": _libraries(), "cli": layer.cli_libraries()}),
    "sbom": lambda: layer.check_sbom(_libraries()),
    "pip-audit": lambda: advisories.check(read_exemptions("pip-audit")),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="make audit",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=CHECKS, help="run only this check")
    chosen = parser.parse_args(arguments).only or list(CHECKS)
    outcomes = {}
    for name in (name for name in CHECKS if name in chosen):
        print(f"checking: {name}", file=sys.stderr, flush=True)
        outcomes[name] = outcome_of(CHECKS[name])
        for problem in outcomes[name].problems:
            print(f"{name}: {problem}", flush=True)
    print("\n".join(table(outcomes)))
    return int(not all(outcome.passed for outcome in outcomes.values()))


def outcome_of(check: Callable[[], Outcome]) -> Outcome:
    """Run a check; one that cannot be run has failed."""
    try:
        return check()
    except (AuditError, LicenseError, PackageError) as error:
        return Outcome("not audited", (str(error),))


def table(outcomes: Mapping[str, Outcome]) -> list[str]:
    """Format one line for each check."""
    return [
        f"{name:<10} {'passed' if outcome.passed else 'FAILED'}  {outcome.summary}"
        + (f"; {len(outcome.problems)} to fix" if outcome.problems else "")
        for name, outcome in outcomes.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
