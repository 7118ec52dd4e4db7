"""The state machine as a graph: every state, and every transition from one to another.

It is drawn only from the definition, in Amazon States Language with JSONata; an unsupported type of
state is an error.
https://states-language.net
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tools.diagrams.themes import BAD, CARD, FONT, FORK, GOOD, INK, LINE, PAGE, SOFT, WORK

Json = dict[str, Any]
_ANY: Final = "States.ALL"
_WIDTH: Final = 26
_COLORS: Final[Mapping[str, str]] = {
    "Task": WORK,
    "Pass": WORK,
    "Wait": SOFT,
    "Choice": FORK,
    "Succeed": GOOD,
    "Fail": BAD,
}
_CONTAINERS: Final = ("Parallel", "Map")


def graph(definition: Mapping[str, Any]) -> Json:
    """Return the graph of a state machine for Viz.js.

    Raises
    ------
    KeyError
        The definition has an unsupported type of state.
    """
    drawing = _Drawing()
    drawing.edge("the Start", drawing.level(definition, "", drawing.whole, "the End"), {})
    for name in ("Start", "End"):
        style = {"shape": "oval", "color": LINE, "fontcolor": SOFT}
        drawing.whole["nodes"].append(
            {"name": f"the {name}", "attributes": {"label": name, **style}}
        )
    return {
        "graphAttributes": {
            "bgcolor": PAGE,
            "compound": True,
            "fontname": FONT,
            "fontsize": 11,
            "nodesep": 0.3,
            "pad": 0.25,
            "ranksep": 0.32,
        },
        "nodeAttributes": {
            "fillcolor": CARD,
            "fontcolor": INK,
            "fontname": FONT,
            "fontsize": 12,
            "height": 0.4,
            "margin": "0.14,0.06",
            "shape": "box",
            "style": "rounded,filled",
        },
        "edgeAttributes": {
            "arrowsize": 0.7,
            "color": SOFT,
            "fontcolor": SOFT,
            "fontname": FONT,
            "fontsize": 10,
        },
        **drawing.whole,
        "edges": drawing.edges,
    }


def _level() -> Json:
    return {"nodes": [], "subgraphs": []}


@dataclass(slots=True)
class _Drawing:
    """The graph that is being drawn.

    Attributes
    ----------
    whole : dict
        The nodes and subgraphs of the outermost level.
    edges : list of dict
    """

    whole: Json = field(default_factory=_level)
    edges: list[Json] = field(default_factory=list)

    def level(self, level: Mapping[str, Any], path: str, into: Json, end: str) -> tuple[str, str]:
        """Draw the states of a level; return the target of a transition to its first state."""
        ports: dict[str, tuple[str, str, str]] = {}
        for name, state in level["States"].items():
            place = f"{path}{name}"
            if state["Type"] in _CONTAINERS:
                ports[name] = self._container(name, state, place, into)
            else:
                into["nodes"].append(_node(place, name, state))
                ports[name] = (place, place, "")
        for name, state in level["States"].items():
            _, source, tail = ports[name]
            for target, attributes in _transitions(state):
                head_node, _, head = ports[target] if target else (end, "", "")
                self.edge(source, (head_node, head), attributes, tail)
        head_node, _, head = ports[level["StartAt"]]
        return head_node, head

    def edge(self, source: str, target: tuple[str, str], attributes: Json, tail: str = "") -> None:
        """Draw a transition; ``tail`` and the second item of ``target`` are its frames."""
        clipped = {"ltail": tail, "lhead": target[1]}
        found = {name: frame for name, frame in clipped.items() if frame}
        self.edges.append(
            {"tail": source, "head": target[0], "attributes": {**attributes, **found}}
        )

    def _container(self, name: str, state: Json, place: str, into: Json) -> tuple[str, str, str]:
        """Draw a state that contains others; return its entry, its exit and its frame."""
        frame = f"cluster {place}"
        inside = _level()
        into["subgraphs"].append(
            {
                "name": frame,
                "graphAttributes": {
                    "bgcolor": PAGE,
                    "color": LINE,
                    "fontcolor": SOFT,
                    "fontname": FONT,
                    "fontsize": 11,
                    "label": {"html": _label(name, _container_label(state))},
                    "labeljust": "l",
                    "margin": 14,
                    "style": "rounded,dashed",
                },
                **inside,
            }
        )
        fork, join = f"begin {place}", f"end {place}"
        inside["nodes"] += [_end_point(fork), _end_point(join)]
        for number, branch in enumerate(_branches(state)):
            self.edge(fork, self.level(branch, f"{place} {number} ", inside, join), {})
        return fork, join, frame


def _branches(state: Json) -> list[Json]:
    if state["Type"] == "Parallel":
        found: list[Json] = state["Branches"]
        return found
    return [state["ItemProcessor"]]


def _container_label(state: Json) -> str:
    if state["Type"] == "Map":
        return f"Map: each of {_shorten(state.get('Items', 'the input'))}"
    return (
        f"Parallel: {len(state['Branches'])} at once" if len(state["Branches"]) > 1 else "Parallel"
    )


def _transitions(state: Json) -> Iterator[tuple[str, Json]]:
    """List a state's transitions and their attributes; an empty target is the end of its level."""
    conditions: dict[str, list[str]] = {}
    for choice in state.get("Choices", ()):
        conditions.setdefault(choice["Next"], []).append(_shorten(choice["Condition"]))
    for target, each in conditions.items():
        yield target, {"label": _wrap(" or\n".join(each))}
    if "Default" in state:
        yield state["Default"], {"label": _wrap("otherwise")}
    elif state["Type"] in ("Succeed", "Fail") or state.get("End"):
        yield "", {"style": "solid"}
    elif "Next" in state:
        yield state["Next"], {}
    caught: dict[str, list[str]] = {}
    for catch in state.get("Catch", ()):
        caught.setdefault(catch["Next"], []).extend(catch["ErrorEquals"])
    for target, errors in caught.items():
        names = [error.rpartition(".")[2] for error in errors]
        text = "any error" if _ANY in errors else " or\n".join(names)
        yield target, {"label": _wrap(text), "style": "dashed", "color": BAD, "fontcolor": BAD}


