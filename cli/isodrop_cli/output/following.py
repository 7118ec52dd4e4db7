"""Follow a run to its answer."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from isodrop_cli.clock import utc_now
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.progress import ProgressTracker
from isodrop_cli.output.renderers import Renderer
from isodrop_cli.output.run_format import EXIT_CODES, answer_kind, parse_answer

if TYPE_CHECKING:
    from isodrop.domain.run import Run
    from isodrop_cli.operations import RunSnapshot


def render_all(renderer: Renderer, snapshots: "Iterable[RunSnapshot]", key: str) -> ExitCode:
    """Show new events until the answer; return the exit code for it."""
    tracker = ProgressTracker()
    last: Run | None = None
    for snapshot in snapshots:
        for event in tracker.new_events(snapshot, key, utc_now()):
            renderer.show(event)
        last = snapshot.run
    return get_exit_code(last)


def get_exit_code(run: "Run | None") -> ExitCode:
    """Return the exit status of a command that followed a run to its answer."""
    answer = None if run is None else parse_answer(run)
    return ExitCode.ERROR if answer is None else EXIT_CODES[answer_kind(answer)]
