"""The ledger's items: their keys, and how values are written to and read from them.

During a deployment, an older and a newer version of the functions use the same items for a few
minutes. So reading is tolerant: unknown attributes are ignored, and attributes that a newer version
added have defaults. Each item contains the schema version that it was written with. An item that
still cannot be read raises :class:`UnreadableItemError` with its key, so that a caller that reads
many items can report it and continue.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any, Final, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from isodrop.codes import Rejection
from isodrop.domain.content import Content
from isodrop.domain.model import ImportPlan, RunRequest, Upload
from isodrop.domain.run import (
    Attempt,
    AttemptKey,
    AttemptStatus,
    BuildKind,
    BuildRecord,
    Failure,
    ImageRecord,
    Run,
    RunState,
)
from isodrop.errors import IsodropError

SCHEMA_VERSION: Final = 1
"""The :attr:`_Item.schema_version` of items that this version writes."""

IMAGE_NAMES: Final = "NAMES"
"""The partition of all image names."""

Item = dict[str, Any]
Value = TypeVar("Value")
Model = TypeVar("Model", bound="_Item")


class UnreadableItemError(IsodropError):
    """An item of the ledger cannot be read by this version of isodrop.

    Attributes
    ----------
    key : mapping of str to str
        The item's key: ``pk`` and ``sk``.
    """

    def __init__(self, key: Mapping[str, str], reason: str) -> None:
        self.key = key
        super().__init__(f"the ledger's item {key['pk']} {key['sk']} cannot be read: {reason}")


class BuildAttributes(NamedTuple):
    """The attributes of a run's item that contain a :class:`BuildRecord`."""

    task_key: str
    attempt: str
    build_arn: str
    failure: str


BUILD_ATTRIBUTES: Final = {
    BuildKind.IMPORT: BuildAttributes("importKey", "attempt", "buildArn", "failure"),
    BuildKind.DISTRIBUTION: BuildAttributes(
        "distributionKey", "distributionAttempt", "distributionBuildArn", "distributionFailure"
    ),
}


class _Item(BaseModel):
    # By name as well, for nested dataclasses: in their JSON, field names are in snake case.
    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        extra="ignore",
        frozen=True,
        defer_build=True,
    )

    pk: str
    sk: str
    schema_version: int = 1


class _Decision(BaseModel):
    """A plan or a rejection."""

    plan: ImportPlan | None = None
    rejection: Rejection | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.plan is None) == (self.rejection is None):
            raise ValueError("it must contain either a plan or a rejection")
        return self

    def value(self) -> ImportPlan | Rejection | None:
        return self.plan or self.rejection


class _RunItem(_Item):
    # Operators may write items of the partitions CANCEL#, with any attributes. Those must not be
    # read as runs.
    pk: Annotated[str, Field(pattern=r"^UPLOAD#")]
    execution_arn: str
    claimed_at: str
    upload: Json[Upload]
    overrides: dict[str, str] = Field(default_factory=dict)
    uploader: str | None = None
    status_first_seen_at: dict[str, str] = Field(default_factory=dict)
    decision: Json[_Decision] | None = None
    multipart_id: str | None = None
    content: Json[Content] | None = None
    import_key: str | None = None
    attempt: int | None = None
    build_arn: str | None = None
    attempt_id: str | None = None
    reused: bool = False
    failure: Json[Failure] | None = None
    distribution_key: str | None = None
    distribution_attempt: int | None = None
    distribution_build_arn: str | None = None
    distribution_failure: Json[Failure] | None = None
    answer: str | None = None
    annotation_notes: tuple[str, ...] | None = None
    answered_at: str | None = None
    sha256: str | None = None
    allow_list_note: str | None = None

    def value(self) -> Run:
        return Run(
            upload_id=self.pk.removeprefix("UPLOAD#"),
            run_request=RunRequest(
                int(self.sk.removeprefix("RUN#")), self.overrides, self.uploader
            ),
            execution_arn=self.execution_arn,
            claimed_at=self.claimed_at,
            upload=self.upload,
            decision=None if self.decision is None else self.decision.value(),
            multipart_id=self.multipart_id,
            content=self.content,
            import_build=BuildRecord(
                _to_attempt_key(self.import_key, self.attempt),
                self.build_arn,
                self.failure,
                self.attempt_id,
                self.reused,
            ),
            distribution=BuildRecord(
                _to_attempt_key(self.distribution_key, self.distribution_attempt),
                self.distribution_build_arn,
                self.distribution_failure,
            ),
            status_first_seen_at=self.status_first_seen_at,
            answer_json=self.answer,
            annotation_notes=self.annotation_notes,
            answered_at=self.answered_at,
            sha256=self.sha256,
            allow_list_note=self.allow_list_note,
        )


