"""What policies allow of calls that were recorded, and which of their actions none of these needs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

Statement = Mapping[str, Any]
Call = Mapping[str, Any]


class Grant(NamedTuple):
    """One action of one statement."""

    sid: str
    action: str


def listed(said: Any) -> list[Any]:
    """Get a list of what may be one."""
    return said if isinstance(said, list) else [said]


def allows(statements: Sequence[Statement], call: Call) -> bool:
    """Whether statements, which are all that somebody has, allow a call."""
    context = EvalContext(
        principal_arn=call["principal"],
        principal_type="AssumedRole",
        principal_account=call["principal"].split(":")[4],
        action=call["action"],
        resource_arn=call["resource"],
        region="us-east-1",
        secure_transport=call["context"].get("aws:securetransport") == "true",
        service_context=dict(call["context"]),
    )
    found = evaluate(context, [parse_policy_document({"Statement": list(statements)})])
    return bool(found.decision == "Allow")


def denied(statements: Sequence[Statement], calls: Iterable[Call]) -> list[Call]:
    """List the calls that are not allowed."""
    return [call for call in calls if not allows(statements, call)]


def grants(statements: Iterable[Statement]) -> Iterator[tuple[Grant, Statement]]:
    """List all actions, each with the statement that allows it and no other action."""
    for statement in statements:
        for action in listed(statement["Action"]):
            yield Grant(statement.get("Sid", ""), action), {**statement, "Action": action}


def unused(statements: Sequence[Statement], calls: Sequence[Call]) -> set[Grant]:
    """List the actions that no call needs."""
    return {
        grant
        for grant, statement in grants(statements)
        if not any(allows([statement], call) for call in calls)
    }
