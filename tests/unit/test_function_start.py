"""The modules that a function loads until it is wired, and the clients that it creates."""

import os
import subprocess
import sys
from functools import cache

import pytest

from isodrop_local.template import ROOT
from tools.bench.cold_start import ENVIRON, FUNCTIONS

LOADED = """\
import sys
import botocore.session
made = []
create = botocore.session.Session.create_client
botocore.session.Session.create_client = lambda self, name, *rest, **more: (
    made.append(name), create(self, name, *rest, **more))[1]
import app
getattr(app, {wire!r})()
print(*made)
print(*sorted(sys.modules), sep="\\n")
"""
READER = {f"isodrop.iso.{name}" for name in ("reader", "udf_files", "udf_volume", "wim", "wim_xml")}
PLANNING = {"isodrop.domain.planning", "isodrop.windows.file_names", "isodrop.services.intake"}
REPORTING = {"isodrop.services.reporting", "isodrop.aws.event_bus", "isodrop.events"}
SWEEPING = {"isodrop.services.sweep", "isodrop.aws.step_functions"}
NOT_LOADED = {
    "import_iso": REPORTING | SWEEPING,
    "report_build": READER | PLANNING | SWEEPING,
    "sweep": READER | PLANNING,
}


@cache
def wired(function: str) -> tuple[list[str], set[str]]:
    """The clients and modules of a function that was wired in its own process."""
    run = subprocess.run(
        [sys.executable, "-c", LOADED.format(wire=FUNCTIONS[function])],
        cwd=ROOT / "functions" / function,
        env={**os.environ, **ENVIRON},
        capture_output=True,
        text=True,
        check=True,
    )
    made, *modules = run.stdout.splitlines()
    return made.split(), set(modules)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_does_not_load_the_other_functions(function: str) -> None:
    _, modules = wired(function)
    assert {name for name in modules if name.startswith("isodrop.")} & NOT_LOADED[function] == set()
    assert {name.split(".")[0] for name in modules}.isdisjoint(
        {"isodrop_cli", "isodrop_local", "tools", "rich"}
    )


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_wired_function_has_the_ledger_s_client_and_no_other(function: str) -> None:
    made, _ = wired(function)
    assert made == ["dynamodb"]
