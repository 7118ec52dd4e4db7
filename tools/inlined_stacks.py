"""A template with the stacks within it put into it: for those who take no nested stacks.

Service-managed StackSets are among them:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-orgs-manage-auto-deployment.html
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

STACK: Final = "AWS::CloudFormation::Stack"

Template = dict[str, Any]
_REFUSED: Final = frozenset({"Fn::FindInMap", "Fn::ImportValue", "Fn::Transform"})
_PLACE: Final = re.compile(r"\$\{([^!}]+)\}")


class InlineError(ValueError):
    """A nested stack uses something that cannot be put into its parent; the message says what."""


def inlined(template: Template, read: Callable[[str], Template]) -> Template:
    """Put the resources of all nested stacks into the template that nests them.

    A resource gets its stack's logical id before its own, a parameter becomes what the parent
    passes for it, and so does an output that the parent asks for.

    Parameters
    ----------
    template : dict
        The parent. It stays as it is.
    read : callable
        Gets the nested template that a ``TemplateURL`` names.

    Raises
    ------
    InlineError
        A nested stack uses something that is not known here.
    """
    stacks = {
        name: _Nested(name, resource, read(resource["Properties"]["TemplateURL"]))
        for name, resource in template["Resources"].items()
        if resource["Type"] == STACK
    }
    made: Template = _outputs_in(template, stacks)
    made["Resources"] = {
        name: resource for name, resource in made["Resources"].items() if name not in stacks
    }
    for nested in stacks.values():
        made["Resources"] |= nested.resources()
        made.setdefault("Conditions", {}).update(nested.conditions())
    return made


def _outputs_in(said: Any, stacks: Mapping[str, "_Nested"]) -> Any:
    """Put in what a parent asks of its nested stacks."""
    if isinstance(said, list):
        return [_outputs_in(each, stacks) for each in said]
    if not isinstance(said, dict):
        return said
    asked = said.get("Fn::GetAtt")
    if isinstance(asked, list) and asked[0] in stacks:
        return stacks[asked[0]].output(asked[1].removeprefix("Outputs."))
    return {name: _outputs_in(value, stacks) for name, value in said.items()}


class _Nested:
    """One stack within the stack."""

    def __init__(self, name: str, resource: Template, template: Template) -> None:
        self._name = name
        self._condition = resource.get("Condition")
        self._template = template
        self._values = {
            parameter: declared.get("Default")
            for parameter, declared in template.get("Parameters", {}).items()
        } | resource["Properties"].get("Parameters", {})

    def resources(self) -> Template:
        return {
            self._renamed(name): self._resource(name, resource)
            for name, resource in self._template["Resources"].items()
        }

    def conditions(self) -> Template:
        return {
            self._renamed(name): self._value(condition)
            for name, condition in self._template.get("Conditions", {}).items()
        }

    def output(self, name: str) -> Any:
        return self._value(self._template["Outputs"][name]["Value"])

    def _resource(self, name: str, resource: Template) -> Template:
        made: Template = {}
        for part, said in resource.items():
            match part:
                case "DependsOn":
                    names = [said] if isinstance(said, str) else said
                    made[part] = [self._renamed(each) for each in names]
                case "Condition" if self._condition:
                    raise InlineError(f"{self._name}: {name} and its stack both have a condition")
                case "Condition":
                    made[part] = self._renamed(said)
                case _:
                    made[part] = self._value(said)
        return made | ({"Condition": self._condition} if self._condition else {})

    def _renamed(self, name: str) -> str:
        return f"{self._name}{name}"

    def _value(self, said: Any) -> Any:
        if isinstance(said, list):
            return [self._value(each) for each in said]
        if not isinstance(said, dict):
            return said
        if len(said) == 1:
            ((function, argument),) = said.items()
            if function == "Ref":
                return self._reference(argument)
            if function in _REFUSED:
                raise InlineError(f"{self._name}: {function}")
            return {function: self._argument(function, argument)}
        return {name: self._value(value) for name, value in said.items()}

    def _argument(self, function: str, argument: Any) -> Any:
        match function, argument:
            case "Fn::GetAtt", [name, *attribute]:
                return [self._renamed(name), *attribute]
            case "Fn::If", [condition, *values]:
                return [self._renamed(condition), *map(self._value, values)]
            case "Condition", str(condition):
                return self._renamed(condition)
            case "Fn::Sub", words:
                return self._substituted(words)
        return self._value(argument)

    def _reference(self, name: str) -> Any:
        if name.startswith("AWS::"):
            return {"Ref": name}
        return self._values[name] if name in self._values else {"Ref": self._renamed(name)}

    def _substituted(self, said: Any) -> Any:
        words, own = (said, {}) if isinstance(said, str) else said

        def put(match: re.Match[str]) -> str:
            name, dot, attribute = match[1].partition(".")
            if match[1] in own or name.startswith("AWS::"):
                return match[0]
            return self._in_words(name, dot + attribute)

        made = _PLACE.sub(put, words)
        return [made, self._value(own)] if own else made

    def _in_words(self, name: str, attribute: str) -> str:
        if name not in self._values:
            return f"${{{self._renamed(name)}{attribute}}}"
        match self._values[name]:
            case {"Ref": str(reference)}:
                return f"${{{reference}}}"
            case {"Fn::GetAtt": [resource, of_it]}:
                return f"${{{resource}.{of_it}}}"
            case str(word):
                return word
            case other:
                raise InlineError(f"{self._name}: {name} is {other}, within words")
