"""The events on EventBridge: the models of the contract, and the parser for subscribers.

The schemas, samples and pages in ``events/`` and ``docs/`` are generated from these models. Within
a major version, fields are added, but none is removed or changed. Each ``eventId`` is always the
same for the same event, even if it is published twice: an answer's depends on upload and run only.
This module needs pydantic but no AWS SDK, so that subscribers do not need one either. Before you
act on an answer, :func:`verify` it against the ledger and Image Builder.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.alias_generators import to_camel

from isodrop.errors import IsodropError
from isodrop.text import printable, single_line

SOURCE: Final = "isodrop"
SCHEMA_VERSION: Final = "1.0"

DETAIL_LIMIT: Final = 224 * 1024
"""Bytes of an event's ``detail`` without its notes. PutEvents accepts less than 256 KB of source,
detail type, detail and resources, and EventBridge adds fields to the event that is delivered:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html"""
NOTES_LIMIT: Final = 16 * 1024
"""Bytes of an answer's notes; further notes are omitted."""

DetailType = Literal[
    "ISO Import Started",
    "ISO Import Progressed",
    "ISO Import Succeeded",
    "ISO Import Failed",
    "ISO Import Rejected",
]

_UPLOAD_ID: Final = re.compile(r"[0-9a-f]{32}")
_MAX_RUNS: Final = 1_000_000
_GONE: Final = frozenset({"DELETED", "DISABLED"})

_EXAMPLE_ARN: Final = (
    "arn:aws:imagebuilder:eu-central-1:123456789012:image/"
    "windows-11-enterprise-x64-en-us/11.26100.1742/1"
)

_DISTRIBUTION_ARN_FIELD: Final = Field(
    None,
    description="ARN of the build version that distributes the image to other Regions and"
    " accounts; null if the stack does not distribute images, or has not started to.",
    examples=[f"{_EXAMPLE_ARN[:-1]}2"],
)


class UnknownEventError(IsodropError):
    """An event that is not part of this contract; the message names it."""


class UnverifiedEventError(IsodropError):
    """An answer that the stack did not publish, or whose image no longer exists.

    Attributes
    ----------
    differences : tuple of str
        The fields that differ from the published answer, such as ``data.amis``; empty if there is
        nothing to compare with.
    """

    def __init__(self, message: str, differences: tuple[str, ...] = ()) -> None:
        self.differences = differences
        super().__init__(message)


class LedgerTable(Protocol):
    """The part of a boto3 ``Table`` that :func:`verify` uses."""

    def get_item(self, *, Key: Mapping[str, str], ConsistentRead: bool) -> Any:  # noqa: N803 - boto3's names
        """Read an item."""


class ImageBuilderClient(Protocol):
    """The part of boto3's ``imagebuilder`` client that :func:`verify` uses."""

    def get_image(self, *, imageBuildVersionArn: str) -> Any:  # noqa: N803 - boto3's name
        """Describe an image build version."""


