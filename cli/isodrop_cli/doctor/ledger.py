"""What was promised: the ledger, and the uploads that wait for their answer."""

from datetime import datetime, timedelta
from typing import Any, Final

from isodrop.aws.ledger import BY_STATE
from isodrop.domain.run import RunState
from isodrop_cli.doctor.context import CheckContext
from isodrop_cli.doctor.results import CheckResult, NotFoundError, failed, passed, warned

PATIENCE: Final = timedelta(hours=2)
"""What an answer may take beyond the hours that a build is followed."""


def table(context: CheckContext) -> CheckResult:
    """Whether there is a ledger to write into."""
    name = context.resource("LedgerTable")
    try:
        told = context.call("dynamodb", "DescribeTable", TableName=name)["Table"]
    except NotFoundError:
        return failed(
            f"the ledger {name} is gone, and what was promised with it",
            context.command(
                *("dynamodb", "restore-table-to-point-in-time", "--use-latest-restorable-time"),
                *("--source-table-name", name, "--target-table-name", name),
            ),
        )
    if told["TableStatus"] not in ("ACTIVE", "UPDATING"):
        return failed(f"the ledger is {told['TableStatus']}", "wait, or sam deploy anew")
    indexes = {each["IndexName"]: each for each in told.get("GlobalSecondaryIndexes", ())}
    if indexes.get(BY_STATE, {}).get("IndexStatus", "ACTIVE") != "ACTIVE" or not indexes:
        return failed(f"the ledger's index {BY_STATE} is not active", "wait, or sam deploy anew")
    return passed("the ledger is active")


def point_in_time_recovery(context: CheckContext) -> CheckResult:
    """Whether the ledger can be had back as it was at any second."""
    name = context.resource("LedgerTable")
    told = context.call("dynamodb", "DescribeContinuousBackups", TableName=name)
    kept = told["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if kept.get("PointInTimeRecoveryStatus") == "ENABLED":
        return passed("the ledger can be restored to any second")
    return warned(
        "the ledger has no point-in-time recovery",
        context.command(
            *("dynamodb", "update-continuous-backups", "--table-name", name),
            *("--point-in-time-recovery-specification", "PointInTimeRecoveryEnabled=true"),
        ),
    )


def overdue_uploads(context: CheckContext) -> CheckResult:
    """Whether uploads wait longer for their answer than a build can take."""
    hours = int(context.parameter("TrackingTimeoutHours") or 0)
    before = (context.now - timedelta(hours=hours) - PATIENCE).isoformat()
    late: list[str] = []
    asked: dict[str, Any] = {
        "TableName": context.resource("LedgerTable"),
        "IndexName": BY_STATE,
        "KeyConditionExpression": "#state = :open AND claimedAt < :before",
        "ExpressionAttributeNames": {"#state": "state"},
        "ExpressionAttributeValues": {
            ":open": {"S": RunState.OPEN.value},
            ":before": {"S": before},
        },
    }
    while True:
        page = context.call("dynamodb", "Query", **asked)
        late += [item["claimedAt"]["S"] for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            break
        asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    if not late:
        return passed("no upload waits unduly for its answer")
    since = datetime.fromisoformat(late[0]).date()
    return warned(
        f"{len(late)} uploads wait unduly for their answer, the oldest since {since}",
        f"isodrop list --open --stack {context.name}, and see why the sweep does not answer",
    )
