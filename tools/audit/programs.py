"""Runs the audit's programs, which have their own venv."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from isodrop_local.template import ROOT
from tools.audit.findings import AuditError

VENV: Final = ROOT / ".venv-audit"
_FOUND_SOMETHING: Final = 1


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program of that venv in the repository.

    Raises
    ------
    AuditError
        It is not installed.
    """
    program, *arguments = map(str, command)
    try:
        return subprocess.run(
            [VENV / "bin" / program, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise AuditError(f"{program} could not be run: {error.strerror}") from error


def read_report(*command: str | Path) -> Any:
    """Run a program that writes a report in JSON, and exits with 1 for findings.

    Raises
    ------
    AuditError
        It ended in another way, or wrote something else.
    """
    done = run(*command)
    try:
        if done.returncode > _FOUND_SOMETHING:
            raise ValueError
        return json.loads(done.stdout)
    except ValueError as error:
        raise AuditError(
            f"{command[0]} wrote no report (exit status {done.returncode}):"
            f" {last_line(done.stderr)}"
        ) from error


def last_line(text: str) -> str:
    """Return the last line that is not empty, which usually has the error."""
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:400] if lines else "no message"
