"""The counts of one sweep."""

from dataclasses import dataclass, field, fields

from isodrop.domain.run import Run


@dataclass(slots=True)
class SweepSummary:
    """What one sweep found and did.

    Attributes
    ----------
    open, running, waiting : int
        Runs without an answer that were checked; those whose execution is running; those whose
        execution has ended but whose build is running, or so new that AWS may not return it yet.
    answered : int
        Answers published, or published again.
    versions, started : int
        Object versions listed; executions started for versions that no run had claimed.
    unscanned : int
        Object versions skipped because their malware scan has not ended.
    oldest_open_seconds : float
        Seconds since the oldest open run was claimed; 0 if there is none.
    builds : int
        Builds that open runs wait for.
    removed : int
        Copies deleted because they were no longer needed.
    freed : int
        Slots of builds that had ended but still counted as under way.
    slots_in_use, builds_today : int
        Imports under way, and imports started today (UTC).
    errors : int
        Items that raised an error or could not be read; the log has the details.
    complete : bool
        Whether everything was checked. If not, the next sweep continues.
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
    freed: int = 0
    slots_in_use: int = 0
    builds_today: int = 0
    errors: int = 0
    complete: bool = True
    _arns: set[str] = field(default_factory=set, repr=False)

    def count_build(self, run: Run) -> None:
        """Count the build that an open run waits for, once however many runs share it."""
        if run.import_build.arn is not None:
            self._arns.add(run.import_build.arn)
            self.builds = len(self._arns)

    def to_dict(self) -> dict[str, float]:
        """Return the counts as plain JSON."""
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if not each.name.startswith("_")
        }
