"""EC2 Image Builder: import and distribution as exact requests, and a build as it stands."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from botocore.config import Config
from botocore.exceptions import ClientError

from isodrop.aws import CONFIG, error_code, translated
from isodrop.codes import RefusedError, TransientError
from isodrop.plan import DistributionSettings, ImportPlan, ImportSettings, Upload
from isodrop.wording import one_line

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_imagebuilder.client import ImagebuilderClient
    from mypy_boto3_imagebuilder.type_defs import ImageTypeDef

Request = Mapping[str, Any]
"""The parameters of one ImportDiskImage or DistributeImage call: plain JSON, sent as frozen."""

UEFI_DATA_LIMIT: Final = 64_000
"""Characters of ``registerImageOptions.uefiData`` at the most."""

NEW_AMI_GRACE: Final = timedelta(minutes=10)
"""How long the AMIs of a build that has just become AVAILABLE may be missing from AWS's answers.
EC2 is eventually consistent and was seen not to know a new AMI for minutes.
https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html"""

_GONE: Final = "ResourceNotFoundException"
_NO_AMI: Final = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"})


class Phase(StrEnum):
    """What one of Image Builder's twelve statuses means for an import."""

    RUNNING = "running"
    """The build goes on; so does one whose status we do not know."""
    GOOD = "good"
    """There is an image that can be used."""
    BAD = "bad"
    """There is no image, and from this build there will be none."""


_PHASES: Final = {
    "AVAILABLE": Phase.GOOD,
    "DEPRECATED": Phase.GOOD,  # its AMI can still be used
    "FAILED": Phase.BAD,
    "CANCELLED": Phase.BAD,
    "DELETED": Phase.BAD,
    "DISABLED": Phase.BAD,  # its AMI cannot be launched
}


@dataclass(frozen=True, slots=True)
class Ami:
    """One AMI that came of a build."""

    id: str
    region: str
    account: str
    name: str


class _Placed(Protocol):
    """What says where an AMI is."""

    @property
    def region(self) -> str: ...

    @property
    def account(self) -> str: ...


AnAmi = TypeVar("AnAmi", bound=_Placed)


@dataclass(frozen=True, slots=True)
class Build:
    """One image build version, as GetImage describes it.

    Attributes
    ----------
    arn : str
        The image build version's ARN.
    status : str
        One of Image Builder's statuses, or one we do not know yet.
    reason, failed_step, error : str or None
        What it says of a failure: the state's reason, the workflow step, and the
        component's or the distribution's own message; escaped and bounded.
    amis : tuple of Ami
    log_group, log_stream : str
        Where the build writes its log, once it ends.
    """

    arn: str
    status: str
    reason: str | None
    failed_step: str | None
    error: str | None
    amis: tuple[Ami, ...]
    log_group: str
    log_stream: str

    @property
    def phase(self) -> Phase:
        """What the status means for an import."""
        return _PHASES.get(self.status, Phase.RUNNING)


@dataclass(frozen=True, slots=True)
class Steps:
    """How far a build's workflows have come: steps done, and steps in all (0 if unknown)."""

    done: int
    total: int


def import_request(
    plan: ImportPlan, upload: Upload, settings: ImportSettings, token: str, tags: Mapping[str, str]
) -> Request:
    """Make the one request of an import. Every field that ImportDiskImage has is decided here.

    Parameters
    ----------
    plan, upload, settings
        What was decided, where it lies, and what the stack says of every import.
    token : str
        The client token, 36 characters.
    tags : mapping of str to str
        What the ledger knows beside the plan's tags.

    Returns
    -------
    Request
        Plain JSON, to be frozen in the ledger before it is first sent.

    See Also
    --------
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
    """
    request: dict[str, Any] = {
        "clientToken": token,
        "name": plan.name,
        "semanticVersion": plan.semantic_version,
        "description": plan.description,
        "platform": "Windows",
        "osVersion": "Microsoft Windows 11",
        "infrastructureConfigurationArn": settings.infrastructure_configuration_arn,
        "uri": f"s3://{upload.bucket}/{upload.key}",
        "windowsConfiguration": {"imageIndex": plan.image_index},
        "tags": {**plan.tags, **tags},
    }
    register: dict[str, Any] = {}
    if settings.secure_boot is not None:
        register["secureBootEnabled"] = settings.secure_boot
    if settings.uefi_data is not None:
        register["uefiData"] = settings.uefi_data
    if register:
        request["registerImageOptions"] = register
    if settings.execution_role is not None:
        request["executionRole"] = settings.execution_role
    if settings.log_group_name is not None:
        request["loggingConfiguration"] = {"logGroupName": settings.log_group_name}
    return request


def distribution_request(
    build_arn: str, how: DistributionSettings, token: str, tags: Mapping[str, str]
) -> Request:
    """Make the one request of a distribution. Every field of DistributeImage is decided here.

    Parameters
    ----------
    build_arn : str
        The finished image's build version.
    how : DistributionSettings
    token : str
        The client token, 36 characters.
    tags : mapping of str to str
        For the image resource that the distribution makes.

    Returns
    -------
    Request
        Plain JSON, to be frozen in the ledger before it is first sent.

    See Also
    --------
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DistributeImage.html
    """
    request: dict[str, Any] = {
        "clientToken": token,
        "sourceImage": build_arn,
        "distributionConfigurationArn": how.configuration_arn,
        "executionRole": how.execution_role,
        "tags": dict(tags),
    }
    if how.log_group_name is not None:
        request["loggingConfiguration"] = {"logGroupName": how.log_group_name}
    return request


