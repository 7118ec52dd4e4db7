"""How a command follows a drop to its answer."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from isodrop_cli.clock import utc_now
from isodrop_cli.exit_codes import COULD_NOT
from isodrop_cli.output.progress import ProgressTracker
from isodrop_cli.output.renderers import Renderer
from isodrop_cli.output.run_format import STATUSES, kind_of, parse_answer

if TYPE_CHECKING:
    from isodrop.domain.run import Run
    from isodrop_cli.operations import RunSnapshot


def render_all(telling: Renderer, sights: "Iterable[RunSnapshot]", key: str) -> int:
    """Tell what is new until the answer; give the exit status that it stands for."""
    told = ProgressTracker()
    last: Run | None = None
    for snapshot in sights:
        for event in told.new(snapshot, key, utc_now()):
            telling.show(event)
        last = snapshot.run
    return status_of(last)


def status_of(run: "Run | None") -> int:
    """Say how a command exits that has followed a drop to its answer."""
    answer = None if run is None else parse_answer(run)
    return COULD_NOT if answer is None else STATUSES[kind_of(answer)]
