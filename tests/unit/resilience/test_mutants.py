"""The mutants that ``make mutants`` hunts: each still is a change of what is there."""

import pytest

from tests.resilience.mutants import MUTANTS, PARTS, ROOT, TESTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_code_that_a_mutant_changes_occurs_once(mutant: Mutant) -> None:
    words = (ROOT / mutant.file).read_text()
    assert words.count(mutant.old) == 1
    assert mutant.new != mutant.old


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_code_that_a_mutant_changes_is_in_the_copy(mutant: Mutant) -> None:
    assert mutant.file.partition("/")[0] in PARTS


@pytest.mark.parametrize("path", TESTS)
def test_the_tests_that_run_against_mutants_exist(path: str) -> None:
    assert (ROOT / path).is_file()
