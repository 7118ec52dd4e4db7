"""The polls of the state machine are those that ``tools.bench polling`` simulates."""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from isodrop_local.template import definition
from tests.resilience.state_machine import Machine
from tools.bench import polling
from tools.bench.polling import CHOSEN, PLAIN, PROFILES, Profile, Schedule, Timeline

IMPLEMENTED: Final[Schedule] = CHOSEN
"""What statemachine/import.asl.json has."""


@dataclass(slots=True)
class Clock:
    """One build as the state machine sees it, on a clock that its waits advance."""

    build: Timeline
    now: float = 0.0
    delay: float = -1.0
    entered: list[str] = field(default_factory=list)

    def perform(self, resource: str, arguments: dict[str, Any]) -> dict[str, Any]:
        match resource.rpartition(":")[2]:
            case "getImage":
                self.now += polling.CALL
                self.delay = self.now - self.build.end
                status = self._seen.status if self.delay < 0 else "AVAILABLE"
                return {"Image": {"State": {"Status": status}}}
            case "listWorkflowExecutions":
                return {"WorkflowExecutions": [{"TotalStepsSucceeded": self._seen.steps}]}
        if "report" in arguments["Payload"]:
            return {"Payload": {}}
        return {"Payload": {"nextStep": "track", "buildArn": "arn:build"}}

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def _seen(self) -> polling.Seen:
        return [each for each in self.build.seen if each.since <= self.now][-1]


@pytest.mark.parametrize("name", PROFILES)
def test_the_state_machine_polls_as_the_simulation_does(name: str) -> None:
    for build in [PROFILES[name].make(Random(seed)) for seed in range(3)]:  # noqa: S311 # seeded
        clock = Clock(build)
        states = definition(PollIntervalSeconds=polling.BASE, DistributesImages="false")
        machine = Machine(states, clock.perform, clock.sleep, entered=clock.entered.append)

        machine.run({}, "execution")

        cost = polling.track(build, IMPLEMENTED)
        assert cost.delay == pytest.approx(clock.delay)
        assert cost.polls == clock.entered.count("GetBuild")
        assert cost.transitions == len(clock.entered)


def test_the_answer_comes_within_15_seconds_for_no_more_transitions() -> None:
    plain, chosen = (polling.weighted_mean(polling.simulate(each, 300)) for each in (PLAIN, CHOSEN))
    assert 28 < plain.delay < 33
    assert chosen.delay <= 15
    assert chosen.transitions <= plain.transitions


def test_a_build_is_polled_rarely_first_then_often_then_as_before() -> None:
    assert CHOSEN.interval("BUILDING", 0) == 90
    assert CHOSEN.interval("TESTING", 0) == CHOSEN.interval("A NEW STATUS", 59) == 15
    assert CHOSEN.interval("DISTRIBUTING", 60) == 60
    assert CHOSEN.interval("TESTING", 0, base=77) == 20


def test_a_build_fails_in_its_status_and_no_later() -> None:
    build = Profile(1, fails="BUILDING").make(Random(7))  # noqa: S311 # seeded
    assert [each.status for each in build.seen[:2]] == ["PENDING", "CREATING"]
    assert {each.status for each in build.seen[2:]} == {"BUILDING"}
    assert build.seen[-1].since <= build.end


def test_the_section_replaces_its_own_and_keeps_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n\n## Polling\n\nold\n\n## Other\n\nkept\n", encoding="utf-8")

    polling.main(["--builds=2", f"--page={page}"])

    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert text.endswith("\n\n## Other\n\nkept\n")
    assert text.count("\n## Polling\n") == 1
    assert "| typical, 28 minutes | 58 % |" in text
    assert "| typical, 28 minutes | 58 % |" in capsys.readouterr().out
