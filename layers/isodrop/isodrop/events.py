"""What is told on EventBridge: the models of the contract, and the publisher.

The models here are the one source: the schemas and samples in ``events/`` come of them.
Within a major version fields are only added. Every ``eventId`` is derived, so an event that
is published twice is recognised: an answer's comes of its upload, and of which asking it is,
alone.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.alias_generators import to_camel

from isodrop.aws import translated
from isodrop.codes import TransientError
from isodrop.plan import ImportPlan, Upload

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient

SOURCE: Final = "isodrop"
SCHEMA_VERSION: Final = "1.0"

DetailType = Literal[
    "ISO Import Started",
    "ISO Import Progressed",
    "ISO Import Succeeded",
    "ISO Import Failed",
    "ISO Import Rejected",
]


class _Model(BaseModel):
    """Camel case outside, snake case inside, frozen; tolerant of what later versions add."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )


class Metadata(_Model):
    """Which event this is, and of which upload."""

    schema_version: str = Field(description="Version of the contract.")
    event_id: str = Field(description="Derived; equal for one event published twice.")
    drop_id: str = Field(description="Which upload; one per write of an object.")
    ask: int = Field(
        0, description="Which asking for the upload: 0 for its arrival, then counted up."
    )
    import_id: str | None = Field(
        None, description="The client token of the import; none before there is one."
    )
    stack: str = Field(description="Name of the stack that speaks.")
    time: datetime = Field(description="When the event was made, UTC.")


class Source(_Model):
    """The object that was uploaded."""

    bucket: str
    key: str = Field(description="Raw, not URL-encoded.")
    version_id: str | None = None
    etag: str
    size: int = Field(description="Bytes.")


class Plan(_Model):
    """What is imported."""

    name: str = Field(description="Image name.")
    semantic_version: str
    image_index: int = Field(description="The edition's index in the Windows image, from 1.")
    edition: str = Field(description="EDITIONID.")
    release: str | None = Field(description="Such as 24H2; none where neither media nor name say.")
    architecture: str
    build: int
    revision: int
    languages: tuple[str, ...] = Field(description="The default language first.")
    notes: tuple[str, ...] = Field((), description="What a person should know.")


class ProducedAmi(_Model):
    """One AMI."""

    id: str
    region: str
    account: str
    name: str


class StartedData(_Model):
    """There is a build, and it is being followed."""

    source: Source
    plan: Plan
    build_arn: str
    reused: bool = Field(description="Whether an earlier drop of the same import started it.")
    attempt: int = Field(description="From 0.")


class ProgressedData(_Model):
    """The build has moved."""

    source: Source
    build_arn: str
    status: str
    previous_status: str | None
    steps_done: int
    steps_total: int = Field(description="0 where Image Builder does not say.")


class SucceededData(_Model):
    """There is an image."""

    source: Source
    plan: Plan
    build_arn: str
    reused: bool
    attempt: int
    amis: tuple[ProducedAmi, ...]
    minutes: dict[str, float] = Field(
        description="Minutes in each status, as far as it was followed."
    )


class FailedData(_Model):
    """The upload was good, and its import did not come to its end."""

    source: Source
    code: str
    message: str
    remedy: str
    drop_again: bool = Field(description="Whether the same drop, nothing else changed, may help.")
    build_arn: str | None = None
    status: str | None = Field(None, description="The build's status.")
    failed_step: str | None = Field(None, description="The workflow step that failed.")
    log_group: str | None = None
    log_stream: str | None = None
    attempt: int | None = None
    execution: str | None = Field(None, description="ARN of the execution that followed it.")


class RejectedData(_Model):
    """The upload is not what can be imported; nothing was spent on it."""

    source: Source
    code: str
    message: str
    remedy: str


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
        """Read the ``detail`` of an event as its ``detail-type`` says.

        Raises
        ------
        KeyError
            For a detail type that is not in the contract.
        pydantic.ValidationError
            For a detail that is not of that type.
        """
        return _PARSERS[detail_type].model_validate(detail)

    def detail(self) -> str:
        """Write the event's ``detail`` as it is published."""
        return self.model_dump_json(by_alias=True)


def _parser(kind: type[Data]) -> type[Event]:
    return create_model(f"{kind.__name__}Event", __base__=Event, data=(kind, ...))


_PARSERS: Final[dict[str, type[Event]]] = {
    detail_type: _parser(kind) for kind, detail_type in DETAIL_TYPES.items()
}


def event_id(drop_id: str, ask: int, *what: str) -> str:
    """Derive an event's id: of upload and ask for an answer, and of what else tells it apart."""
    # Unlike a string, an object cannot be taken for one of ``what``.
    asked = [{"ask": ask}] if ask else []
    return hashlib.sha256(json.dumps([drop_id, *asked, *what]).encode()).hexdigest()[:32]


def source_of(upload: Upload) -> Source:
    """Tell an upload."""
    return Source(
        bucket=upload.bucket,
        key=upload.key,
        version_id=upload.version_id,
        etag=upload.etag,
        size=upload.size,
    )


def plan_of(plan: ImportPlan) -> Plan:
    """Tell a plan."""
    return Plan(
        name=plan.name,
        semantic_version=plan.semantic_version,
        image_index=plan.image_index,
        edition=plan.edition,
        release=plan.release,
        architecture=plan.architecture,
        build=plan.build,
        revision=plan.revision,
        languages=plan.languages,
        notes=plan.notes,
    )


@dataclass(frozen=True, slots=True)
class Publisher:
    """Puts events on the stack's bus, and believes only what the bus confirms."""

    client: "EventBridgeClient"
    bus: str

    def publish(
        self, detail_type: DetailType, detail: str, time: datetime, resources: Sequence[str]
    ) -> None:
        """Publish one event.

        Parameters
        ----------
        detail_type, detail
            As in the contract; ``detail`` is JSON.
        time : datetime
            When the event was made, with a time zone.
        resources : sequence of str
            ARNs that the event is about.

        Raises
        ------
        TransientError, RefusedError
            When the bus did not take it. ``PutEvents`` answers 200 even then:
            https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
        """
        with translated():
            answer = self.client.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "DetailType": detail_type,
                        "Detail": detail,
                        "EventBusName": self.bus,
                        "Time": time,
                        "Resources": list(resources),
                    }
                ]
            )
        if answer["FailedEntryCount"]:
            refused = answer["Entries"][0]
            raise TransientError(
                f"PutEvents: {refused.get('ErrorCode')}: {refused.get('ErrorMessage')}"
            )
