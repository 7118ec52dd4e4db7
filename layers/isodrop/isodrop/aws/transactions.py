"""Transactions of the ledger: several writes, all or none."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from isodrop.aws.errors import SDK_ERRORS, error_code, to_isodrop_error
from isodrop.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

Item = Mapping[str, Any]
Key = Mapping[str, str]

_CONDITION_FAILED: Final = "ConditionalCheckFailed"
_PAUSES: Final = (0.1, 0.5)
"""The longest pauses before a transaction is repeated, in seconds. Transactions take milliseconds,
and many runs share the item of the builds under way."""


class _ConflictError(TransientError):
    """Nothing was written, because of a conflict with another transaction, or throttling."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a transaction, or a check without a write.

    Attributes
    ----------
    kind : str
        ``Put``, ``Update`` or ``ConditionCheck``.
    parameters : mapping
        Its parameters, without the table's name.
    """

    kind: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """The result of a transaction.

    Attributes
    ----------
    unmet : mapping of int to mapping or None
        The positions of the writes whose condition was not met, each with its current item, or
        ``None`` if DynamoDB did not return one. Empty if everything was written.
    """

    unmet: Mapping[int, Item | None] = field(default_factory=dict)

    @property
    def is_written(self) -> bool:
        """Whether everything was written; otherwise nothing was."""
        return not self.unmet


def put_if_absent(item: Item) -> Write:
    """Return a write that puts an item if there is none with its key."""
    return Write("Put", {"Item": item, "ConditionExpression": "attribute_not_exists(pk)"})


def put(item: Item) -> Write:
    """Return a write that puts an item, and replaces any item with its key."""
    return Write("Put", {"Item": item})


def check_absent(key: Key) -> Write:
    """Return a check that cancels the transaction if an item with this key exists."""
    return Write("ConditionCheck", {"Key": key, "ConditionExpression": "attribute_not_exists(pk)"})


def update(key: Key, values: Mapping[str, Any], *, unless: Sequence[str] = ()) -> Write:
    """Return a write that sets attributes of an item, unless it has any of those in ``unless``.

    Parameters
    ----------
    key : mapping of str to str
    values : mapping
        The attributes to set.
    unless : sequence of str, optional
        The names of attributes that it must not have.
    """
    absent = "".join(f" AND attribute_not_exists(#{name})" for name in unless)
    return Write(
        "Update",
        {
            "Key": key,
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in values),
            "ConditionExpression": f"attribute_exists(pk){absent}",
            "ExpressionAttributeNames": {f"#{name}": name for name in {*values, *unless}},
            "ExpressionAttributeValues": {f":{name}": value for name, value in values.items()},
        },
    )


def transact(table: "Table", writes: Sequence[Write]) -> TransactionResult:
    """Write everything, or nothing if one of the conditions is not met.

    If another transaction is writing the same items, the call is repeated up to twice, each time
    after a short pause.

    Raises
    ------
    TransientError
        Other invocations are still writing the same items, or DynamoDB could not be reached; try
        again.
    PermanentError
        DynamoDB refused the call.

    See Also
    --------
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    items: Any = [
        {
            write.kind: {
                "TableName": table.name,
                **write.parameters,
                **(
                    {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
                    if "ConditionExpression" in write.parameters
                    else {}
                ),
            }
        }
        for write in writes
    ]
    for pause in _PAUSES:
        try:
            return _transact_once(table, items)
        except _ConflictError:
            time.sleep(random.uniform(0, pause))  # noqa: S311 - not a secret
    return _transact_once(table, items)


def _transact_once(table: "Table", items: Any) -> TransactionResult:
    try:
        # botocore adds a client token to each call, so that its own retries are idempotent.
        table.meta.client.transact_write_items(TransactItems=items)
    except SDK_ERRORS as error:
        unmet = _unmet_conditions(error)
        if not unmet:
            raise to_isodrop_error(error) from error
        return TransactionResult(unmet)
    return TransactionResult()


def deserialize(item: Mapping[str, Any] | None) -> Item | None:
    """Convert an item that DynamoDB returned with an error; ``None`` if it did not return one."""
    if not item:
        return None
    read = TypeDeserializer().deserialize  # boto3 deserializes responses, but not errors
    return {name: read(value) for name, value in item.items()}


def _unmet_conditions(error: Exception) -> Mapping[int, Item | None]:
    """Return the items of unmet conditions by position.

    Raises
    ------
    _ConflictError
        There was a conflict with another transaction, or throttling.
    """
    if not isinstance(error, ClientError) or error_code(error) != "TransactionCanceledException":
        return {}
    response = cast("dict[str, Any]", error.response)
    reasons: list[dict[str, Any]] = response.get("CancellationReasons", [])
    codes = [reason.get("Code", "None") for reason in reasons]
    if conflicts := [
        code for code in codes if code not in {"None", _CONDITION_FAILED, "ValidationError"}
    ]:
        # A conflict with another transaction, or throttling: the conditions were not evaluated.
        raise _ConflictError(f"TransactWriteItems: {', '.join(conflicts)}")
    return {
        number: deserialize(reason.get("Item"))
        for number, (code, reason) in enumerate(zip(codes, reasons, strict=True))
        if code == _CONDITION_FAILED
    }
