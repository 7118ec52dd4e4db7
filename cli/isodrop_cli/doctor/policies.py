"""Parse policy documents, as far as the checks need. Pure."""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any


def statements(document: str | Mapping[str, Any] | None) -> tuple[Mapping[str, Any], ...]:
    """Return a document's statements; none if there is no document."""
    if not document:
        return ()
    read = json.loads(document) if isinstance(document, str) else document
    found = read.get("Statement", ())
    return (found,) if isinstance(found, Mapping) else tuple(found)


def covers(statement: Mapping[str, Any], action: str) -> bool:
    """Whether a statement covers an action; IAM ignores case.

    Examples
    --------
    >>> covers({"Action": ["kms:De*", "kms:Encrypt"]}, "kms:Decrypt")
    True
    """
    return any(
        fnmatchcase(action.lower(), each.lower()) for each in _listed(statement.get("Action"))
    )


def allows(document: str | Mapping[str, Any] | None, action: str, resource: str) -> bool:
    """Whether an endpoint policy allows an action on a resource.

    Conditions are not evaluated: what is allowed under one counts as allowed, what is denied under
    one does not count as denied. Without a document, the default applies, which allows
    everything.

    Examples
    --------
    >>> copies = {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::copies/*"}
    >>> allows({"Statement": copies}, "s3:GetObject", "arn:aws:s3:::copies/a.iso")
    True
    >>> allows({"Statement": copies}, "s3:GetObject", "arn:aws:s3:::others/a.iso")
    False
    """
    if not document:
        return True
    matching = [each for each in statements(document) if _concerns(each, action, resource)]
    denied = any(each.get("Effect") == "Deny" and not each.get("Condition") for each in matching)
    return not denied and any(each.get("Effect") == "Allow" for each in matching)


def _concerns(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    if "NotAction" in statement:
        acts = not covers({"Action": statement["NotAction"]}, action)
    else:
        acts = covers(statement, action)
    excluded = "NotResource" in statement
    named = _listed(statement["NotResource"] if excluded else statement.get("Resource"))
    return acts and excluded != any(fnmatchcase(resource, each) for each in named)


def principals(statement: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """List the principals of a kind, ``AWS`` or ``Service``, in a statement."""
    named = statement.get("Principal", {})
    return ("*",) if named == "*" else tuple(_listed(named.get(kind)))


def trusts(document: str | Mapping[str, Any] | None, service: str) -> bool:
    """Whether a role's trust policy lets a service assume it."""
    return any(
        each.get("Effect") == "Allow"
        and covers(each, "sts:AssumeRole")
        and not {service, "*"}.isdisjoint(principals(each, "Service"))
        for each in statements(document)
    )


def _listed(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif value:
        yield from (str(each) for each in value)
