"""EventBridge accepts the rules: none is too complex."""

from collections.abc import Iterator
from typing import Any

import pytest

from isodrop_local.template import ROOT, read_template, transform
from tests.support.event_patterns import MAX_COMPLEXITY, complexity
from tools.resolved_template import resolve


@pytest.mark.parametrize(
    "wildcards",
    [
        [f"*.{extension}" for extension in ("bif", "tiff", "tif", "svs")],
        [f"*/datasync/*.{extension}" for extension in ("bif", "tif")],
        [f"*:stack/{name}/*" for name in ("SharedStack", "TrackerStack", "WorkerStack")],
    ],
)
def test_patterns_that_eventbridge_accepted_are_not_too_complex(wildcards: list[str]) -> None:
    assert complexity(rule(wildcards)) <= 9


@pytest.mark.parametrize(
    "wildcards",
    [
        [f"*/datasync/*.{extension}" for extension in ("bif", "tif", "tiff", "svs")],
        [
            f"*:stack/{name}/*"
            for name in ("SharedStack", "TrackerStack", "WorkerStack", "MonitoringStack")
        ],
    ],
)
def test_patterns_that_eventbridge_refused_are_too_complex(wildcards: list[str]) -> None:
    assert complexity(rule(wildcards)) > 9


def test_a_prefix_or_a_suffix_adds_no_complexity() -> None:
    ignored = {"suffix": {"equals-ignore-case": ".iso"}}
    assert complexity({"key": [{"prefix": "isos/"}, ignored], "$or": [{"a": ["b"]}]}) == 0


def rule(wildcards: list[str]) -> dict[str, Any]:
    return {"detail": {"object": {"key": [{"wildcard": each} for each in wildcards]}}}


def rules(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Events::Rule" and "EventPattern" in resource["Properties"]:
            yield name, resource["Properties"]["EventPattern"]


@pytest.mark.parametrize("prefix", ["", "isos/", "o/O/o/", ".iso/iso.ISO/", f"{'o' * 127}/"])
def test_the_rule_is_not_too_complex_whatever_the_prefix(prefix: str) -> None:
    found = dict(rules({"Resources": resolve(KeyPrefix=prefix).resources}))
    assert found
    for name, pattern in found.items():
        assert complexity(pattern) <= MAX_COMPLEXITY, name


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("examples/*/template.yaml")), ids=lambda path: path.parent.name
)
def test_no_rule_of_an_example_is_too_complex(path: Any) -> None:
    for name, pattern in rules(transform(read_template(path))):
        assert complexity(pattern) <= MAX_COMPLEXITY, name
