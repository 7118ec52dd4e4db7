"""What one sweep found and did, counted."""

from dataclasses import dataclass, field, fields

from isodrop.domain.run import Run


@dataclass(slots=True)
class SweepSummary:
    """What one sweep found and did.

    Attributes
    ----------
    open, running, waiting : int
        Drops without an answer that were looked at; how many of them an execution follows;
        how many have a build that goes on without one.
    answered : int
        Answers given, or published again.
    versions, started : int
        Versions of objects that were listed; how many of them nobody had claimed.
    unscanned : int
        How many of these were left alone, because their malware scan has not ended.
    oldest : float
        Seconds since the oldest drop among the open ones was claimed; 0 if there is none.
    builds : int
        Builds that go on for them.
    removed : int
        Copies deleted that were needed no more.
    released : int
        Builds that were over and still counted as under way.
    builds_at_once, builds_today : int
        How much of the budget is used.
    troubles : int
        Drops with which something went wrong, or which cannot be read; the log says what.
    complete : bool
        Whether all was looked at. If not, the next sweep goes on from there.
    """

    open: int = 0
    running: int = 0
    waiting: int = 0
    answered: int = 0
    versions: int = 0
    started: int = 0
    unscanned: int = 0
    oldest_open_seconds: float = 0
    builds: int = 0
    removed: int = 0
    released: int = 0
    builds_at_once: int = 0
    builds_today: int = 0
    errors: int = 0
    complete: bool = True
    _arns: set[str] = field(default_factory=set, repr=False)

    def count_build(self, run: Run) -> None:
        """Count the build that an open run waits for, once for all that wait for it."""
        if run.import_build.arn is not None:
            self._arns.add(run.import_build.arn)
            self.builds = len(self._arns)

    def to_dict(self) -> dict[str, float]:
        """Say it as plain JSON."""
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if not each.name.startswith("_")
        }
