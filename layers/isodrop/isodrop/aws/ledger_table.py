"""The ledger's table: reads and conditional writes of items, whatever they contain."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from boto3.dynamodb.conditions import Attr, ConditionBase, Key
from botocore.exceptions import ClientError

from isodrop.aws.errors import error_code, translate_errors
from isodrop.aws.transactions import TransactionResult, Write, deserialize, transact
from isodrop.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

_BATCH: Final = 100  # maximum number of keys in BatchGetItem


@dataclass(frozen=True, slots=True)
class LedgerTable:
    """The calls to DynamoDB that the ledger uses.

    Attributes
    ----------
    table : Table
    """

    table: "Table"

    def _transact(self, *writes: Write) -> TransactionResult:
        return transact(self.table, writes)

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
        self, keys: Sequence[dict[str, str]], options: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Read items by key, up to 100 per call, in no particular order."""
        name = self.table.name
        waiting = list(keys)
        while waiting:
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            with translate_errors():
                page = self.table.meta.client.batch_get_item(
                    RequestItems={name: {"Keys": batch, **options}}  # type: ignore[dict-item] # mypy checks the mapping's values against every parameter
                )
            yield from page["Responses"].get(name, [])
            unprocessed = page["UnprocessedKeys"].get(name, {"Keys": []})["Keys"]
            if len(unprocessed) == len(batch):
                raise TransientError("BatchGetItem: DynamoDB processed none of the keys")
            waiting.extend({"pk": str(key["pk"]), "sk": str(key["sk"])} for key in unprocessed)

    def _get(self, key: dict[str, str]) -> Mapping[str, Any] | None:
        """Read an item with a strongly consistent read."""
        with translate_errors():
            return self.table.get_item(Key=key, ConsistentRead=True).get("Item")

    def _put_if_absent(self, item: dict[str, Any]) -> Mapping[str, Any] | None:
        """Write a new item; returns ``None``, or the item that exists under its key."""
        with translate_errors():
            try:
                self.table.put_item(
                    Item=item,
                    ConditionExpression=Attr("pk").not_exists(),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                existing = self._existing_item(error, {"pk": item["pk"], "sk": item["sk"]})
            else:
                return None
        if existing is None:
            raise TransientError("GetItem: the item that failed the condition was not found")
        return existing

    def _update_if(
        self, key: dict[str, str], values: dict[str, Any], condition: ConditionBase
    ) -> tuple[bool, Mapping[str, Any] | None]:
        """Set attributes of an existing item.

        Returns
        -------
        bool and mapping or None
            Whether the condition was met, and the current item; ``None`` if it does not exist.
        """
        with translate_errors():
            try:
                response = self.table.update_item(
                    Key=key,
                    UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
                    ExpressionAttributeNames={f"#{name}": name for name in values},
                    ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
                    ConditionExpression=Attr("pk").exists() & condition,
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                return False, self._existing_item(error, key)
        return True, response.get("Attributes") or self._get(key)

    def _existing_item(self, error: ClientError, key: dict[str, str]) -> Mapping[str, Any] | None:
        """Return the item whose condition was not met; any other error is raised again.

        DynamoDB returns the item with the error. If it does not, the item is read.
        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html
        """
        if error_code(error) != "ConditionalCheckFailedException":
            raise error
        returned = cast("dict[str, Any]", error.response).get("Item")
        return deserialize(returned) or self._get(key)
