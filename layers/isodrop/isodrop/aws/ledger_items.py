"""The ledger's items: their keys, how values are written in them, and how they are read.

Code and table are not updated in one instant: for some minutes an older and a newer version of
the functions read and write the same items. So reading is tolerant: an attribute that is not known
is ignored, one that a newer version added has a default, and each item says which version of this
module wrote it. What cannot be read all the same raises :class:`UnreadableItemError` with the
item's key, so that whoever reads many can tell of it and go on with the others.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any, Final, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError, model_validator

from isodrop.codes import Rejection
from isodrop.domain.content import Content
from isodrop.domain.model import Ask, ImportPlan, Upload
from isodrop.domain.run import Attempt, Bond, Drop, KnownImage, Stage, Standing, State, Trouble
from isodrop.errors import IsodropError

SCHEMA_VERSION: Final = 1
"""What :attr:`_Item.schema_version` is for items that this version writes."""

IMAGE_NAMES: Final = "NAMES"
"""The partition of the names that images have been given."""

Item = dict[str, Any]
Value = TypeVar("Value")
Model = TypeVar("Model", bound="_Item")


class UnreadableItemError(IsodropError):
    """An item of the ledger is not what this version of isodrop can read.

    Attributes
    ----------
    key : mapping of str to str
        The item's key: ``pk`` and ``sk``.
    """

    def __init__(self, key: Mapping[str, str], reason: str) -> None:
        self.key = key
        super().__init__(f"the ledger's item {key['pk']} {key['sk']} cannot be read: {reason}")


class BondNames(NamedTuple):
    """What the parts of a :class:`Bond` are called in a drop's item."""

    identity: str
    attempt: str
    build: str
    trouble: str


BOND_NAMES: Final = {
    Stage.IMPORT: BondNames("identity", "attempt", "build", "trouble"),
    Stage.DISTRIBUTION: BondNames(
        "distributionIdentity", "distributionAttempt", "distributionBuild", "distributionTrouble"
    ),
}


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    pk: str
    sk: str
    schema_version: int = Field(1, alias="schemaVersion")


class _Verdict(BaseModel):
    """One of the two."""

    plan: ImportPlan | None = None
    rejection: Rejection | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.plan is None) == (self.rejection is None):
            raise ValueError("neither a plan nor a rejection")
        return self

    def value(self) -> ImportPlan | Rejection | None:
        return self.plan or self.rejection


class _DropItem(_Item):
    execution: str
    claimed: str
    upload: Json[Upload]
    overrides: dict[str, str] = Field(default_factory=dict)
    timeline: dict[str, str] = Field(default_factory=dict)
    verdict: Json[_Verdict] | None = None
    staging: str | None = None
    content: Json[Content] | None = None
    identity: str | None = None
    attempt: int | None = None
    build: str | None = None
    trouble: Json[Trouble] | None = None
    distribution_identity: str | None = Field(None, alias="distributionIdentity")
    distribution_attempt: int | None = Field(None, alias="distributionAttempt")
    distribution_build: str | None = Field(None, alias="distributionBuild")
    distribution_trouble: Json[Trouble] | None = Field(None, alias="distributionTrouble")
    answer: str | None = None
    notes: tuple[str, ...] | None = None
    answered: str | None = None
    sha256: str | None = None
    content_note: str | None = Field(None, alias="contentNote")

    def value(self) -> Drop:
        return Drop(
            id=self.pk.removeprefix("DROP#"),
            ask=Ask(int(self.sk.removeprefix("ASK#")), self.overrides),
            execution=self.execution,
            claimed=self.claimed,
            upload=self.upload,
            verdict=None if self.verdict is None else self.verdict.value(),
            staging=self.staging,
            content=self.content,
            identity=self.identity,
            attempt=self.attempt,
            build_arn=self.build,
            trouble=self.trouble,
            distribution=Bond(
                identity=self.distribution_identity,
                attempt=self.distribution_attempt,
                build_arn=self.distribution_build,
                trouble=self.distribution_trouble,
            ),
            timeline=self.timeline,
            answer=self.answer,
            notes=self.notes,
            answered=self.answered,
            sha256=self.sha256,
            content_note=self.content_note,
        )


class _AttemptItem(_Item):
    drop: str
    ask: int = 0
    source: Json[Upload]
    request: Json[dict[str, Any]]
    build: str | None = None
    standing: Standing
    day: str | None = None
    submitted_at: str | None = Field(None, alias="submittedAt")
    available_at: str | None = Field(None, alias="availableAt")

    def value(self) -> Attempt:
        return Attempt(
            identity=self.pk.removeprefix("ATTEMPTS#"),
            number=int(self.sk.removeprefix("ATTEMPT#")),
            drop_id=self.drop,
            ask=self.ask,
            source=self.source,
            request=self.request,
            build_arn=self.build,
            standing=self.standing,
            day=self.day,
            submitted_at=self.submitted_at,
            available_at=self.available_at,
        )


class _ImageItem(_Item):
    arn: Annotated[str, Field(pattern=r":image/[^/]+/\d+\.\d+\.\d+/\d+$")]
    build: int
    known: str = "1970-01-01T00:00:00.000+00:00"

    def value(self) -> KnownImage:
        return KnownImage.of(self.arn, self.build, self.known)


class _ImageNameItem(_Item):
    sk: Annotated[str, Field(pattern=r"^[^/]+/\d+$")]

    def value(self) -> tuple[str, int]:
        name, _, build = self.sk.rpartition("/")
        return name, int(build)


def drop_key(drop: str, ask: int) -> dict[str, str]:
    """Name the item of an upload, as it is asked for here."""
    # Padded, so that the order of the sort key is the order of the asks.
    return {"pk": f"DROP#{drop}", "sk": f"ASK#{ask:06d}"}


def key_of(drop: Drop) -> dict[str, str]:
    """Name the item of a drop."""
    return drop_key(drop.id, drop.ask.number)


def attempts_of(identity: str) -> str:
    """Name the partition of all attempts at one thing."""
    return f"ATTEMPTS#{identity}"


def attempt_key(identity: str, number: int) -> dict[str, str]:
    """Name the item of an attempt."""
    return {"pk": attempts_of(identity), "sk": f"ATTEMPT#{number:06d}"}


def images_of(name: str) -> str:
    """Name the partition of all images of a name."""
    return f"IMAGE#{name}"


def image_key(image: KnownImage) -> dict[str, str]:
    """Name the item of an image."""
    return {"pk": images_of(image.name), "sk": f"{image.version}/{image.number}"}


def new_drop(upload: Upload, execution: str, now: str, key: Mapping[str, str], ask: Ask) -> Item:
    """Make the item of a drop that is claimed now."""
    return {
        **key,
        "schemaVersion": SCHEMA_VERSION,
        "execution": execution,
        "upload": to_json(upload),
        "overrides": dict(ask.overrides),
        "claimed": now,
        "state": State.OPEN.value,
        "timeline": {},
    }


def new_attempt(attempt: Attempt) -> Item:
    """Make the item of an attempt that is begun now."""
    return {
        **attempt_key(attempt.identity, attempt.number),
        "schemaVersion": SCHEMA_VERSION,
        "drop": attempt.drop_id,
        "ask": attempt.ask,
        "source": to_json(attempt.source),
        "request": json.dumps(attempt.request),
        "standing": attempt.standing.value,
        **({} if attempt.day is None else {"day": attempt.day}),
    }


def new_image(image: KnownImage) -> Item:
    """Make the item of an image."""
    return {
        **image_key(image),
        "schemaVersion": SCHEMA_VERSION,
        "arn": image.arn,
        "build": image.build,
        "known": image.known_at,
    }


def new_image_name(image: KnownImage) -> Item:
    """Make the item that says that there is a latest parameter of a name and a build."""
    return {
        "pk": IMAGE_NAMES,
        "sk": f"{image.name}/{image.build}",
        "schemaVersion": SCHEMA_VERSION,
    }


def verdict_to_json(verdict: ImportPlan | Rejection) -> str:
    """Write what was decided."""
    kind = "plan" if isinstance(verdict, ImportPlan) else "rejection"
    return f'{{"{kind}": {to_json(verdict)}}}'


def to_json(value: Upload | ImportPlan | Rejection | Trouble | Content) -> str:
    """Write a frozen value as JSON, field by field."""
    record = {each.name: getattr(value, each.name) for each in fields(value)}
    return json.dumps(record, default=dict)  # the only thing that is no JSON: a read-only mapping


def parse_drop(item: Mapping[str, Any]) -> Drop:
    """Read a drop.

    Raises
    ------
    UnreadableItemError
        When it is none; the same is true of the next three.
    """
    return _parsed(item, _DropItem, _DropItem.value)


def parse_attempt(item: Mapping[str, Any]) -> Attempt:
    """Read an attempt."""
    return _parsed(item, _AttemptItem, _AttemptItem.value)


def parse_image(item: Mapping[str, Any]) -> KnownImage:
    """Read an image."""
    return _parsed(item, _ImageItem, _ImageItem.value)


def parse_image_name(item: Mapping[str, Any]) -> tuple[str, int]:
    """Read a name of images, and the build of Windows."""
    return _parsed(item, _ImageNameItem, _ImageNameItem.value)


def _parsed(item: Mapping[str, Any], model: type[Model], value: Callable[[Model], Value]) -> Value:
    try:
        return value(model.model_validate(item))
    except ValidationError as error:
        wrong = ", ".join(
            f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in error.errors()
        )
    except ValueError as error:  # a number in the key that is none
        wrong = str(error)
    raise UnreadableItemError({name: str(item[name]) for name in ("pk", "sk")}, wrong)
