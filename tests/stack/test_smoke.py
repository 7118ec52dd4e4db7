"""make smoke on the deployed template, as it would run on AWS."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from isodrop_local.stack import EmulatedStack
from tests.stack.conftest import MakeIso
from tools.smoke import __main__ as smoke

Run = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("shell")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(
        path: Path, *options: str, environ: dict[str, str] | None = None
    ) -> tuple[int, str, str]:
        capfd.readouterr()
        status = smoke.main([str(path), *options], environ or {}, lambda _: time.sleep(0.1))
        return (status, *capfd.readouterr())

    return run


def results(out: str) -> dict[str, str]:
    """Each point's result, by its name."""
    rows = [line.split("\t") for line in out.splitlines()]
    return {row[1]: row[0] for row in rows if row[0] in ("matches", "differs", "not observed")}


def test_a_good_iso_is_built_once_and_each_point_is_reported(
    stack: EmulatedStack, iso: MakeIso, run: Run
) -> None:
    path = iso()
    # A build that ends before it is polled shows no steps, so this one waits until they were read.
    before = len(stack.image_builder.calls("ListWorkflowExecutions"))
    stack.image_builder.hold("BUILDING")
    with ThreadPoolExecutor(1) as pool:
        polled = pool.submit(
            stack.wait_for,
            lambda: len(stack.image_builder.calls("ListWorkflowExecutions")) > before,
            timeout=90,
        )
        polled.add_done_callback(lambda _: stack.image_builder.release())
        status, out, _ = run(path, "--yes")
    assert results(out) == {
        "token repeated at once": "matches",
        "token repeated after the end": "matches",
        "list lag": "matches",
        "tag characters": "matches",
        "build of a 25H2 ISO": "not observed",
        "SSE-KMS grant": "not observed",
        "SDK integration: step counts": "matches",
        "SDK integration: failureContext": "not observed",
        "quota error": "not observed",
        "tags on the AMI": "matches",
        "name of a distributed image": "not observed",
        "who writes build logs": "not observed",
        "ImportDiskImage without an object": "matches",
    }
    assert status == 0
    builds = [
        each
        for each in stack.image_builder.builds()
        if each["request"]["tags"]["isodrop:source"].endswith(path.name)
        # One without an object is asked for beside it, under a name of its own.
        and not each["name"].startswith("isodrop-smoke-")
    ]
    assert len(builds) == 1


def test_a_failed_build_shows_the_error_of_step_functions(
    stack: EmulatedStack, iso: MakeIso, run: Run
) -> None:
    stack.image_builder.fail_next_build(message="Setup found no TPM.")
    status, out, _ = run(iso(), "--yes")
    assert status == 4
    assert results(out)["SDK integration: failureContext"] == "matches"
    assert "the answer: Failed" in out


def test_no_build_starts_without_consent_or_in_ci(
    stack: EmulatedStack, iso: MakeIso, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = iso()
    monkeypatch.setattr("builtins.input", lambda _: "no")
    declined, output, _ = run(path)
    in_ci, _, why = run(path, "--yes", environ={"CI": "true"})
    assert (declined, in_ci) == (1, 1)
    assert "one build: an EC2 instance" in output
    assert "does not run in CI" in why
    assert not [
        each
        for each in stack.image_builder.builds()
        if each["request"]["tags"]["isodrop:source"].endswith(path.name)
        # One without an object is asked for beside it, under a name of its own.
        and not each["name"].startswith("isodrop-smoke-")
    ]


def test_no_build_starts_where_doctor_finds_a_fault(
    stack: EmulatedStack, iso: MakeIso, run: Run
) -> None:
    events = stack.client("events")
    rules = events.list_rule_names_by_target(TargetArn=stack.outputs["ImportStateMachineArn"])
    (rule,) = rules["RuleNames"]
    events.disable_rule(Name=rule)
    try:
        status, _, why = run(iso(), "--yes")
    finally:
        events.enable_rule(Name=rule)
    assert status == 4
    assert "fix the errors first" in why


def builds_of(stack: EmulatedStack, name: str) -> list[dict[str, Any]]:
    """The builds of the ISO that was uploaded under a name."""
    return [
        each
        for each in stack.image_builder.builds()
        if each["request"]["tags"]["isodrop:source"].endswith(name)
    ]
