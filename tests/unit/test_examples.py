"""The examples in the docstrings of the pure modules are correct."""

import doctest
from types import ModuleType

import pytest

from isodrop import events, text
from isodrop.domain import ids, image_naming, overrides, planning
from isodrop.iso import reader
from isodrop.windows import file_names, name_patterns, releases
from isodrop_cli.output import console

PURE = (
    *(
        events,
        name_patterns,
        ids,
        image_naming,
        file_names,
        overrides,
        planning,
        reader,
        releases,
        console,
    ),
    text,
)


@pytest.mark.parametrize("module", PURE, ids=lambda module: module.__name__)
def test_the_examples_of_a_module_print_what_they_show(
    module: ModuleType,
) -> None:
    assert doctest.testmod(module).failed == 0
