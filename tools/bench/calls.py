"""Counts the calls to AWS that an upload requires: ``python -m tools.bench calls``.

The functions' code runs in this process, on moto and the local Image Builder. Calls are
counted by operation, for each kind of upload in its own stack.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from isodrop.domain.build import StepCount
from isodrop.domain.model import FIRST_RUN, Upload
from isodrop.services.intake import NextStep
from tests.support.harness import ImportHarness
from tools.bench.growth import metered, stack
from tools.bench.pages import PAGE, put_section

HEADING: Final = "## Calls"
ACCEPTED: Final = "accepted"
PROGRESS: Final = "a notification of progress"


def _handle(
    harness: ImportHarness, upload: Upload, execution: str, *, meanwhile: Callable[[], None]
) -> Counter[str]:
    """Do for an upload what the functions do, from its event to its answer, without polls."""
    with metered() as first:
        outcome = harness.intake.process(upload, execution)
        if outcome.next_step is NextStep.TRACK:
            run = harness.reporter.get_run(upload, execution)
            assert run is not None
            harness.reporter.publish_started(run)
    meanwhile()
    if outcome.next_step is NextStep.SKIP:
        return first.calls
    if outcome.build_arn is not None:
        harness.wait_for(outcome.build_arn, upload, execution)
    with metered() as last:
        run = harness.reporter.claim_run(upload, execution)
        assert run is not None
        harness.reporter.publish_answer(run)
    return first.calls + last.calls


def _nothing() -> None:
    pass


def _accepted(harness: ImportHarness) -> Counter[str]:
    upload = harness.upload("a.iso")
    return _handle(harness, upload, harness.run("a"), meanwhile=_nothing)


def _joined(harness: ImportHarness) -> Counter[str]:
    """Upload the same ISO again while its build runs; the first one is answered first."""
    first, execution = harness.upload("a.iso"), harness.run("a")
    harness.intake.process(first, execution)

    def follow() -> None:
        harness.follow(first, execution)

    return _handle(harness, harness.upload("b.iso"), harness.run("b"), meanwhile=follow)


def _shared(harness: ImportHarness) -> Counter[str]:
    """Upload the same ISO again when its image is available."""
    harness.follow(harness.upload("a.iso"), harness.run("a"))
    return _handle(harness, harness.upload("b.iso"), harness.run("b"), meanwhile=_nothing)


def _rejected(harness: ImportHarness) -> Counter[str]:
    upload = harness.upload("a.iso", b"not an ISO " * 1000)
    return _handle(harness, upload, harness.run("a"), meanwhile=_nothing)


def _repeated(harness: ImportHarness) -> Counter[str]:
    """Deliver the event of an upload a second time."""
    upload = harness.upload("a.iso")
    harness.intake.process(upload, harness.run("a"))
    return _handle(harness, upload, harness.run("b"), meanwhile=_nothing)


def _progress(harness: ImportHarness) -> Counter[str]:
    upload, execution = harness.upload("a.iso"), harness.run("a")
    harness.intake.process(upload, execution)
    with metered() as meter:
        run = harness.reporter.record_status(upload, execution, FIRST_RUN, "BUILDING")
        assert run is not None
        harness.reporter.publish_progress(run, "BUILDING", "PENDING", StepCount(1, 9))
    return meter.calls


KINDS: Final[dict[str, Callable[[ImportHarness], Counter[str]]]] = {
    ACCEPTED: _accepted,
    "joins a build": _joined,
    "shares an image": _shared,
    "rejected": _rejected,
    "repeated event": _repeated,
    PROGRESS: _progress,
}


def measure() -> dict[str, Counter[str]]:
    """Count the calls of each kind of upload."""
    found = {}
    for name, handle in KINDS.items():
        with (
            tempfile.TemporaryDirectory(prefix="isodrop-bench-") as folder,
            stack(Path(folder)) as harness,
        ):
            found[name] = handle(harness)
    return found


_SECTION: Final = """\
{heading}

Written by `python -m tools.bench calls`, which `make bench` runs.

How many calls to AWS the functions make for an upload, from its event to its answer: an ISO that is
accepted and built; the same ISO again while its build runs, and when its image is available; a file
that is rejected; an event that is delivered twice; and a notification of progress. Here the ISOs
are small, with one `GetObject` and one `UploadPartCopy` each. A real one is read with up to four of
the first, and copied with one of the second for each 128 MiB. Retries are not counted.

| call | {kinds} |
| --- | {columns}
{rows}
| **all** | {totals} |

The state machine adds a `GetImage` for each poll, and a `ListWorkflowExecutions` before a
notification of progress; [Polling](#polling) has how many.
"""


def section(found: Mapping[str, Counter[str]]) -> str:
    """Write the page's section."""
    operations = sorted({name for calls in found.values() for name in calls})
    rows = [
        f"| {name} | {' | '.join(str(calls[name] or '') for calls in found.values())} |"
        for name in operations
    ]
    return _SECTION.format(
        heading=HEADING,
        kinds=" | ".join(found),
        columns="--: | " * (len(found) - 1) + "--: |",
        rows="\n".join(rows),
        totals=" | ".join(str(calls.total()) for calls in found.values()),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Count, and put the section into the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench calls", description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    given = parser.parse_args(arguments)
    text = section(measure())
    put_section(given.page, HEADING, text)
    print(text)
