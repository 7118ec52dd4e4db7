"""Copies the image's tags to its AMI, tags the object with the answer, and updates parameters.

All of this is best effort: the answer is recorded before it starts and does not depend on it. So
:meth:`Annotator.annotate` raises no exception, and starts nothing new after 20 seconds. Each thing
that could not be written is described in one sentence in the answer's ``notes``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from isodrop.aws.errors import translate_errors
from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.s3 import is_current
from isodrop.domain.build import Build
from isodrop.domain.model import Upload
from isodrop.domain.run import ImageRecord, Run
from isodrop.errors import IsodropError, PermanentError, TransientError
from isodrop.events import ContractAmi, Event, SucceededData
from isodrop.services.latest import LatestParameters
from isodrop.text import clean_tag_value, single_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

TIME_LIMIT_SECONDS: Final = 20.0
"""Seconds after which nothing more is started."""
MAX_OBJECT_TAGS: Final = 10
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html"""
INTERRUPTED_NOTE: Final = (
    "Tags may be missing: the function may have ended before it had written them all, and they are"
    " written only once. The next sweep corrects the latest parameters."
)

_PREFIX: Final = "isodrop:"
_GONE: Final = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"})


@dataclass(frozen=True, slots=True)
class Annotator:
    """Writes the annotations.

    Attributes
    ----------
    s3, builder
        The client and adapter that it uses, with short timeouts.
    latest : LatestParameters
        Updates the parameters that name the newest image.
    clock : callable
        Returns seconds of a monotonic clock.
    """

    s3: "S3Client"
    builder: ImageBuilder
    latest: LatestParameters
    clock: Callable[[], float]

    def annotate(self, run: Run, answer: Event, build: Build | None) -> tuple[str, ...]:
        """Write all annotations of an answer.

        Parameters
        ----------
        run : Run
        answer : Event
            Its recorded answer.
        build : Build or None
            Its build, as it was read for the answer.

        Returns
        -------
        tuple of str
            What could not be written and why, one sentence each; empty on success.
        """
        deadline = self.clock() + TIME_LIMIT_SECONDS
        notes = []
        for what, write in self._annotation_writes(run, answer, build, deadline):
            try:
                self._check_time(deadline)
                problem = write()
            except Exception as error:  # noqa: BLE001 - the answer does not depend on it
                message = str(error) if isinstance(error, IsodropError) else repr(error)
                problem = single_line(message)
            if problem:
                notes.append(f"{what}: {problem}")
        return tuple(notes)

    def _annotation_writes(
        self, run: Run, answer: Event, build: Build | None, deadline: float
    ) -> Iterator[tuple[str, Callable[[], str | None]]]:
        # The object first: the parameters may take the rest of the time.
        yield (
            "The object was not fully tagged",
            lambda: self._tag_object(run.upload, object_tags(answer)),
        )
        data = answer.data
        if isinstance(data, SucceededData) and build is not None:
            for ami in self.builder.local_amis(data.amis, data.build_arn):
                yield f"{ami.id} was not tagged", lambda ami=ami: self._tag_ami(ami, build.tags)  # type: ignore[misc] # the default binds the loop's value
            image = ImageRecord.from_arn(data.build_arn, data.plan.windows_build)
            yield (
                f"{image.name}'s latest parameter may be out of date",
                lambda: self.latest.update(
                    image.name,
                    image.windows_build,
                    lambda: self._check_time(deadline),
                    build,
                    is_new=not data.reused,
                ),
            )

    def _check_time(self, deadline: float) -> None:
        if self.clock() >= deadline:
            raise TransientError(f"AWS was too slow; {TIME_LIMIT_SECONDS:.0f} s had passed")

    # ------------------------------------------------------------------ tags

    def _tag_ami(self, ami: ContractAmi, tags: Mapping[str, str]) -> None:
        """Copy the tags of the image to its AMI, which Image Builder does not do."""
        tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
        with translate_errors():
            self.builder.ec2.create_tags(Resources=[ami.id], Tags=tag_set)  # type: ignore[arg-type] # the stubs want their own dictionaries

    def _tag_object(self, upload: Upload, own_tags: Mapping[str, str]) -> str | None:
        """Tag the version that was uploaded, and keep its other tags.

        S3 replaces all tags of an object at once, so tags that are written by others between the
        read and the write are lost.
        """
        target = {"Bucket": upload.bucket, "Key": upload.key}
        if upload.unique_version_id is not None:
            target["VersionId"] = upload.unique_version_id
        elif not is_current(self.s3, upload):
            return None  # the key belongs to another upload now
        try:
            with translate_errors():
                current = self.s3.get_object_tagging(**target)["TagSet"]  # type: ignore[arg-type] # mypy checks the mapping's values against every parameter
                other_tags = {
                    tag["Key"]: tag["Value"]
                    for tag in current
                    if not tag["Key"].startswith(_PREFIX)
                }
                free = MAX_OBJECT_TAGS - len(other_tags)
                tags = other_tags | dict(list(own_tags.items())[:free])
                tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
                self.s3.put_object_tagging(**target, Tagging={"TagSet": tag_set})  # type: ignore[arg-type,typeddict-item] # as above
        except PermanentError as error:
            if error.aws_code in _GONE:
                return None  # the version was deleted
            raise
        if free < len(own_tags):
            return f"it has {len(other_tags)} other tags, and S3 allows {MAX_OBJECT_TAGS}"
        return None


def object_tags(answer: Event) -> dict[str, str]:
    """Make the tags of the object from an answer, the most useful ones first."""
    data = answer.data
    amis = data.amis if isinstance(data, SucceededData) else ()
    values = {
        "state": answer.detail_type.rsplit(" ", 1)[-1].lower(),
        "code": getattr(data, "code", None),
        "ami": amis[0].id if amis else None,
        "image": getattr(data, "build_arn", None),
    }
    return {f"{_PREFIX}{name}": clean_tag_value(value) for name, value in values.items() if value}
