"""Checks of event delivery: rules, state machine, dead-letter queue, event bus."""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from isodrop_cli.doctor.context import CheckContext
from isodrop_cli.doctor.policies import covers, principals, statements
from isodrop_cli.doctor.results import CheckResult, NotFoundError, failed, passed, warned

_STEPS: Final = "aws-sdk:imagebuilder:listWorkflowExecutions"


def rule(context: CheckContext) -> CheckResult:
    """Check that each upload starts an execution."""
    name = context.resource("UploadRule")
    if found := _check_disabled(context, name, "uploads do not start executions"):
        return found
    machine = context.resource("ImportStateMachine")
    targets = context.call("events", "ListTargetsByRule", Rule=name)["Targets"]
    target = next((each for each in targets if each["Arn"] == machine), None)
    queue = context.arn("sqs", context.resource("DeadLetterQueue").rsplit("/", 1)[-1])
    wanted = {"Id": "ImportStateMachine", "Arn": machine, "DeadLetterConfig": {"Arn": queue}}
    if target is None or not target.get("RoleArn"):
        role = context.call("iam", "GetRole", RoleName=context.resource("UploadRuleRole"))["Role"][
            "Arn"
        ]
        return failed(
            f"the rule {name} does not start the state machine",
            _put_target(context, name, {**wanted, "RoleArn": role}),
        )
    if not target.get("DeadLetterConfig"):
        return warned(
            f"the rule {name} has no dead-letter queue",
            _put_target(context, name, {**wanted, "RoleArn": target["RoleArn"]}),
        )
    return passed("the rule is enabled and starts the state machine")


def schedule(context: CheckContext) -> CheckResult:
    """Check the schedule of the sweep, which starts lost uploads and answers ended runs."""
    name = context.resource("SweepSchedule")
    if found := _check_disabled(
        context, name, "lost events start nothing, and ended runs get no answer"
    ):
        return found
    function = context.arn("lambda", f"function:{context.resource('Sweep')}")
    targets = context.call("events", "ListTargetsByRule", Rule=name)["Targets"]
    if not any(each["Arn"] == function for each in targets):
        return failed(
            f"the schedule {name} does not start the sweep",
            _put_target(context, name, {"Id": "Sweep", "Arn": function}),
        )
    return passed("the sweep runs on schedule")


def state_machine(context: CheckContext) -> CheckResult:
    """Check that the state machine is active, and invokes the functions of this stack."""
    arn = context.resource("ImportStateMachine")
    response = context.call("stepfunctions", "DescribeStateMachine", stateMachineArn=arn)
    if response["status"] != "ACTIVE":
        return failed(
            f"the state machine is {response['status']}", "redeploy the stack under another name"
        )
    missing = [
        logical_id
        for logical_id in ("ImportIso", "ReportBuild")
        if f":function:{context.resource(logical_id)}" not in response["definition"]
    ]
    if missing:
        return failed(
            f"the state machine does not invoke this stack's {' and '.join(missing)}: its"
            " definition was changed outside the stack",
            "change anything in statemachine/import.asl.json, even a space, and run sam deploy: an"
            " unchanged definition is not deployed",
        )
    return passed("the state machine is active")


def definition(context: CheckContext) -> CheckResult:
    """Check that Step Functions accepts the definition, including its SDK integrations."""
    arn = context.resource("ImportStateMachine")
    response = context.call("stepfunctions", "DescribeStateMachine", stateMachineArn=arn)
    validation = context.call(
        "stepfunctions", "ValidateStateMachineDefinition", definition=response["definition"]
    )
    if validation["result"] != "OK":
        messages = "; ".join(each["message"] for each in validation["diagnostics"])
        return failed(f"Step Functions rejects the definition: {messages}", "sam deploy")
    return passed("Step Functions accepts the definition")


def step_counts(context: CheckContext) -> CheckResult:
    """Check, in past executions, whether Step Functions' SDK integration returns step counts."""
    arn = context.resource("ImportStateMachine")
    request = {"stateMachineArn": arn, "statusFilter": "SUCCEEDED", "maxResults": 10}
    ended = context.call("stepfunctions", "ListExecutions", **request)["executions"]
    for execution in ended:
        history = context.call(
            "stepfunctions",
            "GetExecutionHistory",
            executionArn=execution["executionArn"],
            maxResults=1000,
        )
        counted = steps_counted(history)
        if counted is True:
            return passed("Step Functions' SDK integration returns the step counts of a build")
        if counted is False:
            return warned(
                "Step Functions' SDK integration does not return the step counts of a build, so"
                " notifications report only the status"
            )
    return passed("no build has finished yet; step counts are optional")


