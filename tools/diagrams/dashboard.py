"""The dashboard as CloudWatch would show it: its grid, its widgets, and the metrics of a day.

It is drawn only from the dashboard's body, with its parameters resolved; an unsupported element of
a body is an error.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

import json
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final
from xml.sax.saxutils import escape

from markdown_it import MarkdownIt
from markdown_it.token import Token

from isodrop_local.template import ROOT, read_template
from tools.diagrams.record import Sample, dimensions
from tools.diagrams.themes import CARD, FAINT, FONT, INK, LINE, PAGE, SOFT, WORK
from tools.resolved_template import resolve, resolve_plain

Json = dict[str, Any]
UNIT: Final = 40
"""Pixels of one unit of the grid, which is 24 units wide."""
_GAP: Final = 4
_HOUR: Final = 3600
# CloudWatch's colors; they are visible on light and dark backgrounds.
_COLORS: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2")
_MANY: Final = 40
_LINE: Final = 22
_STYLES: Final[Mapping[str, str]] = {
    "plain": f'fill="{INK}"',
    "strong": f'fill="{INK}" font-weight="bold"',
    "link": f'fill="{WORK}"',
    "code": f'fill="{SOFT}" font-family="monospace"',
}
_SEARCH: Final = re.compile(
    r"""SEARCH\('\{(?P<schema>[\w/,]+)\}\ MetricName="(?P<name>\w+)"
    (?P<filters>(?:\ \w+="[^"]*")*)',\ '(?P<stat>\w+)',\ (?P<period>\d+)\)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a graph.

    Attributes
    ----------
    label : str
    points : mapping of float to float
        Values by the beginning of their period.
    unit : str
        ``""`` if there are no points.
    style : mapping
        The settings of this metric in the body.
    """

    label: str
    points: Mapping[float, float]
    unit: str
    style: Mapping[str, Any]


def body() -> Json:
    """Return the body of the stack's dashboard."""
    nested = resolve(CreateDashboard="true").properties("MonitoringStack")
    operations = resolve_plain(read_template(ROOT / "monitoring.yaml"), nested["Parameters"])
    (dashboard,) = operations.of_type("AWS::CloudWatch::Dashboard").values()
    found: Json = json.loads(dashboard["DashboardBody"])
    return found


def charts(body: Json, samples: Sequence[Sample]) -> list[Json]:
    """Return each graph as a chart for ECharts, in the body's order.

    Raises
    ------
    NotImplementedError
        The body has an unsupported element.
    """
    begin = min(sample.at for sample in samples) // _HOUR * _HOUR
    end = math.ceil(max(sample.at for sample in samples) / _HOUR) * _HOUR
    made = []
    for widget in body["widgets"]:
        properties = widget["properties"]
        if (widget["type"], properties.get("view")) not in (
            ("metric", "timeSeries"),
            ("text", None),
        ):
            raise NotImplementedError(f"a widget of the type {widget['type']}")
        if widget["type"] == "metric":
            width, height = _size(widget)
            option = _graph(properties, [*_curves(properties, samples)], width, (begin, end))
            made.append({"kind": "chart", "width": width, "height": height, "option": option})
    return made


def assemble(body: Json, drawn: Iterable[str]) -> str:
    """Place the drawn graphs and the texts on the page."""
    graphs = iter(drawn)
    widgets = body["widgets"]
    width = 24 * UNIT + 2 * _GAP
    height = max(each["y"] + each["height"] for each in widgets) * UNIT + 2 * _GAP
    place = f'width="{width}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {place} viewBox="0 0 {width} {height}">',
        f'<rect {place} fill="{PAGE}"/>',
    ]
    for widget in widgets:
        x, y = widget["x"] * UNIT + 2 * _GAP, widget["y"] * UNIT + 2 * _GAP
        across, down = _size(widget)
        lines.append(
            f'<rect x="{x}" y="{y}" width="{across}" height="{down}" rx="6" fill="{CARD}"'
            f' stroke="{LINE}"/>'
        )
        if widget["type"] == "text":
            lines.append(_text(widget["properties"]["markdown"], x + 12, y + down / 2))
        else:
            lines.append(next(graphs).replace("<svg ", f'<svg x="{x}" y="{y}" ', 1))
    return "\n".join([*lines, "</svg>"])


def _size(widget: Json) -> tuple[int, int]:
    return widget["width"] * UNIT - 2 * _GAP, widget["height"] * UNIT - 2 * _GAP


def _text(markdown: str, x: float, y: float) -> str:
    """Write text, one line per paragraph; supports bold, links and code of Markdown."""
    lines = [token for token in MarkdownIt().parse(markdown) if token.type == "inline"]
    top = y - (len(lines) - 1) / 2 * _LINE
    style = f'font-family="{FONT}" font-size="13" dominant-baseline="middle"'
    return "".join(
        f'<text x="{x}" y="{top + place * _LINE}" {style}>{_spans(line.children or ())}</text>'
        for place, line in enumerate(lines)
    )


def _spans(tokens: Iterable[Token]) -> str:
    spans, style = [], "plain"
    for token in tokens:
        if token.content:
            style = _STYLES["code" if token.type == "code_inline" else style]
            spans.append(f"<tspan {style}>{escape(token.content)}</tspan>")
        style = {"strong_open": "strong", "link_open": "link"}.get(token.type, "plain")
    return "".join(spans)


def _graph(
    properties: Json, curves: Sequence[Curve], width: int, span: tuple[float, float]
) -> Json:
    text_style = {"color": SOFT, "fontFamily": FONT, "fontSize": 11}
    title = {"color": INK, "fontFamily": FONT, "fontSize": 13, "fontWeight": "bold"}
    title |= {"width": width - 24, "overflow": "break", "lineHeight": 16}
    titles = [
        {"text": properties["title"], "left": 12, "top": 10, "padding": 0, "textStyle": title}
    ]
    if not any(curve.points for curve in curves):
        nothing = {**text_style, "fontWeight": "normal", "fontSize": 12}
        titles.append({"text": "no data", "left": "center", "top": 92, "textStyle": nothing})
    sides = {_side(curve) for curve in curves}
    series = []
    for curve, color in zip(curves, cycle(_COLORS)):
        points = curve.points
        if properties.get("stacked"):
            # In a stacked graph, a curve without a value in a period has no height there.
            periods = range(int(span[0]), int(span[1]), properties["period"])
            points = {at: points.get(at, 0.0) for at in periods}
        series.append(_series(curve, points, color, stacked=bool(properties.get("stacked"))))
    return {
        "useUTC": True,
        "title": titles,
        "legend": {
            "data": [curve.label for curve in curves],
            "left": 12,
            "bottom": 8,
            "width": width - 24,
            "padding": 0,
            "itemGap": 7,
            "itemWidth": 10,
            "itemHeight": 10,
            "icon": "rect",
            "textStyle": text_style,
        },
        "grid": {"left": 40, "right": 40 if "right" in sides else 20, "top": 64, "bottom": 80},
        "xAxis": {
            "type": "time",
            "min": span[0] * 1000,
            "max": span[1] * 1000,
            "splitNumber": 4,
            "axisLine": {"lineStyle": {"color": LINE}},
            "axisTick": {"lineStyle": {"color": LINE}},
            "axisLabel": {**text_style, "formatter": "{HH}:{mm}", "hideOverlap": True},
        },
        "yAxis": [_axis(curves, side, text_style) for side in ("left", "right")],
        "series": series,
    }


def _axis(curves: Sequence[Curve], side: str, words: Json) -> Json:
    mine = [curve for curve in curves if _side(curve) == side]
    units = {curve.unit for curve in mine if curve.unit}
    whole = all(value == int(value) for curve in mine for value in curve.points.values())
    return {
        "type": "value",
        "position": side,
        "name": ", ".join(sorted(units)),
        "nameGap": 8,
        "nameTextStyle": {
            **words,
            "align": side,
            "padding": [0, 0, 0, -32 if side == "left" else 0],
        },
        "min": 0,
        "splitNumber": 3,
        "axisLabel": words,
        "splitLine": {"show": side == "left", "lineStyle": {"color": FAINT}},
        **({"minInterval": 1} if whole else {}),
    }


def _side(curve: Curve) -> str:
    return str(curve.style.get("yAxis", "left"))


def _series(curve: Curve, points: Mapping[float, float], color: str, *, stacked: bool) -> Json:
    color = curve.style.get("color", color)
    return {
        "type": "line",
        "name": curve.label,
        "yAxisIndex": int(_side(curve) == "right"),
        "data": [[at * 1000, value] for at, value in sorted(points.items())],
        "color": color,
        "lineStyle": {"width": 1.5},
        "showSymbol": len(points) < _MANY,
        "symbol": "circle",
        "symbolSize": 4,
        "silent": True,
        "emphasis": {"disabled": True},
        **({"stack": "all", "areaStyle": {"opacity": 0.4}} if stacked else {}),
    }


def _curves(properties: Json, samples: Sequence[Sample]) -> Iterator[Curve]:
    """Return the lines of a graph, one for each of its metrics."""
    for metric in properties["metrics"]:
        if isinstance(metric[0], dict):
            yield from _search(metric[0], samples)
            continue
        style = metric[-1] if isinstance(metric[-1], dict) else {}
        namespace, name, *rest = (part for part in metric if isinstance(part, str))
        wanted = dimensions(dict(zip(rest[::2], rest[1::2], strict=True)))
        found = [
            one
            for one in samples
            if (one.namespace, one.name, one.dimensions) == (namespace, name, wanted)
        ]
        settings = {"stat": "Average", "period": 300, "label": name, **properties, **style}
        yield _curve(settings, style, found)


def _search(style: Json, samples: Sequence[Sample]) -> Iterator[Curve]:
    """Return the curves that a search finds: one for each set of its dimensions."""
    search = _SEARCH.fullmatch(style["expression"])
    if search is None:
        raise NotImplementedError(style["expression"])
    namespace, *names = search["schema"].split(",")
    filters = re.findall(r'(\w+)="([^"]*)"', search["filters"])
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        labels = _dimension_values(sample.dimensions)
        if (sample.namespace, sample.name, [*labels]) == (namespace, search["name"], names) and {
            *filters
        } <= {*labels.items()}:
            found.setdefault(sample.dimensions, []).append(sample)
    for every, mine in sorted(found.items()):
        label = style["label"]
        for name, value in _dimension_values(every).items():
            label = label.replace(f"${{PROP('Dim.{name}')}}", value)
        settings = {"stat": search["stat"], "period": search["period"], "label": label}
        yield _curve(settings, style, mine)


def _dimension_values(dimensions: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in dimensions.split(","))


def _curve(settings: Json, style: Json, samples: Sequence[Sample]) -> Curve:
    period = int(settings["period"])
    periods: dict[float, list[float]] = {}
    for sample in samples:
        periods.setdefault(sample.at // period * period, []).append(sample.value)
    return Curve(
        label=settings["label"],
        points={at: statistic(settings["stat"], values) for at, values in periods.items()},
        unit=samples[0].unit if samples else "",
        style=style,
    )


def statistic(name: str, values: Sequence[float]) -> float:
    """Return a statistic of the values of one period, by CloudWatch's name.

    Raises
    ------
    NotImplementedError
        The statistic is not supported.
    """
    match name:
        case "Sum":
            return math.fsum(values)
        case "Maximum":
            return max(values)
        case "Average":
            return statistics.fmean(values)
        case "p50":
            return statistics.median(values)
        case _:
            raise NotImplementedError(f"the statistic {name}")
