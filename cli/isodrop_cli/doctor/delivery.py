"""From an upload to its execution, and on to the bus: rules, state machine, queue, event bus."""

import json
from collections.abc import Mapping
from typing import Any, Final

from isodrop_cli.doctor.context import Ground
from isodrop_cli.doctor.policies import covers, statements
from isodrop_cli.doctor.results import GoneError, Verdict, broken, doubtful, well

_STEPS: Final = "aws-sdk:imagebuilder:listWorkflowExecutions"


def rule(ground: Ground) -> Verdict:
    """Whether every ISO starts an execution."""
    name = ground.resource("Dropped")
    if found := _switched_off(ground, name, "no ISO that is dropped starts an execution"):
        return found
    machine = ground.resource("ImportMachine")
    targets = ground.ask("events", "ListTargetsByRule", Rule=name)["Targets"]
    ours = next((each for each in targets if each["Arn"] == machine), None)
    queue = ground.arn("sqs", ground.resource("Undelivered").rsplit("/", 1)[-1])
    wanted = {"Id": "ImportMachine", "Arn": machine, "DeadLetterConfig": {"Arn": queue}}
    if ours is None or not ours.get("RoleArn"):
        role = ground.ask("iam", "GetRole", RoleName=ground.resource("DroppedRole"))["Role"]["Arn"]
        return broken(
            f"the rule {name} does not start the state machine",
            _put_target(ground, name, {**wanted, "RoleArn": role}),
        )
    if not ours.get("DeadLetterConfig"):
        return doubtful(
            f"the rule {name} keeps nothing of what it cannot deliver",
            _put_target(ground, name, {**wanted, "RoleArn": ours["RoleArn"]}),
        )
    return well("the rule is on and starts the state machine")


def schedule(ground: Ground) -> Verdict:
    """Whether the sweep comes; without it, what no execution answers stays unanswered."""
    name = ground.resource("SweepEveryFewMinutes")
    if found := _switched_off(ground, name, "what no execution can answer stays unanswered"):
        return found
    function = ground.arn("lambda", f"function:{ground.resource('Sweep')}")
    targets = ground.ask("events", "ListTargetsByRule", Rule=name)["Targets"]
    if not any(each["Arn"] == function for each in targets):
        return broken(
            f"the schedule {name} does not start the sweep",
            _put_target(ground, name, {"Id": "Sweep", "Arn": function}),
        )
    return well("the sweep comes by its schedule")


def machine(ground: Ground) -> Verdict:
    """Whether the state machine runs, and asks the functions of this very stack."""
    arn = ground.resource("ImportMachine")
    told = ground.ask("stepfunctions", "DescribeStateMachine", stateMachineArn=arn)
    if told["status"] != "ACTIVE":
        return broken(f"the state machine is {told['status']}", "sam deploy it under another name")
    strangers = [
        logical
        for logical in ("ImportIso", "ReportBuild")
        if f":function:{ground.resource(logical)}" not in told["definition"]
    ]
    if strangers:
        return broken(
            f"the state machine does not ask this stack's {' and '.join(strangers)}: somebody"
            " changed it",
            "change anything in statemachine/import.asl.json back and sam deploy",
        )
    return well("the state machine is active")


def definition(ground: Ground) -> Verdict:
    """Whether Step Functions takes the definition, its SDK integrations included."""
    arn = ground.resource("ImportMachine")
    told = ground.ask("stepfunctions", "DescribeStateMachine", stateMachineArn=arn)
    judged = ground.ask(
        "stepfunctions", "ValidateStateMachineDefinition", definition=told["definition"]
    )
    if judged["result"] != "OK":
        said = "; ".join(each["message"] for each in judged["diagnostics"])
        return broken(f"Step Functions does not take the definition: {said}", "sam deploy anew")
    return well("Step Functions knows all that the definition asks for")


def fields(ground: Ground) -> Verdict:
    """Whether Step Functions' own SDK has told step counts; only an execution can show that."""
    arn = ground.resource("ImportMachine")
    asked = {"stateMachineArn": arn, "statusFilter": "SUCCEEDED", "maxResults": 10}
    ended = ground.ask("stepfunctions", "ListExecutions", **asked)["executions"]
    for execution in ended:
        history = ground.ask(
            "stepfunctions",
            "GetExecutionHistory",
            executionArn=execution["executionArn"],
            maxResults=1000,
        )
        counted = steps_counted(history)
        if counted is True:
            return well("Step Functions' SDK tells the steps of a build")
        if counted is False:
            return doubtful(
                "Step Functions' SDK does not tell the steps of a build, so progress is told by"
                " status only"
            )
    return well("no build was followed yet; none of Step Functions' newer SDK fields is needed")


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


def queue(ground: Ground) -> Verdict:
    """Whether EventBridge had to leave anything behind."""
    url = ground.resource("Undelivered")
    asked = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = ground.ask("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=asked)
    count = sum(int(told.get("Attributes", {}).get(name, 0)) for name in asked)
    if count == 0:
        return well("the dead-letter queue is empty")
    return doubtful(
        f"EventBridge could not deliver {count} uploads; the sweep starts them",
        f"see why: {ground.command('sqs', 'receive-message', '--queue-url', url)} and"
        f" {ground.command('sqs', 'purge-queue', '--queue-url', url)} once it is mended",
    )


def bus(ground: Ground) -> Verdict:
    """Whether there is somebody to tell."""
    name = ground.output("EventBus") or "default"
    try:
        told = ground.ask("events", "DescribeEventBus", Name=name)
    except GoneError:
        return broken(
            f"there is no event bus {name}, so no answer can be published",
            ground.command("events", "create-event-bus", "--name", name),
        )
    denying = [
        each
        for each in statements(told.get("Policy"))
        if each.get("Effect") == "Deny" and covers(each, "events:PutEvents")
    ]
    if denying:
        named = ", ".join(str(each.get("Sid", "without a Sid")) for each in denying)
        return doubtful(
            f"the policy of the event bus {name} denies events:PutEvents ({named})",
            "see that it lets the roles of ReportBuild and Sweep through: "
            + ground.command("events", "describe-event-bus", "--name", name),
        )
    return well(f"the event bus {name} is there")


def _switched_off(ground: Ground, name: str, so: str) -> Verdict | None:
    state = ground.ask("events", "DescribeRule", Name=name)["State"]
    if state.startswith("ENABLED"):
        return None
    return broken(
        f"the rule {name} is {state.lower()}: {so}",
        ground.command("events", "enable-rule", "--name", name),
    )


def _put_target(ground: Ground, rule: str, target: Mapping[str, Any]) -> str:
    targets = json.dumps([target])
    return ground.command("events", "put-targets", "--rule", rule, "--targets", targets)
