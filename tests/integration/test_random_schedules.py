"""One answer for each run, one build for each import: random schedules of faults, by seed.

``make soak-faults`` runs any number of them.
"""

import pytest

from tests.integration.test_resilience import SUCCEEDED
from tests.resilience.schedule import Schedule
from tests.resilience.simulation import Simulation
from tests.resilience.soak import soak

CHUNKS, SEEDS_OF_A_CHUNK = 4, 12


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_schedules_violate_no_guarantee(chunk: int) -> None:
    begin = 1 + chunk * SEEDS_OF_A_CHUNK

    outcome = soak(range(begin, begin + SEEDS_OF_A_CHUNK))

    assert outcome.violations == {}
    assert outcome.ends[SUCCEEDED] > 0


def test_a_seed_is_deterministic_and_prints_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        Simulation(Schedule.of(3), trace.append).run()

    def without_versions(trace: list[str]) -> list[str]:
        return [line for line in trace if "uploaded" not in line]

    assert without_versions(traces[0]) == without_versions(traces[1])
    assert capsys.readouterr().out == ""
