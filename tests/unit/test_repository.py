"""The files that a public repository needs."""

import re
from pathlib import Path

import pytest
import yaml

from isodrop_local.template import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}$")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_hash_with_their_version(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if "uses:" in line]

    assert lines
    for line in lines:
        action, _, comment = line.partition("uses:")[2].partition("#")
        assert PINNED.match(action.strip()), line
        assert re.match(r"^ v\d+\.\d+\.\d+$", comment), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_the_least_rights(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())

    assert workflow["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in workflow["jobs"].values())


def test_every_change_is_linted_tested_audited_and_packaged() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = {step["run"] for job in jobs.values() for step in job["steps"] if "run" in step}

    assert {"make audit", "make package"} <= commands
    assert any(".ci/run" in each for each in commands)
