"""Counts, for the limits on builds, the builds under way and the builds started each day.

The builds under way are a set of attempt keys, so freeing a slot twice has no effect. The builds
started in a day are a number. Both are updated in the transaction that writes the attempt, and in
the transaction that marks it as refused or lost. So each attempt is counted exactly once, and
uncounted at most once, wherever a function is interrupted. The slot of a build that has ended is
freed with the answer, or by the sweep.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from isodrop.aws.errors import translate_errors
from isodrop.aws.ledger_items import SCHEMA_VERSION
from isodrop.aws.transactions import TransactionResult, Write
from isodrop.codes import Code
from isodrop.domain.build_limits import BuildLimits, BuildUsage
from isodrop.domain.run import Attempt, AttemptKey
from isodrop.errors import PermanentError, QuotaError, RejectedError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

_UNDER_WAY: Final = {"pk": "BUILDS", "sk": "UNDER-WAY"}


def counting_writes(attempt: Attempt, limits: BuildLimits) -> tuple[Write, Write]:
    """Return the writes that count a new attempt as a build, within the limits."""
    return (
        Write(
            "Update",
            {
                "Key": _UNDER_WAY,
                "UpdateExpression": "ADD attempts :attempts"
                " SET #limit = :limit, schemaVersion = :schema",
                "ConditionExpression": "attribute_not_exists(attempts) OR size(attempts) < :limit",
                "ExpressionAttributeNames": {"#limit": "limit"},
                "ExpressionAttributeValues": {
                    ":attempts": {_format_key(attempt.key)},
                    ":limit": limits.at_once,
                    ":schema": SCHEMA_VERSION,
                },
            },
        ),
        Write(
            "Update",
            {
                "Key": _day_key(attempt.day),
                "UpdateExpression": "ADD builds :one SET #limit = :limit, schemaVersion = :schema",
                "ConditionExpression": "attribute_not_exists(builds) OR builds < :limit",
                "ExpressionAttributeNames": {"#limit": "limit"},
                "ExpressionAttributeValues": {
                    ":one": 1,
                    ":limit": limits.per_day,
                    ":schema": SCHEMA_VERSION,
                },
            },
        ),
    )


def check_limits(
    result: TransactionResult, position: int, attempt: Attempt, limits: BuildLimits
) -> None:
    """Raise an exception if nothing was written because a limit has been reached.

    Parameters
    ----------
    result : TransactionResult
    position : int
        The position of the first of the :func:`counting_writes` in the transaction.
    attempt : Attempt
    limits : BuildLimits

    Raises
    ------
    QuotaError
        The maximum number of builds is already under way.
    RejectedError
        ``daily-limit-reached``: the maximum number of builds was started on that day.
    """
    if position + 1 in result.unmet:
        raise RejectedError(
            Code.DAILY_LIMIT_REACHED,
            f"The stack's daily limit on builds (MaxBuildsPerDay: {limits.per_day}) was reached on"
            f" {attempt.day} (UTC).",
        )
    if position in result.unmet:
        raise QuotaError(
            f"the stack's limit on builds at once (MaxBuildsAtOnce: {limits.at_once}) has been"
            " reached; this one waits"
        )


def free_slot_write(key: AttemptKey) -> Write:
    """Return the write that records that a build is no longer under way; idempotent."""
    return Write(
        "Update",
        {
            "Key": _UNDER_WAY,
            "UpdateExpression": "DELETE attempts :attempts SET schemaVersion = :schema",
            "ExpressionAttributeValues": {
                ":attempts": {_format_key(key)},
                ":schema": SCHEMA_VERSION,
            },
        },
    )


def uncounting_writes(key: AttemptKey, day: str) -> tuple[Write, Write]:
    """Return the writes that stop counting an attempt, because it has no build; not idempotent."""
    return free_slot_write(key), Write(
        "Update",
        {
            "Key": _day_key(day),
            "UpdateExpression": "ADD builds :minus_one",
            "ExpressionAttributeValues": {":minus_one": -1},
        },
    )


def free_slot(table: "Table", key: AttemptKey) -> None:
    """Record that a build is no longer under way; idempotent."""
    attempt = _format_key(key)
    try:
        with translate_errors():
            table.update_item(
                Key=_UNDER_WAY,
                UpdateExpression="DELETE attempts :attempts",
                ConditionExpression="contains(attempts, :attempt)",
                ExpressionAttributeValues={":attempts": {attempt}, ":attempt": attempt},
            )
    except PermanentError as error:
        if error.aws_code != "ConditionalCheckFailedException":
            raise


def list_under_way(table: "Table") -> list[AttemptKey]:
    """List the attempts that count as under way."""
    return [_parse_key(text) for text in sorted(_read(table, _UNDER_WAY).get("attempts", ()))]


def read_usage(table: "Table", day: str) -> BuildUsage:
    """Read how many builds are under way, and how many were started on a day."""
    under_way, today = _read(table, _UNDER_WAY), _read(table, _day_key(day))
    limits = None
    if "limit" in under_way and "limit" in today:
        limits = BuildLimits(int(under_way["limit"]), int(today["limit"]))
    return BuildUsage(len(under_way.get("attempts", ())), int(today.get("builds", 0)), limits)


def _read(table: "Table", key: dict[str, str]) -> Mapping[str, Any]:
    with translate_errors():
        return table.get_item(Key=key, ConsistentRead=True).get("Item", {})


def _day_key(day: str | None) -> dict[str, str]:
    return {"pk": "BUILDS", "sk": f"DAY#{day}"}


def _format_key(key: AttemptKey) -> str:
    return f"{key.task_key}#{key.number}"


def _parse_key(text: str) -> AttemptKey:
    task_key, _, number = text.rpartition("#")
    return AttemptKey(task_key, int(number))
