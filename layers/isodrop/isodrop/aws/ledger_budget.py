"""The budget of paid builds in the ledger: what is under way, and what was begun each day.

What is under way is a set of the attempts' names, so releasing one twice, or looking again whether
it is over, changes nothing; how many were begun in a day is a number. Both are written in the one
transaction that writes the attempt, and a request that came to nothing is given back in the one
that says so. So neither is ever more or less than the attempts there are, wherever a function dies.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from isodrop.aws.errors import SDK_ERRORS, to_isodrop_error, translate_errors
from isodrop.aws.ledger_items import SCHEMA_VERSION
from isodrop.codes import Code
from isodrop.domain.budget import BudgetUse, BuildLimits
from isodrop.errors import PermanentError, QuotaError, RejectedError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

_UNDER_WAY: Final = {"pk": "BUDGET", "sk": "UNDER-WAY"}
_UNMET: Final = "ConditionalCheckFailed"
_ATTEMPT, _AT_ONCE, _TODAY = range(3)
"""Which of a transaction's writes is which."""

AttemptName = tuple[str, int]
"""Which import's attempt, and its number."""


def book(
    table: "Table", item: Mapping[str, Any], name: AttemptName, day: str, limits: BuildLimits
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
                    ":name": {_to_text(name)},
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


def give_back(table: "Table", update: Mapping[str, Any], name: AttemptName, day: str) -> bool:
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
                "ExpressionAttributeValues": {":name": {_to_text(name)}},
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


def release(table: "Table", name: AttemptName) -> None:
    """Write that a build is not under way any more; again, it changes nothing."""
    try:
        with translate_errors():
            table.update_item(
                Key=_UNDER_WAY,
                UpdateExpression="DELETE attempts :name",
                ConditionExpression="contains(attempts, :text)",
                ExpressionAttributeValues={":name": {_to_text(name)}, ":text": _to_text(name)},
            )
    except PermanentError as error:
        if error.aws_code != "ConditionalCheckFailedException":
            raise


def under_way(table: "Table") -> list[AttemptName]:
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
    except table.meta.client.exceptions.TransactionCanceledException as error:
        # The reasons are in the response alone, one for each write.
        reasons = error.response.get("CancellationReasons", ())
        unmet = _unmet([reason.get("Code", "None") for reason in reasons])
        if not unmet:
            raise to_isodrop_error(error) from error
        return unmet
    except SDK_ERRORS as error:
        raise to_isodrop_error(error) from error
    return frozenset()


def _unmet(reasons: list[str]) -> frozenset[int]:
    if busy := [code for code in reasons if code not in {"None", _UNMET, "ValidationError"}]:
        # A conflict with another transaction, or throttled: nothing was looked at in the end.
        raise TransientError(f"TransactWriteItems: {', '.join(busy)}")
    return frozenset(number for number, code in enumerate(reasons) if code == _UNMET)


def _day_key(day: str) -> dict[str, str]:
    return {"pk": "BUDGET", "sk": f"DAY#{day}"}


def _to_text(name: AttemptName) -> str:
    return f"{name[0]}#{name[1]}"


def _from_text(text: str) -> AttemptName:
    identity, _, number = text.rpartition("#")
    return identity, int(number)
