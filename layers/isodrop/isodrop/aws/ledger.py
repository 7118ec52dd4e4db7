"""The ledger: one DynamoDB table with conditional writes.

There are three main kinds of item. A *run* is one handling of an upload: its execution, decision,
build and answer. An *attempt* is one request to Image Builder for an import, or for the
distribution of its image. Attempts are numbered from 0 per import or distribution. The request of
an attempt never changes, and several runs may share the attempt. An *image* is an Image Builder
image that an answer has named. Most attributes are written only once, and all writes are
conditional or idempotent, so crashes, repeats and races result in the same items.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.conditions import Attr, ConditionBase, Key
from botocore.exceptions import ClientError

from isodrop.aws import ledger_limits
from isodrop.aws.config import CONFIG
from isodrop.aws.errors import translate_errors
from isodrop.aws.ledger_images import LedgerImages
from isodrop.aws.ledger_items import (
    BUILD_ATTRIBUTES,
    SCHEMA_VERSION,
    UnreadableItemError,
    attempt_item,
    attempt_item_key,
    attempts_partition,
    cancellation_key,
    content_key,
    decision_to_json,
    image_items,
    parse_attempt,
    parse_run,
    run_item,
    run_key,
    to_json,
    upload_run_key,
)
from isodrop.aws.ledger_writes import linking_writes, success_write, with_attempt
from isodrop.aws.transactions import (
    TransactionResult,
    Write,
    check_absent,
    put,
    put_if_absent,
    update,
)
from isodrop.codes import Rejection
from isodrop.domain.build_limits import BuildLimits, BuildUsage
from isodrop.domain.content import Content
from isodrop.domain.ids import upload_id
from isodrop.domain.model import FIRST_RUN, ImportPlan, RunRequest, Upload
from isodrop.domain.run import (
    CANCELLED,
    Attempt,
    AttemptKey,
    AttemptStatus,
    BuildKind,
    EndedBuilds,
    Failure,
    Run,
    RunState,
)
from isodrop.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from boto3 import Session

BY_STATE: Final = "ByState"
"""The index of runs by state and time of claim. It contains keys only, so only a write that changes
a run's state updates it. It is eventually consistent: read the run itself before you act on it."""

Cursor = Mapping[str, str]
"""A run's position in a listing by state: its key, and when it was claimed."""

_SWEEP: Final = {"pk": "SWEEP", "sk": "SWEEP"}
_RUN: Final = 0  # the position of the run's update in each transaction
_PAGE: Final = 100  # runs per page; BatchGetItem, which get_runs uses, also returns up to 100 items


