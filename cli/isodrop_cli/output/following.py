"""How a command follows a drop to its answer."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from isodrop_cli.clock import utc_now
from isodrop_cli.exit_codes import COULD_NOT
from isodrop_cli.output.progress import Told
from isodrop_cli.output.renderers import Teller
from isodrop_cli.output.run_format import STATUSES, answer_of, kind_of

if TYPE_CHECKING:
    from isodrop.domain.run import Drop
    from isodrop_cli.operations import Sight


def tell_all(telling: Teller, sights: "Iterable[Sight]", key: str) -> int:
    """Tell what is new until the answer; give the exit status that it stands for."""
    told = Told()
    last: Drop | None = None
    for sight in sights:
        for news in told.new(sight, key, utc_now()):
            telling.tell(news)
        last = sight.drop
    return status_of(last)


def status_of(drop: "Drop | None") -> int:
    """Say how a command exits that has followed a drop to its answer."""
    answer = None if drop is None else answer_of(drop)
    return COULD_NOT if answer is None else STATUSES[kind_of(answer)]
