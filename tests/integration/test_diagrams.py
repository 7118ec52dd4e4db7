"""The metrics in the picture of the dashboard are recorded by the real code."""

import pytest

from tests.resilience.schedule import Schedule, Upload
from tools.diagrams.record import Sample, read_recording, samples


def test_each_metric_of_a_simulated_upload_is_recorded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = samples(Schedule(1, (Upload(0.0, "a.iso", "text"),)))
    taken = [(one.name, one.dimensions, one.value) for one in found if one.value]
    assert taken.count(("ExecutionsStarted", "StateMachineArn=ImportStateMachine", 1.0)) == 1
    assert taken.count(("ExecutionsSucceeded", "StateMachineArn=ImportStateMachine", 1.0)) == 1
    assert taken.count(("Runs", "service=isodrop", 1.0)) == 1
    rejected = "service=isodrop,kind=Rejected"
    for dimensions in ("service=isodrop", rejected, f"{rejected},code=not-an-iso"):
        assert taken.count(("Answers", dimensions, 1.0)) == 1
    assert capsys.readouterr().out == ""


def test_recorded_metrics_are_written_identically_again() -> None:
    found = [*read_recording()]
    assert len(found) > 500
    assert [Sample.read(str(one)) for one in found] == found
    assert found == sorted(found, key=lambda one: one.at)
