"""Conventions of the code: how tests are named, and how long files are."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from isodrop_local.template import ROOT
from tests.conftest import LONGEST

FOLDERS = ("cli", "functions", "layers/isodrop/isodrop", "local", "tests", "tools")
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_LINES = 600
MAX_NAME_LENGTH = 70


def named_tests(path: Path) -> Iterator[list[str]]:
    """Yield the names of the tests of a module, and of each of its classes."""
    module = ast.parse(path.read_text())
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    for body in (module.body, *(each.body for each in classes)):
        functions = (node.name for node in body if isinstance(node, ast.FunctionDef))
        yield [name for name in functions if name.startswith("test_")]


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_test_names_are_short_unique_and_plain_sentences(path: Path) -> None:
    for names in named_tests(path):
        assert [name for name in names if len(name) > MAX_NAME_LENGTH] == []
        assert [name for name, count in Counter(names).items() if count > 1] == []
        assert [name for name in names if re.search(r"^test_given_.*_then_", name)] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_python_file_is_longer_than_600_lines(folder: str) -> None:
    lengths = {
        path.relative_to(ROOT): path.read_text().count("\n")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert lengths
    assert {path: count for path, count in lengths.items() if count > MAX_LINES} == {}


def test_the_files_that_start_first_exist() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []
