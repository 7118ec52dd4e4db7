"""What came of an upload, written where people look: on the AMI, on the object, into a parameter.

All of it is best effort, for convenience: the answer is certain before any of it begins and does
not depend on it. So nothing here raises, and nothing takes long: what could not be written is
told in a sentence, which goes into the answer's ``notes``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from isodrop.aws.errors import error_code, translated
from isodrop.aws.image_builder import Builder
from isodrop.aws.ledger import Ledger
from isodrop.aws.s3 import has_current
from isodrop.domain.model import Upload
from isodrop.domain.run import Drop, KnownImage
from isodrop.errors import IsodropError, RefusedError, TransientError
from isodrop.events import Event, ProducedAmi, SucceededData
from isodrop.text import clean_tag_value, one_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_ssm.client import SSMClient

BUDGET: Final = 20.0
"""Seconds after which nothing more is begun."""
MAX_OBJECT_TAGS: Final = 10
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html"""
BROKEN_OFF: Final = (
    "Tags and parameters may be missing: the function ended while it was writing them, and they"
    " are written only once."
)

_PREFIX: Final = "isodrop:"
_ROUNDS: Final = 3
_GONE: Final = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"})


@dataclass(frozen=True, slots=True)
class Annotator:
    """Everything that it takes.

    Attributes
    ----------
    s3, builder, ssm, ledger
        What it talks to; the clients with short time-outs.
    across_builds : bool
        Whether there is a parameter for the newest image of all builds, too.
    clock : callable
        Seconds that only go forward.
    """

    s3: "S3Client"
    builder: Builder
    ssm: "SSMClient"
    ledger: Ledger
    across_builds: bool
    clock: Callable[[], float]

    def annotate(self, drop: Drop, answer: Event) -> tuple[str, ...]:
        """Write all there is to write.

        Parameters
        ----------
        drop : Drop
            The upload.
        answer : Event
            Its answer, which stands.

        Returns
        -------
        tuple of str
            What could not be written and why, a sentence each; empty when all went well.
        """
        until = self.clock() + BUDGET
        notes = []
        for what, write in self._jobs(drop, answer, until):
            try:
                self._check_time(until)
                left_out = write()
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer does not hang on it
                said = str(error) if isinstance(error, IsodropError) else repr(error)
                left_out = one_line(said)
            if left_out:
                notes.append(f"{what}: {left_out}")
        return tuple(notes)

    def _jobs(
        self, drop: Drop, answer: Event, until: float
    ) -> Iterator[tuple[str, Callable[[], str | None]]]:
        data = answer.data
        if isinstance(data, SucceededData):
            for ami in self.builder.here(data.amis, data.build_arn):
                yield f"{ami.id} was not tagged", lambda ami=ami: self._tag_ami(drop, ami)  # type: ignore[misc] # the default binds the loop's value
            image = KnownImage.of(data.build_arn, data.plan.build)
            yield (
                f"{image.name}'s latest parameter is not certain to be up to date",
                lambda: self._point(image, until),
            )
        yield (
            "The object was not fully tagged",
            lambda: self._tag_object(drop.upload, object_tags(answer)),
        )

    def _check_time(self, until: float) -> None:
        if self.clock() >= until:
            raise TransientError(f"AWS was too slow; {BUDGET:.0f} s had passed")

    # ------------------------------------------------------------------ tags

    def _tag_ami(self, drop: Drop, ami: ProducedAmi) -> None:
        """Give an AMI the tags that its image was made with: Image Builder does not."""
        assert drop.identity is not None  # noqa: S101 - for the type checker: there is an image
        assert drop.attempt is not None  # noqa: S101 - likewise
        request = self.ledger.attempts(drop.identity)[drop.attempt].request
        tags = [{"Key": key, "Value": value} for key, value in request["tags"].items()]
        with translated():
            self.builder.ec2.create_tags(Resources=[ami.id], Tags=tags)  # type: ignore[arg-type] # the stubs want their own dictionaries

    def _tag_object(self, upload: Upload, ours: Mapping[str, str]) -> str | None:
        """Tag the very version that was uploaded, and keep what other tags it has.

        S3 takes tags only as a whole: what somebody else writes between the reading and the
        writing is lost.
        """
        where = {"Bucket": upload.bucket, "Key": upload.key}
        if upload.version is not None:
            where["VersionId"] = upload.version
        elif not has_current(self.s3, upload):
            return None  # what lies there now is another upload's
        try:
            with translated():
                there = self.s3.get_object_tagging(**where)["TagSet"]  # type: ignore[arg-type] # the stubs see every keyword in the mapping
                theirs = {
                    tag["Key"]: tag["Value"] for tag in there if not tag["Key"].startswith(_PREFIX)
                }
                room = MAX_OBJECT_TAGS - len(theirs)
                tags = theirs | dict(list(ours.items())[:room])
                tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
                self.s3.put_object_tagging(**where, Tagging={"TagSet": tag_set})  # type: ignore[arg-type,typeddict-item] # likewise
        except RefusedError as error:
            if isinstance(error.__cause__, ClientError) and error_code(error.__cause__) in _GONE:
                return None  # deleted for good: there is nothing to tag
            raise
        if room < len(ours):
            return f"it has {len(theirs)} other tags, and S3 allows {MAX_OBJECT_TAGS}"
        return None

    # ------------------------------------------------------------------ the latest

    def _point(self, image: KnownImage, until: float) -> None:
        """Let the parameters name the newest image, whatever the order in which builds end."""
        self.ledger.know(image)
        self._point_at_newest(
            f"/isodrop/{image.name}/{image.build}/latest",
            lambda: (each for each in self.ledger.images(image.name) if each.build == image.build),
            until,
        )
        if self.across_builds:
            self._point_at_newest(
                f"/isodrop/{image.name}/latest", lambda: self.ledger.images(image.name), until
            )

    def _point_at_newest(
        self, parameter: str, images: Callable[[], Iterable[KnownImage]], until: float
    ) -> None:
        """Write a parameter, and look again: who writes last has seen what all had to say.

        Every image is in the ledger before its parameter is written. So of two that end at the
        same time the later writer sees both, and the earlier one at its second look.
        """
        written = self._value(parameter)
        for _ in range(_ROUNDS):
            newest = self._newest(images(), until)
            if newest in {None, written}:
                return
            with translated():
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
            with translated():
                return self.ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
        except RefusedError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and error_code(cause) == "ParameterNotFound":
                return None
            raise

    def _newest(self, images: Iterable[KnownImage], until: float) -> str | None:
        """Find the AMI of the highest version that is AVAILABLE and still has it."""
        for image in sorted(images, key=lambda image: image.order, reverse=True):
            self._check_time(until)
            build = self.builder.describe(image.arn)
            if build is None or build.status != "AVAILABLE" or not self.builder.has_its_amis(build):
                continue
            return next((ami.id for ami in self.builder.here(build.amis, build.arn)), None)
        return None


def object_tags(answer: Event) -> dict[str, str]:
    """Say an answer in tags for the object; the ones that tell most come first."""
    data = answer.data
    amis = data.amis if isinstance(data, SucceededData) else ()
    told = {
        "state": answer.detail_type.rsplit(" ", 1)[-1].lower(),
        "code": getattr(data, "code", None),
        "ami": amis[0].id if amis else None,
        "image": getattr(data, "build_arn", None),
    }
    return {f"{_PREFIX}{name}": clean_tag_value(value) for name, value in told.items() if value}
