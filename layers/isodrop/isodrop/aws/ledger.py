"""What was promised: one DynamoDB table, written only on conditions.

Three kinds of item. A *drop* is one upload, asked for once: who follows it, what was found, which
build, which answer; asked for anew it is another item beside the first. An *attempt* is one
request that Image Builder was, or will be, sent for an import, or for the distribution of its
image; attempts at one thing are numbered from 0 and each is written once, whoever comes first, so
whoever comes second follows it. An *image* is one that an upload was answered with, kept by its
name. Nothing here is ever taken back; every write says what must be true before it, so that
crashes, repeats and races end in the same items.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.conditions import Attr, ConditionBase, Key
from botocore.exceptions import ClientError

from isodrop.aws import ledger_budget
from isodrop.aws.config import CONFIG
from isodrop.aws.errors import error_code, translated
from isodrop.aws.ledger_items import (
    BOND_NAMES,
    IMAGE_NAMES,
    SCHEMA_VERSION,
    UnreadableItemError,
    attempt_key,
    attempts_of,
    drop_key,
    image_key,
    images_of,
    key_of,
    new_attempt,
    new_drop,
    new_image,
    new_image_name,
    parse_attempt,
    parse_drop,
    parse_image,
    parse_image_name,
    to_json,
    verdict_to_json,
)
from isodrop.codes import Rejection
from isodrop.domain.budget import BudgetUse, BuildLimits
from isodrop.domain.content import Content
from isodrop.domain.ids import drop_id
from isodrop.domain.model import FIRST_ASK, Ask, ImportPlan, Upload
from isodrop.domain.run import Attempt, Drop, KnownImage, Stage, Standing, State, Trouble
from isodrop.errors import RefusedError, TransientError

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_dynamodb.service_resource import Table

BY_STATE: Final = "ByState"
"""The index of drops by state and time of claim: of keys only, so a drop's other writes cost
nothing there. It lags behind: read the drop itself before you act."""

Mark = Mapping[str, str]
"""Where a drop stands in a listing by state: its key, and when it was claimed."""

_SWEEP: Final = {"pk": "SWEEP", "sk": "SWEEP"}
_BATCH: Final = 100  # keys of one BatchGetItem at the most


@dataclass(frozen=True, slots=True)
class Ledger:
    """The table, and the only code that reads or writes it."""

    table: "Table"

    @classmethod
    def connect(cls, session: "Session", table: str) -> "Ledger":
        """Open the table of that name in a boto3 session's account and Region."""
        return cls(session.resource("dynamodb", config=CONFIG).Table(table))

    def claim(self, upload: Upload, execution: str, now: str, ask: Ask = FIRST_ASK) -> Drop | None:
        """Take an upload, as it is asked for here, into this execution's care.

        Returns
        -------
        Drop or None
            ``None`` when another execution has it: then this one has nothing to say.

        Raises
        ------
        TransientError, RefusedError
            When DynamoDB does not say.
        """
        drop = drop_id(upload)
        self._put(new_drop(upload, execution, now, drop_key(drop, ask.number), ask))
        found = self.drop(drop, ask.number)
        if found is None:
            # It is there. botocore takes an answer that was cut off for one without an item, and
            # an upload that nobody seems to have would be left without its answer.
            raise TransientError("GetItem: a drop that is there was not found")
        return found if found.execution == execution else None

    def drop(self, drop: str, ask: int = 0) -> Drop | None:
        """Read a drop, strongly consistent; ``None`` when nobody has claimed it."""
        key = drop_key(drop, ask)
        with translated():
            item = self.table.get_item(Key=key, ConsistentRead=True).get("Item")
        return None if item is None else parse_drop(item)

    def asks(self, drop: str) -> tuple[Drop, ...]:
        """Read all that was asked for one upload, in order, strongly consistent."""
        return tuple(parse_drop(item) for item in self._all(f"DROP#{drop}"))

    def decide(self, drop: Drop, verdict: ImportPlan | Rejection) -> None:
        """Write what was decided, unless something has been."""
        words = verdict_to_json(verdict)
        self._set(key_of(drop), {"verdict": words}, Attr("verdict").not_exists())

    def record_staging(self, drop: Drop, upload_id: str, instead_of: str | None) -> str:
        """Write which multipart upload makes the copy; returns the one that stands."""
        free: ConditionBase = Attr("staging").not_exists()
        if instead_of is not None:
            free = Attr("staging").eq(instead_of)
        if self._set(key_of(drop), {"staging": upload_id}, free):
            return upload_id
        stands = self.drop(drop.id, drop.ask.number)
        return upload_id if stands is None or stands.staging is None else stands.staging

    def record_content(self, drop: Drop, content: Content) -> Content:
        """Write what the bytes of the copy are; returns what stands."""
        free = Attr("content").not_exists()
        if self._set(key_of(drop), {"content": to_json(content)}, free):
            return content
        stands = self.drop(drop.id, drop.ask.number)
        return content if stands is None or stands.content is None else stands.content

    def record_sha256(self, drop: Drop, sha256: str, note: str | None) -> None:
        """Write a run's hash, and what an allow-list has against it, until it is submitted."""
        values = {"sha256": sha256, "contentNote": note}
        self._set(key_of(drop), values, Attr("attempt").not_exists())

    def sha256_of(self, content_id: str) -> str | None:
        """Read the hash of a content, if it was ever read; ``None`` otherwise."""
        with translated():
            found = self.table.get_item(Key=_content_key(content_id), ConsistentRead=True)
        return found["Item"]["sha256"] if "Item" in found else None  # type: ignore[return-value] # nothing but text is written there

    def record_content_sha256(self, content_id: str, sha256: str) -> None:
        """Write the hash of a content; again, it is the same."""
        with translated():
            self.table.put_item(
                Item={
                    **_content_key(content_id),
                    "schemaVersion": SCHEMA_VERSION,
                    "sha256": sha256,
                }
            )

    def attempts(self, identity: str) -> tuple[Attempt, ...]:
        """Read all attempts at one thing, in order, strongly consistent."""
        return tuple(parse_attempt(item) for item in self._all(attempts_of(identity)))

    def begin(self, attempt: Attempt, limits: BuildLimits | None = None) -> bool:
        """Write a new attempt; ``False`` when somebody was first with that number.

        One that is counted in a day's budget is written and counted at once, within the limits.

        Raises
        ------
        QuotaError, RejectedError, TransientError
            See :func:`isodrop.aws.ledger_budget.book`.
        """
        item = new_attempt(attempt)
        if limits is None or attempt.day is None:
            return self._put(item)
        return ledger_budget.book(self.table, item, _name(attempt), attempt.day, limits)

    def release(self, attempt: Attempt) -> None:
        """Write that an attempt's build is not under way any more."""
        if attempt.day is not None:
            ledger_budget.release(self.table, _name(attempt))

    def release_name(self, identity: str, number: int) -> None:
        """Do so for an attempt of which no more is known than its name."""
        ledger_budget.release(self.table, (identity, number))

    def under_way(self) -> list[tuple[str, int]]:
        """List the attempts that count as under way: identity and number."""
        return ledger_budget.under_way(self.table)

    def budget_use(self, day: str) -> BudgetUse:
        """Read how much of the budget of builds is used on a day."""
        return ledger_budget.use_of(self.table, day)

    def follow(self, drop: Drop, attempt: Attempt, stage: Stage = Stage.IMPORT) -> int:
        """Bind a drop to the attempt whose end it waits for; returns the one that stands."""
        names = BOND_NAMES[stage]
        bound = self._set(
            key_of(drop),
            {names.identity: attempt.identity, names.attempt: attempt.number},
            Attr(names.attempt).not_exists(),
        )
        stands = None if bound else self.drop(drop.id, drop.ask.number)
        stood = None if stands is None else stands.bond(stage).attempt
        return attempt.number if stood is None else stood

    def built(self, attempt: Attempt, build_arn: str, now: str) -> None:
        """Write which build an attempt led to, and when that was known."""
        key = attempt_key(attempt.identity, attempt.number)
        values = {"build": build_arn, "submittedAt": now}
        self._set(key, values, Attr("build").not_exists())

    def record_available(self, attempt: Attempt, now: str) -> str:
        """Write when an attempt's build was first seen to have ended well; get what stands."""
        if attempt.available_at is not None:
            return attempt.available_at
        key = attempt_key(attempt.identity, attempt.number)
        if self._set(key, {"availableAt": now}, Attr("availableAt").not_exists()):
            return now
        return self.attempts(attempt.identity)[attempt.number].available_at or now

    def followed(self, drop: Drop, build_arn: str, stage: Stage = Stage.IMPORT) -> None:
        """Write which build a drop follows."""
        name = BOND_NAMES[stage].build
        self._set(key_of(drop), {name: build_arn}, Attr(name).not_exists())

    def stand(self, attempt: Attempt, standing: Standing) -> Standing:
        """Write what is known of an attempt beyond its build; returns the word that stands.

        It is written only over the word that the attempt in hand has: whoever knows less than
        the ledger does not overrule it. A refusal does not overrule a build, either.
        """
        free: ConditionBase = Attr("standing").eq(attempt.standing.value)
        if standing is Standing.REFUSED:
            free &= Attr("build").not_exists()
        key = attempt_key(attempt.identity, attempt.number)
        if attempt.day is not None and standing in {Standing.REFUSED, Standing.LOST}:
            # There is no build, so none is to be counted: written together, and so only once.
            no_build = " AND attribute_not_exists(build)" if standing is Standing.REFUSED else ""
            update = {
                "Key": key,
                "UpdateExpression": "SET standing = :now",
                "ConditionExpression": f"standing = :before{no_build}",
                "ExpressionAttributeValues": {
                    ":now": standing.value,
                    ":before": attempt.standing.value,
                },
            }
            written = ledger_budget.give_back(self.table, update, _name(attempt), attempt.day)
        else:
            written = self._set(key, {"standing": standing.value}, free)
        if written:
            return standing
        return self.attempts(attempt.identity)[attempt.number].standing

    def hinder(self, drop: Drop, trouble: Trouble, stage: Stage = Stage.IMPORT) -> bool:
        """Write what came in the way of a build; ``False`` if something has, or there is one."""
        names = BOND_NAMES[stage]
        free = Attr(names.trouble).not_exists() & Attr(names.build).not_exists()
        return self._set(key_of(drop), {names.trouble: to_json(trouble)}, free)

    def saw(self, drop: Drop, status: str, now: str) -> None:
        """Write when a status was first seen."""
        if status in drop.timeline:
            return
        with translated():
            self.table.update_item(
                Key=key_of(drop),
                UpdateExpression="SET timeline.#status = if_not_exists(timeline.#status, :now)",
                ExpressionAttributeNames={"#status": status},
                ExpressionAttributeValues={":now": now},
            )

    def answer(self, drop: Drop, answer: str) -> str:
        """Write the answer before it is published; returns the one that stands.

        An answer that was written is never another: whoever comes later, or again,
        publishes these very words under the same event id.
        """
        if self._set(key_of(drop), {"answer": answer}, Attr("answer").not_exists()):
            return answer
        stands = self.drop(drop.id, drop.ask.number)
        return answer if stands is None or stands.answer is None else stands.answer

    def annotating(self, drop: Drop, now: str) -> bool:
        """Write that AMI, object and parameters are being written; ``False`` if it was begun."""
        return self._set(key_of(drop), {"annotating": now}, Attr("annotating").not_exists())

    def annotated(self, drop: Drop, notes: tuple[str, ...]) -> tuple[str, ...]:
        """Write how that went; returns the notes that stand, which are the first."""
        if self._set(key_of(drop), {"notes": list(notes)}, Attr("notes").not_exists()):
            return notes
        stands = self.drop(drop.id, drop.ask.number)
        return notes if stands is None or stands.notes is None else stands.notes

    def know(self, image: KnownImage, now: str) -> None:
        """Write that there is an image; one that was retired is there again."""
        with translated():
            self.table.put_item(Item=new_image(replace(image, known_at=now)))
            self.table.put_item(Item=new_image_name(image))

    def images(self, name: str) -> Iterator[KnownImage]:
        """Read all images of a name that are not retired, strongly consistent, in no order."""
        items = self._all(images_of(name))
        yield from (parse_image(item) for item in items if "retired" not in item)

    def retire(self, image: KnownImage) -> None:
        """Write that an image is gone, unless it has been made known anew meanwhile."""
        self._set(image_key(image), {"retired": True}, Attr("known").eq(image.known_at))

    def image_names(self) -> list[tuple[str, int]]:
        """List the names of images, each with the builds of Windows it has been given to."""
        return [parse_image_name(item) for item in self._all(IMAGE_NAMES)]

    def answered(self, drop: Drop, now: str) -> None:
        """Write that the answer has certainly been published."""
        values = {"answered": now, "state": State.ANSWERED.value}
        self._set(key_of(drop), values, Attr("answered").not_exists())

    def in_state(
        self, state: State, *, newest_first: bool = False, after: Mark | None = None
    ) -> Iterator[Mark]:
        """List drops by state, in the order of their claims, as the index has them.

        Parameters
        ----------
        state : State
        newest_first : bool
            The oldest come first otherwise.
        after : Mark, optional
            Where an earlier listing was left off.

        Yields
        ------
        Mark
            To be read with :meth:`marked`, and to go on from.
        """
        query: dict[str, Any] = {
            "IndexName": BY_STATE,
            "KeyConditionExpression": Key("state").eq(state.value),
            "ScanIndexForward": not newest_first,
            "Limit": _BATCH,
        }
        if after is not None:
            query["ExclusiveStartKey"] = {**after, "state": state.value}
        for item in self._pages(query):
            yield {name: item[name] for name in ("pk", "sk", "claimed")}

    def marked(
        self, marks: Iterable[Mark], unreadable: Callable[[UnreadableItemError], None]
    ) -> tuple[Drop, ...]:
        """Read the drops that a listing named, strongly consistent, in its order.

        Parameters
        ----------
        marks : iterable of Mark
        unreadable : callable
            Told of each item that cannot be read; the others are read all the same.
        """
        wanted = [{"pk": mark["pk"], "sk": mark["sk"]} for mark in marks]
        found = {
            (item["pk"], item["sk"]): item for item in self._some(wanted, {"ConsistentRead": True})
        }
        keys = [(key["pk"], key["sk"]) for key in wanted]
        drops = []
        for key in keys:
            if key not in found:
                continue
            try:
                drops.append(parse_drop(found[key]))
            except UnreadableItemError as error:
                unreadable(error)
        return tuple(drops)

    def known(self, drops: Iterable[str]) -> frozenset[str]:
        """Say which uploads somebody has claimed; who was claimed a moment ago may be missed."""
        keys = [drop_key(drop, 0) for drop in drops]
        return frozenset(
            item["pk"].removeprefix("DROP#")
            for item in self._some(keys, {"ProjectionExpression": "pk"})
        )

    def made(self) -> datetime:
        """Say when the table was made, with a time zone."""
        with translated():
            found = self.table.meta.client.describe_table(TableName=self.table.name)
        return found["Table"]["CreationDateTime"]

    def sweep(self) -> Mapping[str, Any] | None:
        """Read what the last sweep left for the next; ``None`` before the first."""
        with translated():
            item = self.table.get_item(Key=_SWEEP, ConsistentRead=True).get("Item")
        return None if item is None else dict(json.loads(str(item["left"])))

    def swept(self, left: Mapping[str, Any]) -> None:
        """Write what the next sweep is to know: plain JSON."""
        with translated():
            self.table.put_item(Item={**_SWEEP, "left": json.dumps(left)})

    def _all(self, partition: str) -> Iterator[dict[str, Any]]:
        key = Key("pk").eq(partition)
        return self._pages({"KeyConditionExpression": key, "ConsistentRead": True})

    def _pages(self, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        while True:
            with translated():
                page = self.table.query(**query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query = {**query, "ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _some(
        self, keys: Sequence[dict[str, str]], how: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Read items by key, a hundred in one call; in no order."""
        name = self.table.name
        waiting = list(keys)
        while waiting:
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            with translated():
                page = self.table.meta.client.batch_get_item(
                    RequestItems={name: {"Keys": batch, **how}}  # type: ignore[dict-item] # the stubs see every keyword in the mapping
                )
            yield from page["Responses"].get(name, [])
            left = page["UnprocessedKeys"].get(name, {"Keys": []})["Keys"]
            if len(left) == len(batch):
                raise TransientError("BatchGetItem: DynamoDB is too busy to read anything")
            waiting.extend({"pk": str(key["pk"]), "sk": str(key["sk"])} for key in left)

    def _put(self, item: dict[str, Any]) -> bool:
        """Write a new item; ``False`` when there is one under its key."""
        return self._conditional(
            self.table.put_item, Item=item, ConditionExpression=Attr("pk").not_exists()
        )

    def _set(self, key: dict[str, str], values: dict[str, Any], condition: ConditionBase) -> bool:
        """Set attributes of an item that is there; ``False`` when the condition does not hold."""
        names = {f"#{name}": name for name in values}
        return self._conditional(
            self.table.update_item,
            Key=key,
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
            ConditionExpression=Attr("pk").exists() & condition,
        )

    @staticmethod
    def _conditional(write: Any, **arguments: Any) -> bool:
        try:
            with translated():
                write(**arguments)
        except RefusedError as error:
            cause = error.__cause__
            if (
                isinstance(cause, ClientError)
                and error_code(cause) == "ConditionalCheckFailedException"
            ):
                return False
            raise
        return True


def mark_of(drop: Drop) -> Mark:
    """Say where a drop stands in a listing by state."""
    return {**key_of(drop), "claimed": drop.claimed}


def _content_key(content_id: str) -> dict[str, str]:
    return {"pk": f"CONTENT#{content_id}", "sk": "CONTENT"}


def _name(attempt: Attempt) -> ledger_budget.AttemptName:
    return attempt.identity, attempt.number
