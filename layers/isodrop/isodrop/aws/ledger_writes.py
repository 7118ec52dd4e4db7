"""Writes of the ledger's transactions that concern runs and attempts."""

from typing import Any

from isodrop.aws.ledger_items import (
    BUILD_ATTRIBUTES,
    cancellation_key,
    item_key_of_attempt,
    key_of_run,
)
from isodrop.aws.transactions import Write, check_absent, update
from isodrop.domain.run import Attempt, AttemptKey, AttemptStatus, BuildKind, Run


def link_writes(run: Run, attempt: Attempt, kind: BuildKind) -> list[Write]:
    """Bind a run to an attempt, unless it is bound already or an import was cancelled."""
    names = BUILD_ATTRIBUTES[kind]
    values: dict[str, Any] = {names.import_key: attempt.import_key, names.attempt: attempt.number}
    if attempt.build_arn is not None:
        values[names.build_arn] = attempt.build_arn
    if kind is BuildKind.IMPORT:
        values |= {"importId": attempt.client_token, "reused": not attempt.belongs_to(run)}
    linking = update(
        key_of_run(run),
        values,
        # Nothing is started for a run that another invocation has stopped or answered.
        unless=[names.attempt, names.build_arn, names.failure, "answer"],
    )
    if kind is not BuildKind.IMPORT:
        return [linking]  # an import that has ended cannot be cancelled
    return [linking, check_absent(cancellation_key(run))]


def success_write(key: AttemptKey, now: str) -> Write:
    """Write that an attempt's build succeeded, and when that was first seen."""
    return Write(
        "Update",
        {
            "Key": item_key_of_attempt(key),
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
