"""What was promised: the ledger, and the uploads that wait for their answer."""

from datetime import datetime, timedelta
from typing import Any, Final

from isodrop.aws.ledger import BY_STATE
from isodrop.domain.run import State
from isodrop_cli.doctor.context import Ground
from isodrop_cli.doctor.results import GoneError, Verdict, broken, doubtful, well

PATIENCE: Final = timedelta(hours=2)
"""What an answer may take beyond the hours that a build is followed."""


def table(ground: Ground) -> Verdict:
    """Whether there is a ledger to write into."""
    name = ground.resource("Ledger")
    try:
        told = ground.ask("dynamodb", "DescribeTable", TableName=name)["Table"]
    except GoneError:
        return broken(
            f"the ledger {name} is gone, and what was promised with it",
            ground.command(
                *("dynamodb", "restore-table-to-point-in-time", "--use-latest-restorable-time"),
                *("--source-table-name", name, "--target-table-name", name),
            ),
        )
    if told["TableStatus"] not in ("ACTIVE", "UPDATING"):
        return broken(f"the ledger is {told['TableStatus']}", "wait, or sam deploy anew")
    indexes = {each["IndexName"]: each for each in told.get("GlobalSecondaryIndexes", ())}
    if indexes.get(BY_STATE, {}).get("IndexStatus", "ACTIVE") != "ACTIVE" or not indexes:
        return broken(f"the ledger's index {BY_STATE} is not active", "wait, or sam deploy anew")
    return well("the ledger is active")


def recovery(ground: Ground) -> Verdict:
    """Whether the ledger can be had back as it was at any second."""
    name = ground.resource("Ledger")
    told = ground.ask("dynamodb", "DescribeContinuousBackups", TableName=name)
    kept = told["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    if kept.get("PointInTimeRecoveryStatus") == "ENABLED":
        return well("the ledger can be restored to any second")
    return doubtful(
        "the ledger has no point-in-time recovery",
        ground.command(
            *("dynamodb", "update-continuous-backups", "--table-name", name),
            *("--point-in-time-recovery-specification", "PointInTimeRecoveryEnabled=true"),
        ),
    )


def answers(ground: Ground) -> Verdict:
    """Whether uploads wait longer for their answer than a build can take."""
    hours = int(ground.parameter("TrackingHours") or 0)
    before = (ground.now - timedelta(hours=hours) - PATIENCE).isoformat()
    late: list[str] = []
    asked: dict[str, Any] = {
        "TableName": ground.resource("Ledger"),
        "IndexName": BY_STATE,
        "KeyConditionExpression": "#state = :open AND claimed < :before",
        "ExpressionAttributeNames": {"#state": "state"},
        "ExpressionAttributeValues": {":open": {"S": State.OPEN.value}, ":before": {"S": before}},
    }
    while True:
        page = ground.ask("dynamodb", "Query", **asked)
        late += [item["claimed"]["S"] for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            break
        asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    if not late:
        return well("no upload waits unduly for its answer")
    since = datetime.fromisoformat(late[0]).date()
    return doubtful(
        f"{len(late)} uploads wait unduly for their answer, the oldest since {since}",
        f"isodrop list --open --stack {ground.name}, and see why the sweep does not answer",
    )