class _Model(BaseModel):
    """Camel case in JSON, snake case in Python, frozen; ignores fields of later versions."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        defer_build=True,
    )


class Metadata(_Model):
    """Identifies the event and its upload."""

    schema_version: str = Field(
        description="Version of the contract, major.minor; minor versions only add fields.",
        examples=["1.0"],
    )
    event_id: str = Field(
        description="Equal if the same event is published or delivered twice: ignore repeats.",
        examples=["0f3c5d0e9f6b4a7c8d1e2f3a4b5c6d7e"],
    )
    upload_id: str = Field(
        description="The upload: one write of one object. Equal in all events of the upload."
    )
    run: int = Field(
        0,
        description="The run of the upload: 0 for the first, which its arrival starts; isodrop"
        " retry increments it.",
    )
    attempt_id: str | None = Field(
        None,
        description="The client token of the attempt at the import; uploads that share its build"
        " share it. Null before there is an attempt.",
    )
    stack: str = Field(
        description="Name of the CloudFormation stack that published it.", examples=["isodrop"]
    )
    time: datetime = Field(description="When the event was created, in UTC.")


class Source(_Model):
    """The object that was uploaded."""

    bucket: str = Field(description="The upload bucket's name.")
    key: str = Field(
        description="The object's key, raw and not URL-encoded.", examples=["Win11_24H2.iso"]
    )
    version_id: str | None = Field(
        None, description="The object's version; null if the bucket has no versioning."
    )
    etag: str = Field(
        description="The object's ETag, without quotation marks.",
        examples=["9b2cf535f27731c974343645a3985328-704"],
    )
    size: int = Field(description="Size of the object in bytes.", examples=[5901000000])
    content_id: str | None = Field(
        None,
        description="Identifies the bytes: equal if and only if they are, however uploaded."
        " Null before S3 has copied them, as in most rejections.",
        examples=["5f0c7d3e" * 8],
    )
    sha256: str | None = Field(
        None,
        description="SHA-256 of all bytes, as Microsoft publishes it for its downloads. Null if"
        " the stack has no allow-list, and before S3 has copied them.",
        examples=["b56b911bf18a2ceaeb3904d87e7c770bdf92d3099599d61ac2497b91bf190b11"],
    )


class Plan(_Model):
    """The Windows image to import, and the name and version of the image that is made of it."""

    name: str = Field(
        description="Name of the Image Builder image.",
        examples=["windows-11-enterprise-x64-en-us"],
    )
    semantic_version: str = Field(
        description="Version of the image: 11.windowsBuild.revision, unless overridden.",
        examples=["11.26100.1742"],
    )
    image_index: int = Field(
        description="Its index in the Windows image file, from 1.", examples=[5]
    )
    edition: str = Field(description="The edition's EDITIONID.", examples=["Enterprise"])
    release: str | None = Field(
        description="The release of Windows 11; null if neither the ISO nor its name contains it.",
        examples=["24H2"],
    )
    architecture: str = Field(description="The processor architecture.", examples=["x64"])
    windows_build: int = Field(description="The Windows build, from the ISO.", examples=[26100])
    revision: int = Field(description="Its revision; 0 if the ISO has none.", examples=[1742])
    languages: tuple[str, ...] = Field(
        description="Language tags; the default language comes first.", examples=[["en-us"]]
    )
    notes: tuple[str, ...] = Field(
        (),
        description="Remarks for people, one sentence each, such as that the file name"
        " contradicts the ISO.",
    )


class ContractAmi(_Model):
    """One AMI that the import or the distribution created."""

    id: str = Field(description="The AMI's id.", examples=["ami-0123456789abcdef0"])
    region: str = Field(description="The Region of the AMI.", examples=["eu-central-1"])
    account: str = Field(description="The account that owns it.", examples=["123456789012"])
    name: str = Field(description="The AMI's name.")


_AMIS_OMITTED_FIELD: Final = Field(
    0,
    description="Number of AMIs omitted from the end of the list because an event cannot contain"
    " them all; GetImage of distributionArn returns them.",
)

_NOTES_FIELD: Final = Field(
    (),
    description="What could not be written in addition to the answer, which is valid nevertheless:"
    " tags of the AMI and the object, or the latest parameter. One sentence each; unlike"
    " plan.notes, not about the ISO.",
)


class StartedData(_Model):
    """The build exists and is being tracked."""

    source: Source
    plan: Plan
    build_arn: str = Field(description="ARN of the build version.", examples=[_EXAMPLE_ARN])
    reused: bool = Field(
        description="Whether a run of this or another upload had already started this build, so"
        " that none was started for this run."
    )
    attempt: int = Field(
        description="The number of the attempt at this import, from 0; each failed build may be"
        " followed by another.",
        examples=[0],
    )


class ProgressedData(_Model):
    """The status or step count of the build, or later of the distribution, has changed."""

    source: Source
    build_arn: str = Field(description="ARN of the build version.", examples=[_EXAMPLE_ARN])
    distribution_arn: str | None = _DISTRIBUTION_ARN_FIELD
    status: str = Field(
        description="Image Builder's status: of the distribution if it has started, otherwise"
        " of the build.",
        examples=["BUILDING"],
    )
    previous_status: str | None = Field(
        description="The previous status; null at the first poll, equal to status if only a step"
        " was completed.",
        examples=["PENDING"],
    )
    steps_done: int = Field(description="Workflow steps done so far.", examples=[3])
    steps_total: int = Field(
        description="Workflow steps known so far, which may increase; 0 if Image Builder does not"
        " report them.",
        examples=[7],
    )


class SucceededData(_Model):
    """The answer: the image was built from this upload, and distributed if the stack does that."""

    source: Source
    plan: Plan
    build_arn: str = Field(description="ARN of the build version.", examples=[_EXAMPLE_ARN])
    distribution_arn: str | None = _DISTRIBUTION_ARN_FIELD
    reused: bool = Field(
        description="Whether a run of this or another upload had already started this build."
    )
    attempt: int = Field(
        description="The number of the attempt that succeeded, from 0.", examples=[0]
    )
    amis: tuple[ContractAmi, ...] = Field(
        min_length=1,
        description="The AMIs, at least one: the import's own first, in the Region of the stack,"
        " then the distribution's.",
    )
    amis_omitted: int = _AMIS_OMITTED_FIELD
    minutes_by_status: dict[str, float] = Field(
        description="Minutes that the build spent in each status, as far as it was tracked; the"
        " minutes of the distribution are under the key distribution.",
        examples=[{"BUILDING": 21.5, "TESTING": 6.02}],
    )
    notes: tuple[str, ...] = _NOTES_FIELD


class FailedData(_Model):
    """The answer: the upload was not rejected, but its import or distribution failed."""

    source: Source
    code: str = Field(
        description="The reason as a code, for programs. Each has a section in docs/codes.md, and"
        " more may be added.",
        examples=["build-failed"],
    )
    message: str = Field(description="What happened to this upload, in one sentence.")
    remedy: str = Field(description="What to do about it.")
    retryable: bool = Field(
        description="Whether uploading the same ISO again, with nothing else changed, can succeed."
    )
    build_arn: str | None = Field(
        None,
        description="ARN of the build version; null if there was no build.",
        examples=[_EXAMPLE_ARN],
    )
    distribution_arn: str | None = _DISTRIBUTION_ARN_FIELD
    amis: tuple[ContractAmi, ...] = Field(
        (),
        description="The AMIs that exist nevertheless, if only the distribution failed.",
    )
    amis_omitted: int = _AMIS_OMITTED_FIELD
    status: str | None = Field(
        None,
        description="Status of the build or distribution that failed or timed out; null if none"
        " did.",
        examples=["FAILED"],
    )
    failed_step: str | None = Field(
        None, description="The workflow step that failed; null if no step failed."
    )
    log_group: str | None = Field(
        None,
        description="CloudWatch log group of the build or distribution that failed; null if none.",
        examples=["/aws/imagebuilder/windows-11-enterprise-x64-en-us"],
    )
    log_stream: str | None = Field(
        None, description="The log stream in that group.", examples=["11.26100.1742/1"]
    )
    attempt: int | None = Field(
        None,
        description="The number of the attempt at this import, from 0; null if there was none.",
        examples=[0],
    )
    execution_arn: str | None = Field(
        None, description="ARN of the Step Functions execution that handled the upload."
    )
    docs_path: str | None = Field(
        None,
        description="The documentation of the code: path and anchor in isodrop's repository.",
        examples=["docs/codes.md#build-failed"],
    )
    notes: tuple[str, ...] = _NOTES_FIELD


class RejectedData(_Model):
    """The answer: the upload is not imported; no build was started."""

    source: Source
    code: str = Field(
        description="The reason as a code, for programs. Each has a section in docs/codes.md, and"
        " more may be added.",
        examples=["no-such-edition"],
    )
    message: str = Field(
        description="What was found in this upload and what is required, in one sentence."
    )
    remedy: str = Field(description="What to do about it.")
    docs_path: str | None = Field(
        None,
        description="The documentation of the code: path and anchor in isodrop's repository.",
        examples=["docs/codes.md#no-such-edition"],
    )
    notes: tuple[str, ...] = _NOTES_FIELD


Data = StartedData | ProgressedData | SucceededData | FailedData | RejectedData

DETAIL_TYPES: Final[dict[type[Data], DetailType]] = {
    StartedData: "ISO Import Started",
    ProgressedData: "ISO Import Progressed",
    SucceededData: "ISO Import Succeeded",
    FailedData: "ISO Import Failed",
    RejectedData: "ISO Import Rejected",
}


class Event(_Model):
    """The ``detail`` of one event."""

    metadata: Metadata
    data: Data

    @property
    def detail_type(self) -> DetailType:
        """The event's ``detail-type``."""
        return DETAIL_TYPES[type(self.data)]

    @classmethod
    def parse_as(cls, detail_type: str, detail: object) -> "Event":
        """Parse the ``detail`` of an event with the model of its ``detail-type``.

        Raises
        ------
        KeyError
            The detail type is not part of the contract.
        pydantic.ValidationError
            The detail is not valid for that type.
        """
        return MODELS[detail_type].model_validate(detail)

    def with_notes(self, notes: tuple[str, ...]) -> "Event":
        """Return the answer with notes, as many as :data:`NOTES_LIMIT` allows."""
        room, kept = NOTES_LIMIT, []
        for note in notes:
            room -= len(json.dumps(note))
            if room < 0:
                break
            kept.append(note)
        return self._with(notes=tuple(kept))

    def trim_amis(self) -> "Event":
        """Return the event, with AMIs removed from the end if it is too large."""
        excess = len(self.detail().encode()) - DETAIL_LIMIT
        if excess <= 0 or not isinstance(self.data, SucceededData | FailedData):
            return self
        amis = list(self.data.amis)
        excess += len(str(len(amis)))  # the digits of the count itself
        while excess > 0 and len(amis) > 1:
            # The size of one AMI in the detail, and a comma.
            excess -= len(amis.pop().model_dump_json(by_alias=True).encode()) + 1
        return self._with(amis=tuple(amis), amis_omitted=len(self.data.amis) - len(amis))

    def _with(self, **fields: Any) -> "Event":
        return self.model_copy(update={"data": self.data.model_copy(update=fields)})

    def detail(self) -> str:
        """Return the event's ``detail`` as JSON, as it is published."""
        return self.model_dump_json(by_alias=True)