class _AttemptItem(_Item):
    pk: Annotated[str, Field(pattern=r"^ATTEMPTS#")]
    upload_id: str
    run: int = 0
    source: Json[Upload]
    request: Json[dict[str, Any]]
    build_arn: str | None = None
    status: AttemptStatus
    day: str | None = None
    build_recorded_at: str | None = None
    available_at: str | None = None

    def value(self) -> Attempt:
        return Attempt(
            task_key=self.pk.removeprefix("ATTEMPTS#"),
            number=int(self.sk.removeprefix("ATTEMPT#")),
            upload_id=self.upload_id,
            run_number=self.run,
            source=self.source,
            request=self.request,
            build_arn=self.build_arn,
            status=self.status,
            day=self.day,
            build_recorded_at=self.build_recorded_at,
            available_at=self.available_at,
        )


class _ImageItem(_Item):
    arn: Annotated[str, Field(pattern=r":image/[^/]+/\d+\.\d+\.\d+/\d+$")]
    windows_build: int
    recorded_at: str = "1970-01-01T00:00:00.000+00:00"

    def value(self) -> ImageRecord:
        return ImageRecord.from_arn(self.arn, self.windows_build, self.recorded_at)


class _ImageNameItem(_Item):
    sk: Annotated[str, Field(pattern=r"^[^/]+/\d+$")]

    def value(self) -> tuple[str, int]:
        name, _, windows_build = self.sk.rpartition("/")
        return name, int(windows_build)


def _to_attempt_key(task_key: str | None, number: int | None) -> AttemptKey | None:
    return None if task_key is None or number is None else AttemptKey(task_key, number)


def upload_run_key(upload_id: str, number: int) -> dict[str, str]:
    """Return the key of a run's item, by upload id and number."""
    # Padded, so that runs sort by number. isodrop.events.ledger_key makes the same key; it is
    # repeated here so that ImportIso need not load isodrop.events.
    return {"pk": f"UPLOAD#{upload_id}", "sk": f"RUN#{number:06d}"}


def run_key(run: Run) -> dict[str, str]:
    """Return the key of a run's item."""
    return upload_run_key(run.upload_id, run.run_request.number)


def cancellation_key(run: Run) -> dict[str, str]:
    """Return the key of the item that requests the cancellation of a run.

    It is separate from the run's item because the operators' policy allows writes only to partition
    keys with this prefix.
    """
    return {**run_key(run), "pk": f"CANCEL#{run.upload_id}"}


def attempts_partition(task_key: str) -> str:
    """Return the partition of all attempts at an import or distribution."""
    return f"ATTEMPTS#{task_key}"


def attempt_item_key(key: AttemptKey) -> dict[str, str]:
    """Return the key of an attempt's item."""
    return {"pk": attempts_partition(key.task_key), "sk": f"ATTEMPT#{key.number:06d}"}


def images_partition(name: str) -> str:
    """Return the partition key of all images with this name."""
    return f"IMAGE#{name}"


def image_key(image: ImageRecord) -> dict[str, str]:
    """Return the key of an image's item."""
    # Padded, so that the images of one Windows build sort by version. Each Windows build has a
    # latest parameter of its own.
    order = ".".join(f"{part:010d}" for part in image.sort_key)
    return {
        "pk": images_partition(image.name),
        "sk": f"{image_sort_prefix(image.windows_build)}{order}",
    }


