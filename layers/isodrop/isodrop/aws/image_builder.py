"""EC2 Image Builder: import and distribution as exact requests, and a build as it stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.config import Config

from isodrop.aws.config import CONFIG
from isodrop.aws.errors import translate_errors
from isodrop.domain.build import Ami, AnAmi, Build, StepCount
from isodrop.domain.build_requests import Request
from isodrop.errors import PermanentError, TransientError
from isodrop.text import single_line

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_imagebuilder.client import ImagebuilderClient
    from mypy_boto3_imagebuilder.type_defs import ImageTypeDef, RegionFailureTypeDef


_GONE: Final = "ResourceNotFoundException"
_NO_AMI: Final = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"})


@dataclass(frozen=True, slots=True)
class ImageBuilder:
    """Image Builder and the EC2 whose AMIs it makes."""

    imagebuilder: "ImagebuilderClient"
    ec2: "EC2Client"

    @classmethod
    def connect(cls, session: "Session", config: Config = CONFIG) -> "ImageBuilder":
        """Make the clients of a boto3 session's account and Region."""
        return cls(
            imagebuilder=session.client("imagebuilder", config=config),
            ec2=session.client("ec2", config=config),
        )

    def import_disk_image(self, request: Request) -> str:
        """Send a frozen import request, and say which build it led to.

        Sending the very same request again is safe: Image Builder answers a client token
        that it knows with the original response.

        Returns
        -------
        str
            The image build version's ARN.

        Raises
        ------
        TransientError, QuotaError
            Not now; later.
        PermanentError, AccessDeniedError
            Not like this.
        """
        with translate_errors():
            return self.imagebuilder.import_disk_image(**request)["imageBuildVersionArn"]

    def distribute_image(self, request: Request) -> str:
        """Send a frozen distribution request; :meth:`submit`'s words are true of it, too.

        Returns
        -------
        str
            The ARN of the image build version that the distribution makes and is followed by.

        Raises
        ------
        TransientError, QuotaError, PermanentError, AccessDeniedError
        """
        with translate_errors():
            return self.imagebuilder.distribute_image(**request)["imageBuildVersionArn"]

    def find_build_by_tags(self, request: Request) -> str | None:
        """Look for the build that an earlier sending of a frozen request led to, by its tags.

        How long Image Builder knows a client token is not documented; the tags stay. A build
        that is very new may be missed, and for that there is the token. Under which name and
        version a distribution is kept is not documented, either; it is looked for where the image
        is that it came of.

        Returns
        -------
        str or None
            The image build version's ARN.

        Raises
        ------
        TransientError, PermanentError
            Image Builder did not return it.

        See Also
        --------
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListImageBuildVersions.html
        """
        if "sourceImage" in request:
            version = request["sourceImage"].rpartition("/")[0]
        else:
            here = request["infrastructureConfigurationArn"].rpartition(":")[0]
            version = f"{here}:image/{request['name']}/{request['semanticVersion']}"
        pages = self.imagebuilder.get_paginator("list_image_build_versions")
        with translate_errors():
            for page in pages.paginate(imageVersionArn=version):
                for build in page.get("imageSummaryList", []):
                    if build.get("tags", {}).items() >= request["tags"].items():
                        return build["arn"]
        return None

    def get_build(self, arn: str) -> Build | None:
        """Ask for a build by its full ARN; ``None`` when there is none (any more).

        Raises
        ------
        TransientError, PermanentError
            Image Builder did not return it.

        See Also
        --------
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetImage.html
        """
        try:
            with translate_errors():
                image = self.imagebuilder.get_image(imageBuildVersionArn=arn).get("image")
        except PermanentError as error:
            if error.aws_code == _GONE:
                return None
            raise
        return None if image is None else _parse_build(arn, image)

    def cancel(self, arn: str) -> None:
        """Begin to cancel a build that runs.

        Raises
        ------
        TransientError, PermanentError
            When Image Builder does not, because it is over for one.

        See Also
        --------
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CancelImageCreation.html
        """
        with translate_errors():
            # botocore makes the token: a build that was cancelled, retried by hand and cancelled
            # again needs another one.
            self.imagebuilder.cancel_image_creation(imageBuildVersionArn=arn)  # type: ignore[call-arg] # the stubs do not know that

    def count_steps(self, arn: str) -> StepCount:
        """Count a build's workflow steps: for people to see it move, so never a reason to fail.

        Returns
        -------
        StepCount
            Zeros where Image Builder does not say.
        """
        try:
            with translate_errors():
                runs = self.imagebuilder.list_workflow_executions(imageBuildVersionArn=arn)
        except (TransientError, PermanentError):
            return StepCount(0, 0)
        listed = runs.get("workflowExecutions", [])
        return StepCount(
            done=sum(run.get("totalStepsSucceeded", 0) for run in listed),
            total=sum(run.get("totalStepCount", 0) for run in listed),
        )

    def local_amis(self, amis: Iterable[AnAmi], build_arn: str) -> list[AnAmi]:
        """List the AMIs of a build in this Region and account: EC2 shows us no others.

        Image Builder need not say the account; where it does not, it is ours.
        """
        region, account = self.ec2.meta.region_name, build_arn.split(":")[4]
        return [ami for ami in amis if ami.region == region and ami.account in ("", account)]

    def amis_exist(self, build: Build) -> bool:
        """Whether EC2 knows the AMIs that a build made in this Region and account.

        One that it does not know may be deregistered, or too new; see
        :data:`~isodrop.domain.build.SETTLING_TIME`.

        Raises
        ------
        TransientError, PermanentError
            EC2 did not return them.
        """
        ids = [ami.id for ami in self.local_amis(build.amis, build.arn)]
        if not ids:
            return bool(build.amis)
        try:
            with translate_errors():
                found = self.ec2.describe_images(ImageIds=ids)["Images"]
        except PermanentError as error:
            if error.aws_code in _NO_AMI:
                return False
            raise
        return {image.get("ImageId") for image in found} == set(ids)


