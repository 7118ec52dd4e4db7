"""Makes builds older in the ledger: some waits of isodrop last ten minutes on the stack, too."""

from isodrop_local.stack import EmulatedStack

LONG_AGO = "2026-11-01T00:00:00.000+00:00"


def aged(stack: EmulatedStack, arn: str, attribute: str) -> bool:
    """Move a time of a build's record into the past: ``buildRecordedAt`` or ``availableAt``.

    Returns whether the record has that time.
    """
    dynamodb, table = stack.client("dynamodb"), stack.outputs["LedgerTableName"]
    found = dynamodb.scan(
        TableName=table,
        FilterExpression="#build = :arn AND attribute_exists(#status)",
        ExpressionAttributeNames={"#build": "buildArn", "#status": "status"},
        ExpressionAttributeValues={":arn": {"S": arn}},
    )["Items"]
    for attempt in found:
        if attribute in attempt:
            dynamodb.update_item(
                TableName=table,
                Key={name: attempt[name] for name in ("pk", "sk")},
                UpdateExpression="SET #attribute = :at",
                ExpressionAttributeNames={"#attribute": attribute},
                ExpressionAttributeValues={":at": {"S": LONG_AGO}},
            )
            return True
    return False
