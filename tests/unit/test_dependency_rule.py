"""The direction of dependencies: ``make lint`` fails if a line breaks the rule."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isodrop_local.template import ROOT

PACKAGES = ("layers/isodrop/isodrop", "cli/isodrop_cli", "local/isodrop_local", "tools")
BREACHES = {
    "layers/isodrop/isodrop/iso/reader.py": "import boto3",
    "layers/isodrop/isodrop/domain/planning.py": "from isodrop.aws.config import CONFIG",
    "layers/isodrop/isodrop/aws/ledger.py": "from isodrop.services.intake import Intake",
    "layers/isodrop/isodrop/services/sweep.py": "from isodrop_cli import operations",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = [str((folder / package).parent) for package in PACKAGES]
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ":".join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_repository_keeps_the_rule(copy: Path) -> None:
    assert lint(copy).returncode == 0, lint(copy).stdout


@pytest.mark.parametrize("path", BREACHES)
def test_a_line_that_breaks_the_rule_fails_lint(copy: Path, path: str) -> None:
    module = copy / path
    words = module.read_text()
    first, rest = words.split('"""\n', 1) if '"""\n' in words else ("", words)
    module.write_text(f'{first}"""\n{BREACHES[path]}\n{rest}')
    try:
        ran = lint(copy)
    finally:
        module.write_text(words)
    assert ran.returncode != 0
    assert "BROKEN" in ran.stdout
