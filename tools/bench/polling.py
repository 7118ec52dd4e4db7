"""Measures the delay of answers, and the cost of polling: ``python -m tools.bench polling``.

Image Builder has no reliable notification of the end of an import, so the state machine polls. Here
the builds are simulated: how long an import stays in each status is documented roughly, if at all,
and so the profiles below are assumptions. The cost of a poll is derived from the state machine.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import mean
from types import MappingProxyType
from typing import Final, NamedTuple

from isodrop_local.image_builder.lifecycle import TIMINGS, WORKFLOWS
from tools.bench.pages import PAGE, put_section

HEADING: Final = "## Polling"
BASE: Final = 60
"""``PollIntervalSeconds`` by default."""
EARLY: Final = frozenset({"PENDING", "CREATING", "BUILDING"})
"""The statuses in which a successful build does not end."""
SPREAD: Final = 0.35
"""The deviation of the logarithm of a status's duration: two of three are between 0.7 and 1.42."""
CALL: Final = 0.3
"""Seconds that the states of one poll take."""
SEED: Final = 2026

# Transitions; tests/integration/test_polling.py compares them with the state machine's.
ALWAYS: Final = 9
"""HandleUpload, SubmitImport, ChooseNextStep, PublishStarted, the last GetBuild and
IsBuildFinished, PublishAnswer, AnswerPublished, UploadHandled."""
POLL: Final = 3
"""GetBuild, IsBuildFinished, WaitForNextPoll."""
STEPS: Final = 2
"""GetBuildSteps, HasProgressed."""
PROGRESS: Final = 1
"""PublishProgress."""


class Seen(NamedTuple):
    """The result of polls from this second on: a status, and the number of steps done."""

    since: float
    status: str
    steps: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """A simulated build: the results of polls over time, and its end."""

    seen: tuple[Seen, ...]
    end: float


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of build.

    Attributes
    ----------
    weight : int
        Its share, in percent of all builds.
    seconds : mapping
        The median time in each status.
    fails : str
        The status in which it fails, at any time; empty if it does not.
    """

    weight: int
    seconds: Mapping[str, float] = field(default_factory=lambda: TIMINGS)
    fails: str = ""

    def make(self, random: Random) -> Timeline:
        """Make one build of the kind."""
        now, done, seen = 0.0, 0, []
        for status, middle in self.seconds.items():
            seconds = middle * math.exp(random.gauss(0, SPREAD))
            steps = len(WORKFLOWS[status].steps) if status in WORKFLOWS else 0
            # The last step is done only when the status is left.
            for step in range(max(steps, 1)):
                seen.append(Seen(now + seconds * step / max(steps, 1), status, done + step))
            if status == self.fails:
                now += seconds * random.random()
                break
            now, done = now + seconds, done + steps
        return Timeline(tuple(each for each in seen if each.since <= now), now)


def _only(*statuses: str, **seconds: float) -> Mapping[str, float]:
    chosen = {name: TIMINGS[name] for name in statuses or TIMINGS}
    return MappingProxyType(chosen | seconds)


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "typical, 28 minutes": Profile(58),
        "slow, 44 minutes": Profile(
            10, MappingProxyType({name: each * 1.6 for name, each in TIMINGS.items()})
        ),
        "without tests": Profile(
            5, _only("PENDING", "CREATING", "BUILDING", "DISTRIBUTING", "INTEGRATING")
        ),
        "without distribution": Profile(5, _only("PENDING", "CREATING", "BUILDING", "TESTING")),
        "ends after BUILDING": Profile(5, _only("PENDING", "CREATING", "BUILDING")),
        "distributes for 50 minutes": Profile(3, _only(DISTRIBUTING=3000.0)),
        "fails while building": Profile(8, fails="BUILDING"),
        "fails in its tests": Profile(5, fails="TESTING"),
        "hangs in BUILDING for hours": Profile(1, _only(BUILDING=20_000.0), fails="BUILDING"),
    }
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to poll next, and how often to read the steps.

    Attributes
    ----------
    early, late, rest : float
        As multiples of ``PollIntervalSeconds``: the interval in an early status; in a later one;
        in a later one after ``late_polls`` polls there.
    late_polls : int
        The number of such polls, which bounds the history.
    steps_interval : float
        The steps are read when the status has changed, and when this many times
        ``PollIntervalSeconds`` have passed since they were.
    """

    early: float = 1.0
    late: float = 1.0
    rest: float = 1.0
    late_polls: int = 0
    steps_interval: float = 0.0

    def interval(self, status: str, late_polls: int, base: int = BASE) -> int:
        """Seconds until the next poll, as in the state machine's expression."""
        part = self.late if late_polls < self.late_polls else self.rest
        return math.ceil(base * (self.early if status in EARLY else part))


