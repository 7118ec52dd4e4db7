"""The progress events of a run: which, in which order, and each only once."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from isodrop.codes import Code, Rejection
from isodrop.domain.build import StepCount
from isodrop.domain.model import RunRequest
from isodrop.domain.run import AttemptKey, BuildRecord
from isodrop_cli.operations import RunSnapshot
from isodrop_cli.output.progress import (
    WINDOW,
    ProgressEvent,
    ProgressTracker,
    RateMeter,
    answer_event,
    known_events,
    upload_event,
)
from isodrop_cli.resumable_upload import Progress
from tests.support.builders import a_plan, a_run
from tools.contract.__main__ import ROOT
from tools.contract.samples import SAMPLES, read

KEY = "isos/windows.iso"
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
ARN = "arn:aws:imagebuilder:eu-central-1:123456789012:image/windows-11/11.26100.1742/1"
PLAN = a_plan()
IMAGE = "windows-11-enterprise-x64-en-us 11.26100.1742"
MIB = 1 << 20


def sample(name: str, **data: Any) -> str:
    """An answer as in the ledger."""
    event = read(ROOT / SAMPLES)[name]
    event["detail"]["data"] |= data
    return json.dumps({"detail-type": event["detail-type"], "detail": event["detail"]})


def minute(number: int) -> str:
    return f"2026-11-24T09:{number:02}:00.000+00:00"


def snapshot(done: int = 0, total: int = 0, **changes: Any) -> RunSnapshot:
    return RunSnapshot(a_run(**changes), StepCount(done, total))


BUILDING: dict[str, Any] = {"decision": PLAN, "import_build": BuildRecord(AttemptKey("i", 0), ARN)}
SUCCEEDED = BUILDING | {
    "status_first_seen_at": {"BUILDING": minute(2), "AVAILABLE": minute(30)},
    "answer_json": sample("iso-import-succeeded"),
    "answered_at": minute(31),
}


# A run in progress


def test_an_unclaimed_run_waits_for_the_stack() -> None:
    (event,) = known_events(RunSnapshot(None, StepCount(0, 0)), KEY, NOW)

    assert event == ProgressEvent("state", KEY, "decide", "waiting for the import to start", NOW)


def test_an_unclaimed_run_is_reported_once_after_a_minute_with_a_remedy() -> None:
    waits, late = (
        RunSnapshot(None, StepCount(0, 0)),
        RunSnapshot(None, StepCount(0, 0), is_unclaimed=True),
    )
    tracker = ProgressTracker()

    events = [
        each
        for snapshot in (waits, late, late, snapshot())
        for each in tracker.new_events(snapshot, KEY, NOW)
    ]

    assert [(each.kind, each.stage) for each in events] == [
        *(("state", "decide"), ("unclaimed", "decide"), ("state", "decide"))
    ]
    so, what_to_do = events[1].message.splitlines()
    assert so == "the import has not started yet"
    assert what_to_do.startswith("isodrop doctor shows why; the first sweep")


@pytest.mark.parametrize(
    ("changes", "message", "state"),
    [
        ({}, "inspecting the ISO", "inspecting"),
        ({"decision": PLAN}, f"requesting {IMAGE} from Image Builder", "importing"),
        (BUILDING, IMAGE, "building"),
        ({"decision": Rejection.of(Code.SERVER_ISO)}, "server-iso", "inspecting"),
    ],
    ids=["inspected", "requested", "building", "rejected"],
)
def test_a_decision_is_dated_by_the_claim(
    changes: dict[str, Any], message: str, state: str
) -> None:
    (event,) = known_events(snapshot(**changes), KEY, NOW)

    assert (event.stage, event.message) == ("decide", message)
    assert event.at == datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    assert event.data == {
        "uploadId": "d0d0",
        "run": 0,
        "state": state,
        "executionArn": a_run().execution_arn,
        "buildArn": changes.get("import_build", BuildRecord()).arn,
        "distributionArn": None,
    }


def test_only_the_current_status_of_a_build_has_steps() -> None:
    timeline = {"TESTING": minute(20), "BUILDING": minute(2), "PENDING": minute(1)}

    events = list(
        known_events(snapshot(3, 12, status_first_seen_at=timeline, **BUILDING), KEY, NOW)
    )

    assert [(event.stage, event.message, event.fraction) for event in events[1:]] == [
        ("pending", "", None),
        ("building", "", None),
        ("testing", "3 of 12 steps", 0.25),
    ]
    assert [event.at.minute for event in events[1:]] == [1, 2, 20]
    assert (
        events[-1].data.items() >= {"status": "TESTING", "stepsDone": 3, "stepsTotal": 12}.items()
    )
    assert "stepsDone" not in events[-2].data


def test_without_known_steps_no_percentage_is_shown() -> None:
    events = list(
        known_events(
            snapshot(0, 0, status_first_seen_at={"BUILDING": minute(2)}, **BUILDING), KEY, NOW
        )
    )

    assert (events[-1].message, events[-1].fraction) == ("", None)


def test_an_answer_is_the_last_event_and_not_repeated_as_a_status() -> None:
    events = list(known_events(snapshot(**SUCCEEDED), KEY, NOW))

    assert [event.stage for event in events] == ["decide", "building", "succeeded"]
    assert [event.kind for event in events] == ["state", "state", "answer"]


# The answer


def test_the_conclusion_lists_the_amis_in_lines() -> None:
    answer = sample("iso-import-succeeded", reused=True)

    event = answer_event(a_run(**SUCCEEDED | {"answer_json": answer}))

    ami = json.loads(answer)["detail"]["data"]["amis"][0]
    lines = [f"{ami['id']} {ami['region']}", "reuses the image of an earlier upload"]
    assert event.message.splitlines() == lines
    assert (event.kind, event.stage, event.severity) == ("answer", "succeeded", "success")
    assert event.at == datetime(2026, 11, 24, 9, 31, tzinfo=UTC)
    assert event.data["answer"]["detail"]["data"]["amis"][0] == ami


def test_the_conclusion_names_the_account_of_a_copy() -> None:
    own, elsewhere = (
        {"id": f"ami-{each}", "region": "eu-central-1", "account": each, "name": "Windows"}
        for each in ("123456789012", "210987654321")
    )
    answer = sample("iso-import-succeeded", amis=[own, elsewhere])

    assert answer_event(a_run(**SUCCEEDED | {"answer_json": answer})).message.splitlines() == [
        "ami-123456789012 eu-central-1",
        "ami-210987654321 eu-central-1 in 210987654321",
    ]


@pytest.mark.parametrize("kind", ["failed", "rejected"])
def test_the_conclusion_of_a_failure_has_code_message_and_remedy(kind: str) -> None:
    answer = sample(f"iso-import-{kind}")

    event = answer_event(a_run(answer_json=answer, answered_at=minute(31)))

    data = json.loads(answer)["detail"]["data"]
    assert event.message.splitlines() == [data["code"], data["message"], data["remedy"]]
    assert (event.stage, event.severity) == (kind, "error")


@pytest.mark.parametrize("missing", ["answer_json", "answered_at"])
def test_a_conclusion_without_an_answer_is_an_error(missing: str) -> None:
    with pytest.raises(ValueError, match="no answer yet"):
        answer_event(a_run(**SUCCEEDED | {missing: None}))


# Each event once


def events_of(*snapshots: RunSnapshot) -> list[tuple[str, str, int]]:
    """Step, sentence and minutes past nine of all events, polled each minute from ten."""
    tracker = ProgressTracker()
    return [
        (event.stage, event.message, (event.at - NOW).seconds // 60 if event.at >= NOW else -1)
        for number, each in enumerate(snapshots)
        for event in tracker.new_events(each, KEY, NOW + timedelta(minutes=number))
    ]


def test_the_same_snapshot_twice_adds_no_event() -> None:
    once = snapshot(1, 4, status_first_seen_at={"BUILDING": minute(2)}, **BUILDING)

    assert events_of(once, once) == [("decide", IMAGE, -1), ("building", "1 of 4 steps", -1)]


def test_a_change_within_a_step_is_dated_now() -> None:
    first = snapshot(1, 4, status_first_seen_at={"BUILDING": minute(2)}, **BUILDING)

    assert events_of(first, replace(first, steps=StepCount(2, 4)))[2:] == [
        ("building", "2 of 4 steps", 1)
    ]


def test_a_decision_and_its_result_in_one_poll_come_in_order() -> None:
    decided = snapshot(
        status_first_seen_at={"PENDING": minute(1), "BUILDING": minute(2)}, **BUILDING
    )
    tracker = ProgressTracker()
    list(tracker.new_events(snapshot(), KEY, NOW))

    events = list(tracker.new_events(decided, KEY, NOW))

    assert [(each.stage, each.at.minute) for each in events] == [
        *(("decide", 1), ("pending", 1), ("building", 2))
    ]


def test_the_last_steps_of_an_ended_status_are_kept() -> None:
    first = snapshot(4, 4, status_first_seen_at={"BUILDING": minute(2)}, **BUILDING)
    then = snapshot(
        0, 3, status_first_seen_at={"BUILDING": minute(2), "TESTING": minute(9)}, **BUILDING
    )

    assert events_of(first, then)[2:] == [("testing", "0 of 3 steps", -1)]


def test_another_run_starts_the_progress_again() -> None:
    again = events_of(snapshot(), snapshot(run_request=RunRequest(1, {})))

    assert again == [("decide", "inspecting the ISO", -1)] * 2


# The progress of an upload


def progressed(*, kept: int, sent: int, size: int) -> Progress:
    progress = Progress(size)
    progress.resume_part(1, kept)
    progress.update_part(2, sent)
    return progress


def paced(*seen_at: tuple[float, int]) -> RateMeter:
    pace = RateMeter()
    for now, amount in seen_at:
        pace.record(now, amount)
    return pace


def test_resumed_parts_count_as_done_but_not_for_the_rate() -> None:
    progress = progressed(kept=40 * MIB, sent=20 * MIB, size=100 * MIB)

    event = upload_event(KEY, NOW, progress, paced((0, 0), (10, 20 * MIB)))

    assert event.message == "60 MiB of 100 MiB, 2 MiB/s, 0:20 left, 40 MiB uploaded before"
    assert event.fraction == 0.6
    assert event.data == {
        "bytes": 60 * MIB,
        "size": 100 * MIB,
        "bytesResumed": 40 * MIB,
        "bytesPerSecond": 2 * MIB,
        "secondsLeft": 20,
    }


def test_a_single_measurement_gives_no_rate_and_no_estimate() -> None:
    event = upload_event(KEY, NOW, progressed(kept=0, sent=0, size=MIB), paced((5, 0)))

    assert event.message == "0 KiB of 1 MiB"
    assert (event.data["bytesPerSecond"], event.data["secondsLeft"]) == (0, None)


def test_a_complete_upload_has_no_remaining_time() -> None:
    event = upload_event(KEY, NOW, progressed(kept=0, sent=MIB, size=MIB), paced((0, 0), (1, MIB)))

    assert (event.message, event.fraction) == ("1 MiB of 1 MiB, 1 MiB/s", 1.0)


def test_an_empty_file_is_complete() -> None:
    assert upload_event(KEY, NOW, progressed(kept=0, sent=0, size=0), paced((0, 0))).fraction == 1.0


def test_a_part_sent_again_never_makes_the_rate_negative() -> None:
    pace = paced((0, 5 * MIB), (1, 0))

    assert (pace.rate, pace.seconds_for(MIB)) == (0.0, None)


def test_after_a_stall_the_rate_ignores_what_precedes_the_window() -> None:
    pace = paced((0, 0), (1, 100 * MIB), (WINDOW + 1, 100 * MIB), (WINDOW + 2, 100 * MIB))

    assert pace.rate == 0.0
