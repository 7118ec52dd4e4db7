"""Runs random schedules and checks each: ``python -m tests.resilience.soak --schedules 1000``.

Prints every seed whose run violated a guarantee, with its schedule; ``--seed N --schedules 1``
replays it and prints each call. In one process a seed always replays exactly.
"""

import argparse
import gc
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from isodrop_local.stack import EmulatedStack
from tests.resilience.emulator_run import PARAMETERS, EmulatorRun
from tests.resilience.oracle import FinalState, find_violations
from tests.resilience.schedule import MAX_CONSECUTIVE_FAILURES, Schedule
from tests.resilience.simulation import Simulation


@dataclass(slots=True)
class Outcome:
    """The results of the schedules that were run.

    Attributes
    ----------
    schedules, calls, uploads : int
        Their numbers.
    ends : Counter
        The number of each kind of answer.
    violations : dict of int to list of str
        The violations by seed.
    """

    schedules: int = 0
    calls: int = 0
    uploads: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    violations: dict[int, list[str]] = field(default_factory=dict)

    def count(self, schedule: Schedule, end: FinalState, calls: int) -> list[str]:
        """Check a run and count it; return its violations."""
        self.schedules += 1
        self.calls += calls
        self.uploads += len(schedule.uploads)
        for event in end.published:
            kind = event["detail-type"].removeprefix("ISO Import ")
            if kind not in {"Started", "Progressed"}:
                self.ends[f"{kind} {event['detail']['data'].get('code', '')}".strip()] += 1
        lines = find_violations(
            end,
            max_consecutive_failures=MAX_CONSECUTIVE_FAILURES,
            retries_suffice=schedule.retries_suffice,
        )
        if lines:
            self.violations[schedule.seed] = lines
        return lines


Run = Callable[[Schedule], tuple[FinalState, int]]
"""Runs a schedule; returns its final state and the number of calls."""


def in_process(
    schedule: Schedule, trace: Callable[[str], None] | None = None
) -> tuple[FinalState, int]:
    """Run a schedule in this process."""
    simulation = Simulation(schedule, trace)
    return simulation.run(), simulation.calls


def soak(seeds: Iterable[int], run: Run = in_process, until: float = float("inf")) -> Outcome:
    """Run the schedules of these seeds, or as many as there is time for; print violations."""
    outcome = Outcome()
    for seed in seeds:
        if time.monotonic() >= until:
            break
        schedule = Schedule.of(seed)
        lines = outcome.count(schedule, *run(schedule))
        if outcome.schedules % 20 == 0:
            gc.collect()  # a run leaves reference cycles with whole ISOs
        if lines:
            print(schedule, *(f"  VIOLATION: {line}" for line in lines), sep="\n", flush=True)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.resilience.soak", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument(
        "--schedules", type=int, help="how many; by default 200, or until --minutes"
    )
    parser.add_argument("--minutes", type=float, help="how long; by default until all have run")
    parser.add_argument(
        "--stack", action="store_true", help="on the stack, and only those that kill processes"
    )
    arguments = parser.parse_args()
    if arguments.schedules is None and arguments.minutes is None:
        arguments.schedules = 200
    began = time.monotonic()
    until = float("inf") if arguments.minutes is None else began + 60 * arguments.minutes
    seeds = itertools.count(arguments.seed)
    if arguments.stack and arguments.schedules != 1:
        seeds = (seed for seed in seeds if Schedule.of(seed).kills)  # type: ignore[assignment] # a narrower iterator
    chosen = itertools.islice(seeds, arguments.schedules)
    if arguments.stack:
        with EmulatedStack(wait_scale=0.001) as stack:
            stack.deploy(PARAMETERS)
            outcome = soak(chosen, partial(on_the_stack, stack), until)
    else:
        trace = print if arguments.schedules == 1 else None
        outcome = soak(chosen, partial(in_process, trace=trace), until)
    print_summary(outcome, time.monotonic() - began)
    return 1 if outcome.violations else 0


def on_the_stack(stack: EmulatedStack, schedule: Schedule) -> tuple[FinalState, int]:
    """Run a schedule on the stack; only its calls to Image Builder are counted."""
    end = EmulatorRun(schedule, stack).run()
    return end, len(stack.image_builder.calls())


def print_summary(outcome: Outcome, seconds: float) -> None:
    """Print the sums."""
    print(
        f"{outcome.schedules:,} schedules, {outcome.uploads:,} uploads, {outcome.calls:,} calls,"
        f" {seconds:.0f} s"
    )
    for end, count in outcome.ends.most_common():
        print(f"{count:>9,}  {end}")
    print(f"{len(outcome.violations)} schedules with violations: {sorted(outcome.violations)}")


if __name__ == "__main__":
    sys.exit(main())
