"""All paths through the state machine, run by three interpreters: see docs/state-machine.md."""

import copy
from typing import Any

import pytest

from tests.resilience import interpreters
from tests.resilience.interpreters import OURS, Run, counted, differs, simulated
from tests.resilience.paths import PATHS, Path, make_definition
from tests.resilience.paths_page import PAGE, all_runs, page, unexplained


@pytest.fixture(scope="module")
def runs() -> dict[str, dict[str, Run]]:
    return all_runs()


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_path_makes_the_expected_calls(runs: dict[str, dict[str, Run]], path: Path) -> None:
    run = runs[OURS][path.name]
    calls = counted(run)
    assert {kind: calls[kind] for kind in path.calls} == dict(path.calls)
    assert run["error"] == path.error


def test_the_interpreters_differ_where_that_is_explained_only(
    runs: dict[str, dict[str, Run]],
) -> None:
    assert unexplained(runs) == []


def test_the_page_describes_what_the_interpreters_do(runs: dict[str, dict[str, Run]]) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(runs), "run make paths"


def test_every_state_is_on_a_path(runs: dict[str, dict[str, Run]]) -> None:
    seen = {state for run in runs[OURS].values() for state in run["states"]}
    assert seen == set(_names(make_definition()))


def _names(level: dict[str, Any]) -> list[str]:
    names = list(level["States"])
    for state in level["States"].values():
        names += [name for branch in state.get("Branches", ()) for name in _names(branch)]
    return names


def test_another_state_machine_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the same paths, and a state machine that waits for one retry less
    (path,) = (each for each in PATHS if each.name == "a function that always crashes")
    before = simulated(path)
    changed = copy.deepcopy(make_definition())
    for state in changed["States"].values():
        for branch in state.get("Branches", ()):
            task = branch["States"][branch["StartAt"]]
            task["Retry"][-1]["MaxAttempts"] -= 1
    monkeypatch.setattr(interpreters, "make_definition", lambda: changed)
    # When, Then
    assert differs(before, simulated(path)) == "calls"
