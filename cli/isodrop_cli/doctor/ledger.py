"""Checks of the ledger, and of uploads without an answer."""

from datetime import datetime, timedelta
from typing import Any, Final

from isodrop.aws.ledger import BY_STATE
from isodrop.domain.run import RunState
from isodrop_cli.doctor.context import CheckContext
from isodrop_cli.doctor.results import CheckResult, NotFoundError, failed, passed, warned

GRACE_PERIOD: Final = timedelta(hours=2)
"""How long an answer may take after TrackingTimeoutHours."""


def table(context: CheckContext) -> CheckResult:
    """Check that the ledger table and its index are active."""
    name = context.resource("LedgerTable")
    try:
        response = context.call("dynamodb", "DescribeTable", TableName=name)["Table"]
    except NotFoundError:
        return failed(
            f"the ledger table {name} does not exist",
            context.command(
                *("dynamodb", "restore-table-to-point-in-time", "--use-latest-restorable-time"),
                *("--source-table-name", name, "--target-table-name", name),
            ),
        )
    if response["TableStatus"] not in ("ACTIVE", "UPDATING"):
        return failed(
            f"the ledger is {response['TableStatus']}", "wait, or redeploy with sam deploy"
        )
    indexes = {each["IndexName"]: each for each in response.get("GlobalSecondaryIndexes", ())}
    if indexes.get(BY_STATE, {}).get("IndexStatus", "ACTIVE") != "ACTIVE" or not indexes:
        return failed(
            f"the ledger's index {BY_STATE} is not active", "wait, or redeploy with sam deploy"
        )
    return passed("the ledger table is active")


def point_in_time_recovery(context: CheckContext) -> CheckResult:
    """Check that the ledger has point-in-time recovery."""
    name = context.resource("LedgerTable")
    response = context.call("dynamodb", "DescribeContinuousBackups", TableName=name)
    kept = response["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if kept.get("PointInTimeRecoveryStatus") == "ENABLED":
        return passed("point-in-time recovery is enabled for the ledger")
    return warned(
        "point-in-time recovery is not enabled for the ledger",
        context.command(
            *("dynamodb", "update-continuous-backups", "--table-name", name),
            *("--point-in-time-recovery-specification", "PointInTimeRecoveryEnabled=true"),
        ),
    )


def overdue_uploads(context: CheckContext) -> CheckResult:
    """Check for uploads that have waited for their answer longer than a build can take."""
    hours = int(context.parameter("TrackingTimeoutHours") or 0)
    before = (context.now - timedelta(hours=hours) - GRACE_PERIOD).isoformat()
    overdue: list[str] = []
    request: dict[str, Any] = {
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
        page = context.call("dynamodb", "Query", **request)
        overdue += [item["claimedAt"]["S"] for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            break
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    if not overdue:
        return passed("no upload is overdue")
    claimed_on = datetime.fromisoformat(overdue[0]).date()
    return warned(
        f"{len(overdue)} uploads have no answer yet and are overdue; the oldest was claimed on"
        f" {claimed_on}",
        f"list them with isodrop list --open --stack {context.name}, and check the logs of Sweep",
    )
