"""The values that the ledger keeps: uploads as they are handled, attempts, images."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from isodrop.codes import Code, Rejection
from isodrop.domain.content import Content
from isodrop.domain.model import ImportPlan, RunRequest, Upload


class RunState(StrEnum):
    """Whether a run has its answer; what the index distinguishes."""

    OPEN = "open"
    """Its answer has not certainly been published."""
    ANSWERED = "answered"


class BuildKind(StrEnum):
    """The parts of a run that a build of Image Builder's does."""

    IMPORT = "import"
    DISTRIBUTION = "distribution"
    """Of the imported image, to other Regions and accounts; where the stack has that."""


class AttemptStatus(StrEnum):
    """What GetImage does not say of an attempt."""

    PREPARED = "prepared"
    """Its request was never sent."""
    SUBMITTED = "submitted"
    """Its request may have reached Image Builder: nobody may think any more that it has not."""
    REFUSED = "refused"
    """Image Builder refused the request: there is no build."""
    SUCCEEDED = "succeeded"
    """Its build succeeded."""
    LOST = "lost"
    """It was never sent, and the copy that its request names is not to be had any more."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What stopped a run after its plan was made."""

    code: Code
    message: str


CANCELLED: Final = Failure(
    Code.BUILD_CANCELLED, "It was cancelled with isodrop cancel before it had a build."
)
"""Of a run whose operator did not want it to come to a build."""


class AttemptKey(NamedTuple):
    """Names an attempt: of which import or distribution, and which of its attempts, from 0."""

    import_key: str
    number: int


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """What binds a run to its import, or to its distribution.

    Attributes
    ----------
    attempt : AttemptKey or None
        The attempt whose build the run waits for; written once.
    arn : str or None
        The build that it led to.
    failure : Failure or None
        What stopped the run before there was one.
    """

    attempt: AttemptKey | None = None
    arn: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One handling of an upload, as the ledger has it.

    Attributes
    ----------
    upload_id : str
        :func:`isodrop.domain.ids.upload_id` of the upload.
    request : RunRequest
        Which run of the upload this is; each is claimed, tracked and answered by itself.
    execution_arn : str
        The ARN of the execution that handles it; no other may.
    claimed_at : str
        When, ISO 8601.
    upload : Upload
    decision : ImportPlan, Rejection or None
        What was decided on inspection; once written, it stands.
    staging : str or None
        The multipart upload that makes its copy.
    content : Content or None
        What the bytes of the copy are; once written, it stands.
    import_build, distribution : BuildRecord
        Which attempt at its import it waits for, and then at the distribution of its image.
    status_first_seen_at : mapping of str to str
        When each status was first seen, ISO 8601; under ``distribution`` when that was started.
    answer_json : str or None
        The answer as it was, or is to be, published.
    annotation_notes : tuple of str or None
        What could not be written on AMI, object and parameters, which is published with the
        answer; ``None`` until that is over.
    answered_at : str or None
        When the answer had certainly been published, ISO 8601.
    sha256 : str or None
        Of the bytes of the copy, where there is an allow-list.
    content_note : str or None
        What an allow-list that only warns has against it.
    """

    upload_id: str
    request: RunRequest
    execution_arn: str
    claimed_at: str
    upload: Upload
    decision: ImportPlan | Rejection | None
    staging: str | None
    content: Content | None
    import_build: BuildRecord
    distribution: BuildRecord
    status_first_seen_at: Mapping[str, str]
    answer_json: str | None
    annotation_notes: tuple[str, ...] | None
    answered_at: str | None
    sha256: str | None = None
    content_note: str | None = None

    def build(self, kind: BuildKind) -> BuildRecord:
        """Get what binds it to its build of a kind."""
        return self.import_build if kind is BuildKind.IMPORT else self.distribution


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to Image Builder, frozen before it is first sent.

    Attributes
    ----------
    import_key, number : str and int
        Which import's or distribution's, and which of its attempts, from 0.
    upload_id, run_number : str and int
        The run that created it.
    source : Upload
        The object that it began with.
    request : mapping
        The parameters of ImportDiskImage or DistributeImage, to be sent as they are.
    build_arn : str or None
        Known once the request was answered.
    status : AttemptStatus
    day : str or None
        Which day's budget it is counted in; ``None`` if it is not counted.
    submitted_at : str or None
        When the request was answered, ISO 8601.
    available_at : str or None
        When its build was first seen to have succeeded, ISO 8601.
    """

    import_key: str
    number: int
    upload_id: str
    run_number: int
    source: Upload
    request: Mapping[str, Any]
    build_arn: str | None
    status: AttemptStatus
    day: str | None = None
    submitted_at: str | None = None
    available_at: str | None = None

    @property
    def key(self) -> AttemptKey:
        """Its name."""
        return AttemptKey(self.import_key, self.number)

    @property
    def client_token(self) -> str:
        """The client token; that of an import is the ``importId`` of the events."""
        return str(self.request["clientToken"])

    def belongs_to(self, run: Run) -> bool:
        """Whether this very run created it: another run of the same upload did not."""
        return (self.upload_id, self.run_number) == (run.upload_id, run.request.number)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image that an upload was answered with.

    Attributes
    ----------
    name, version, number : str, str and int
        Of the image build version.
    arn : str
        Its ARN.
    build : int
        Windows' build, as the ISO has it.
    known_at : str
        When it was recorded, ISO 8601.
    """

    name: str
    version: str
    number: int
    arn: str
    build: int
    known_at: str = ""

    @classmethod
    def from_arn(cls, arn: str, build: int, known_at: str = "") -> "ImageRecord":
        """Read it from an image build version's ARN."""
        name, version, number = arn.rpartition(":image/")[2].split("/")
        return cls(name, version, int(number), arn, build, known_at)

    @property
    def sort_key(self) -> tuple[int, ...]:
        """What is compared to say which is newer: semantic version, then build version."""
        return (*map(int, self.version.split(".")), self.number)