@dataclass(frozen=True, slots=True)
class Builder:
    """Image Builder and the EC2 whose AMIs it makes."""

    imagebuilder: "ImagebuilderClient"
    ec2: "EC2Client"

    @classmethod
    def connect(cls, session: "Session", config: Config = CONFIG) -> "Builder":
        """Make the clients of a boto3 session's account and Region."""
        return cls(
            imagebuilder=session.client("imagebuilder", config=config),
            ec2=session.client("ec2", config=config),
        )

    def submit(self, request: Request) -> str:
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
        RefusedError, DeniedError
            Not like this.
        """
        with translated():
            return self.imagebuilder.import_disk_image(**request)["imageBuildVersionArn"]

    def distribute(self, request: Request) -> str:
        """Send a frozen distribution request; :meth:`submit`'s words are true of it, too.

        Returns
        -------
        str
            The ARN of the image build version that the distribution makes and is followed by.

        Raises
        ------
        TransientError, QuotaError, RefusedError, DeniedError
        """
        with translated():
            return self.imagebuilder.distribute_image(**request)["imageBuildVersionArn"]

    def find(self, request: Request) -> str | None:
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
        TransientError, RefusedError
            When Image Builder does not say.

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
        with translated():
            for page in pages.paginate(imageVersionArn=version):
                for build in page.get("imageSummaryList", []):
                    if build.get("tags", {}).items() >= request["tags"].items():
                        return build["arn"]
        return None

    def describe(self, arn: str) -> Build | None:
        """Ask for a build by its full ARN; ``None`` when there is none (any more).

        Raises
        ------
        TransientError, RefusedError
            When Image Builder does not say.

        See Also
        --------
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetImage.html
        """
        try:
            with translated():
                image = self.imagebuilder.get_image(imageBuildVersionArn=arn).get("image")
        except RefusedError as error:
            if isinstance(error.__cause__, ClientError) and error_code(error.__cause__) == _GONE:
                return None
            raise
        return None if image is None else _build(arn, image)

    def cancel(self, arn: str) -> None:
        """Begin to cancel a build that runs.

        Raises
        ------
        TransientError, RefusedError
            When Image Builder does not, because it is over for one.

        See Also
        --------
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CancelImageCreation.html
        """
        with translated():
            # botocore makes the token: a build that was cancelled, retried by hand and cancelled
            # again needs another one.
            self.imagebuilder.cancel_image_creation(imageBuildVersionArn=arn)  # type: ignore[call-arg] # the stubs do not know that

    def steps(self, arn: str) -> Steps:
        """Count a build's workflow steps: for people to see it move, so never a reason to fail.

        Returns
        -------
        Steps
            Zeros where Image Builder does not say.
        """
        try:
            with translated():
                runs = self.imagebuilder.list_workflow_executions(imageBuildVersionArn=arn)
        except (TransientError, RefusedError):
            return Steps(0, 0)
        listed = runs.get("workflowExecutions", [])
        return Steps(
            done=sum(run.get("totalStepsSucceeded", 0) for run in listed),
            total=sum(run.get("totalStepCount", 0) for run in listed),
        )

    def here(self, amis: Iterable[AnAmi], build_arn: str) -> list[AnAmi]:
        """List the AMIs of a build in this Region and account: EC2 shows us no others.

        Image Builder need not say the account; where it does not, it is ours.
        """
        region, account = self.ec2.meta.region_name, build_arn.split(":")[4]
        return [ami for ami in amis if ami.region == region and ami.account in ("", account)]

    def has_its_amis(self, build: Build) -> bool:
        """Whether EC2 knows the AMIs that a build made in this Region and account.

        One that it does not know may be deregistered, or too new: see :data:`NEW_AMI_GRACE`.

        Raises
        ------
        TransientError, RefusedError
            When EC2 does not say.
        """
        ids = [ami.id for ami in self.here(build.amis, build.arn)]
        if not ids:
            return bool(build.amis)
        try:
            with translated():
                found = self.ec2.describe_images(ImageIds=ids)["Images"]
        except RefusedError as error:
            if isinstance(error.__cause__, ClientError) and error_code(error.__cause__) in _NO_AMI:
                return False
            raise
        return {image.get("ImageId") for image in found} == set(ids)


def _build(arn: str, image: "ImageTypeDef") -> Build:
    state = image.get("state", {})
    failure = state.get("failureContext", {})
    errors = (
        failure.get("componentFailure", {}).get("errorMessage"),
        failure.get("distributionFailure", {}).get("errorMessage"),
    )
    name, version, number = arn.rsplit(":", 1)[-1].removeprefix("image/").split("/")
    logging = image.get("loggingConfiguration", {})
    return Build(
        arn=arn,
        status=state.get("status", "UNKNOWN"),
        reason=_said([state.get("reason")]),
        failed_step=_said([failure.get("failedStep")]),
        error=_said(errors),
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


def _said(words: Iterable[str | None]) -> str | None:
    """Join the words that there are, fit to be told on; ``None`` for none."""
    return " ".join(one_line(each) for each in words if each) or None
