"""Which of the builds that count as under way are over, though nobody said so.

Whoever answers for a build gives it back before. An execution that was aborted, or that stopped
tracking before its build ended, has not: the sweep looks at each build that counts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from isodrop.aws.image_builder import Builder
from isodrop.aws.ledger import Ledger
from isodrop.domain.build import Phase
from isodrop.domain.run import Attempt, Drop, Standing

NEVER_FOUND: Final = timedelta(hours=1)
"""How long after the answer a build is looked for whose request may have been sent."""


@dataclass(frozen=True, slots=True)
class BudgetAuditor:
    """Everything that it takes."""

    builder: Builder
    ledger: Ledger

    def is_under_way(self, identity: str, number: int, now: datetime) -> bool:
        """Whether an attempt has a build that goes on, or may yet come to one.

        Raises
        ------
        TransientError, RefusedError
            When AWS does not say.
        """
        attempts = self.ledger.attempts(identity)
        if number >= len(attempts):
            return False
        attempt = attempts[number]
        if attempt.standing not in {Standing.OPEN, Standing.SENT}:
            return False
        build_arn = self._find_build(attempt, now)
        if build_arn is not None:
            build = self.builder.describe(build_arn)
            return build is not None and build.phase is Phase.RUNNING
        owner = self.ledger.drop(attempt.drop_id, attempt.ask)
        if owner is None or owner.answer is None:
            return True
        if attempt.standing is Standing.OPEN:
            # Written first, so that nobody else sends it; that gives it back, too.
            return self.ledger.stand(attempt, Standing.LOST) is not Standing.LOST
        return not _is_long_answered(owner, now)

    def _find_build(self, attempt: Attempt, now: datetime) -> str | None:
        if attempt.build_arn is not None or attempt.standing is Standing.OPEN:
            return attempt.build_arn
        found = self.builder.find(attempt.request)
        if found is not None:
            self.ledger.built(attempt, found, now.isoformat(timespec="milliseconds"))
        return found


def _is_long_answered(owner: Drop, now: datetime) -> bool:
    if owner.answered is None:
        return False
    return now - datetime.fromisoformat(owner.answered) >= NEVER_FOUND
