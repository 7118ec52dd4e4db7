"""The examples in the docstrings of the pure modules are true."""

import doctest
from types import ModuleType

import pytest

from isodrop import events, families, identity, labels, names, overrides, plan, releases, wording
from isodrop.cli import screen
from isodrop.media import reader

PURE = (
    *(events, families, identity, labels, names, overrides, plan, reader, releases, screen),
    wording,
)


@pytest.mark.parametrize("module", PURE, ids=lambda module: module.__name__)
def test_given_a_module_when_its_examples_run_then_they_print_what_they_say(
    module: ModuleType,
) -> None:
    assert doctest.testmod(module).failed == 0