def _detail_model(kind: type[Data]) -> type[Event]:
    return create_model(f"{kind.__name__}Event", __base__=Event, data=(kind, ...))


MODELS: Final[dict[str, type[Event]]] = {
    detail_type: _detail_model(kind) for kind, detail_type in DETAIL_TYPES.items()
}
"""The model of the ``detail`` of each ``detail-type``."""


def parse(event: Mapping[str, Any]) -> Event:
    """Parse an event as delivered by EventBridge. Subscribers call this function.

    Parameters
    ----------
    event : mapping
        The whole event, as a Lambda function or a queue receives it.

    Returns
    -------
    Event
        Its ``data`` is one of the five models here; fields of later minor versions are ignored.

    Raises
    ------
    UnknownEventError
        The event is not isodrop's, has another major version, or is not valid.

    Examples
    --------
    >>> parse({"source": "aws.s3", "detail-type": "Object Created", "detail": {}})
    Traceback (most recent call last):
    isodrop.events.UnknownEventError: not an event of isodrop: aws.s3, Object Created
    """
    if not isinstance(event, Mapping):
        raise UnknownEventError("not a JSON object")
    source, detail_type = event.get("source"), str(event.get("detail-type"))
    if source != SOURCE or detail_type not in MODELS:
        origin = f"{printable(str(source))}, {printable(detail_type)}"
        raise UnknownEventError(f"not an event of isodrop: {origin}")
    try:
        parsed = Event.parse_as(detail_type, event.get("detail"))
    except ValidationError as error:
        invalid = _describe_errors(error)
        raise UnknownEventError(f"not a valid {detail_type} event: {invalid}") from None
    version = parsed.metadata.schema_version
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise UnknownEventError(
            f"unsupported contract version {printable(version)}; this is {SCHEMA_VERSION}"
        )
    return parsed


