"""Inlines nested stacks into their parent template, for services that support no nested stacks.

Service-managed StackSets are one of them:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-orgs-manage-auto-deployment.html
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

STACK: Final = "AWS::CloudFormation::Stack"

Json = dict[str, Any]
_REFUSED: Final = frozenset({"Fn::FindInMap", "Fn::ImportValue", "Fn::Transform"})
_PLACE: Final = re.compile(r"\$\{([^!}]+)\}")


class InlineError(ValueError):
    """A nested stack uses something that cannot be inlined; the message says what."""


def inline_stacks(template: Json, read: Callable[[str], Json]) -> Json:
    """Put the resources of all nested stacks into the template that nests them.

    A resource's logical id is prefixed with that of its stack. References to parameters are
    replaced with the values that the parent passes, and references of the parent to outputs
    with the values of the outputs.

    Parameters
    ----------
    template : dict
        The parent; it is not changed.
    read : callable
        Returns the nested template that a ``TemplateURL`` names.

    Raises
    ------
    InlineError
        A nested stack uses something that is not supported.
    """
    stacks = {
        name: _Nested(name, resource, read(resource["Properties"]["TemplateURL"]))
        for name, resource in template["Resources"].items()
        if resource["Type"] == STACK
    }
    made: Json = _resolve_outputs(template, stacks)
    made["Resources"] = {
        name: resource for name, resource in made["Resources"].items() if name not in stacks
    }
    for nested in stacks.values():
        made["Resources"] |= nested.resources()
        made.setdefault("Conditions", {}).update(nested.conditions())
    return made


def _resolve_outputs(node: Any, stacks: Mapping[str, "_Nested"]) -> Any:
    """Replace references of a parent to outputs of its nested stacks."""
    if isinstance(node, list):
        return [_resolve_outputs(each, stacks) for each in node]
    if not isinstance(node, dict):
        return node
    attribute = node.get("Fn::GetAtt")
    if isinstance(attribute, list) and attribute[0] in stacks:
        return stacks[attribute[0]].output(attribute[1].removeprefix("Outputs."))
    return {name: _resolve_outputs(value, stacks) for name, value in node.items()}


class _Nested:
    """One nested stack."""

    def __init__(self, name: str, resource: Json, template: Json) -> None:
        self._name = name
        self._condition = resource.get("Condition")
        self._template = template
        self._values = {
            parameter: declared.get("Default")
            for parameter, declared in template.get("Parameters", {}).items()
        } | resource["Properties"].get("Parameters", {})

    def resources(self) -> Json:
        return {
            self._rename(name): self._resource(name, resource)
            for name, resource in self._template["Resources"].items()
        }

    def conditions(self) -> Json:
        return {
            self._rename(name): self._value(condition)
            for name, condition in self._template.get("Conditions", {}).items()
        }

    def output(self, name: str) -> Any:
        return self._value(self._template["Outputs"][name]["Value"])

    def _resource(self, name: str, resource: Json) -> Json:
        made: Json = {}
        for part, node in resource.items():
            match part:
                case "DependsOn":
                    names = [node] if isinstance(node, str) else node
                    made[part] = [self._rename(each) for each in names]
                case "Condition" if self._condition:
                    raise InlineError(f"{self._name}: {name} and its stack both have a condition")
                case "Condition":
                    made[part] = self._rename(node)
                case _:
                    made[part] = self._value(node)
        return made | ({"Condition": self._condition} if self._condition else {})

    def _rename(self, name: str) -> str:
        return f"{self._name}{name}"

    def _value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._value(each) for each in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            if function == "Ref":
                return self._reference(argument)
            if function in _REFUSED:
                raise InlineError(f"{self._name} uses {function}, which cannot be inlined")
            return {function: self._argument(function, argument)}
        return {name: self._value(value) for name, value in node.items()}

    def _argument(self, function: str, argument: Any) -> Any:
        match function, argument:
            case "Fn::GetAtt", [name, *attribute]:
                return [self._rename(name), *attribute]
            case "Fn::If", [condition, *values]:
                return [self._rename(condition), *map(self._value, values)]
            case "Condition", str(condition):
                return self._rename(condition)
            case "Fn::Sub", text:
                return self._substitute(text)
        return self._value(argument)

    def _reference(self, name: str) -> Any:
        if name.startswith("AWS::"):
            return {"Ref": name}
        return self._values[name] if name in self._values else {"Ref": self._rename(name)}

    def _substitute(self, node: Any) -> Any:
        text, own = (node, {}) if isinstance(node, str) else node

        def put(match: re.Match[str]) -> str:
            name, dot, attribute = match[1].partition(".")
            if match[1] in own or name.startswith("AWS::"):
                return match[0]
            return self._to_reference(name, dot + attribute)

        made = _PLACE.sub(put, text)
        return [made, self._value(own)] if own else made

    def _to_reference(self, name: str, attribute: str) -> str:
        if name not in self._values:
            return f"${{{self._rename(name)}{attribute}}}"
        match self._values[name]:
            case {"Ref": str(reference)}:
                return f"${{{reference}}}"
            case {"Fn::GetAtt": [resource, attribute_name]}:
                return f"${{{resource}.{attribute_name}}}"
            case str(text):
                return text
            case other:
                raise InlineError(
                    f"{self._name}: Fn::Sub uses {name}, whose value {other} cannot be in a string"
                )
