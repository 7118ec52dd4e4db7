"""From an upload to its execution, and on to the bus: rules, state machine, queue, event bus."""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from isodrop_cli.doctor.context import CheckContext
from isodrop_cli.doctor.policies import covers, principals, statements
from isodrop_cli.doctor.results import CheckResult, NotFoundError, failed, passed, warned

_STEPS: Final = "aws-sdk:imagebuilder:listWorkflowExecutions"


def rule(context: CheckContext) -> CheckResult:
    """Whether every ISO starts an execution."""
    name = context.resource("UploadRule")
    if found := _switched_off(context, name, "no ISO that is dropped starts an execution"):
        return found
    machine = context.resource("ImportStateMachine")
    targets = context.call("events", "ListTargetsByRule", Rule=name)["Targets"]
    ours = next((each for each in targets if each["Arn"] == machine), None)
    queue = context.arn("sqs", context.resource("DeadLetterQueue").rsplit("/", 1)[-1])
    wanted = {"Id": "ImportStateMachine", "Arn": machine, "DeadLetterConfig": {"Arn": queue}}
    if ours is None or not ours.get("RoleArn"):
        role = context.call("iam", "GetRole", RoleName=context.resource("UploadRuleRole"))["Role"][
            "Arn"
        ]
        return failed(
            f"the rule {name} does not start the state machine",
            _put_target(context, name, {**wanted, "RoleArn": role}),
        )
    if not ours.get("DeadLetterConfig"):
        return warned(
            f"the rule {name} keeps nothing of what it cannot deliver",
            _put_target(context, name, {**wanted, "RoleArn": ours["RoleArn"]}),
        )
    return passed("the rule is on and starts the state machine")


def schedule(context: CheckContext) -> CheckResult:
    """Whether the sweep comes; without it, what no execution answers stays unanswered."""
    name = context.resource("SweepEveryFewMinutes")
    if found := _switched_off(context, name, "what no execution can answer stays unanswered"):
        return found
    function = context.arn("lambda", f"function:{context.resource('Sweep')}")
    targets = context.call("events", "ListTargetsByRule", Rule=name)["Targets"]
    if not any(each["Arn"] == function for each in targets):
        return failed(
            f"the schedule {name} does not start the sweep",
            _put_target(context, name, {"Id": "Sweep", "Arn": function}),
        )
    return passed("the sweep comes by its schedule")


def state_machine(context: CheckContext) -> CheckResult:
    """Whether the state machine runs, and asks the functions of this very stack."""
    arn = context.resource("ImportStateMachine")
    told = context.call("stepfunctions", "DescribeStateMachine", stateMachineArn=arn)
    if told["status"] != "ACTIVE":
        return failed(f"the state machine is {told['status']}", "sam deploy it under another name")
    strangers = [
        logical
        for logical in ("ImportIso", "ReportBuild")
        if f":function:{context.resource(logical)}" not in told["definition"]
    ]
    if strangers:
        return failed(
            f"the state machine does not ask this stack's {' and '.join(strangers)}: somebody"
            " changed it",
            "change anything in statemachine/import.asl.json back and sam deploy",
        )
    return passed("the state machine is active")


def definition(context: CheckContext) -> CheckResult:
    """Whether Step Functions takes the definition, its SDK integrations included."""
    arn = context.resource("ImportStateMachine")
    told = context.call("stepfunctions", "DescribeStateMachine", stateMachineArn=arn)
    judged = context.call(
        "stepfunctions", "ValidateStateMachineDefinition", definition=told["definition"]
    )
    if judged["result"] != "OK":
        said = "; ".join(each["message"] for each in judged["diagnostics"])
        return failed(f"Step Functions does not take the definition: {said}", "sam deploy anew")
    return passed("Step Functions knows all that the definition asks for")


def fields(context: CheckContext) -> CheckResult:
    """Whether Step Functions' own SDK has told step counts; only an execution can show that."""
    arn = context.resource("ImportStateMachine")
    asked = {"stateMachineArn": arn, "statusFilter": "SUCCEEDED", "maxResults": 10}
    ended = context.call("stepfunctions", "ListExecutions", **asked)["executions"]
    for execution in ended:
        history = context.call(
            "stepfunctions",
            "GetExecutionHistory",
            executionArn=execution["executionArn"],
            maxResults=1000,
        )
        counted = steps_counted(history)
        if counted is True:
            return passed("Step Functions' SDK tells the steps of a build")
        if counted is False:
            return warned(
                "Step Functions' SDK does not tell the steps of a build, so progress is told by"
                " status only"
            )
    return passed("no build was followed yet; none of Step Functions' newer SDK fields is needed")