def image_sort_prefix(windows_build: int) -> str:
    """Return the prefix of the sort keys of all images of a Windows build."""
    return f"BUILD#{windows_build:010d}#"


def content_key(content_id: str) -> dict[str, str]:
    """Return the key of the item with the SHA-256 of the content with this id."""
    return {"pk": f"CONTENT#{content_id}", "sk": "CONTENT"}


def run_item(
    upload: Upload, execution_arn: str, now: str, key: Mapping[str, str], run_request: RunRequest
) -> Item:
    """Make the item of a new run."""
    return {
        **key,
        "schemaVersion": SCHEMA_VERSION,
        "executionArn": execution_arn,
        "upload": to_json(upload),
        "overrides": dict(run_request.overrides),
        **({} if run_request.uploader is None else {"uploader": run_request.uploader}),
        "claimedAt": now,
        "state": RunState.OPEN.value,
        "statusFirstSeenAt": {},
    }


def attempt_item(attempt: Attempt) -> Item:
    """Make the item of a new attempt."""
    return {
        **attempt_item_key(attempt.key),
        "schemaVersion": SCHEMA_VERSION,
        "uploadId": attempt.upload_id,
        "run": attempt.run_number,
        "source": to_json(attempt.source),
        "request": json.dumps(attempt.request),
        "status": attempt.status.value,
        **({} if attempt.day is None else {"day": attempt.day}),
    }


def image_items(image: ImageRecord) -> tuple[Item, Item]:
    """Make the item of an image, and the one that lists its name and Windows build.

    Each listed pair has a latest parameter.
    """
    return {
        **image_key(image),
        "schemaVersion": SCHEMA_VERSION,
        "arn": image.arn,
        "windowsBuild": image.windows_build,
        "recordedAt": image.recorded_at,
    }, {
        "pk": IMAGE_NAMES,
        "sk": f"{image.name}/{image.windows_build}",
        "schemaVersion": SCHEMA_VERSION,
    }


def decision_to_json(decision: ImportPlan | Rejection) -> str:
    """Convert a decision to JSON."""
    kind = "plan" if isinstance(decision, ImportPlan) else "rejection"
    return f'{{"{kind}": {to_json(decision)}}}'


def to_json(value: Upload | ImportPlan | Rejection | Failure | Content) -> str:
    """Convert a frozen value to JSON, field by field."""
    record = {each.name: getattr(value, each.name) for each in fields(value)}
    return json.dumps(record, default=dict)  # json cannot encode a read-only mapping


def parse_run(item: Mapping[str, Any]) -> Run:
    """Parse a run's item.

    Raises
    ------
    UnreadableItemError
        The item is invalid. The next three functions raise it as well.
    """
    return _parse_item(item, _RunItem, _RunItem.value)


def parse_attempt(item: Mapping[str, Any]) -> Attempt:
    """Parse an attempt's item."""
    return _parse_item(item, _AttemptItem, _AttemptItem.value)


def parse_image(item: Mapping[str, Any]) -> ImageRecord:
    """Parse an image's item."""
    return _parse_item(item, _ImageItem, _ImageItem.value)


def parse_image_name(item: Mapping[str, Any]) -> tuple[str, int]:
    """Parse the item of an image name and a Windows build."""
    return _parse_item(item, _ImageNameItem, _ImageNameItem.value)


def _parse_item(
    item: Mapping[str, Any], model: type[Model], convert: Callable[[Model], Value]
) -> Value:
    try:
        return convert(model.model_validate(item))
    except ValidationError as error:
        reason = ", ".join(
            f"{'.'.join(map(str, each['loc'])) or 'item'}: {each['msg']}" for each in error.errors()
        )
    except ValueError as error:  # an invalid number in the key
        reason = str(error)
    raise UnreadableItemError({name: str(item[name]) for name in ("pk", "sk")}, reason)
