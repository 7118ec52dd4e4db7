"""make probe on the deployed template, as it would run on AWS."""

from collections.abc import Callable

import pytest

from isodrop_local.stack import EmulatedStack
from tools.probe import __main__ as probe

Run = Callable[..., tuple[int, dict[str, tuple[str, str]], str]]
pytestmark = pytest.mark.usefixtures("shell")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the probe; return the exit code, each point's result and detail, and the question."""

    def run(*options: str) -> tuple[int, dict[str, tuple[str, str]], str]:
        capfd.readouterr()
        status = probe.main(options)
        out = capfd.readouterr().out
        rows = [line.split("\t") for line in out.splitlines() if line.count("\t") == 3]
        return status, {row[1]: (row[0], row[3]) for row in rows}, out

    return run


def left(stack: EmulatedStack) -> list[str]:
    """The probe's remaining objects, unfinished uploads and rules."""
    s3, events = stack.client("s3"), stack.client("events")
    where = {"Bucket": stack.bucket}
    listed = s3.list_object_versions(**where)
    keys = [each["Key"] for kind in ("Versions", "DeleteMarkers") for each in listed.get(kind, [])]
    keys += [each["Key"] for each in s3.list_multipart_uploads(**where).get("Uploads", [])]
    keys += [each["Name"] for each in events.list_rules()["Rules"]]
    return [each for each in keys if each.startswith("isodrop-probe")]


def test_each_point_is_probed_and_cleaned_up(stack: EmulatedStack, run: Run) -> None:
    status, points, _ = run("--yes")
    assert {name: result for name, (result, _) in points.items()} == {
        "definition": "matches",
        "unknown build": "matches",
        "rule's pattern": "matches",
        "part checksums": "matches",
        "saved query": "not observed",  # the emulator lists no saved queries
        "permissions of the roles": "matches",
    }
    assert status == 0
    assert points["permissions of the roles"][1] == "8 of 8 allowed"
    assert "Imagebuilder.ResourceNotFoundException" in points["unknown build"][1]
    assert left(stack) == []


def test_without_consent_nothing_is_written(
    stack: EmulatedStack, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "no")
    status, points, question = run()
    declined = [name for name, (_, seen) in points.items() if seen == "you did not agree"]
    assert declined == ["rule's pattern", "part checksums"]
    assert stack.bucket in question
    assert status == 0
    assert left(stack) == []


def test_a_missing_stack_is_reported(run: Run) -> None:
    status, points, _ = run("--stack", "nobodys")
    assert (status, points) == (1, {})
