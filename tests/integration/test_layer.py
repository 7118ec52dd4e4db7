"""The layer as its Makefile builds it: reproducible, with bytecode, and complete."""

import json
import subprocess
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Final

import pytest

from isodrop_local.packaging import make_layer
from isodrop_local.template import ROOT

FOLDER: Final = ROOT / "layers" / "isodrop"
RELEASE: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
SETTINGS: Final = (
    f"PYTHON={sys.executable}",
    "LAYER_PLATFORMS=host",
    f"LAYER_PYTHON={RELEASE}",
    f"LAYER_COMPILER={sys.executable}",
)
UNCHECKED_HASH: Final = (1).to_bytes(4, "little")
"""https://peps.python.org/pep-0552/#specification: never compared with its source."""
MISSING: Final = """\
import importlib, json, pkgutil, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
missing = {}
for module in pkgutil.walk_packages([sys.argv[1]], onerror=lambda name: None):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            missing[module.name] = error.name
        except Exception:
            pass
print(json.dumps(missing))
"""


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The layer, built twice, in two folders."""
    places = (tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("another"))
    for place in places:
        message = make_layer(FOLDER, "build-IsodropLayer", place, *SETTINGS)
        assert message == f"the layer has bytecode for Python {RELEASE}"
    return places


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by path."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_the_same_sources_make_the_same_bytes_in_any_folder(builds: tuple[Path, Path]) -> None:
    first, second = (contents(each) for each in builds)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_every_module_has_bytecode_that_is_taken_as_it_is(builds: tuple[Path, Path]) -> None:
    files = contents(builds[0])
    tag = sys.implementation.cache_tag
    for name in files:
        if name.endswith(".py"):
            path = Path(name)
            compiled = files[str(path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc")]
            assert compiled[:8] == MAGIC_NUMBER + UNCHECKED_HASH, name
    assert (
        b"/opt/python/isodrop/bootstrap.py"
        in files[f"python/isodrop/__pycache__/bootstrap.{tag}.pyc"]
    )


def test_no_file_that_the_layer_leaves_out_is_needed(builds: tuple[Path, Path]) -> None:
    layer = builds[0] / "python"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", MISSING, str(layer)],
        capture_output=True,
        text=True,
        check=True,
    )
    shipped = {path.stem for path in layer.iterdir()}
    missing = json.loads(done.stdout.splitlines()[-1])
    assert {who: what for who, what in missing.items() if what.split(".")[0] in shipped} == {}


def test_without_the_runtimes_python_the_build_fails_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    message = make_layer(FOLDER, "bytecode", tmp_path, "LAYER_PYTHON=2.1")
    assert "no bytecode" in message
    assert "no Python 2.1" in message
    assert list((tmp_path / "python").iterdir()) == []
