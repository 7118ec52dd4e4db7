"""Makes the writes, for runs and attempts, that the ledger's transactions consist of."""

from dataclasses import replace
from typing import Any

from isodrop.aws.ledger_items import (
    BUILD_ATTRIBUTES,
    attempt_item_key,
    cancellation_key,
    run_key,
)
from isodrop.aws.transactions import Write, check_absent, update
from isodrop.domain.run import Attempt, AttemptKey, AttemptStatus, BuildKind, Run


def linking_writes(run: Run, attempt: Attempt, kind: BuildKind) -> list[Write]:
    """Return the writes that link a run to an attempt, unless it is linked, stopped or answered."""
    names = BUILD_ATTRIBUTES[kind]
    values: dict[str, Any] = {names.task_key: attempt.task_key, names.attempt: attempt.number}
    if attempt.build_arn is not None:
        values[names.build_arn] = attempt.build_arn
    if kind is BuildKind.IMPORT:
        values |= {"attemptId": attempt.client_token, "reused": not attempt.belongs_to(run)}
    linking = update(
        run_key(run),
        values,
        # Nothing is started for a run that another invocation has stopped or answered.
        unless=[names.attempt, names.build_arn, names.failure, "answer"],
    )
    if kind is not BuildKind.IMPORT:
        return [linking]  # an import that has ended cannot be cancelled
    return [linking, check_absent(cancellation_key(run))]


def with_attempt(run: Run, attempt: Attempt, kind: BuildKind) -> Run:
    """Return a run as :func:`linking_writes` updates it."""
    record = replace(run.build_record(kind), attempt=attempt.key, arn=attempt.build_arn)
    if kind is BuildKind.IMPORT:
        reused = not attempt.belongs_to(run)
        record = replace(record, attempt_id=attempt.client_token, reused=reused)
    return run.with_build_record(kind, record)


def success_write(key: AttemptKey, now: str) -> Write:
    """Return the write that records that an attempt's build succeeded, and when that was seen."""
    return Write(
        "Update",
        {
            "Key": attempt_item_key(key),
            "UpdateExpression": "SET #status = :succeeded,"
            " availableAt = if_not_exists(availableAt, :now)",
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {
                ":succeeded": AttemptStatus.SUCCEEDED.value,
                ":now": now,
            },
        },
    )
