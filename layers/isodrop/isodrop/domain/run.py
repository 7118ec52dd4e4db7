"""The values that the ledger keeps: uploads as they are handled, attempts, images."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from isodrop.codes import Code, Rejection
from isodrop.domain.content import Content
from isodrop.domain.model import ImportPlan, RunRequest, Upload


class RunState(StrEnum):
    """Whether a drop has its answer; what the index tells apart."""

    OPEN = "open"
    """Its answer has not certainly been published."""
    ANSWERED = "answered"


class BuildKind(StrEnum):
    """The parts of a drop's way that a build of Image Builder's does."""

    IMPORT = "import"
    DISTRIBUTION = "distribution"
    """Of the imported image, to other Regions and accounts; where the stack has that."""


class AttemptStatus(StrEnum):
    """What GetImage cannot tell of an attempt."""

    PREPARED = "prepared"
    """Its request was never sent."""
    SUBMITTED = "submitted"
    """Its request may have reached Image Builder: nobody may think any more that it has not."""
    REFUSED = "refused"
    """Image Builder refused the request: there is no build."""
    SUCCEEDED = "succeeded"
    """It ended well."""
    LOST = "lost"
    """It was never sent, and the copy that its request names is not to be had any more."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What came in the way after the upload was judged good."""

    code: Code
    message: str


CANCELLED: Final = Failure(
    Code.BUILD_CANCELLED, "It was cancelled with isodrop cancel before it had a build."
)
"""Of a run whose operator did not want it to come to a build."""


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """What binds a drop to the build that does one stage of its way.

    Attributes
    ----------
    identity, attempt : str and int, or None
        Which attempt at what.
    build_arn : str or None
        The build that came of it.
    trouble : PlannedFault or None
        What came in the way of one.
    """

    import_key: str | None = None
    attempt: int | None = None
    arn: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One upload, asked for once, as the ledger has it.

    Attributes
    ----------
    id : str
        :func:`isodrop.domain.ids.upload_id` of the upload.
    ask : RunRequest
        Which asking this is; each is claimed, followed and answered for itself.
    execution : str
        The ARN of the execution that follows it; no other may.
    claimed : str
        When, ISO 8601.
    upload : Upload
    verdict : ImportPlan, Rejection or None
        What was decided; once written, it stands.
    staging : str or None
        The multipart upload that makes its copy.
    content : Content or None
        What the bytes of the copy are; once written, it stands.
    identity, attempt : str and int, or None
        Which attempt of which import it follows.
    build_arn : str or None
        The build that came of it.
    trouble : PlannedFault or None
        What came in the way.
    distribution : BuildRecord
        The same of the distribution of its image.
    timeline : mapping of str to str
        When each status was first seen, ISO 8601; under ``distribution`` when that was begun.
    answer : str or None
        The answer as it was, or is to be, published: JSON.
    notes : tuple of str or None
        What could not be written on AMI, object and parameters, and is told with the answer;
        ``None`` until that is over.
    answered : str or None
        When it had certainly been published, ISO 8601.
    sha256 : str or None
        Of the bytes of the copy, where there is an allow-list.
    content_note : str or None
        Why an allow-list that only warns would not have let it in.
    """

    upload_id: str
    request: RunRequest
    execution_arn: str
    claimed_at: str
    upload: Upload
    decision: ImportPlan | Rejection | None
    staging: str | None
    content: Content | None
    import_key: str | None
    attempt: int | None
    build_arn: str | None
    failure: Failure | None
    distribution: BuildRecord
    status_first_seen_at: Mapping[str, str]
    answer_json: str | None
    annotation_notes: tuple[str, ...] | None
    answered_at: str | None
    sha256: str | None = None
    content_note: str | None = None

    def build(self, stage: BuildKind) -> BuildRecord:
        """Get what binds it to the build of a stage."""
        if stage is BuildKind.DISTRIBUTION:
            return self.distribution
        return BuildRecord(self.import_key, self.attempt, self.build_arn, self.failure)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to Image Builder, frozen before it is first sent.

    Attributes
    ----------
    identity, number : str and int
        Which import's or distribution's, and which of its attempts, from 0.
    upload_id, ask : str and int
        The drop that made it.
    source : Upload
        The object that it goes back to.
    request : mapping
        The parameters of ImportDiskImage or DistributeImage, to be sent as they are.
    build_arn : str or None
        Known once the request was answered.
    standing : AttemptStatus
    day : str or None
        Which day's budget it is counted in; ``None`` if it is not counted.
    submitted_at : str or None
        When the request was answered, ISO 8601.
    available_at : str or None
        When its build was first seen to have ended well, ISO 8601.
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
    def client_token(self) -> str:
        """The client token; that of an import is the ``importId`` of the events."""
        return str(self.request["clientToken"])

    def belongs_to(self, run: Run) -> bool:
        """Whether this very drop made it: another ask for the same upload is another drop."""
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
        Windows' build, as the media say.
    known_at : str
        When it was written down, ISO 8601.
    """

    name: str
    version: str
    number: int
    arn: str
    build: int
    known_at: str = ""

    @classmethod
    def from_arn(cls, arn: str, build: int, known_at: str = "") -> "ImageRecord":
        """Read what an image build version's ARN says."""
        name, version, number = arn.rpartition(":image/")[2].split("/")
        return cls(name, version, int(number), arn, build, known_at)

    @property
    def sort_key(self) -> tuple[int, ...]:
        """What is compared to say which is newer: semantic version, then build version."""
        return (*map(int, self.version.split(".")), self.number)
