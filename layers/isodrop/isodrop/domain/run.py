"""The values that the ledger stores: runs, attempts and images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple

from isodrop.codes import Code, Rejection
from isodrop.domain.arn import Arn
from isodrop.domain.content import Content
from isodrop.domain.model import ImportPlan, RunRequest, Upload


class RunState(StrEnum):
    """Whether a run has its answer; the key of the index ``ByState``."""

    OPEN = "open"
    """Its answer has not been published, or it is unknown whether it has."""
    ANSWERED = "answered"


class BuildKind(StrEnum):
    """The two parts of a run that start a build in Image Builder."""

    IMPORT = "import"
    DISTRIBUTION = "distribution"
    """The distribution of the image to other Regions and accounts, if the stack does that."""


class AttemptStatus(StrEnum):
    """What is known about an attempt."""

    PREPARED = "prepared"
    """Its request has not been sent."""
    SUBMITTED = "submitted"
    """Its request is being sent or was sent, so there may be a build."""
    REFUSED = "refused"
    """Image Builder refused the request: there is no build."""
    SUCCEEDED = "succeeded"
    """Its build succeeded."""
    LOST = "lost"
    """It will never be sent, because the copy that its request names no longer exists."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What stopped a run, other than its decision; the code tells Failed from Rejected."""

    code: Code
    message: str


CANCELLED: Final = Failure(
    Code.BUILD_CANCELLED, "The run was cancelled with isodrop cancel before it had a build."
)
"""The failure of a run that an operator cancelled before it had a build."""


class AttemptKey(NamedTuple):
    """The key of an attempt: the import key or distribution key, and its number, from 0."""

    task_key: str
    number: int


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """What a run records of its import, or of its distribution.

    Attributes
    ----------
    attempt : AttemptKey or None
        The attempt whose build the run waits for; written once.
    arn : str or None
        The ARN of that attempt's build.
    failure : Failure or None
        What stopped the run before there was a build.
    attempt_id : str or None
        For an import: the client token of the attempt; the ``attemptId`` of the events.
    reused : bool
        For an import: whether another run created the attempt.
    """

    attempt: AttemptKey | None = None
    arn: str | None = None
    failure: Failure | None = None
    attempt_id: str | None = None
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One handling of an upload, as stored in the ledger.

    Attributes
    ----------
    upload_id : str
        :func:`isodrop.domain.ids.upload_id` of the upload.
    run_request : RunRequest
        Which run of the upload this is. Each run is claimed, tracked and answered separately.
    execution_arn : str
        The only execution that handles the run.
    claimed_at : str
        When the execution claimed the run, ISO 8601.
    upload : Upload
    decision : ImportPlan, Rejection or None
        The decision made on inspection; it never changes.
    multipart_id : str or None
        The id of the multipart upload that makes its copy.
    content : Content or None
        The content of its copy; it never changes.
    import_build, distribution : BuildRecord
        The build of its import, and of the distribution of its image.
    status_first_seen_at : mapping of str to str
        When each status was first seen, ISO 8601. The start of the distribution is stored under
        ``distribution``.
    answer_json : str or None
        The answer as it was, or will be, published.
    annotation_notes : tuple of str or None
        What could not be written to the AMI, the object and parameters; published with the answer.
        ``None`` until the annotations have been made.
    answered_at : str or None
        When the publication of the answer was confirmed, ISO 8601.
    sha256 : str or None
        The SHA-256 of its content, if there is an allow-list.
    allow_list_note : str or None
        The note of an allow-list in the mode ``warn``.
    """

    upload_id: str
    run_request: RunRequest
    execution_arn: str
    claimed_at: str
    upload: Upload
    decision: ImportPlan | Rejection | None
    multipart_id: str | None
    content: Content | None
    import_build: BuildRecord
    distribution: BuildRecord
    status_first_seen_at: Mapping[str, str]
    answer_json: str | None
    annotation_notes: tuple[str, ...] | None
    answered_at: str | None
    sha256: str | None = None
    allow_list_note: str | None = None

    def build_record(self, kind: BuildKind) -> BuildRecord:
        """Return the record of its import or of its distribution."""
        return self.import_build if kind is BuildKind.IMPORT else self.distribution

    def with_build_record(self, kind: BuildKind, record: BuildRecord) -> "Run":
        """Return the run with another record of its import or of its distribution."""
        if kind is BuildKind.IMPORT:
            return replace(self, import_build=record)
        return replace(self, distribution=record)


@dataclass(frozen=True, slots=True)
class EndedBuilds:
    """What an answer says about builds, written to the ledger together with it.

    Attributes
    ----------
    imports : tuple of AttemptKey
        The attempts at imports whose builds have ended, so that their slots are free.
    succeeded : tuple of AttemptKey
        The attempts whose builds succeeded.
    image : ImageRecord or None
        The image that the answer names.
    """

    imports: tuple[AttemptKey, ...] = ()
    succeeded: tuple[AttemptKey, ...] = ()
    image: "ImageRecord | None" = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to Image Builder, stored before it is first sent.

    Attributes
    ----------
    task_key, number : str and int
        The import or distribution key, and the number of the attempt, from 0.
    upload_id, run_number : str and int
        The run that created it.
    source : Upload
        The uploaded object.
    request : mapping
        The parameters of ImportDiskImage or DistributeImage, sent unchanged.
    build_arn : str or None
        The build that Image Builder returned for the request.
    status : AttemptStatus
    day : str or None
        The day (UTC) whose limit it counts toward; ``None`` if it does not count.
    build_recorded_at : str or None
        When the build was recorded, ISO 8601.
    available_at : str or None
        When its build was first seen to have succeeded, ISO 8601.
    """

    task_key: str
    number: int
    upload_id: str
    run_number: int
    source: Upload
    request: Mapping[str, Any]
    build_arn: str | None
    status: AttemptStatus
    day: str | None = None
    build_recorded_at: str | None = None
    available_at: str | None = None

    @property
    def key(self) -> AttemptKey:
        """The key of this attempt."""
        return AttemptKey(self.task_key, self.number)

    @property
    def client_token(self) -> str:
        """The client token. For an import it is the ``attemptId`` of the events."""
        return str(self.request["clientToken"])

    def belongs_to(self, run: Run) -> bool:
        """Whether this run, and not another run of the same upload, created it."""
        return (self.upload_id, self.run_number) == (run.upload_id, run.run_request.number)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image that was published in an answer.

    Attributes
    ----------
    name, version, build_version : str, str and int
        The name, semantic version and build version of the image.
    arn : str
        The ARN of the image build version.
    windows_build : int
        The Windows build.
    recorded_at : str
        When it was recorded, ISO 8601.
    """

    name: str
    version: str
    build_version: int
    arn: str
    windows_build: int
    recorded_at: str = ""

    @classmethod
    def from_arn(cls, arn: str, windows_build: int, recorded_at: str = "") -> "ImageRecord":
        """Make a record from the ARN of an image build version.

        Raises
        ------
        ValueError
            It is not such an ARN.
        """
        name, version, number = Arn.parse(arn).resource.removeprefix("image/").split("/")
        return cls(name, version, int(number), arn, windows_build, recorded_at)

    @property
    def sort_key(self) -> tuple[int, ...]:
        """The order of images, by semantic version and then build version."""
        return (*map(int, self.version.split(".")), self.build_version)