def _parse_build(arn: str, image: "ImageTypeDef") -> Build:
    state = image.get("state", {})
    failure = state.get("failureContext", {})
    distribution = failure.get("distributionFailure", {})
    errors = (
        failure.get("componentFailure", {}).get("errorMessage"),
        distribution.get("errorMessage"),
        *map(_of_a_region, distribution.get("regionFailures", [])),
    )
    name, version, number = arn.rsplit(":", 1)[-1].removeprefix("image/").split("/")
    logging = image.get("loggingConfiguration", {})
    return Build(
        arn=arn,
        status=state.get("status", "UNKNOWN"),
        reason=_join_messages([state.get("reason")]),
        failed_step=_join_messages([failure.get("failedStep")]),
        error=_join_messages(errors),
        amis=tuple(
            Ami(
                id=ami.get("image", ""),
                region=ami.get("region", ""),
                account=ami.get("accountId", ""),
                name=ami.get("name", ""),
            )
            for ami in image.get("outputResources", {}).get("amis", [])
        ),
        log_group=logging.get("logGroupName") or f"/aws/imagebuilder/{image.get('name', name)}",
        log_stream=f"{version}/{number}",
    )


def _of_a_region(failure: "RegionFailureTypeDef") -> str:
    """Say where a distribution failed, and why; each Region and account fails for itself."""
    where = " ".join(
        filter(None, (failure.get("region"), failure.get("targetAccountId", "").strip()))
    )
    what = failure.get("errorMessage") or failure.get("status", "FAILED")
    return f"{where}: {what}" if where else what


def _join_messages(words: Iterable[str | None]) -> str | None:
    """Join the words that there are, fit to be told on; ``None`` for none."""
    return " ".join(single_line(each) for each in words if each) or None
