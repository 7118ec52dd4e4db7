"""Reads from Image Builder and EC2 how a run's builds ended, and records it in the ledger."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.codes import Rejection
from isodrop.domain.build import Build, BuildPhase
from isodrop.domain.results import Outcome
from isodrop.domain.run import Attempt, AttemptStatus, BuildRecord, Run
from isodrop.errors import PermanentError, TransientError
from isodrop.services.submission import get_build_of, is_just_available, is_just_submitted


@dataclass(frozen=True, slots=True)
class OutcomeReader:
    """Reads how a run's builds ended.

    Attributes
    ----------
    builder, ledger
        The adapters that it uses.
    now : callable
        Returns the current time, with a time zone.
    """

    builder: ImageBuilder
    ledger: Ledger
    now: Callable[[], datetime]

    def read(self, run: Run) -> Outcome:
        """Read everything that the answer needs.

        A build that has ended no longer counts as under way, and an attempt whose build succeeded
        is recorded as succeeded. Both happen before the answer is written, because this method is
        not called after that.

        Raises
        ------
        TransientError, PermanentError
            The outcome is not known yet, for example if EC2 does not return a new AMI; try again
            later.
        """
        record = run.import_build
        if record.attempt is None or isinstance(run.decision, Rejection):
            return Outcome()
        attempt = self.ledger.get_attempt(record.attempt)
        if record.arn is None:
            return Outcome(attempt)
        build = get_build_of(self.builder, attempt, record.arn, self.now())
        is_over = build is None or build.phase is not BuildPhase.RUNNING
        if is_over and attempt.status is not AttemptStatus.SUCCEEDED:
            self.ledger.release(attempt)  # before it is recorded as succeeded
        if build is None or build.phase is not BuildPhase.SUCCEEDED:
            return Outcome(attempt, build)
        if self._is_settling(attempt, build):
            raise TransientError(f"the AMIs of {build.arn} are new, and EC2 does not know them yet")
        if not build.amis:
            return Outcome(attempt, build)
        attempt = self._record_success(attempt)
        return Outcome(attempt, build, self._read_distribution(run.distribution))

    def is_settling(self, run: Run) -> bool:
        """Whether a run's build or its AMIs are so new that AWS may not return them yet.

        Raises
        ------
        TransientError, PermanentError
            The call to Image Builder failed; try again later.
        """
        record = run.import_build
        if run.answer_json is not None or record.arn is None or record.attempt is None:
            return False
        attempt = self.ledger.get_attempt(record.attempt)
        build = self.builder.get_build(record.arn)
        if build is None:
            return is_just_submitted(attempt, self.now())
        return build.phase is BuildPhase.SUCCEEDED and self._is_settling(attempt, build)

    def _read_distribution(self, record: BuildRecord) -> Build | None:
        if record.arn is None or record.attempt is None:
            return None
        attempt = self.ledger.get_attempt(record.attempt)
        build = get_build_of(self.builder, attempt, record.arn, self.now())
        if build is not None and build.phase is BuildPhase.SUCCEEDED:
            self._record_success(attempt)
        return build

    def _is_settling(self, attempt: Attempt, build: Build) -> bool:
        # Recorded first, so that other runs of this build know when it became available.
        if not is_just_available(self.ledger, attempt, build, self.now()):
            return False
        try:
            return not self.builder.amis_exist(build)
        except PermanentError:
            return False  # without ec2:DescribeImages there is nothing to wait for

    def _record_success(self, attempt: Attempt) -> Attempt:
        if attempt.status is AttemptStatus.SUCCEEDED:
            return attempt
        return self.ledger.set_attempt_status(attempt, AttemptStatus.SUCCEEDED)
