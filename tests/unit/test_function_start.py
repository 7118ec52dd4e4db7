"""What a function has loaded, created and frozen once it is wired."""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

import pytest

from isodrop_local.template import ROOT
from tools.bench.cold_start import ENVIRON, FUNCTIONS

LOADED = """\
import gc
import sys
import botocore.session
made = []
create = botocore.session.Session.create_client
botocore.session.Session.create_client = lambda self, name, *rest, **more: (
    made.append(name), create(self, name, *rest, **more))[1]
import app
getattr(app, {wire!r})()
print(*made)
print(gc.isenabled(), gc.get_freeze_count())
print(*sys.modules, sep="\\n")
"""
READER = {f"isodrop.iso.{name}" for name in ("reader", "udf_files", "udf_volume", "wim", "wim_xml")}
PLANNING = {"isodrop.domain.planning", "isodrop.windows.file_names", "isodrop.services.intake"}
REPORTING = {"isodrop.services.reporting", "isodrop.aws.event_bus", "isodrop.events"}
SWEEPING = {"isodrop.services.sweep", "isodrop.aws.step_functions"}
FOLLOWING = {"isodrop.services.annotations", "isodrop.services.distribution"}
NOT_LOADED = {
    "import_iso": REPORTING | FOLLOWING | SWEEPING,
    "report_build": READER | PLANNING | SWEEPING,
    "sweep": READER | PLANNING,
}


@dataclass(frozen=True, slots=True)
class Wired:
    """What a function has after it was wired in its own process."""

    clients: list[str]
    collects: bool
    frozen_objects: int
    modules: list[str]
    """In the order in which they were loaded."""


@cache
def wired(function: str) -> Wired:
    run = subprocess.run(
        [sys.executable, "-c", LOADED.format(wire=FUNCTIONS[function])],
        cwd=ROOT / "functions" / function,
        env={**os.environ, **ENVIRON},
        capture_output=True,
        text=True,
        check=True,
    )
    clients, collection, *modules = run.stdout.splitlines()
    enabled, frozen = collection.split()
    return Wired(clients.split(), enabled == "True", int(frozen), modules)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_does_not_load_the_other_functions(function: str) -> None:
    modules = wired(function).modules
    assert "isodrop.bootstrap" in modules
    assert {name for name in modules if name.startswith("isodrop.")} & NOT_LOADED[function] == set()
    assert {name.split(".")[0] for name in modules}.isdisjoint(
        {"isodrop_cli", "isodrop_local", "tools", "rich"}
    )


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_wired_function_has_only_the_ledger_s_client(function: str) -> None:
    assert wired(function).clients == ["dynamodb"]


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_collection_is_paused_before_anything_of_size_is_imported(function: str) -> None:
    modules = wired(function).modules
    paused = modules.index("isodrop.startup")
    for library in ("aws_lambda_powertools", "boto3", "pydantic"):
        assert library not in modules[:paused]


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_wired_function_collects_only_what_was_created_later(function: str) -> None:
    assert wired(function).collects
    assert wired(function).frozen_objects > 50_000
