"""Finds builds that have ended but still count as under way.

Normally, the transaction that writes an answer frees the slot of its build. If an execution was
aborted, or stopped tracking before its build ended, that does not happen, so the sweep checks every
build that counts as under way.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.domain.build import BuildPhase
from isodrop.domain.run import Attempt, AttemptKey, AttemptStatus, Run
from isodrop.text import timestamp

SEARCH_PERIOD: Final = timedelta(hours=1)
"""How long after the answer to search for the build of a request that may have been sent."""


@dataclass(frozen=True, slots=True)
class BuildAuditor:
    """Checks the builds that count as under way."""

    builder: ImageBuilder
    ledger: Ledger

    def check_under_way(self, key: AttemptKey, now: datetime) -> bool:
        """Check whether an attempt has a running build, or may still get one.

        An attempt whose run has its answer, but whose request was not sent, is marked as lost. A
        build that is found by its tags is recorded.

        Raises
        ------
        TransientError, PermanentError
            A call to AWS failed.
        """
        attempts = self.ledger.list_attempts(key.task_key)
        if key.number >= len(attempts):
            return False
        attempt = attempts[key.number]
        if attempt.status not in {AttemptStatus.PREPARED, AttemptStatus.SUBMITTED}:
            return False
        build_arn = self._find_build(attempt, now)
        if build_arn is not None:
            build = self.builder.get_build(build_arn)
            return build is not None and build.phase is BuildPhase.RUNNING
        owner = self.ledger.get_run(attempt.upload_id, attempt.run_number)
        if owner is None or owner.answer_json is None:
            return True
        if attempt.status is AttemptStatus.PREPARED:
            # Marked as lost, so that no other run sends it; this also stops counting it as a build.
            status = self.ledger.set_attempt_status(attempt, AttemptStatus.LOST).status
            return status is not AttemptStatus.LOST
        return not _is_search_over(owner, now)

    def _find_build(self, attempt: Attempt, now: datetime) -> str | None:
        if attempt.build_arn is not None or attempt.status is AttemptStatus.PREPARED:
            return attempt.build_arn
        found = self.builder.find_build_by_tags(attempt.request)
        if found is not None:
            self.ledger.record_build(attempt, found, timestamp(now))
        return found


def _is_search_over(owner: Run, now: datetime) -> bool:
    if owner.answered_at is None:
        return False
    return now - datetime.fromisoformat(owner.answered_at) >= SEARCH_PERIOD
