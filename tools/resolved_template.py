"""The template with its parameters resolved: what CloudFormation would create, or refuse.

Only the intrinsic functions that the template uses are supported; any other is an error.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from isodrop_local.template import transform

PSEUDO: Final = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::StackId": (
        "arn:aws:cloudformation:eu-central-1:123456789012:stack/isodrop/1a2b3c4d-0000-1111-2222-333344445555"
    ),
    "AWS::StackName": "isodrop",
}
NO_VALUE: Final = object()


@dataclass(frozen=True, slots=True)
class Resolved:
    """A template without conditions and parameters.

    Attributes
    ----------
    resources : dict
        The resources that are created, by logical id, with resolved properties; a reference to
        another resource is its logical id, with ``.Attribute`` for an attribute.
    outputs : dict of str to str
    """

    resources: dict[str, dict[str, Any]]
    outputs: dict[str, Any]

    def properties(self, name: str) -> dict[str, Any]:
        """Return a resource's properties."""
        found: dict[str, Any] = self.resources[name].get("Properties", {})
        return found

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of a type, by logical id."""
        return {
            name: self.properties(name)
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def statement(self, role: str, sid: str) -> dict[str, Any] | None:
        """Return a statement of a role's policies, by its Sid."""
        found = (
            statement
            for policy in self.properties(role)["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
            if statement.get("Sid") == sid
        )
        return next(found, None)


class TemplateError(Exception):
    """CloudFormation would reject this; the message says why."""


def resolve(**parameters: object) -> Resolved:
    """Resolve the template with these parameters, and defaults for the others.

    AWS's pseudo parameters may be among them.

    Raises
    ------
    TemplateError
        A parameter is invalid, or a rule is violated.
    """
    return _resolve(_whole(), parameters)


def resolve_plain(template: dict[str, Any], parameters: Mapping[str, object]) -> Resolved:
    """Resolve, with these parameters, a template that needs no transform."""
    return _resolve(template, parameters)


def _resolve(whole: dict[str, Any], parameters: Mapping[str, object]) -> Resolved:
    pseudo = {name: str(value) for name, value in parameters.items() if name.startswith("AWS::")}
    given = {name: value for name, value in parameters.items() if name not in pseudo}
    resolver = _Resolver(whole, {**pseudo, **_values(whole["Parameters"], given)})
    broken = resolver.failed_assertions()
    if broken:
        raise TemplateError(" ".join(broken))
    resources = {
        name: resolver.value(
            {key: part for key, part in resource.items() if key in ("Type", "Properties")}
        )
        for name, resource in whole["Resources"].items()
        if resolver.is_created(resource)
    }
    outputs = {
        name: resolver.value(output["Value"])
        for name, output in whole.get("Outputs", {}).items()
        if resolver.is_created(output)
    }
    return Resolved(resources, outputs)


@cache
def _whole() -> dict[str, Any]:
    """Transform the template; only once, because that takes longer than everything else."""
    return transform()


def _values(declared: dict[str, Any], given: Mapping[str, object]) -> dict[str, str]:
    """Validate parameters as CloudFormation does before anything else."""
    unknown = given.keys() - declared.keys()
    if unknown:
        raise TemplateError(f"no such parameter: {', '.join(unknown)}")
    values = {}
    for name, parameter in declared.items():
        value = str(given.get(name, parameter.get("Default")))
        number = float(value) if parameter["Type"] == "Number" else 0
        allowed = [str(each) for each in parameter.get("AllowedValues", [value])]
        if (
            value not in allowed
            or not re.fullmatch(parameter.get("AllowedPattern", ".*"), value, re.DOTALL)
            or len(value) > parameter.get("MaxLength", 4096)
            or not parameter.get("MinValue", number) <= number <= parameter.get("MaxValue", number)
        ):
            raise TemplateError(f"{name} cannot be {value!r}")
        values[name] = value
    return values


class _Resolver:
    def __init__(self, template: dict[str, Any], parameters: dict[str, str]) -> None:
        self._template = template
        self._known = {**PSEUDO, **parameters}
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Condition": self._condition,
            "Fn::And": lambda node: all(map(self.value, node)),
            "Fn::Equals": lambda node: self.value(node[0]) == self.value(node[1]),
            "Fn::GetAtt": ".".join,
            "Fn::If": self._if,
            "Fn::Join": lambda node: node[0].join(map(str, self.value(node[1]))),
            "Fn::Not": lambda node: not self.value(node[0]),
            "Fn::Select": lambda node: self.value(node[1])[int(node[0])],
            "Fn::Split": lambda node: self.value(node[1]).split(node[0]),
            "Fn::Sub": self._sub,
        }

    def failed_assertions(self) -> list[str]:
        """Return the descriptions of the assertions that fail."""
        return [
            assertion["AssertDescription"]
            for rule in self._template.get("Rules", {}).values()
            if self.value(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self.value(assertion["Assert"])
        ]

    def is_created(self, part: dict[str, Any]) -> bool:
        """Whether a resource or an output is created, according to its condition."""
        return "Condition" not in part or self._condition(part["Condition"])

    def value(self, node: Any) -> Any:
        """Evaluate a part of the template."""
        if isinstance(node, list):
            return [made for each in node if (made := self.value(each)) is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in self._functions:
                return self._functions[name](argument)
            if name.startswith("Fn::"):
                raise NotImplementedError(name)
        return {
            key: made for key, each in node.items() if (made := self.value(each)) is not NO_VALUE
        }

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        return self._known.get(name, name)

    def _condition(self, name: str) -> bool:
        return bool(self.value(self._template["Conditions"][name]))

    def _if(self, node: list[Any]) -> Any:
        return self.value(node[1] if self._condition(node[0]) else node[2])

    def _sub(self, node: Any) -> str:
        words, names = (node, {}) if isinstance(node, str) else node

        def put(match: re.Match[str]) -> str:
            name = match[1]
            return str(self.value(names[name]) if name in names else self._ref(name))

        return re.sub(r"\$\{([^!}]+)\}", put, words).replace("${!", "${")
