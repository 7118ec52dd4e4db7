"""The distribution of a finished image to other Regions and accounts, begun once."""

from dataclasses import dataclass

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.build import Build
from isodrop.domain.build_requests import distribution_request
from isodrop.domain.ids import distribution_key
from isodrop.domain.model import DistributionSettings, ImportPlan
from isodrop.domain.run import Attempt, BuildKind, Failure, Run
from isodrop.errors import AccessDeniedError, PermanentError, RejectedError
from isodrop.services.submission import BuildSubmitter, BuildTask


@dataclass(frozen=True, slots=True)
class Distributor:
    """Everything that it takes.

    Attributes
    ----------
    builder, ledger
        What it talks to.
    submission : BuildSubmitter
        Sends the request, once.
    settings : DistributionSettings or None
        What the stack says of it; ``None`` if images stay where they are.
    """

    builder: ImageBuilder
    ledger: Ledger
    submission: BuildSubmitter
    settings: DistributionSettings | None

    def wants(self, run: Run) -> bool:
        """Whether a drop's image is to be distributed; once it has been begun, it is."""
        return self.settings is not None or run.distribution.attempt is not None

    def begin(self, run: Run, plan: ImportPlan, attempt: Attempt) -> str | None:
        """Bring a drop's image to its distribution: one that was begun, or a new one.

        Parameters
        ----------
        run : Run
            Its build has ended well, and it follows no distribution yet.
        plan : ImportPlan
            Of the drop.
        attempt : Attempt
            That led to the build.

        Returns
        -------
        str or None
            The ARN to follow; ``None`` if there is none, and the drop's trouble says why.

        Raises
        ------
        TransientError, QuotaError
            Not now; ask again later.
        """
        if run.distribution.failure is not None:
            return None
        try:
            arn = self.submission.submit(run, self._task(run, plan, attempt))
        except (RejectedError, PermanentError) as error:
            ours = isinstance(error, RejectedError | AccessDeniedError)
            code = error.code if ours else Code.DISTRIBUTION_FAILED
            self.ledger.record_failure(run, Failure(code, str(error)), BuildKind.DISTRIBUTION)
            stands = self.ledger.get_run(run.upload_id, run.request.number)
            return None if stands is None else stands.distribution.arn
        self.ledger.link_build(run, arn, BuildKind.DISTRIBUTION)
        return arn

    def _task(self, run: Run, plan: ImportPlan, attempt: Attempt) -> BuildTask:
        build_arn, how, bound = run.build_arn, self.settings, run.distribution.import_key
        assert build_arn is not None  # noqa: S101 - for the type checker: it has ended well
        content = "" if run.content is None else run.content.id
        identity = bound or distribution_key(build_arn, how.configuration_arn if how else "")
        return BuildTask(
            stage=BuildKind.DISTRIBUTION,
            identity=identity,
            source=attempt.source,
            title=f"distributions of {plan.name} {plan.semantic_version}",
            request=lambda token, tags: distribution_request(
                build_arn,
                how,  # type: ignore[arg-type] # a new request is made only where there are settings
                token,
                {**plan.tags, "isodrop:content": content, **tags},
            ),
            send=self.builder.distribute_image,
            is_ready=lambda _: True,  # an image build version is never another
            is_there=self._is_there,
        )

    def _is_there(self, build: Build) -> bool:
        """Whether what it made is still there; a distribution need not make AMIs of its own."""
        return not build.amis or self.builder.amis_exist(build)