def steps_counted(history: Mapping[str, Any]) -> bool | None:
    """Whether ListWorkflowExecutions returned step counts; ``None`` if it was not called."""
    found_counts = None
    for event in history.get("events", ()):
        response = event.get("taskSucceededEventDetails", {})
        if f"{response.get('resourceType')}:{response.get('resource')}" != _STEPS:
            continue
        executions = json.loads(response.get("output", "{}")).get("WorkflowExecutions", [])
        if any("TotalStepsSucceeded" in each for each in executions):
            return True
        found_counts = False if executions else found_counts
    return found_counts


def dead_letter_queue(context: CheckContext) -> CheckResult:
    """Check for events that EventBridge could not deliver."""
    url = context.resource("DeadLetterQueue")
    request = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    response = context.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=request)
    count = sum(int(response.get("Attributes", {}).get(name, 0)) for name in request)
    if count == 0:
        return passed("the dead-letter queue is empty")
    return warned(
        f"EventBridge could not deliver {count} events; the sweep starts their imports",
        f"find the reason with {context.command('sqs', 'receive-message', '--queue-url', url)},"
        f" fix it, and empty the queue:"
        f" {context.command('sqs', 'purge-queue', '--queue-url', url)}",
    )


def event_bus(context: CheckContext) -> CheckResult:
    """Check that the event bus exists and accepts events."""
    name = context.output("EventBusName") or "default"
    try:
        response = context.call("events", "DescribeEventBus", Name=name)
    except NotFoundError:
        return failed(
            f"there is no event bus {name}, so no answer can be published",
            context.command("events", "create-event-bus", "--name", name),
        )
    publishers = _publishers(context)
    denials = [
        (each, denied)
        for each in statements(response.get("Policy"))
        if each.get("Effect") == "Deny"
        and covers(each, "events:PutEvents")
        and (
            denied := [
                logical_id for logical_id, arn in publishers.items() if not _exempts(each, arn)
            ]
        )
    ]
    if denials:
        statement, denied = denials[0]
        statement_id = str(statement.get("Sid", "without a Sid"))
        show = context.command("events", "describe-event-bus", "--name", name)
        if _denies_everyone(statement):
            return failed(
                f"the policy of the event bus {name} does not let {' and '.join(denied)} publish"
                f" (statement {statement_id})",
                f"exempt {', '.join(publishers[each] for each in denied)} from the statement;"
                f" {show} shows it",
            )
        return warned(
            f"the policy of the event bus {name} denies events:PutEvents ({statement_id})",
            f"make sure that it allows the roles of ReportBuild and Sweep; {show} shows it",
        )
    return passed(f"the event bus {name} exists")


def _publishers(context: CheckContext) -> dict[str, str]:
    """Find the ARNs of the roles that publish, by their logical ids."""
    return {
        logical_id: context.call("iam", "GetRole", RoleName=context.resource(logical_id))["Role"][
            "Arn"
        ]
        for logical_id in ("ReportBuildRole", "SweepRole")
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


def _denies_everyone(statement: Mapping[str, Any]) -> bool:
    """Whether a statement denies every principal, except those that it exempts by ARN."""
    conditions = statement.get("Condition") or {}
    keys = {key.lower() for tested in conditions.values() for key in tested}
    return keys <= {"aws:principalarn"} and "*" in principals(statement, "AWS")


def _check_disabled(context: CheckContext, name: str, consequence: str) -> CheckResult | None:
    state = context.call("events", "DescribeRule", Name=name)["State"]
    if state.startswith("ENABLED"):
        return None
    return failed(
        f"the rule {name} is {state.lower()}: {consequence}",
        context.command("events", "enable-rule", "--name", name),
    )


def _put_target(context: CheckContext, rule: str, target: Mapping[str, Any]) -> str:
    targets = json.dumps([target])
    return context.command("events", "put-targets", "--rule", rule, "--targets", targets)