def verify(
    event: Mapping[str, Any], table: LedgerTable, image_builder: ImageBuilderClient
) -> Event:
    """Parse an answer, and compare it with the ledger and with Image Builder.

    Anyone with permission to put events on a bus can forge an answer. Call this function before you
    use an AMI, and use what it returns. It needs ``dynamodb:GetItem`` on the ledger and
    ``imagebuilder:GetImage`` on the images. It does not detect that a genuine answer was replayed.

    Parameters
    ----------
    event : mapping
        The whole event, as a Lambda function or a queue receives it.
    table : LedgerTable
        ``boto3.resource("dynamodb").Table(…)`` of the stack's output ``LedgerTableName``.
    image_builder : ImageBuilderClient
        ``boto3.client("imagebuilder")``, in the stack's account and Region.

    Returns
    -------
    Event
        The answer as stored in the ledger.

    Raises
    ------
    UnknownEventError
        As in :func:`parse`; also for a notification, because notifications are not stored.
    UnverifiedEventError
        The ledger has no answer or a different one, or Image Builder returns other AMIs.
    botocore.exceptions.ClientError
        A call to AWS failed; also if the build no longer exists in Image Builder.
    """
    parsed = parse(event)
    if not isinstance(parsed.data, SucceededData | FailedData | RejectedData):
        raise UnknownEventError(f"{parsed.detail_type} is not an answer; only answers are verified")
    stored = _answer_in_ledger(parsed.metadata, table)
    differences = tuple(_list_differences(_to_document(parsed), _to_document(stored)))
    if differences:
        raise UnverifiedEventError(
            f"the stack published a different answer; fields: {', '.join(differences)}", differences
        )
    _compare_amis(stored.data, image_builder)
    return stored


