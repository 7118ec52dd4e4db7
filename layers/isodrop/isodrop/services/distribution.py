"""The distribution of a finished image to other Regions and accounts, begun once."""

from dataclasses import dataclass

from isodrop.aws.image_builder import Builder
from isodrop.aws.ledger import Ledger
from isodrop.codes import Code
from isodrop.domain.build import Build
from isodrop.domain.build_requests import distribution_request
from isodrop.domain.ids import distribution_identity
from isodrop.domain.model import DistributionSettings, ImportPlan
from isodrop.domain.run import Attempt, Drop, Stage, Trouble
from isodrop.errors import DeniedError, RefusedError, RejectedError
from isodrop.services.submission import Submission, Task


@dataclass(frozen=True, slots=True)
class Distributor:
    """Everything that it takes.

    Attributes
    ----------
    builder, ledger
        What it talks to.
    submission : Submission
        Sends the request, once.
    settings : DistributionSettings or None
        What the stack says of it; ``None`` if images stay where they are.
    """

    builder: Builder
    ledger: Ledger
    submission: Submission
    settings: DistributionSettings | None

    def wants(self, drop: Drop) -> bool:
        """Whether a drop's image is to be distributed; once it has been begun, it is."""
        return self.settings is not None or drop.distribution.attempt is not None

    def begin(self, drop: Drop, plan: ImportPlan, attempt: Attempt) -> str | None:
        """Bring a drop's image to its distribution: one that was begun, or a new one.

        Parameters
        ----------
        drop : Drop
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
        if drop.distribution.trouble is not None:
            return None
        try:
            arn = self.submission.submit(drop, self._task(drop, plan, attempt))
        except (RejectedError, RefusedError) as error:
            ours = isinstance(error, RejectedError | DeniedError)
            code = error.code if ours else Code.DISTRIBUTION_FAILED
            self.ledger.hinder(drop, Trouble(code, str(error)), Stage.DISTRIBUTION)
            stands = self.ledger.drop(drop.id, drop.ask.number)
            return None if stands is None else stands.distribution.build_arn
        self.ledger.followed(drop, arn, Stage.DISTRIBUTION)
        return arn

    def _task(self, drop: Drop, plan: ImportPlan, attempt: Attempt) -> Task:
        build_arn, how, bound = drop.build_arn, self.settings, drop.distribution.identity
        assert build_arn is not None  # noqa: S101 - for the type checker: it has ended well
        content = "" if drop.content is None else drop.content.id
        identity = bound or distribution_identity(build_arn, how.configuration_arn if how else "")
        return Task(
            stage=Stage.DISTRIBUTION,
            identity=identity,
            source=attempt.source,
            title=f"distributions of {plan.name} {plan.semantic_version}",
            request=lambda token, tags: distribution_request(
                build_arn,
                how,  # type: ignore[arg-type] # a new request is made only where there are settings
                token,
                {**plan.tags, "isodrop:content": content, **tags},
            ),
            send=self.builder.distribute,
            is_ready=lambda _: True,  # an image build version is never another
            is_there=self._is_there,
        )

    def _is_there(self, build: Build) -> bool:
        """Whether what it made is still there; a distribution need not make AMIs of its own."""
        return not build.amis or self.builder.has_its_amis(build)