def steps_counted(history: Mapping[str, Any]) -> bool | None:
    """Whether ListWorkflowExecutions counted steps in an execution; ``None`` if not asked."""
    seen = None
    for event in history.get("events", ()):
        told = event.get("taskSucceededEventDetails", {})
        if f"{told.get('resourceType')}:{told.get('resource')}" != _STEPS:
            continue
        runs = json.loads(told.get("output", "{}")).get("WorkflowExecutions", [])
        if any("TotalStepsSucceeded" in run for run in runs):
            return True
        seen = False if runs else seen
    return seen


def dead_letter_queue(context: CheckContext) -> CheckResult:
    """Whether EventBridge had to leave anything behind."""
    url = context.resource("DeadLetterQueue")
    asked = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = context.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=asked)
    count = sum(int(told.get("Attributes", {}).get(name, 0)) for name in asked)
    if count == 0:
        return passed("the dead-letter queue is empty")
    return warned(
        f"EventBridge could not deliver {count} uploads; the sweep starts them",
        f"see why: {context.command('sqs', 'receive-message', '--queue-url', url)} and"
        f" {context.command('sqs', 'purge-queue', '--queue-url', url)} once it is mended",
    )


def event_bus(context: CheckContext) -> CheckResult:
    """Whether there is somebody to tell."""
    name = context.output("EventBus") or "default"
    try:
        told = context.call("events", "DescribeEventBus", Name=name)
    except NotFoundError:
        return failed(
            f"there is no event bus {name}, so no answer can be published",
            context.command("events", "create-event-bus", "--name", name),
        )
    publishers = _publishers(context)
    locked_out = [
        (each, shut)
        for each in statements(told.get("Policy"))
        if each.get("Effect") == "Deny"
        and covers(each, "events:PutEvents")
        and (shut := [logical for logical, arn in publishers.items() if not _exempts(each, arn)])
    ]
    if locked_out:
        statement, shut = locked_out[0]
        named = str(statement.get("Sid", "without a Sid"))
        show = context.command("events", "describe-event-bus", "--name", name)
        if _is_certain(statement):
            return failed(
                f"the policy of the event bus {name} lets {' and '.join(shut)} publish nothing"
                f" (statement {named})",
                f"exempt {', '.join(publishers[each] for each in shut)} from the statement: {show}",
            )
        return warned(
            f"the policy of the event bus {name} denies events:PutEvents ({named})",
            f"see that it lets the roles of ReportBuild and Sweep through: {show}",
        )
    return passed(f"the event bus {name} is there")


def _publishers(context: CheckContext) -> dict[str, str]:
    """Find the ARNs of the roles that publish, by their logical ids."""
    return {
        logical: context.call("iam", "GetRole", RoleName=context.resource(logical))["Role"]["Arn"]
        for logical in ("ReportBuildRole", "SweepRole")
    }


def _exempts(statement: Mapping[str, Any], role: str) -> bool:
    """Whether a denial leaves a role out by its ARN."""
    conditions = statement.get("Condition") or {}
    return any(
        fnmatchcase(role, pattern)
        for operator in ("ArnNotEquals", "ArnNotLike", "StringNotEquals", "StringNotLike")
        for key, value in conditions.get(operator, {}).items()
        if key.lower() == "aws:principalarn"
        for pattern in ([value] if isinstance(value, str) else value)
    )


def _is_certain(statement: Mapping[str, Any]) -> bool:
    """Whether a denial is for everybody, under no condition but on who it is."""
    conditions = statement.get("Condition") or {}
    keys = {key.lower() for tested in conditions.values() for key in tested}
    return keys <= {"aws:principalarn"} and "*" in principals(statement, "AWS")


def _switched_off(context: CheckContext, name: str, so: str) -> CheckResult | None:
    state = context.call("events", "DescribeRule", Name=name)["State"]
    if state.startswith("ENABLED"):
        return None
    return failed(
        f"the rule {name} is {state.lower()}: {so}",
        context.command("events", "enable-rule", "--name", name),
    )


def _put_target(context: CheckContext, rule: str, target: Mapping[str, Any]) -> str:
    targets = json.dumps([target])
    return context.command("events", "put-targets", "--rule", rule, "--targets", targets)