def _answer_in_ledger(metadata: Metadata, table: LedgerTable) -> Event:
    """Read the stored answer of a run, with its notes."""
    item, upload, run = None, metadata.upload_id, metadata.run
    if _UPLOAD_ID.fullmatch(upload) and 0 <= run < _MAX_RUNS:
        item = table.get_item(Key=ledger_key(upload, run), ConsistentRead=True).get("Item")
    if item is None or "answer" not in item:
        raise UnverifiedEventError(
            f"the ledger has no answer for run {run} of the upload {printable(upload)}"
        )
    try:
        stored = json.loads(str(item["answer"]))
        answer = Event.parse_as(stored["detail-type"], stored["detail"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnverifiedEventError(
            f"the ledger's answer for the upload {upload} cannot be read: {type(error).__name__}"
        ) from error
    return answer.with_notes(tuple(item.get("annotationNotes", ())))


def _to_document(answer: Event) -> dict[str, Any]:
    fields: dict[str, Any] = answer.model_dump(mode="json", by_alias=True)
    return {"detail-type": answer.detail_type, **fields}


def _list_differences(actual: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Yield the fields that differ."""
    if isinstance(actual, dict) and isinstance(expected, dict):
        for name in {**actual, **expected}:
            yield from _list_differences(
                actual.get(name), expected.get(name), f"{path}.{name}" if path else name
            )
    elif actual != expected:
        yield path


def _compare_amis(data: Data, image_builder: ImageBuilderClient) -> None:
    """Compare the AMIs with those that Image Builder returns."""
    amis = data.amis if isinstance(data, SucceededData | FailedData) else ()
    missing = {(ami.id, ami.region, ami.account) for ami in amis}
    for arn in (getattr(data, name, None) for name in ("build_arn", "distribution_arn")):
        if not missing or arn is None:
            break
        image = image_builder.get_image(imageBuildVersionArn=arn)["image"]
        status = image["state"]["status"]
        if status in _GONE:
            raise UnverifiedEventError(f"the image {arn} is {status} now", ("data.amis",))
        missing -= {
            (ami["image"], ami["region"], ami["accountId"])
            for ami in image.get("outputResources", {}).get("amis", ())
        }
    if missing:
        raise UnverifiedEventError(
            f"Image Builder does not return {len(missing)} of the AMIs, such as {min(missing)[0]}",
            ("data.amis",),
        )


def ledger_key(upload_id: str, run: int) -> dict[str, str]:
    """Return the key of a run's item; repeated here, so that this module needs no other."""
    return {"pk": f"UPLOAD#{upload_id}", "sk": f"RUN#{run:06d}"}


def _describe_errors(error: ValidationError) -> str:
    """List the invalid fields and the errors, but not their values."""
    return single_line(
        "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    )


def event_id(upload_id: str, run: int, *name: str) -> str:
    """Derive an event's id from its upload and run and, for a notification, from its name."""
    # A JSON object cannot be confused with an element of ``name``, which is a string.
    retry = [{"run": run}] if run else []
    return hashlib.sha256(json.dumps([upload_id, *retry, *name]).encode()).hexdigest()[:32]
