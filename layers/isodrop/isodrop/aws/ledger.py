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
from heapq import merge
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.conditions import Attr, ConditionBase, Key
from botocore.exceptions import ClientError

from isodrop.aws import ledger_budget
from isodrop.aws.config import CONFIG
from isodrop.aws.errors import error_code, translate_errors
from isodrop.aws.ledger_items import (
    BUILD_ATTRIBUTES,
    IMAGE_NAMES,
    SCHEMA_VERSION,
    UnreadableItemError,
    attempt_key,
    attempts_of,
    decision_to_json,
    image_key,
    images_of,
    images_of_build,
    key_of_run,
    new_attempt,
    new_image,
    new_image_name,
    new_run,
    parse_attempt,
    parse_image,
    parse_image_name,
    parse_run,
    run_key,
    to_json,
)
from isodrop.codes import Rejection
from isodrop.domain.budget import BudgetUse, BuildLimits
from isodrop.domain.content import Content
from isodrop.domain.ids import upload_id
from isodrop.domain.model import FIRST_RUN, ImportPlan, RunRequest, Upload
from isodrop.domain.run import (
    Attempt,
    AttemptStatus,
    BuildKind,
    Failure,
    ImageRecord,
    Run,
    RunState,
)
from isodrop.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_dynamodb.service_resource import Table

BY_STATE: Final = "ByState"
"""The index of drops by state and time of claim: of keys only, so a drop's other writes cost
nothing there. It lags behind: read the drop itself before you act."""

Cursor = Mapping[str, str]
"""Where a drop stands in a listing by state: its key, and when it was claimed."""

_SWEEP: Final = {"pk": "SWEEP", "sk": "SWEEP"}
_BATCH: Final = 100  # keys of one BatchGetItem at the most
_IMAGES: Final = 20  # of a page: the first that is there is taken, and mostly that is the first