PLAIN: Final = Schedule()
"""A poll every ``PollIntervalSeconds``, each with its steps."""
THIN: Final = Schedule(steps_interval=4.0)
"""The same, with steps read as rarely as in :data:`CHOSEN`."""
CHOSEN: Final = Schedule(early=1.5, late=0.25, rest=1.0, late_polls=60, steps_interval=4.0)


@dataclass(frozen=True, slots=True)
class Cost:
    """What tracking builds cost: on average, per build."""

    delay: float
    transitions: float
    polls: float


def track(build: Timeline, schedule: Schedule, base: int = BASE) -> Cost:
    """Poll one build to its end."""
    waited = late_polls = polls = 0
    read_at, now, transitions = -math.inf, 0.0, float(ALWAYS)
    reported: tuple[str, int] | None = None
    place = 0
    while True:
        polls += 1
        now += CALL
        if now >= build.end:
            return Cost(now - build.end, transitions, polls)
        while place + 1 < len(build.seen) and build.seen[place + 1].since <= now:
            place += 1
        _, status, steps = build.seen[place]
        seconds = schedule.interval(status, late_polls, base)
        late_polls += status not in EARLY
        transitions += POLL
        changed = reported is None or reported[0] != status
        if changed or waited - read_at >= schedule.steps_interval * base:
            read_at = waited
            transitions += STEPS + PROGRESS * (reported != (status, steps))
            reported = (status, steps)
        waited += seconds
        now += seconds


def simulate(schedule: Schedule, builds: int, base: int = BASE) -> Mapping[str, Cost]:
    """Track that many builds of every profile, the same ones for each schedule."""
    return {
        name: _mean(
            [(1, track(build, schedule, base)) for build in _builds(name, profile, builds)],
        )
        for name, profile in PROFILES.items()
    }


def weighted_mean(costs: Mapping[str, Cost]) -> Cost:
    """Weight the profiles by their shares."""
    return _mean([(PROFILES[name].weight, cost) for name, cost in costs.items()])


def _builds(name: str, profile: Profile, builds: int) -> Iterator[Timeline]:
    random = Random(f"{SEED} {name}")  # noqa: S311 # repeatable, not secret
    return (profile.make(random) for _ in range(builds))


def _mean(costs: Sequence[tuple[int, Cost]]) -> Cost:
    def weighted(value: Callable[[Cost], float]) -> float:
        return mean(value(cost) for weight, cost in costs for _ in range(weight))

    return Cost(
        weighted(lambda cost: cost.delay),
        weighted(lambda cost: cost.transitions),
        weighted(lambda cost: cost.polls),
    )


_SECTION: Final = """\
{heading}

Generated by `python -m tools.bench polling`, which `make bench` runs.

A simulation of {builds:,} builds of each kind, with the same builds for each schedule. AWS
documents only that an import takes "20 to 40 minutes", and the longest time that a step may take.
So the kinds of builds, their shares and the durations are assumptions; most statuses last between
two thirds of their usual time and one and a half times that. In each pair of numbers, the first is
the delay from the end of the build to the poll that notices it; transitions are the state
transitions of a whole run.

| schedule | in PENDING, CREATING, BUILDING | later | steps read |
| --- | --- | --- | --- |
| plain | every {base} s | every {base} s | with each poll |
| plain, few steps | every {base} s | every {base} s | at a change of status, else every {steps} s |
| chosen | every {early} s | {late_polls} polls every {late} s, then every {rest} s | \
at a change of status, else every {steps} s |

| kind of build | share | plain | transitions | plain, few steps | transitions | chosen | \
transitions |
| --- | --: | --: | --: | --: | --: | --: | --: |
{rows}
"""


def section(builds: int) -> str:
    """Simulate, and write the page's section."""
    results = [simulate(schedule, builds) for schedule in (PLAIN, THIN, CHOSEN)]
    rows = [
        _row(name, f"{profile.weight} %", [each[name] for each in results])
        for name, profile in PROFILES.items()
    ]
    rows.append(_row("**all**", "", [weighted_mean(each) for each in results]))
    return _SECTION.format(
        heading=HEADING,
        builds=builds,
        base=BASE,
        early=CHOSEN.interval("BUILDING", 0),
        late=CHOSEN.interval("TESTING", 0),
        rest=CHOSEN.interval("TESTING", CHOSEN.late_polls),
        late_polls=CHOSEN.late_polls,
        steps=round(CHOSEN.steps_interval * BASE),
        rows="\n".join(rows),
    )


def _row(name: str, share: str, costs: Sequence[Cost]) -> str:
    cells = [name, share]
    for cost in costs:
        cells += [f"{cost.delay:.1f} s", f"{cost.transitions:.0f}"]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, and put the section into the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench polling", description=__doc__)
    parser.add_argument("--builds", type=int, default=2000, help="of each kind")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    given = parser.parse_args(arguments)
    text = section(given.builds)
    put_section(given.page, HEADING, text)
    print(text)
