"""The budget of paid builds in the ledger: what is under way, and what was begun each day.

What is under way is a set of the attempts' names, so releasing one twice, or looking again whether
it is over, changes nothing; how many were begun in a day is a number. Both are written in the one
transaction that writes the attempt, and a request that came to nothing is given back in the one
that says so. So neither is ever more or less than the attempts there are, wherever a function dies.
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
"""Which of a transaction's writes is which."""


def book(
    table: "Table", item: Mapping[str, Any], key: AttemptKey, day: str, limits: BuildLimits
) -> bool:
    """Write a new attempt and count it.

    Returns
    -------
    bool
        ``False`` when somebody was first with that attempt; nothing is written or counted.

    Raises
    ------
    QuotaError
        As many builds are under way as may be.
    RejectedError
        ``budget-used-up``: as many were begun on that day as may be.
    TransientError
        Others write the same at this moment.
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
    """Write that an attempt came to nothing, and count it no more.

    Parameters
    ----------
    update : mapping
        The ``Update`` of the attempt, with the condition that it was not written before.

    Returns
    -------
    bool
        ``False`` when that condition does not hold; nothing is written then.
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
    """Write that a build is not under way any more; again, it changes nothing."""
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
    """Read how much is used on a day."""
    at_once, today = _read(table, _UNDER_WAY), _read(table, _day_key(day))
    limits = None
    if "limit" in at_once and "limit" in today:
        limits = BuildLimits(int(at_once["limit"]), int(today["limit"]))
    return BudgetUse(len(at_once.get("attempts", ())), int(today.get("builds", 0)), limits)


def _read(table: "Table", key: dict[str, str]) -> Mapping[str, Any]:
    with translate_errors():
        return table.get_item(Key=key, ConsistentRead=True).get("Item", {})


def _write(table: "Table", *writes: Mapping[str, Mapping[str, Any]]) -> frozenset[int]:
    """Write all or nothing; returns which conditions do not hold.

    See Also
    --------
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    items: Any = [
        {kind: {"TableName": table.name, **write} for kind, write in each.items()}
        for each in writes
    ]
    try:
        # botocore gives each call a token, so that its own retries count once.
        table.meta.client.transact_write_items(TransactItems=items)
    except SDK_ERRORS as error:
        unmet = _unmet(_reasons(error))
        if not unmet:
            raise to_isodrop_error(error) from error
        return unmet
    return frozenset()


def _reasons(error: Exception) -> list[str]:
    """Get what came in the way of each write; empty where it was not the conditions."""
    if not isinstance(error, ClientError) or error_code(error) != "TransactionCanceledException":
        return []
    found: Iterable[Mapping[str, str]] = error.response.get("CancellationReasons", ())  # type: ignore[assignment] # the stubs do not know of it
    return [reason.get("Code", "None") for reason in found]


def _unmet(reasons: list[str]) -> frozenset[int]:
    if busy := [code for code in reasons if code not in {"None", _UNMET, "ValidationError"}]:
        # A conflict with another transaction, or throttled: nothing was looked at in the end.
        raise TransientError(f"TransactWriteItems: {', '.join(busy)}")
    return frozenset(number for number, code in enumerate(reasons) if code == _UNMET)


def _day_key(day: str) -> dict[str, str]:
    return {"pk": "BUDGET", "sk": f"DAY#{day}"}


def _to_text(key: AttemptKey) -> str:
    return f"{key.import_key}#{key.number}"


def _from_text(text: str) -> AttemptKey:
    import_key, _, number = text.rpartition("#")
    return AttemptKey(import_key, int(number))
