"""The budget of builds in the ledger: the builds under way, and the builds started each day.

The builds under way are a set of attempt keys, so releasing a build twice has no effect. The builds
started in a day are a number. Both are updated in the same transaction that writes the attempt, and
in the same transaction that marks an attempt as refused or lost. So they always match the attempts,
wherever a function is interrupted.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from isodrop.aws.errors import SDK_ERRORS, error_code, to_isodrop_error, translate_errors
from isodrop.aws.ledger_items import SCHEMA_VERSION
from isodrop.codes import Code
from isodrop.domain.budget import BudgetUse, BuildLimits
from isodrop.domain.run import AttemptKey
from isodrop.errors import PermanentError, QuotaError, RejectedError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

_UNDER_WAY: Final = {"pk": "BUDGET", "sk": "UNDER-WAY"}
_UNMET: Final = "ConditionalCheckFailed"
_ATTEMPT, _AT_ONCE, _TODAY = range(3)
"""The positions of the writes in the transaction."""


def book(
    table: "Table", item: Mapping[str, Any], key: AttemptKey, day: str, limits: BuildLimits
) -> bool:
    """Write a new attempt and count it.

    Returns
    -------
    bool
        ``False`` if the attempt exists already; nothing is written or counted.

    Raises
    ------
    QuotaError
        The maximum number of builds are under way.
    RejectedError
        ``budget-used-up``: the maximum number of builds were started on that day.
    TransientError
        A concurrent transaction has written the same items.
    """
    unmet = _write(
        table,
        {"Put": {"Item": item, "ConditionExpression": "attribute_not_exists(pk)"}},
        {
            "Update": {
                "Key": _UNDER_WAY,
                "UpdateExpression": "ADD attempts :name SET #limit = :limit, #v = :schema",
                "ConditionExpression": "attribute_not_exists(attempts) OR size(attempts) < :limit",
                "ExpressionAttributeNames": {"#limit": "limit", "#v": "schemaVersion"},
                "ExpressionAttributeValues": {
                    ":name": {_to_text(key)},
                    ":limit": limits.at_once,
                    ":schema": SCHEMA_VERSION,
                },
            }
        },
        {
            "Update": {
                "Key": _day_key(day),
                "UpdateExpression": "ADD builds :one SET #limit = :limit, schemaVersion = :schema",
                "ConditionExpression": "attribute_not_exists(builds) OR builds < :limit",
                "ExpressionAttributeNames": {"#limit": "limit"},
                "ExpressionAttributeValues": {
                    ":one": 1,
                    ":limit": limits.per_day,
                    ":schema": SCHEMA_VERSION,
                },
            }
        },
    )
    if _ATTEMPT in unmet:
        return False
    if _TODAY in unmet:
        raise RejectedError(
            Code.BUDGET_USED_UP,
            f"{limits.per_day} builds were begun on {day} (UTC), which is as many as this stack"
            " allows in a day (MaxBuildsPerDay).",
        )
    if _AT_ONCE in unmet:
        raise QuotaError(
            f"{limits.at_once} builds are under way, which is as many as this stack allows at once"
            " (MaxBuildsAtOnce); this one waits"
        )
    return True


def give_back(table: "Table", update: Mapping[str, Any], key: AttemptKey, day: str) -> bool:
    """Update an attempt that has no build, and return it to the budget.

    Parameters
    ----------
    update : mapping
        The ``Update`` of the attempt, with the condition that it was not written before.

    Returns
    -------
    bool
        ``False`` if that condition is not met; nothing is written then.
    """
    return not _write(
        table,
        {"Update": update},
        {
            "Update": {
                "Key": _UNDER_WAY,
                "UpdateExpression": "DELETE attempts :name",
                "ExpressionAttributeValues": {":name": {_to_text(key)}},
            }
        },
        {
            "Update": {
                "Key": _day_key(day),
                "UpdateExpression": "ADD builds :less",
                "ExpressionAttributeValues": {":less": -1},
            }
        },
    )


def release(table: "Table", key: AttemptKey) -> None:
    """Write that a build is no longer under way; idempotent."""
    try:
        with translate_errors():
            table.update_item(
                Key=_UNDER_WAY,
                UpdateExpression="DELETE attempts :name",
                ConditionExpression="contains(attempts, :text)",
                ExpressionAttributeValues={":name": {_to_text(key)}, ":text": _to_text(key)},
            )
    except PermanentError as error:
        if error.aws_code != "ConditionalCheckFailedException":
            raise


def under_way(table: "Table") -> list[AttemptKey]:
    """List the attempts that count as under way."""
    return [_from_text(text) for text in sorted(_read(table, _UNDER_WAY).get("attempts", ()))]


def use_of(table: "Table", day: str) -> BudgetUse:
    """Read how much of the budget is used on a day."""
    at_once, today = _read(table, _UNDER_WAY), _read(table, _day_key(day))
    limits = None
    if "limit" in at_once and "limit" in today:
        limits = BuildLimits(int(at_once["limit"]), int(today["limit"]))
    return BudgetUse(len(at_once.get("attempts", ())), int(today.get("builds", 0)), limits)


def _read(table: "Table", key: dict[str, str]) -> Mapping[str, Any]:
    with translate_errors():
        return table.get_item(Key=key, ConsistentRead=True).get("Item", {})


def _write(table: "Table", *writes: Mapping[str, Mapping[str, Any]]) -> frozenset[int]:
    """Write all items or none; returns the positions of unmet conditions.

    See Also
    --------
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    items: Any = [
        {kind: {"TableName": table.name, **write} for kind, write in each.items()}
        for each in writes
    ]
    try:
        # botocore adds a client token to each call, so that its own retries are idempotent.
        table.meta.client.transact_write_items(TransactItems=items)
    except SDK_ERRORS as error:
        unmet = _unmet(_reasons(error))
        if not unmet:
            raise to_isodrop_error(error) from error
        return unmet
    return frozenset()


def _reasons(error: Exception) -> list[str]:
    """Return the cancellation reason of each write; empty for any other error."""
    if not isinstance(error, ClientError) or error_code(error) != "TransactionCanceledException":
        return []
    found: Iterable[Mapping[str, str]] = error.response.get("CancellationReasons", ())  # type: ignore[assignment] # the stubs do not know of it
    return [reason.get("Code", "None") for reason in found]


def _unmet(reasons: list[str]) -> frozenset[int]:
    if busy := [code for code in reasons if code not in {"None", _UNMET, "ValidationError"}]:
        # A conflict with another transaction, or throttling: the conditions were not evaluated.
        raise TransientError(f"TransactWriteItems: {', '.join(busy)}")
    return frozenset(number for number, code in enumerate(reasons) if code == _UNMET)


def _day_key(day: str) -> dict[str, str]:
    return {"pk": "BUDGET", "sk": f"DAY#{day}"}


def _to_text(key: AttemptKey) -> str:
    return f"{key.import_key}#{key.number}"


def _from_text(text: str) -> AttemptKey:
    import_key, _, number = text.rpartition("#")
    return AttemptKey(import_key, int(number))
