"""Reads from Image Builder and EC2 how a run's builds ended."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.codes import Rejection
from isodrop.domain.build import Build, BuildPhase
from isodrop.domain.results import Outcome
from isodrop.domain.run import AttemptKey, Run
from isodrop.errors import PermanentError, TransientError
from isodrop.services.submission import (
    check_just_available,
    get_attempt_build,
    may_have_unseen_build,
)


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
        """Read how a run's builds ended.

        Raises
        ------
        TransientError, PermanentError
            The outcome is not known yet, for example if EC2 does not return a new AMI; try again
            later.
        """
        record = run.import_build
        if record.attempt is None or record.arn is None or isinstance(run.decision, Rejection):
            return Outcome()
        build = self._get_build(record.arn, record.attempt)
        if build is None or build.phase is not BuildPhase.SUCCEEDED:
            return Outcome(build)
        if self._is_settling(record.attempt, build):
            raise TransientError(
                f"the AMIs of {build.arn} are new, and EC2 does not return them yet"
            )
        distribution = run.distribution
        if not build.amis or distribution.arn is None or distribution.attempt is None:
            return Outcome(build)
        return Outcome(build, self._get_build(distribution.arn, distribution.attempt))

    def is_settling(self, run: Run) -> bool:
        """Whether a run's build or its AMIs are so new that AWS may not return them yet.

        Raises
        ------
        TransientError, PermanentError
            A call to AWS failed; try again later.
        """
        record = run.import_build
        if run.answer_json is not None or record.arn is None or record.attempt is None:
            return False
        build = self.builder.get_build(record.arn)
        if build is None:
            return may_have_unseen_build(self.ledger.get_attempt(record.attempt), self.now())
        return build.phase is BuildPhase.SUCCEEDED and self._is_settling(record.attempt, build)

    def _get_build(self, arn: str, key: AttemptKey) -> Build | None:
        return get_attempt_build(
            self.builder, arn, lambda: self.ledger.get_attempt(key), self.now()
        )

    def _is_settling(self, key: AttemptKey, build: Build) -> bool:
        try:
            if self.builder.amis_exist(build):
                return False
        except PermanentError:
            return False  # without ec2:DescribeImages there is nothing to wait for
        # Recorded, so that other runs that share this build know when it became available.
        return check_just_available(self.ledger, self.ledger.get_attempt(key), build, self.now())