@dataclass(frozen=True, slots=True)
class Ledger:
    """The table, and the only code that reads or writes it."""

    table: "Table"

    @classmethod
    def connect(cls, session: "Session", table: str) -> "Ledger":
        """Open the table of that name in a boto3 session's account and Region."""
        return cls(session.resource("dynamodb", config=CONFIG).Table(table))

    def claim(
        self, upload: Upload, execution: str, now: str, request: RunRequest = FIRST_RUN
    ) -> Run | None:
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
        run = upload_id(upload)
        self._put_if_absent(new_run(upload, execution, now, run_key(run, request.number), request))
        found = self.get_run(run, request.number)
        if found is None:
            # It is there. botocore takes an answer that was cut off for one without an item, and
            # an upload that nobody seems to have would be left without its answer.
            raise TransientError("GetItem: a drop that is there was not found")
        return found if found.execution_arn == execution else None

    def get_run(self, run: str, request: int = 0) -> Run | None:
        """Read a drop, strongly consistent; ``None`` when nobody has claimed it."""
        key = run_key(run, request)
        with translate_errors():
            item = self.table.get_item(Key=key, ConsistentRead=True).get("Item")
        return None if item is None else parse_run(item)

    def list_runs(self, run: str) -> tuple[Run, ...]:
        """Read all that was asked for one upload, in order, strongly consistent."""
        return tuple(parse_run(item) for item in self._query_partition(f"UPLOAD#{run}"))

    def record_decision(self, run: Run, decision: ImportPlan | Rejection) -> None:
        """Write what was decided, unless something has been."""
        words = decision_to_json(decision)
        self._update_if(key_of_run(run), {"decision": words}, Attr("decision").not_exists())

    def record_staging(self, run: Run, upload_id: str, instead_of: str | None) -> str:
        """Write which multipart upload makes the copy; returns the one that stands."""
        free: ConditionBase = Attr("staging").not_exists()
        if instead_of is not None:
            free = Attr("staging").eq(instead_of)
        if self._update_if(key_of_run(run), {"staging": upload_id}, free):
            return upload_id
        stands = self.get_run(run.upload_id, run.request.number)
        return upload_id if stands is None or stands.staging is None else stands.staging

    def record_content(self, run: Run, content: Content) -> Content:
        """Write what the bytes of the copy are; returns what stands."""
        free = Attr("content").not_exists()
        if self._update_if(key_of_run(run), {"content": to_json(content)}, free):
            return content
        stands = self.get_run(run.upload_id, run.request.number)
        return content if stands is None or stands.content is None else stands.content

    def record_sha256(self, run: Run, sha256: str, note: str | None) -> None:
        """Write a run's hash, and what an allow-list has against it, until it is submitted."""
        values = {"sha256": sha256, "contentNote": note}
        self._update_if(key_of_run(run), values, Attr("attempt").not_exists())

    def sha256_of(self, content_id: str) -> str | None:
        """Read the hash of a content, if it was ever read; ``None`` otherwise."""
        with translate_errors():
            found = self.table.get_item(Key=_content_key(content_id), ConsistentRead=True)
        return found["Item"]["sha256"] if "Item" in found else None  # type: ignore[return-value] # nothing but text is written there

    def record_content_sha256(self, content_id: str, sha256: str) -> None:
        """Write the hash of a content; again, it is the same."""
        with translate_errors():
            self.table.put_item(
                Item={
                    **_content_key(content_id),
                    "schemaVersion": SCHEMA_VERSION,
                    "sha256": sha256,
                }
            )

    def list_attempts(self, identity: str) -> tuple[Attempt, ...]:
        """Read all attempts at one thing, in order, strongly consistent."""
        return tuple(parse_attempt(item) for item in self._query_partition(attempts_of(identity)))

    def create_attempt(self, attempt: Attempt, limits: BuildLimits | None = None) -> bool:
        """Write a new attempt; ``False`` when somebody was first with that number.

        One that is counted in a day's budget is written and counted at once, within the limits.

        Raises
        ------
        QuotaError, RejectedError, TransientError
            See :func:`isodrop.aws.ledger_budget.book`.
        """
        item = new_attempt(attempt)
        if limits is None or attempt.day is None:
            return self._put_if_absent(item)
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

    def link_attempt(self, run: Run, attempt: Attempt, stage: BuildKind = BuildKind.IMPORT) -> int:
        """Bind a drop to the attempt whose end it waits for; returns the one that stands."""
        names = BUILD_ATTRIBUTES[stage]
        bound = self._update_if(
            key_of_run(run),
            {names.import_key: attempt.import_key, names.attempt: attempt.number},
            Attr(names.attempt).not_exists(),
        )
        stands = None if bound else self.get_run(run.upload_id, run.request.number)
        stood = None if stands is None else stands.build(stage).attempt
        return attempt.number if stood is None else stood

    def record_build(self, attempt: Attempt, build_arn: str, now: str) -> None:
        """Write which build an attempt led to, and when that was known."""
        key = attempt_key(attempt.import_key, attempt.number)
        values = {"buildArn": build_arn, "submittedAt": now}
        self._update_if(key, values, Attr("buildArn").not_exists())

    def record_available(self, attempt: Attempt, now: str) -> str:
        """Write when an attempt's build was first seen to have ended well; get what stands."""
        if attempt.available_at is not None:
            return attempt.available_at
        key = attempt_key(attempt.import_key, attempt.number)
        if self._update_if(key, {"availableAt": now}, Attr("availableAt").not_exists()):
            return now
        return self.list_attempts(attempt.import_key)[attempt.number].available_at or now

    def link_build(self, run: Run, build_arn: str, stage: BuildKind = BuildKind.IMPORT) -> None:
        """Write which build a drop follows."""
        name = BUILD_ATTRIBUTES[stage].build_arn
        self._update_if(key_of_run(run), {name: build_arn}, Attr(name).not_exists())

    def set_attempt_status(self, attempt: Attempt, status: AttemptStatus) -> AttemptStatus:
        """Write what is known of an attempt beyond its build; returns the word that stands.

        It is written only over the word that the attempt in hand has: whoever knows less than
        the ledger does not overrule it. A refusal does not overrule a build, either.
        """
        free: ConditionBase = Attr("status").eq(attempt.status.value)
        if status is AttemptStatus.REFUSED:
            free &= Attr("buildArn").not_exists()
        key = attempt_key(attempt.import_key, attempt.number)
        if attempt.day is not None and status in {AttemptStatus.REFUSED, AttemptStatus.LOST}:
            # There is no build, so none is to be counted: written together, and so only once.
            no_build = (
                " AND attribute_not_exists(buildArn)" if status is AttemptStatus.REFUSED else ""
            )
            update = {
                "Key": key,
                "UpdateExpression": "SET #status = :now",
                "ConditionExpression": f"#status = :before{no_build}",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {
                    ":now": status.value,
                    ":before": attempt.status.value,
                },
            }
            written = ledger_budget.give_back(self.table, update, _name(attempt), attempt.day)
        else:
            written = self._update_if(key, {"status": status.value}, free)
        if written:
            return status
        return self.list_attempts(attempt.import_key)[attempt.number].status

    def record_failure(
        self, run: Run, failure: Failure, stage: BuildKind = BuildKind.IMPORT
    ) -> bool:
        """Write what came in the way of a build; ``False`` if something has, or there is one."""
        names = BUILD_ATTRIBUTES[stage]
        free = Attr(names.failure).not_exists() & Attr(names.build_arn).not_exists()
        return self._update_if(key_of_run(run), {names.failure: to_json(failure)}, free)

    def record_status_seen(self, run: Run, status: str, now: str) -> None:
        """Write when a status was first seen."""
        if status in run.status_first_seen_at:
            return
        with translate_errors():
            self.table.update_item(
                Key=key_of_run(run),
                UpdateExpression="SET #seen.#status = if_not_exists(#seen.#status, :now)",
                ExpressionAttributeNames={"#seen": "statusFirstSeenAt", "#status": status},
                ExpressionAttributeValues={":now": now},
            )

    def record_answer(self, run: Run, answer: str) -> str:
        """Write the answer before it is published; returns the one that stands.

        An answer that was written is never another: whoever comes later, or again,
        publishes these very words under the same event id.
        """
        if self._update_if(key_of_run(run), {"answer": answer}, Attr("answer").not_exists()):
            return answer
        stands = self.get_run(run.upload_id, run.request.number)
        return answer if stands is None or stands.answer_json is None else stands.answer_json

    def begin_annotation(self, run: Run, now: str) -> bool:
        """Write that AMI, object and parameters are being written; ``False`` if it was begun."""
        return self._update_if(
            key_of_run(run), {"annotatingAt": now}, Attr("annotatingAt").not_exists()
        )

    def record_annotation_notes(self, run: Run, notes: tuple[str, ...]) -> tuple[str, ...]:
        """Write how that went; returns the notes that stand, which are the first."""
        if self._update_if(
            key_of_run(run), {"annotationNotes": list(notes)}, Attr("annotationNotes").not_exists()
        ):
            return notes
        stands = self.get_run(run.upload_id, run.request.number)
        return (
            notes if stands is None or stands.annotation_notes is None else stands.annotation_notes
        )

    def put_image(self, image: ImageRecord, now: str) -> None:
        """Write that there is an image; one that was retired is there again."""
        with translate_errors():
            # In this order: images are found by their names' builds.
            self.table.put_item(Item=new_image_name(image))
            self.table.put_item(Item=new_image(replace(image, known_at=now)))

    def list_images(self, name: str, build: int | None = None) -> Iterator[ImageRecord]:
        """Read the images of a name that are not retired, strongly consistent, the newest first.

        They are read as they are taken, a page at a time: who wants the newest pays for no other.

        Parameters
        ----------
        name : str
        build : int, optional
            Of Windows; all of them otherwise.
        """
        builds = [build] if build is not None else self._builds_of(name)
        newest_first = (self._list_images_of_build(name, each) for each in builds)
        yield from merge(*newest_first, key=lambda image: image.sort_key, reverse=True)

    def _list_images_of_build(self, name: str, build: int) -> Iterator[ImageRecord]:
        key = Key("pk").eq(images_of(name)) & Key("sk").begins_with(images_of_build(build))
        items = self._paginate(
            {
                "KeyConditionExpression": key,
                "ConsistentRead": True,
                "ScanIndexForward": False,
                "Limit": _IMAGES,
            }
        )
        yield from (parse_image(item) for item in items if "retired" not in item)

    def _builds_of(self, name: str) -> list[int]:
        key = Key("pk").eq(IMAGE_NAMES) & Key("sk").begins_with(f"{name}/")
        items = self._paginate({"KeyConditionExpression": key, "ConsistentRead": True})
        return [build for found, build in map(parse_image_name, items) if found == name]

    def retire(self, image: ImageRecord) -> None:
        """Write that an image is gone, unless it has been made known anew meanwhile."""
        self._update_if(image_key(image), {"retired": True}, Attr("knownAt").eq(image.known_at))

    def image_names(self) -> list[tuple[str, int]]:
        """List the names of images, each with the builds of Windows it has been given to."""
        return [parse_image_name(item) for item in self._query_partition(IMAGE_NAMES)]

    def mark_answered(self, run: Run, now: str) -> None:
        """Write that the answer has certainly been published."""
        values = {"answeredAt": now, "state": RunState.ANSWERED.value}
        self._update_if(key_of_run(run), values, Attr("answeredAt").not_exists())

    def list_by_state(
        self, state: RunState, *, newest_first: bool = False, after: Cursor | None = None
    ) -> Iterator[Cursor]:
        """List drops by state, in the order of their claims, as the index has them.

        Parameters
        ----------
        state : State
        newest_first : bool
            The oldest come first otherwise.
        after : Cursor, optional
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
        for item in self._paginate(query):
            yield {name: item[name] for name in ("pk", "sk", "claimedAt")}

    def get_runs(
        self, marks: Iterable[Cursor], unreadable: Callable[[UnreadableItemError], None]
    ) -> tuple[Run, ...]:
        """Read the drops that a listing named, strongly consistent, in its order.

        Parameters
        ----------
        marks : iterable of Cursor
        unreadable : callable
            Told of each item that cannot be read; the others are read all the same.
        """
        wanted = [{"pk": mark["pk"], "sk": mark["sk"]} for mark in marks]
        found = {
            (item["pk"], item["sk"]): item
            for item in self._batch_get(wanted, {"ConsistentRead": True})
        }
        keys = [(key["pk"], key["sk"]) for key in wanted]
        runs = []
        for key in keys:
            if key not in found:
                continue
            try:
                runs.append(parse_run(found[key]))
            except UnreadableItemError as error:
                unreadable(error)
        return tuple(runs)

    def find_claimed(self, runs: Iterable[str]) -> frozenset[str]:
        """Say which uploads somebody has claimed; who was claimed a moment ago may be missed."""
        keys = [run_key(run, 0) for run in runs]
        return frozenset(
            item["pk"].removeprefix("UPLOAD#")
            for item in self._batch_get(keys, {"ProjectionExpression": "pk"})
        )

    def created_at(self) -> datetime:
        """Say when the table was made, with a time zone."""
        with translate_errors():
            found = self.table.meta.client.describe_table(TableName=self.table.name)
        return found["Table"]["CreationDateTime"]

    def load_checkpoint(self) -> Mapping[str, Any] | None:
        """Read what the last sweep left for the next; ``None`` before the first."""
        with translate_errors():
            item = self.table.get_item(Key=_SWEEP, ConsistentRead=True).get("Item")
        return None if item is None else dict(json.loads(str(item["checkpoint"])))

    def save_checkpoint(self, left: Mapping[str, Any]) -> None:
        """Write what the next sweep is to know: plain JSON."""
        with translate_errors():
            self.table.put_item(Item={**_SWEEP, "checkpoint": json.dumps(left)})

    def _query_partition(self, partition: str) -> Iterator[dict[str, Any]]:
        key = Key("pk").eq(partition)
        return self._paginate({"KeyConditionExpression": key, "ConsistentRead": True})

    def _paginate(self, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        while True:
            with translate_errors():
                page = self.table.query(**query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query = {**query, "ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _batch_get(
        self, keys: Sequence[dict[str, str]], how: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Read items by key, a hundred in one call; in no order."""
        name = self.table.name
        waiting = list(keys)
        while waiting:
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            with translate_errors():
                page = self.table.meta.client.batch_get_item(
                    RequestItems={name: {"Keys": batch, **how}}  # type: ignore[dict-item] # the stubs see every keyword in the mapping
                )
            yield from page["Responses"].get(name, [])
            left = page["UnprocessedKeys"].get(name, {"Keys": []})["Keys"]
            if len(left) == len(batch):
                raise TransientError("BatchGetItem: DynamoDB is too busy to read anything")
            waiting.extend({"pk": str(key["pk"]), "sk": str(key["sk"])} for key in left)

    def _put_if_absent(self, item: dict[str, Any]) -> bool:
        """Write a new item; ``False`` when there is one under its key."""
        return self._run_conditional(
            self.table.put_item, Item=item, ConditionExpression=Attr("pk").not_exists()
        )

    def _update_if(
        self, key: dict[str, str], values: dict[str, Any], condition: ConditionBase
    ) -> bool:
        """Set attributes of an item that is there; ``False`` when the condition does not hold."""
        names = {f"#{name}": name for name in values}
        return self._run_conditional(
            self.table.update_item,
            Key=key,
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
            ConditionExpression=Attr("pk").exists() & condition,
        )

    @staticmethod
    def _run_conditional(write: Any, **arguments: Any) -> bool:
        try:
            with translate_errors():
                write(**arguments)
        except PermanentError as error:
            cause = error.__cause__
            if (
                isinstance(cause, ClientError)
                and error_code(cause) == "ConditionalCheckFailedException"
            ):
                return False
            raise
        return True


def cursor_for(run: Run) -> Cursor:
    """Say where a drop stands in a listing by state."""
    return {**key_of_run(run), "claimedAt": run.claimed_at}


def _content_key(content_id: str) -> dict[str, str]:
    return {"pk": f"CONTENT#{content_id}", "sk": "CONTENT"}


def _name(attempt: Attempt) -> ledger_budget.AttemptName:
    return attempt.import_key, attempt.number
