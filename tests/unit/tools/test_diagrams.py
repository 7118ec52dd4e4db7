"""The pictures are up to date, and the check detects if they are not."""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest

from isodrop.aws.metrics import NAMESPACE
from isodrop_local.template import ROOT
from tools.diagrams import dashboard, state_machine
from tools.diagrams.__main__ import Sources, find_drift, make_diagrams, sources
from tools.diagrams.record import Sample
from tools.diagrams.themes import DARK_COLORS, apply_themes

PICTURES = ("docs/machine.svg", "docs/dashboard.svg")
SVG = "{http://www.w3.org/2000/svg}"


@cache
def _sources() -> Sources:
    return sources()


@pytest.fixture
def of() -> Sources:
    """A copy of the pictures' sources, which a test may change."""
    return copy.deepcopy(_sources())


def draw(wanted: Sequence[Mapping[str, Any]]) -> list[str]:
    """Replace the libraries: write their input into an SVG unchanged."""
    return [f"<svg >{escape(json.dumps(one))}</svg>" for one in wanted]


def states(level: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, state in level["States"].items():
        yield name, state
        for branch in [*state.get("Branches", ()), *filter(None, [state.get("ItemProcessor")])]:
            yield from states(branch)


def transitions(state: Mapping[str, Any]) -> set[str]:
    """Every next state in a definition."""
    found = set()
    for part in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        found |= {part[name] for name in ("Next", "Default") if name in part}
    return found


def nodes(level: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from level["nodes"]
    for inner in level["subgraphs"]:
        yield from nodes(inner)


def frames(level: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for inner in level["subgraphs"]:
        yield inner
        yield from frames(inner)


class TestDrift:
    @pytest.fixture
    def root(self, tmp_path: Path, of: Sources) -> Path:
        """A checkout whose pictures were just drawn."""
        for name, picture in make_diagrams(of, draw).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(picture)
        return tmp_path

    def test_newly_drawn_diagrams_are_up_to_date(self, root: Path, of: Sources) -> None:
        assert list(find_drift(of, root, draw)) == []

    def test_a_new_state_is_reported_with_a_remedy(self, root: Path, of: Sources) -> None:
        of.definition["States"]["New"] = {"Type": "Pass", "Next": "UploadHandled"}
        of.definition["States"]["PublishAnswerAfterError"]["Next"] = "New"
        (problem,) = find_drift(of, root, draw)
        assert problem.startswith("docs/machine.svg")
        assert problem.endswith("run: make diagrams")

    @pytest.mark.parametrize(
        "change",
        [{"title": "Another"}, {"metrics": [["isodrop", "Runs", "service", "isodrop"]]}],
    )
    def test_another_widget_is_reported_with_a_remedy(
        self, root: Path, of: Sources, change: dict[str, Any]
    ) -> None:
        of.body["widgets"][2]["properties"] |= change
        (problem,) = find_drift(of, root, draw)
        assert problem.startswith("docs/dashboard.svg")
        assert problem.endswith("run: make diagrams")

    @pytest.mark.parametrize("name", PICTURES)
    def test_a_missing_picture_is_reported(self, root: Path, of: Sources, name: str) -> None:
        (root / name).unlink()
        assert [problem.split()[0] for problem in find_drift(of, root, draw)] == [name]


class TestTheStateMachine:
    def test_every_state_and_every_transition_is_drawn(self, of: Sources) -> None:
        graph = state_machine.graph(of.definition)
        named = [each["attributes"] for each in nodes(graph)]
        named += [each["graphAttributes"] for each in frames(graph)]
        labels = [json.dumps(each["label"]) for each in named]
        every = dict(states(of.definition))
        for name in every:
            assert sum(f"<b>{name}</b>" in label for label in labels) == 1, name
        drawn = {
            (_state(edge["tail"]), _state(edge["head"]))
            for edge in graph["edges"]
            if not edge["tail"].startswith(("begin", "the"))
        }
        defined = {(name, target) for name, state in every.items() for target in transitions(state)}
        assert defined
        assert defined <= drawn

    def test_branches_of_a_state_start_and_end_together(self) -> None:
        branch = {"StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}}
        other = {"StartAt": "Two", "States": {"Two": {"Type": "Fail", "Error": "No"}}}
        both = {"Type": "Parallel", "Branches": [branch, other], "End": True}
        inner = {"StartAt": "Both", "States": {"Both": both}}
        each = {"Type": "Map", "Items": "{% $states.input.regions %}", "ItemProcessor": inner}
        graph = state_machine.graph({"StartAt": "Each", "States": {"Each": {**each, "End": True}}})
        assert [frame["name"] for frame in frames(graph)] == ["cluster Each", "cluster Each 0 Both"]
        assert "each of regions" in json.dumps(graph)
        transitions = {(edge["tail"], edge["head"]) for edge in graph["edges"]}
        assert {
            ("the Start", "begin Each"),
            ("begin Each", "begin Each 0 Both"),
            ("begin Each 0 Both", "Each 0 Both 0 One"),
            ("begin Each 0 Both", "Each 0 Both 1 Two"),
            ("Each 0 Both 0 One", "end Each 0 Both"),
            ("Each 0 Both 1 Two", "end Each 0 Both"),
            ("end Each 0 Both", "end Each"),
            ("end Each", "the End"),
        } == transitions

    def test_several_errors_of_one_transition_are_drawn_once_with_all_names(self) -> None:
        caught = [
            {"ErrorEquals": ["A.First"], "Next": "Two"},
            {"ErrorEquals": ["B"], "Next": "Two"},
        ]
        graph = state_machine.graph(
            {
                "StartAt": "One",
                "States": {
                    "One": {
                        "Type": "Task",
                        "Resource": "arn:aws:states:::events:putEvents.waitForTaskToken",
                        "Catch": caught,
                        "Next": "Two",
                    },
                    "Two": {"Type": "Succeed"},
                },
            }
        )
        labels = [
            edge["attributes"].get("label", "") for edge in graph["edges"] if edge["tail"] == "One"
        ]
        assert [label.split() for label in labels] == [[], ["First", "or", "B"]]
        assert "events:PutEvents" in json.dumps(graph)

    def test_an_unknown_type_of_state_is_refused(self) -> None:
        with pytest.raises(KeyError, match="Dance"):
            state_machine.graph({"StartAt": "A", "States": {"A": {"Type": "Dance", "End": True}}})


def _state(node: str) -> str:
    return node.rpartition(" ")[2]


class TestTheDashboard:
    def test_every_widget_is_in_its_place_and_every_title_is_drawn(self, of: Sources) -> None:
        drawn = ElementTree.fromstring(make_diagrams(of, draw)["docs/dashboard.svg"])  # noqa: S314 # our own
        cards = drawn.findall(f"{SVG}rect")[1:]
        places = [(int(card.attrib["x"]), int(card.attrib["y"])) for card in cards]
        unit = dashboard.UNIT
        assert places == [
            (each["x"] * unit + 8, each["y"] * unit + 8) for each in of.body["widgets"]
        ]
        words = "".join(drawn.itertext())
        for widget in of.body["widgets"]:
            assert widget["properties"].get("title", "saved queries") in words

    def test_every_metric_of_our_own_has_values_in_the_recorded_day(self, of: Sources) -> None:
        graphs = [chart["option"] for chart in dashboard.charts(of.body, of.samples)]
        metrics = [
            widget["properties"]["metrics"]
            for widget in of.body["widgets"]
            if widget["type"] == "metric"
        ]
        for graph, metric in zip(graphs, metrics, strict=True):
            if metric[0][0] == NAMESPACE or isinstance(metric[0][0], dict):
                assert all(series["data"] for series in graph["series"]), graph["title"][0]["text"]

    def test_each_period_of_a_metric_has_the_statistic_of_its_values(self) -> None:
        samples = [
            Sample(3600.0 + at, "isodrop", "Time", f"service={service}", value, "Seconds")
            for at, service, value in [(10, "a", 1), (20, "a", 2), (70, "a", 6), (30, "b", 9)]
        ]
        points = {
            stat: _points(samples, ["isodrop", "Time", "service", "a", {"stat": stat}])
            for stat in ("Sum", "Maximum", "Average", "p50")
        }
        assert points == {
            "Sum": [[3600_000, 3], [3660_000, 6]],
            "Maximum": [[3600_000, 2], [3660_000, 6]],
            "Average": [[3600_000, 1.5], [3660_000, 6]],
            "p50": [[3600_000, 1.5], [3660_000, 6]],
        }

    def test_an_unknown_statistic_or_search_is_refused(self, of: Sources) -> None:
        runs = [one for one in of.samples if one.name == "Runs"]
        with pytest.raises(NotImplementedError, match="p99"):
            _points(runs, ["isodrop", "Runs", "service", "isodrop", {"stat": "p99"}])
        with pytest.raises(NotImplementedError, match="METRICS"):
            _points(runs, [{"expression": "SUM(METRICS())"}])


def _points(samples: Sequence[Sample], metric: list[Any]) -> Any:
    properties = {"title": "Any", "view": "timeSeries", "period": 60, "metrics": [metric]}
    widget = {"type": "metric", "x": 0, "y": 0, "width": 8, "height": 6, "properties": properties}
    (chart,) = dashboard.charts({"widgets": [widget]}, samples)
    return chart["option"]["series"][0]["data"]


class TestInTheDark:
    @pytest.mark.parametrize("name", PICTURES)
    def test_every_text_changes_its_color_in_the_dark_theme(self, name: str) -> None:
        drawn = ElementTree.fromstring((ROOT / name).read_text())  # noqa: S314 # our own
        words = [
            each for each in drawn.iter() if (each.text or "").strip() and "fill" in each.attrib
        ]
        assert len(words) > 20
        assert {each.attrib["fill"] for each in words} <= DARK_COLORS.keys()
        for each in drawn.iter(f"{SVG}text"):
            assert "fill" in each.attrib or len(each), "black in the dark"

    def test_fill_and_stroke_of_a_color_change_in_the_dark_theme(
        self,
    ) -> None:
        light, dark = next(iter(DARK_COLORS.items()))
        svg = apply_themes(
            f'<?xml version="1.0"?><svg ><path fill="{light}" stroke="{light}"/></svg>'
        )
        rules = re.findall(r"\[(\w+)=\"(#\w+)\"\]\{(\w+):(#\w+)\}", svg)
        assert ("fill", light, "fill", dark) in rules
        assert ("stroke", light, "stroke", dark) in rules
        assert svg.startswith("<svg >\n<style>@media (prefers-color-scheme:dark){")
