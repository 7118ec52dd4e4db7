"""Updates the parameters that point to the newest image of each name and Windows build.

An image that turns out not to be available anymore (deleted, deprecated, disabled, or without its
AMI) is marked as retired in the ledger, so it is checked only once. The sweep updates the
parameters of all names, so a parameter that is out of date, or whose AMI was deleted, is corrected
without another import.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from isodrop.aws.errors import translate_errors
from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.domain.build import SETTLING_TIME, Build, BuildPhase
from isodrop.domain.run import ImageRecord
from isodrop.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_ssm.client import SSMClient

_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class LatestParameters:
    """Updates the latest parameters.

    Attributes
    ----------
    builder, ssm, ledger
        The adapters and the client that it uses.
    across_windows_builds : bool
        Whether there is also a parameter for the newest image of all Windows builds.
    now : callable
        Returns the current time, with a time zone.
    """

    builder: ImageBuilder
    ssm: "SSMClient"
    ledger: Ledger
    across_windows_builds: bool
    now: Callable[[], datetime]

    def update(
        self,
        name: str,
        windows_build: int,
        check_time: Callable[[], None],
        verified_build: Build | None = None,
        *,
        is_new: bool = False,
    ) -> None:
        """Set the parameters to the newest image, in whatever order Image Builder finishes builds.

        If no image is left, the parameters keep their values: a missing parameter would break its
        readers as well, and would no longer show which AMI it named.

        Parameters
        ----------
        name, windows_build : str and int
            The image name in Image Builder, and the Windows build.
        check_time : callable
            Raises an exception if there is no time for another image.
        verified_build : Build, optional
            A build that was just read, and whose AMIs were just found; it is not read again.
        is_new : bool
            Whether no earlier answer named the image, so that no parameter names it yet.

        Raises
        ------
        TransientError, PermanentError
            The parameters may be out of date; try again. Images that were marked as retired stay
            so.
        """
        known: dict[str, str | None] = {}
        if verified_build is not None and verified_build.status == "AVAILABLE":
            known[verified_build.arn] = self._local_ami_id(verified_build)
        images = self.ledger.list_images
        unnamed_ami_id = (
            known.get(verified_build.arn) if is_new and verified_build is not None else None
        )
        self._update_parameter(
            f"/isodrop/{name}/{windows_build}/latest",
            lambda: images(name, windows_build),
            check_time,
            known,
            unnamed_ami_id,
        )
        if self.across_windows_builds:
            self._update_parameter(
                f"/isodrop/{name}/latest", lambda: images(name), check_time, known, unnamed_ami_id
            )

    def _update_parameter(
        self,
        parameter: str,
        images: Callable[[], Iterable[ImageRecord]],
        check_time: Callable[[], None],
        known: dict[str, str | None],
        unnamed_ami_id: str | None,
    ) -> None:
        """Write a parameter, then read the images again until the value is the newest.

        Every image is in the ledger before its parameter is written. So of two writers at the same
        time the later one finds both images, and so does the earlier one when it reads again.
        """
        written: str | None = None
        is_read = False
        for _ in range(_ROUNDS):
            newest = self._find_newest(images(), check_time, known)
            if newest is None:
                return
            if not is_read and written is None and newest != unnamed_ami_id:
                written, is_read = self._read_parameter(parameter), True
            if newest == written:
                return
            with translate_errors():
                # https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-ec2-aliases.html
                self.ssm.put_parameter(
                    Name=parameter,
                    Value=newest,
                    Type="String",
                    DataType="aws:ec2:image",
                    Description="The newest available image. Written by isodrop.",
                    Overwrite=True,
                )
            written = newest
        raise TransientError(
            f"the newest image of {parameter} changed {_ROUNDS} times while it was written"
        )

    def _read_parameter(self, parameter: str) -> str | None:
        try:
            with translate_errors():
                return self.ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
        except PermanentError as error:
            if error.aws_code == "ParameterNotFound":
                return None
            raise

    def _find_newest(
        self,
        images: Iterable[ImageRecord],
        check_time: Callable[[], None],
        known: dict[str, str | None],
    ) -> str | None:
        """Find the AMI of the highest version that is AVAILABLE and whose AMI exists.

        Images in ``known``, such as those of earlier rounds, are not read again.
        """
        for image in images:
            if image.arn in known:
                return known[image.arn]
            check_time()
            build = self.builder.get_build(image.arn)
            if build is not None and self._is_available(build):
                known[image.arn] = self._local_ami_id(build)
                return known[image.arn]
            if build is None or build.phase is not BuildPhase.RUNNING:
                self._retire(image)
        return None

    def _local_ami_id(self, build: Build) -> str | None:
        local = self.builder.local_amis(build.amis, build.arn)
        return next((ami.id for ami in local), None)

    def _is_available(self, build: Build) -> bool:
        return build.status == "AVAILABLE" and self.builder.amis_exist(build)

    def _retire(self, image: ImageRecord) -> None:
        # EC2 may not return the AMI of an image that was recorded just now, although it exists.
        if self.now() - datetime.fromisoformat(image.recorded_at) >= SETTLING_TIME:
            self.ledger.retire(image)
