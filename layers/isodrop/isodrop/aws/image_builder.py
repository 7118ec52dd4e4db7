"""EC2 Image Builder: submits imports and distributions, and reads builds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.config import Config

from isodrop.aws.config import CONFIG
from isodrop.aws.errors import translate_errors
from isodrop.domain.arn import Arn
from isodrop.domain.build import Ami, AmiLike, Build, StepCount
from isodrop.domain.build_requests import Request
from isodrop.errors import PermanentError, TransientError
from isodrop.text import single_line

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_imagebuilder.client import ImagebuilderClient
    from mypy_boto3_imagebuilder.type_defs import ImageTypeDef, RegionFailureTypeDef


_GONE: Final = "ResourceNotFoundException"
_AWS_TAGS: Final = "aws:"  # only AWS writes tags with this prefix
_NO_AMI: Final = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"})


@dataclass(frozen=True, slots=True)
class ImageBuilder:
    """The clients of Image Builder, and of EC2 for the AMIs that it creates."""

    imagebuilder: "ImagebuilderClient"
    ec2: "EC2Client"

    @classmethod
    def connect(cls, session: "Session", config: Config = CONFIG) -> "ImageBuilder":
        """Make the clients for a boto3 session's account and Region."""
        return cls(
            imagebuilder=session.client("imagebuilder", config=config),
            ec2=session.client("ec2", config=config),
        )

    def import_disk_image(self, request: Request) -> str:
        """Send a stored import request; returns the ARN of its build.

        Sending the same request again is safe: Image Builder returns the original response for a
        known client token.

        Returns
        -------
        str
            The image build version's ARN.

        Raises
        ------
        TransientError, QuotaError
            Temporary; try again later.
        PermanentError, AccessDeniedError
            Image Builder refused the request.
        """
        with translate_errors():
            return self.imagebuilder.import_disk_image(**request)["imageBuildVersionArn"]

    def distribute_image(self, request: Request) -> str:
        """Send a stored distribution request, in the same way as :meth:`import_disk_image`.

        Returns
        -------
        str
            The ARN of the image build version with which the distribution is tracked.

        Raises
        ------
        TransientError, QuotaError, PermanentError, AccessDeniedError
        """
        with translate_errors():
            return self.imagebuilder.distribute_image(**request)["imageBuildVersionArn"]

    def find_build_by_tags(self, request: Request) -> str | None:
        """Find the build of a stored request that may have been sent before, by its tags.

        How long Image Builder keeps a client token is not documented, so the tags are used as well.
        A very new build may not be found by its tags, but the client token covers that case. The
        name and version of a distribution's build are not documented either, so that build is
        searched for among the build versions of the source image.

        Returns
        -------
        str or None
            The image build version's ARN.

        Raises
        ------
        TransientError, PermanentError
            The call to Image Builder failed.

        See Also
        --------
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListImageBuildVersions.html
        """
        if "sourceImage" in request:
            image_version_arn = request["sourceImage"].rpartition("/")[0]
        else:
            infrastructure = Arn.parse(request["infrastructureConfigurationArn"])
            image = f"image/{request['name']}/{request['semanticVersion']}"
            image_version_arn = str(infrastructure.sibling("imagebuilder", image))
        pages = self.imagebuilder.get_paginator("list_image_build_versions")
        with translate_errors():
            for page in pages.paginate(imageVersionArn=image_version_arn):
                for build in page.get("imageSummaryList", []):
                    if build.get("tags", {}).items() >= request["tags"].items():
                        return build["arn"]
        return None

    def get_build(self, arn: str) -> Build | None:
        """Get a build by its full ARN; ``None`` if it does not exist or no longer exists.

        Raises
        ------
        TransientError, PermanentError
            The call to Image Builder failed.

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

    def cancel_build(self, arn: str) -> None:
        """Request the cancellation of a running build.

        Raises
        ------
        TransientError, PermanentError
            Image Builder refused, for example because the build has ended.

        See Also
        --------
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CancelImageCreation.html
        """
        with translate_errors():
            # botocore generates the client token: a build that is retried by hand and cancelled
            # again needs a different one.
            self.imagebuilder.cancel_image_creation(imageBuildVersionArn=arn)  # type: ignore[call-arg] # the stubs do not know that

    def count_steps(self, arn: str) -> StepCount:
        """Count a build's workflow steps. They are only informational, so errors are ignored.

        Returns
        -------
        StepCount
            Zeros if Image Builder does not return them.
        """
        try:
            with translate_errors():
                response = self.imagebuilder.list_workflow_executions(imageBuildVersionArn=arn)
        except (TransientError, PermanentError):
            return StepCount(0, 0)
        executions = response.get("workflowExecutions", [])
        return StepCount(
            done=sum(execution.get("totalStepsSucceeded", 0) for execution in executions),
            total=sum(execution.get("totalStepCount", 0) for execution in executions),
        )

    def local_amis(self, amis: Iterable[AmiLike], build_arn: str) -> list[AmiLike]:
        """List the AMIs of a build in this Region and account; EC2 does not return others.

        If Image Builder does not return the account, it is this one.
        """
        region, account = self.ec2.meta.region_name, Arn.parse(build_arn).account
        return [ami for ami in amis if ami.region == region and ami.account in ("", account)]

    def amis_exist(self, build: Build) -> bool:
        """Whether EC2 returns all AMIs of a build in this Region and account.

        An AMI that it does not return is deregistered or too new; see
        :data:`~isodrop.domain.build.SETTLING_TIME`. If a build has AMIs only elsewhere, the result
        is ``True``; if it has none, ``False``.

        Raises
        ------
        TransientError, PermanentError
            The call to EC2 failed.
        """
        ids = [ami.id for ami in self.local_amis(build.amis, build.arn)]
        if not ids:
            return bool(build.amis)
        try:
            with translate_errors():
                images = self.ec2.describe_images(ImageIds=ids)["Images"]
        except PermanentError as error:
            if error.aws_code in _NO_AMI:
                return False
            raise
        return {image.get("ImageId") for image in images} == set(ids)


def _parse_build(arn: str, image: "ImageTypeDef") -> Build:
    state = image.get("state", {})
    failure = state.get("failureContext", {})
    distribution = failure.get("distributionFailure", {})
    errors = (
        failure.get("componentFailure", {}).get("errorMessage"),
        distribution.get("errorMessage"),
        *map(_describe_region_failure, distribution.get("regionFailures", [])),
    )
    name, version, number = Arn.parse(arn).resource.removeprefix("image/").split("/")
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
        tags={
            key: value
            for key, value in image.get("tags", {}).items()
            if not key.lower().startswith(_AWS_TAGS)
        },
    )


def _describe_region_failure(failure: "RegionFailureTypeDef") -> str:
    """Describe the failure of a distribution in one Region and account."""
    where = " ".join(
        filter(None, (failure.get("region"), failure.get("targetAccountId", "").strip()))
    )
    what = failure.get("errorMessage") or failure.get("status", "FAILED")
    return f"{where}: {what}" if where else what


def _join_messages(messages: Iterable[str | None]) -> str | None:
    """Join the messages that are not empty, escaped; ``None`` if there are none."""
    return " ".join(single_line(each) for each in messages if each) or None