@dataclass(frozen=True, slots=True)
class Ledger(LedgerImages):
    """The functions' access to the table: runs, attempts, contents and the sweep's checkpoint.

    The methods for images are inherited from :class:`LedgerImages`.

    Attributes
    ----------
    table : Table
    run_retention : timedelta, optional
        How long a run is kept after its answer; forever by default.
    """

    run_retention: timedelta | None = None

    @classmethod
    def connect(
        cls, session: "Session", table: str, run_retention: timedelta | None = None
    ) -> "Ledger":
        """Make a ledger for the table with that name, in a boto3 session's account and Region."""
        return cls(session.resource("dynamodb", config=CONFIG).Table(table), run_retention)

    def claim(
        self, upload: Upload, execution: str, now: str, run_request: RunRequest = FIRST_RUN
    ) -> Run | None:
        """Claim a run of an upload for an execution.

        Returns
        -------
        Run or None
            ``None`` if another execution has claimed it; that execution will answer.

        Raises
        ------
        TransientError, PermanentError
            A call to DynamoDB failed.
        """
        item = run_item(
            upload,
            execution,
            now,
            upload_run_key(upload_id(upload), run_request.number),
            run_request,
        )
        existing = self._put_if_absent(item)
        run = parse_run(item if existing is None else existing)
        return run if run.execution_arn == execution else None

    def get_run(self, upload_id: str, number: int = 0) -> Run | None:
        """Read a run with a strongly consistent read; ``None`` if it has not been claimed."""
        item = self._get(upload_run_key(upload_id, number))
        return None if item is None else parse_run(item)

    def list_runs(self, upload_id: str) -> tuple[Run, ...]:
        """Read all runs of an upload, in order, with strongly consistent reads."""
        return tuple(parse_run(item) for item in self._query_partition(f"UPLOAD#{upload_id}"))

    # ------------------------------------------------------------------ attributes of a run
    # Unless its docstring says otherwise, a method writes an attribute only once. Each returns the
    # updated run or, if a condition fails, the run that DynamoDB returns with the error.

    def record_decision(
        self, run: Run, decision: ImportPlan | Rejection, multipart_id: str | None = None
    ) -> Run:
        """Write the decision and the id of the multipart upload, unless there is a decision.

        Raises
        ------
        PermanentError
            ``build-cancelled``: the cancellation of the run was requested.
        """
        values: dict[str, Any] = {"decision": decision_to_json(decision)}
        if multipart_id is not None:
            values["multipartId"] = multipart_id
        result = self._transact(
            update(run_key(run), values, unless=["decision"]),
            check_absent(cancellation_key(run)),
        )
        if _RUN in result.unmet:
            return self._existing_run(run, result)
        _raise_if_cancelled(result, position=1)
        return replace(run, decision=decision, multipart_id=multipart_id or run.multipart_id)

    def record_multipart_id(self, run: Run, multipart_id: str, replaced: str | None) -> Run:
        """Write the id of the multipart upload, if the ledger still has the id ``replaced``."""
        condition: ConditionBase = Attr("multipartId").not_exists()
        if replaced is not None:
            condition = Attr("multipartId").eq(replaced)
        return self._update_run(run, {"multipartId": multipart_id}, condition)

    def record_content(self, run: Run, content: Content) -> Run:
        """Write the size and checksum that identify the copy's content, unless they are written."""
        values = {"content": to_json(content)}
        return self._update_run(run, values, Attr("content").not_exists())

    def record_sha256(self, run: Run, sha256: str, note: str | None) -> Run:
        """Write the SHA-256 and the allow-list's note, unless the run has an attempt."""
        values = {"sha256": sha256, "allowListNote": note}
        return self._update_run(run, values, Attr("attempt").not_exists())

    def link_attempt(self, run: Run, attempt: Attempt, kind: BuildKind = BuildKind.IMPORT) -> Run:
        """Link a run to an existing attempt, unless the run is linked, stopped or answered.

        Raises
        ------
        PermanentError
            ``build-cancelled``: the cancellation of the run was requested.
        """
        result = self._transact(*linking_writes(run, attempt, kind))
        if _RUN in result.unmet:
            return self._existing_run(run, result)
        _raise_if_cancelled(result, position=1)
        return with_attempt(run, attempt, kind)

    def link_build(self, run: Run, build_arn: str, kind: BuildKind = BuildKind.IMPORT) -> Run:
        """Write the build that a run waits for, unless there is one."""
        name = BUILD_ATTRIBUTES[kind].build_arn
        return self._update_run(run, {name: build_arn}, Attr(name).not_exists())

    def record_failure(self, run: Run, failure: Failure, kind: BuildKind = BuildKind.IMPORT) -> Run:
        """Write what stopped a run, unless it has a failure or a build."""
        names = BUILD_ATTRIBUTES[kind]
        condition = Attr(names.failure).not_exists() & Attr(names.build_arn).not_exists()
        return self._update_run(run, {names.failure: to_json(failure)}, condition)

    def record_status_seen(self, upload_id: str, number: int, status: str, now: str) -> Run | None:
        """Record when a status of a run was first seen, unless it was seen before.

        Once a run has a distribution, only its start is recorded, as the status ``distribution``.

        Returns
        -------
        Run or None
            The updated run, or the run as it is if nothing was written; ``None`` if there is none.
        """
        key = upload_run_key(upload_id, number)
        condition: ConditionBase = Attr("pk").exists()
        if status != BuildKind.DISTRIBUTION:
            condition &= Attr(BUILD_ATTRIBUTES[BuildKind.DISTRIBUTION].build_arn).not_exists()
        item: Mapping[str, Any] | None
        with translate_errors():
            try:
                response = self.table.update_item(
                    Key=key,
                    UpdateExpression="SET #seen.#status = if_not_exists(#seen.#status, :now)",
                    ExpressionAttributeNames={"#seen": "statusFirstSeenAt", "#status": status},
                    ExpressionAttributeValues={":now": now},
                    ConditionExpression=condition,
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                item = self._existing_item(error, key)
            else:
                item = response.get("Attributes") or self._get(key)
        return None if item is None else parse_run(item)

    def record_answer(
        self, run: Run, answer: str, ended: EndedBuilds, now: str
    ) -> tuple[Run, bool]:
        """Write the answer before it is published, unless there is one.

        A written answer never changes. Every later invocation publishes the same answer with the
        same event id. What it says about builds is written in the same transaction: which are no
        longer under way, which attempts succeeded, and the image that it names.

        Returns
        -------
        Run and bool
            The updated run, and whether this call wrote the answer. The caller that wrote it also
            writes the annotations, which is done at most once.
        """
        images = () if ended.image is None else image_items(replace(ended.image, recorded_at=now))
        result = self._transact(
            update(run_key(run), {"answer": answer}, unless=["answer"]),
            *map(ledger_limits.free_slot_write, ended.imports),
            *(success_write(key, now) for key in ended.succeeded),
            *map(put, images),
        )
        if result.is_written:
            return replace(run, answer_json=answer), True
        if _RUN not in result.unmet:
            raise TransientError("TransactWriteItems: an attempt was not found")
        return self._existing_run(run, result), False

    def record_annotation_notes(self, run: Run, notes: tuple[str, ...]) -> Run:
        """Write the notes on what could not be annotated, unless there are notes."""
        values = {"annotationNotes": list(notes)}
        return self._update_run(run, values, Attr("annotationNotes").not_exists())

    def mark_answered(self, run: Run, now: str) -> Run:
        """Record that the publication of the answer was confirmed."""
        values: dict[str, Any] = {"answeredAt": now, "state": RunState.ANSWERED.value}
        if self.run_retention is not None:
            # In seconds, as DynamoDB expects it:
            # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html
            ends = datetime.fromisoformat(now) + self.run_retention
            values["expiresAt"] = int(ends.timestamp())
        return self._update_run(run, values, Attr("answeredAt").not_exists())

    # ------------------------------------------------------------------ attempts

    def get_attempt(self, key: AttemptKey) -> Attempt:
        """Read an attempt that a run is linked to, with a strongly consistent read.

        Raises
        ------
        TransientError
            It was not found; botocore parses a truncated response as one without an item.
        """
        item = self._get(attempt_item_key(key))
        if item is None:
            raise TransientError(f"GetItem: attempt {key.number} of {key.task_key} was not found")
        return parse_attempt(item)

    def list_attempts(self, task_key: str) -> tuple[Attempt, ...]:
        """Read all attempts of a task, in order, with strongly consistent reads."""
        return tuple(
            parse_attempt(item) for item in self._query_partition(attempts_partition(task_key))
        )

    def create_attempt(
        self,
        run: Run,
        attempt: Attempt,
        kind: BuildKind = BuildKind.IMPORT,
        limits: BuildLimits | None = None,
    ) -> Run | None:
        """Write a new attempt and link the run to it, in one transaction.

        If ``limits`` are given, it is counted toward them in the same transaction.

        Returns
        -------
        Run or None
            The updated run. It may be linked to another attempt, by another invocation. ``None`` if
            there is an attempt with that number.

        Raises
        ------
        PermanentError
            ``build-cancelled``: the cancellation of the run was requested.
        QuotaError, RejectedError
            A limit is reached; see :func:`isodrop.aws.ledger_limits.check_limits`.
        TransientError
            Other invocations are writing the same items.
        """
        linking = linking_writes(run, attempt, kind)
        counting = () if limits is None else ledger_limits.counting_writes(attempt, limits)
        position = len(linking)
        result = self._transact(*linking, put_if_absent(attempt_item(attempt)), *counting)
        if _RUN in result.unmet:
            return self._existing_run(run, result)
        if position in result.unmet:
            return None
        if kind is BuildKind.IMPORT:
            _raise_if_cancelled(result, position=1)
        if limits is not None:
            ledger_limits.check_limits(result, position + 1, attempt, limits)
        return with_attempt(run, attempt, kind)

    def record_build(self, attempt: Attempt, build_arn: str, now: str) -> Attempt:
        """Write the build of an attempt, and when that was recorded, unless there is one."""
        values = {"buildArn": build_arn, "buildRecordedAt": now}
        return self._update_attempt(attempt, values, Attr("buildArn").not_exists())

    def record_and_link_build(
        self, run: Run, attempt: Attempt, build_arn: str, now: str, kind: BuildKind
    ) -> Run:
        """Write the build of an attempt, to the attempt and to the run that is linked to it."""
        values = {"buildArn": build_arn, "buildRecordedAt": now}
        name = BUILD_ATTRIBUTES[kind].build_arn
        result = self._transact(
            update(run_key(run), {name: build_arn}, unless=[name]),
            update(attempt_item_key(attempt.key), values, unless=["buildArn"]),
        )
        if result.is_written:
            return run.with_build_record(kind, replace(run.build_record(kind), arn=build_arn))
        # One of them has its build already: from another invocation, or this is a repeated call.
        attempt = self.record_build(attempt, build_arn, now)
        return self.link_build(run, attempt.build_arn or build_arn, kind)

    def record_available(self, attempt: Attempt, now: str) -> Attempt:
        """Record when an attempt's build was first seen to have succeeded."""
        if attempt.available_at is not None:
            return attempt
        values = {"availableAt": now}
        return self._update_attempt(attempt, values, Attr("availableAt").not_exists())

    def set_attempt_status(self, attempt: Attempt, status: AttemptStatus) -> Attempt:
        """Write the status of an attempt; returns the updated attempt.

        The status is written only if the ledger still has the status of the given attempt, so that
        an outdated caller does not overwrite a newer status. ``REFUSED`` is not written if there is
        a build.
        """
        condition: ConditionBase = Attr("status").eq(attempt.status.value)
        if status is AttemptStatus.REFUSED:
            condition &= Attr("buildArn").not_exists()
        if attempt.day is None or status not in {AttemptStatus.REFUSED, AttemptStatus.LOST}:
            return self._update_attempt(attempt, {"status": status.value}, condition)
        # It has no build, so the same transaction, once only, stops counting it toward the limits.
        no_build = " AND attribute_not_exists(buildArn)" if status is AttemptStatus.REFUSED else ""
        change = {
            "Key": attempt_item_key(attempt.key),
            "UpdateExpression": "SET #status = :new",
            "ConditionExpression": f"#status = :old{no_build}",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {":new": status.value, ":old": attempt.status.value},
        }
        writes = ledger_limits.uncounting_writes(attempt.key, attempt.day)
        if self._transact(Write("Update", change), *writes).is_written:
            return replace(attempt, status=status)
        return self.get_attempt(attempt.key)

    def free_slot(self, key: AttemptKey) -> None:
        """Record that an attempt's build is no longer under way."""
        ledger_limits.free_slot(self.table, key)

    def list_under_way(self) -> list[AttemptKey]:
        """List the attempts that count as under way."""
        return ledger_limits.list_under_way(self.table)

    def read_build_usage(self, day: str) -> BuildUsage:
        """Read how many builds are under way, and how many were started on a day."""
        return ledger_limits.read_usage(self.table, day)

    # ------------------------------------------------------------------ cancellations

    def request_cancellation(self, run: Run) -> None:
        """Request the cancellation of a run that has no build yet; idempotent."""
        self._put_if_absent({**cancellation_key(run), "schemaVersion": SCHEMA_VERSION})

    def is_cancellation_requested(self, run: Run) -> bool:
        """Whether the cancellation of a run was requested, with a strongly consistent read."""
        return self._get(cancellation_key(run)) is not None

    # ------------------------------------------------------------------ contents

    def get_sha256(self, content_id: str) -> str | None:
        """Read the SHA-256 of the content with this id; ``None`` if it has not been computed."""
        item = self._get(content_key(content_id))
        return None if item is None else str(item["sha256"])

    def record_content_sha256(self, content_id: str, sha256: str) -> None:
        """Write the SHA-256 of the content with this id; idempotent."""
        item: dict[str, Any] = {
            **content_key(content_id),
            "schemaVersion": SCHEMA_VERSION,
            "sha256": sha256,
        }
        with translate_errors():
            self.table.put_item(Item=item)

    # ------------------------------------------------------------------ listings and the sweep

    def list_by_state(
        self, state: RunState, *, newest_first: bool = False, after: Cursor | None = None
    ) -> Iterator[Cursor]:
        """List runs by state in the order of their claims, from the index.

        Parameters
        ----------
        state : RunState
        newest_first : bool
            Oldest first if false.
        after : Cursor, optional
            The last run of an earlier listing, to continue after it.

        Yields
        ------
        Cursor
            Pass it to :meth:`get_runs` to read the run, or as ``after`` to continue.
        """
        query: dict[str, Any] = {
            "IndexName": BY_STATE,
            "KeyConditionExpression": Key("state").eq(state.value),
            "ScanIndexForward": not newest_first,
            "Limit": _PAGE,
        }
        if after is not None:
            query["ExclusiveStartKey"] = {**after, "state": state.value}
        for item in self._paginate(query):
            yield {name: item[name] for name in ("pk", "sk", "claimedAt")}

    def get_runs(
        self, cursors: Iterable[Cursor], on_unreadable: Callable[[UnreadableItemError], None]
    ) -> tuple[Run, ...]:
        """Read the runs of a listing, in its order, with strongly consistent reads.

        Parameters
        ----------
        cursors : iterable of Cursor
        on_unreadable : callable
            Called with the error of each item that cannot be parsed; the others are returned.
        """
        wanted = [{"pk": cursor["pk"], "sk": cursor["sk"]} for cursor in cursors]
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
                on_unreadable(error)
        return tuple(runs)

    def find_claimed(self, upload_ids: Iterable[str]) -> frozenset[str]:
        """Return which uploads are claimed, with eventually consistent reads."""
        keys = [upload_run_key(upload_id, 0) for upload_id in upload_ids]
        return frozenset(
            item["pk"].removeprefix("UPLOAD#")
            for item in self._batch_get(keys, {"ProjectionExpression": "pk"})
        )

    def created_at(self) -> datetime:
        """Return when the table was created, with a time zone."""
        with translate_errors():
            response = self.table.meta.client.describe_table(TableName=self.table.name)
        return response["Table"]["CreationDateTime"]

    def load_checkpoint(self) -> Mapping[str, Any] | None:
        """Read the checkpoint of the last sweep; ``None`` before the first."""
        item = self._get(_SWEEP)
        return None if item is None else dict(json.loads(str(item["checkpoint"])))

    def save_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Write the checkpoint for the next sweep: plain JSON."""
        item: dict[str, Any] = {
            **_SWEEP,
            "schemaVersion": SCHEMA_VERSION,
            "checkpoint": json.dumps(checkpoint),
        }
        with translate_errors():
            self.table.put_item(Item=item)

    # ------------------------------------------------------------------ helpers

    def _update_run(self, run: Run, values: dict[str, Any], condition: ConditionBase) -> Run:
        _, item = self._update_if(run_key(run), values, condition)
        return run if item is None else parse_run(item)

    def _update_attempt(
        self, attempt: Attempt, values: dict[str, Any], condition: ConditionBase
    ) -> Attempt:
        _, item = self._update_if(attempt_item_key(attempt.key), values, condition)
        return attempt if item is None else parse_attempt(item)

    def _existing_run(self, run: Run, result: TransactionResult) -> Run:
        """Return the run that did not meet a transaction's condition."""
        item = result.unmet[_RUN] or self._get(run_key(run))
        return run if item is None else parse_run(item)


def _raise_if_cancelled(result: TransactionResult, position: int) -> None:
    """Raise an error if the cancellation of the run was requested."""
    if position in result.unmet:
        raise PermanentError(CANCELLED.message, code=CANCELLED.code)


def cursor_for(run: Run) -> Cursor:
    """Return a run's position in a listing by state."""
    return {**run_key(run), "claimedAt": run.claimed_at}
