"""Updates the parameters that name the newest image of an image name and a build of Windows.

An image that no longer exists is marked as retired in the ledger when it is found, so each deleted
image is checked only once. The sweep updates the parameters of all names, so a parameter that is
out of date, or whose AMI was deleted, is corrected without another import.
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
from isodrop.text import timestamp

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
    across_builds : bool
        Whether there is also a parameter for the newest image of all builds of Windows.
    now : callable
        Returns the current time, with a time zone.
    """

    builder: ImageBuilder
    ssm: "SSMClient"
    ledger: Ledger
    across_builds: bool
    now: Callable[[], datetime]

    def add(self, image: ImageRecord, check_time: Callable[[], None]) -> None:
        """Record an image, and update the parameters."""
        self.ledger.put_image(image, timestamp(self.now()))
        self.update(image.name, image.build, check_time)

    def update(self, name: str, build: int, check_time: Callable[[], None]) -> None:
        """Set the parameters to the newest image, whatever the order in which builds end.

        If no image is left, the parameters keep their values: a missing parameter would break its
        readers as well, and would no longer show which AMI it named.

        Parameters
        ----------
        name, build : str and int
            The image name in Image Builder, and the build of Windows.
        check_time : callable
            Raises an exception if there is no time for another image.

        Raises
        ------
        TransientError, PermanentError
            The parameters may be out of date; try again. Images stay retired.
        """
        self._point(
            f"/isodrop/{name}/{build}/latest",
            lambda: self.ledger.list_images(name, build),
            check_time,
        )
        if self.across_builds:
            self._point(
                f"/isodrop/{name}/latest", lambda: self.ledger.list_images(name), check_time
            )

    def _point(
        self,
        parameter: str,
        images: Callable[[], Iterable[ImageRecord]],
        check_time: Callable[[], None],
    ) -> None:
        """Write a parameter, then read the images again until the value is the newest.

        Every image is in the ledger before its parameter is written. So of two writers at the same
        time the later one finds both images, and so does the earlier one when it reads again.
        """
        written = self._value(parameter)
        known: dict[str, str | None] = {}
        for _ in range(_ROUNDS):
            newest = self._newest(images(), check_time, known)
            if newest in {None, written}:
                return
            with translate_errors():
                # https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-ec2-aliases.html
                self.ssm.put_parameter(
                    Name=parameter,
                    Value=newest,
                    Type="String",
                    DataType="aws:ec2:image",
                    Description="The newest image there is. Written by isodrop.",
                    Overwrite=True,
                )
            written = newest
        raise TransientError(f"{parameter} was changed by others {_ROUNDS} times in the meantime")

    def _value(self, parameter: str) -> str | None:
        try:
            with translate_errors():
                return self.ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
        except PermanentError as error:
            if error.aws_code == "ParameterNotFound":
                return None
            raise

    def _newest(
        self,
        images: Iterable[ImageRecord],
        check_time: Callable[[], None],
        known: dict[str, str | None],
    ) -> str | None:
        """Find the AMI of the highest version that is AVAILABLE and whose AMI exists.

        Results of earlier rounds are in ``known`` and are not read again.
        """
        for image in images:
            if image.arn in known:
                return known[image.arn]
            check_time()
            build = self.builder.get_build(image.arn)
            if build is not None and self._is_there(build):
                local = self.builder.local_amis(build.amis, build.arn)
                known[image.arn] = next((ami.id for ami in local), None)
                return known[image.arn]
            if build is None or build.phase is not BuildPhase.RUNNING:
                self._retire(image)
        return None

    def _is_there(self, build: Build) -> bool:
        return build.status == "AVAILABLE" and self.builder.amis_exist(build)

    def _retire(self, image: ImageRecord) -> None:
        # Before that, EC2 may not return the AMI of an image that exists.
        if self.now() - datetime.fromisoformat(image.known_at) >= SETTLING_TIME:
            self.ledger.retire(image)
