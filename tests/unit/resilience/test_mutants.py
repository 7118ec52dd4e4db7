"""The mutants that ``make mutants`` hunts: each still is a change of what is there."""

import pytest

from tests.resilience.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_changes_is_there_once(mutant: Mutant) -> None:
    words = (ROOT / mutant.file).read_text()
    assert words.count(mutant.old) == 1
    assert mutant.new != mutant.old