def _node(place: str, name: str, state: Json) -> Json:
    kind = state["Type"]
    attributes: Json = {
        "color": _COLORS[kind],
        "label": {"html": _label(name, _describe_state(state))},
    }
    if kind == "Choice":
        attributes |= {"shape": "hexagon", "style": "filled", "margin": "0.02,0.02"}
    return {"name": place, "attributes": attributes}


def _label(name: str, text: str) -> str:
    below = f'<br/><font point-size="10" color="{SOFT}">{_escape(text)}</font>' if text else ""
    return f"<b>{_escape(name)}</b>{below}"


def _describe_state(state: Json) -> str:
    match state["Type"]:
        case "Task":
            return _describe_task(state["Resource"], state.get("Arguments", {}))
        case "Wait":
            return f"wait {_shorten(state.get('Seconds', state.get('Timestamp')))}"
        case "Fail":
            return str(state.get("Error", ""))
        case _:
            return ""


def _describe_task(resource: str, arguments: Any) -> str:
    """Describe briefly what a task calls."""
    *_, service, action = resource.split(":")
    action = action.partition(".")[0]
    if service == "lambda" and isinstance(arguments, dict):
        function = re.sub(r"^\$\{(.+?)(Arn)?\}$", r"\1", str(arguments.get("FunctionName", "")))
        return f"Lambda {function.rpartition(':')[2]}"
    return f"{service}:{action[:1].upper()}{action[1:]}"


def _shorten(text: object) -> str:
    """Shorten an expression to its names."""
    if not isinstance(text, str):
        return json.dumps(text)
    inside = re.sub(r"^\{%\s*(.*?)\s*%\}$", r"\1", text, flags=re.DOTALL)
    inside = re.sub(r"\$\{(\w+)\}", r"\1", inside)
    return re.sub(r"\$(states\.input\.)?", "", inside)


def _wrap(text: str) -> str:
    lines = [f" {part} " for line in text.split("\n") for part in textwrap.wrap(line, _WIDTH)]
    return "\n".join(lines)


def _end_point(name: str) -> Json:
    """Return the node at which a container begins or ends."""
    style = {"label": "", "shape": "circle", "width": 0.1, "height": 0.1, "fixedsize": True}
    style |= {"style": "filled", "color": SOFT, "fillcolor": SOFT}
    return {"name": name, "attributes": style}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
