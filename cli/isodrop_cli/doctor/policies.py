"""What a policy document says, as far as a check needs it. Pure."""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any


def statements(document: str | Mapping[str, Any] | None) -> tuple[Mapping[str, Any], ...]:
    """Read a document's statements; none where there is no document."""
    if not document:
        return ()
    read = json.loads(document) if isinstance(document, str) else document
    found = read.get("Statement", ())
    return (found,) if isinstance(found, Mapping) else tuple(found)


def covers(statement: Mapping[str, Any], action: str) -> bool:
    """Whether a statement is about an action; IAM takes no notice of case.

    Examples
    --------
    >>> covers({"Action": ["kms:De*", "kms:Encrypt"]}, "kms:Decrypt")
    True
    """
    return any(
        fnmatchcase(action.lower(), each.lower()) for each in _listed(statement.get("Action"))
    )


def principals(statement: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """List the principals of a kind, ``AWS`` or ``Service``, that a statement names."""
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
