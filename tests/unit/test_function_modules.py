"""Each function imports only what it runs, because imports take most of its start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isodrop_local.template import ROOT

ENVIRON = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "STACK_NAME": "isodrop",
    "LEDGER_TABLE": "ledger",
    "STAGING_BUCKET": "staging",
    "EVENT_BUS": "default",
    "INFRASTRUCTURE_CONFIGURATION_ARN": "arn",
    "SUPPORTED_BUILDS": "26100",
    "MAX_CONSECUTIVE_FAILURES": "3",
    "STATE_MACHINE_ARN": "arn:aws:states:eu-central-1:123456789012:stateMachine:isodrop",
    "UPLOAD_BUCKET": "bucket",
    "TRACKING_HOURS": "14",
}
PROGRAM = """
import json, sys
import app
app.{wire}()
print(json.dumps(sorted(m for m in sys.modules if m.split(".")[0] == "isodrop")))
"""
WIRED = {"import_iso": "intake", "report_build": "services", "sweep": "sweep"}
NOT_NEEDED = {
    "import_iso": {
        "isodrop.services.annotations",
        "isodrop.services.distribution",
        "isodrop.services.reporting",
        "isodrop.services.sweep",
    },
    "report_build": {
        "isodrop.services.intake",
        "isodrop.services.sweep",
        "isodrop.windows.file_names",
    },
    "sweep": {"isodrop.services.intake", "isodrop.windows.file_names"},
}


def loaded(function: str) -> set[str]:
    """Wire a function in its own process; list the package's modules that this loaded."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(wire=WIRED[function])],
        cwd=ROOT / "functions" / function,
        env={**ENVIRON, "PYTHONPATH": str(ROOT / "layers/isodrop"), "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(ran.stdout))


@pytest.mark.parametrize("function", WIRED)
def test_a_function_loads_no_service_that_it_does_not_run(function: str) -> None:
    modules = loaded(function)

    assert "isodrop.bootstrap" in modules
    assert not modules & NOT_NEEDED[function]
