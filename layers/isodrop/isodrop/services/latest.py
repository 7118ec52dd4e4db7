"""The parameter that names the newest image of a name and a build of Windows.

An image that is gone is retired from the ledger when it is met, so that however many higher
versions were deleted, each of them is looked at once and never again. The sweep does the same for
all names, so a parameter that was left behind, or whose AMI was deleted, is mended without another
import.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
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
    """Everything that it takes.

    Attributes
    ----------
    builder, ssm, ledger
        What it talks to.
    across_builds : bool
        Whether there is a parameter for the newest image of all builds, too.
    now : callable
        Returns the current time, with a time zone.
    """

    builder: ImageBuilder
    ssm: "SSMClient"
    ledger: Ledger
    across_builds: bool
    now: Callable[[], datetime]

    def add(self, image: ImageRecord, check_time: Callable[[], None]) -> None:
        """Write that there is an image, and let the parameters name the newest."""
        self.ledger.put_image(image, self.now().astimezone(UTC).isoformat(timespec="milliseconds"))
        self.update(image.name, image.build, check_time)

    def update(self, name: str, build: int, check_time: Callable[[], None]) -> None:
        """Let the parameters name the newest image, whatever the order in which builds end.

        Where no image is left they stay as they are: a parameter that is gone would break who
        reads it no less, and would not say what it was.

        Parameters
        ----------
        name, build : str and int
            Of the images: Image Builder's name, and Windows' build.
        check_time : callable
            Raises when there is no time for another image.

        Raises
        ------
        TransientError, PermanentError
            Not certain to be up to date. What was retired stays retired: come again.
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
        """Write a parameter, and look again: who writes last has seen what all had to say.

        Every image is in the ledger before its parameter is written. So of two that end at the
        same time the later writer sees both, and the earlier one at its second look.
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
        raise TransientError(f"{parameter} was moved by others {_ROUNDS} times meanwhile")

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
        """Find the AMI of the first, the highest, version that is AVAILABLE and still has it.

        What was found a moment ago is in ``known``, and is not looked for again.
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
        # Before that EC2 may not know the AMI of an image that is there.
        if self.now() - datetime.fromisoformat(image.known_at) >= SETTLING_TIME:
            self.ledger.retire(image)
