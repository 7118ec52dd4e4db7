"""Starts the distribution of a finished image to other Regions and accounts, exactly once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.build import Build, BuildPhase
from isodrop.domain.build_requests import Request, distribution_request
from isodrop.domain.ids import distribution_key
from isodrop.domain.model import DistributionSettings, ImportPlan, Upload
from isodrop.domain.run import Attempt, BuildKind, Failure, Run
from isodrop.errors import AccessDeniedError, PermanentError, RejectedError
from isodrop.services.submission import BuildSubmitter
from isodrop.text import timestamp


@dataclass(frozen=True, slots=True)
class DistributionTask:
    """The distribution of one image; see :class:`~isodrop.services.submission.BuildTask`.

    Attributes
    ----------
    key : str
        The distribution key.
    source : Upload
        The upload that the image was built from.
    plan : ImportPlan
    content_id : str
        The content id of the ISO that was imported.
    build_arn : str
        The ARN of the image's build version.
    settings : DistributionSettings or None
        ``None`` if the stack no longer distributes images; then no new request is made.
    builder : ImageBuilder
    """

    key: str
    source: Upload
    plan: ImportPlan
    content_id: str
    build_arn: str
    settings: DistributionSettings | None
    builder: ImageBuilder
    kind: BuildKind = BuildKind.DISTRIBUTION

    @property
    def title(self) -> str:
        """For messages."""
        return f"distributions of {self.plan.name} {self.plan.semantic_version}"

    def make_request(self, token: str, tags: Mapping[str, str]) -> Request:
        """Make a DistributeImage request."""
        if self.settings is None:
            raise PermanentError(
                "the stack no longer distributes images", code=Code.DISTRIBUTION_FAILED
            )
        image_tags = {**self.plan.tags, "isodrop:content": self.content_id, **tags}
        return distribution_request(self.build_arn, self.settings, token, image_tags)

    def send(self, request: Request) -> str:
        """Call DistributeImage."""
        return self.builder.distribute_image(request)

    def ensure_ready(self, attempt: Attempt) -> bool:  # noqa: ARG002 - part of the protocol
        """Return ``True``: a distribution needs no copy."""
        return True

    def has_result(self, build: Build) -> bool:
        """Whether its AMIs still exist; a distribution may have none of its own."""
        return not build.amis or self.builder.amis_exist(build)


@dataclass(frozen=True, slots=True)
class Distributor:
    """Starts distributions.

    Attributes
    ----------
    builder, ledger
        The adapters that it uses.
    submitter : BuildSubmitter
        Starts the distribution's build exactly once.
    settings : DistributionSettings or None
        The stack's settings for distributions; ``None`` if images are not distributed.
    now : callable
        Returns the current time, with a time zone.
    """

    builder: ImageBuilder
    ledger: Ledger
    submitter: BuildSubmitter
    settings: DistributionSettings | None
    now: Callable[[], datetime]

    def start_distribution(self, run: Run) -> Run:
        """Start the distribution of a run's finished image, or join one that exists.

        Parameters
        ----------
        run : Run
            The run as it is in the ledger.

        Returns
        -------
        Run
            The updated run. Its ``distribution.arn`` is the build to track, or ``None`` if there
            is none: the stack does not distribute images, there is no image to distribute, the run
            already had its answer, or the distribution's ``failure`` gives the reason.

        Raises
        ------
        TransientError, QuotaError
            Temporary; try again later.
        PermanentError
            The call to Image Builder failed.
        """
        record = run.distribution
        if run.answer_json is not None or record.arn is not None or record.failure is not None:
            return run
        task = self._make_task(run)
        if task is None:
            return run
        try:
            run = self.submitter.submit(run, task)
        except (RejectedError, PermanentError) as error:
            has_own_code = isinstance(error, RejectedError | AccessDeniedError)
            failure = Failure(error.code if has_own_code else Code.DISTRIBUTION_FAILED, str(error))
            return self.ledger.record_failure(run, failure, BuildKind.DISTRIBUTION)
        now = timestamp(self.now())
        updated = self.ledger.record_status_seen(
            run.upload_id, run.run_request.number, BuildKind.DISTRIBUTION, now
        )
        return updated or run

    def _make_task(self, run: Run) -> DistributionTask | None:
        """Make the task of a run; ``None`` if it has no image, or if images are not distributed.

        A distribution that was started is continued even if the stack no longer distributes images.
        """
        imported, plan = run.import_build, run.decision
        if imported.arn is None or imported.attempt is None or not isinstance(plan, ImportPlan):
            return None
        if run.distribution.attempt is not None:
            key = run.distribution.attempt.task_key
        elif self.settings is not None:
            key = distribution_key(imported.arn, self.settings.configuration_arn)
        else:
            return None
        build = self.builder.get_build(imported.arn)
        if build is None or build.phase is not BuildPhase.SUCCEEDED or not build.amis:
            return None
        return DistributionTask(
            key=key,
            source=self.ledger.get_attempt(imported.attempt).source,
            plan=plan,
            content_id="" if run.content is None else run.content.id,
            build_arn=imported.arn,
            settings=self.settings,
            builder=self.builder,
        )
