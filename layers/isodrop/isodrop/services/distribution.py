"""The distribution of a finished image to other Regions and accounts, started once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

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


@dataclass(frozen=True, slots=True)
class DistributionTask:
    """The distribution of one image; see :class:`~isodrop.services.submission.BuildTask`.

    Attributes
    ----------
    key : str
        The distribution key.
    source : Upload
        Of the attempt that imported the image.
    plan : ImportPlan
    content_id : str
        Of the ISO that was imported.
    build_arn : str
        The image's.
    settings : DistributionSettings or None
        ``None`` where the stack no longer distributes; then no new request is made.
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
        """For people."""
        return f"distributions of {self.plan.name} {self.plan.semantic_version}"

    def make_request(self, token: str, tags: Mapping[str, str]) -> Request:
        """Make a request of DistributeImage."""
        if self.settings is None:
            raise PermanentError("the stack no longer distributes", code=Code.DISTRIBUTION_FAILED)
        ours = {**self.plan.tags, "isodrop:content": self.content_id, **tags}
        return distribution_request(self.build_arn, self.settings, token, ours)

    def send(self, request: Request) -> str:
        """Call DistributeImage."""
        return self.builder.distribute_image(request)

    def is_ready(self, attempt: Attempt) -> bool:  # noqa: ARG002 - the protocol's
        """Whether the image is there: an image build version never changes."""
        return True

    def has_result(self, build: Build) -> bool:
        """Whether what it made is still there; a distribution need not make AMIs of its own."""
        return not build.amis or self.builder.amis_exist(build)


@dataclass(frozen=True, slots=True)
class Distributor:
    """Starts distributions.

    Attributes
    ----------
    builder, ledger
        The adapters that it uses.
    submission : BuildSubmitter
        Submits the request, once.
    settings : DistributionSettings or None
        What the stack says of it; ``None`` if images stay where they are.
    now : callable
        Returns the current time, with a time zone.
    """

    builder: ImageBuilder
    ledger: Ledger
    submission: BuildSubmitter
    settings: DistributionSettings | None
    now: Callable[[], datetime]

    def start_distribution(self, run: Run) -> Run:
        """Bring a run with a finished image to its distribution: a shared one, or a new one.

        Parameters
        ----------
        run : Run
            The run as it is in the ledger.

        Returns
        -------
        Run
            As it stands then. Its ``distribution.arn`` is the build to track; ``None`` if there is
            none: the run has its answer, no image is to be distributed, or the distribution's
            ``failure`` says why.

        Raises
        ------
        TransientError, QuotaError
            Not now; try again later.
        PermanentError
            Image Builder does not describe the image.
        """
        record = run.distribution
        if run.answer_json is not None or record.arn is not None or record.failure is not None:
            return run
        task = self._task(run)
        if task is None:
            return run
        try:
            _, build_arn = self.submission.submit(run, task)
        except (RejectedError, PermanentError) as error:
            ours = isinstance(error, RejectedError | AccessDeniedError)
            failure = Failure(error.code if ours else Code.DISTRIBUTION_FAILED, str(error))
            return self.ledger.record_failure(run, failure, BuildKind.DISTRIBUTION)
        run = self.ledger.link_build(run, build_arn, BuildKind.DISTRIBUTION)
        seen_at = self.now().astimezone(UTC).isoformat(timespec="milliseconds")
        return self.ledger.record_status_seen(run, BuildKind.DISTRIBUTION, seen_at)

    def _task(self, run: Run) -> DistributionTask | None:
        """Make the task of a run whose image is there; ``None`` for another run.

        What was started is continued though the stack may no longer distribute.
        """
        imported, plan = run.import_build, run.decision
        if imported.arn is None or imported.attempt is None or not isinstance(plan, ImportPlan):
            return None
        if run.distribution.attempt is not None:
            key = run.distribution.attempt.import_key
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
