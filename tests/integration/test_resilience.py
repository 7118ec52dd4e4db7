"""One answer for each run, one build for each import: named cases that could violate it.

The real handlers under the real state machine's definition, without real time; see
:mod:`tests.resilience.simulation`. The oracle checks every run, whatever else is asserted.
"""

from typing import Any

import pytest

from tests.resilience.oracle import FinalState, find_violations
from tests.resilience.schedule import (
    MAX_CONSECUTIVE_FAILURES,
    ActionKind,
    FaultKind,
    OperatorAction,
    PlannedFault,
    Schedule,
    Upload,
)
from tests.resilience.simulation import Simulation

SUCCEEDED = "Succeeded"


def run(
    *uploads: Upload,
    actions: Any = (),
    faults: Any = (),
    quota: int = 100,
    distributes: bool = False,
    **how: Any,
) -> FinalState:
    """Run a given schedule, and check that it violates no guarantee."""
    schedule = Schedule(0, uploads, faults, actions, quota, distributes)
    end = Simulation(schedule, **how).run()
    assert (
        find_violations(
            end,
            max_consecutive_failures=MAX_CONSECUTIVE_FAILURES,
            retries_suffice=schedule.retries_suffice,
        )
        == []
    )
    return end


def answers(end: FinalState) -> list[str]:
    """The answer of each upload, in order: ``Succeeded`` or the code."""
    found = {
        event["detail"]["data"]["source"]["versionId"]: (
            event["detail"]["data"].get("code") or SUCCEEDED
        )
        for event in end.published
        if event["detail-type"].split()[-1] in {"Succeeded", "Failed", "Rejected"}
    }
    return [found[run.version] for run in end.uploaded]


def attempts(end: FinalState) -> list[str]:
    """The attempt number of each of isodrop's builds, the oldest first."""
    return [build["request"]["tags"]["isodrop:attempt"] for build in end.ours]


# ---------------------------------------------------------------- delivered twice, late, not at all


@pytest.mark.parametrize("copies", [2, 50])
def test_many_copies_of_one_event_give_one_build_and_one_answer(copies: int) -> None:
    end = run(Upload(0, "a.iso", "one", delays=(0.5,) * copies))

    assert answers(end) == [SUCCEEDED]
    assert len(end.builds) == 1
    assert len(end.executions) == copies


def test_events_out_of_order_for_one_key_are_each_answered() -> None:
    end = run(
        Upload(0, "a.iso", "one", delays=(60.0,)), Upload(1, "a.iso", "two", delays=(0.1, 90.0))
    )

    assert answers(end) == [SUCCEEDED, SUCCEEDED]


def test_an_upload_while_the_rule_was_off_is_imported_after_all() -> None:
    end = run(Upload(0, "a.iso", "one", delays=()))

    assert answers(end) == [SUCCEEDED]


def test_an_event_that_comes_after_the_sweep_is_a_repeat() -> None:
    end = run(Upload(0, "a.iso", "one", delays=(4000.0,)))

    assert answers(end) == [SUCCEEDED]
    assert len(end.executions) == 2


# ---------------------------------------------------------------- the same bytes, twice


def test_the_same_bytes_under_two_keys_share_the_failure_of_the_build() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(300, "b.iso", "one", in_parts=True),
        actions=[OperatorAction(600, ActionKind.FAIL_BUILD, 0)],
    )

    assert answers(end) == ["build-failed", "build-failed"]
    assert len(end.builds) == 1


def test_a_failed_build_is_repeated_by_another_upload() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(3000, "a.iso", "one"),
        actions=[OperatorAction(600, ActionKind.FAIL_BUILD, 0)],
    )

    assert answers(end) == ["build-failed", SUCCEEDED]
    assert attempts(end) == ["0", "1"]


def test_the_limit_of_consecutive_failed_builds_is_the_last() -> None:
    end = run(
        *(Upload(3000 * n, "a.iso", "one") for n in range(MAX_CONSECUTIVE_FAILURES + 1)),
        actions=[
            OperatorAction(3000 * n + 600, ActionKind.FAIL_BUILD, 0)
            for n in range(MAX_CONSECUTIVE_FAILURES)
        ],
    )

    assert answers(end) == ["build-failed"] * MAX_CONSECUTIVE_FAILURES + ["too-many-attempts"]
    assert len(end.builds) == MAX_CONSECUTIVE_FAILURES


def test_a_foreign_build_of_the_same_name_and_version_is_not_used() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(600, "b.iso", "two"),
        actions=[OperatorAction(300, ActionKind.BUILD_THE_SAME, 0)],
    )

    assert answers(end) == [SUCCEEDED, SUCCEEDED]
    assert (len(end.builds), len(end.ours)) == (3, 2)


# ---------------------------------------------------------------- replaced, deleted


def test_an_object_replaced_before_inspection_is_still_imported() -> None:
    end = run(Upload(0, "a.iso", "one", delays=(5.0,)), Upload(1, "a.iso", "two"))

    assert answers(end) == [SUCCEEDED, SUCCEEDED]


CALLS_OF_AN_IMPORT = [
    ("s3.GetObject", 2),
    ("s3.CreateMultipartUpload", 1),
    ("s3.UploadPartCopy", 1),
    ("s3.UploadPartCopy", 2),
    ("s3.CompleteMultipartUpload", 1),
    ("imagebuilder.ImportDiskImage", 1),
    ("imagebuilder.GetImage", 3),
]


@pytest.mark.parametrize("call", CALLS_OF_AN_IMPORT, ids=str)
def test_an_object_replaced_during_its_import_is_imported_too(call: tuple[str, int]) -> None:
    end = run(Upload(0, "a.iso", "long"), interruptions={call: Upload(0, "a.iso", "two")})

    assert answers(end) == [SUCCEEDED, SUCCEEDED]
    assert len(end.builds) == 2


@pytest.mark.parametrize("call", CALLS_OF_AN_IMPORT, ids=str)
def test_a_version_deleted_during_its_import_is_reported_or_copied(call: tuple[str, int]) -> None:
    end = run(
        Upload(0, "a.iso", "long"),
        interruptions={call: OperatorAction(0, ActionKind.DELETE_VERSION, 0)},
    )

    copied = CALLS_OF_AN_IMPORT.index(call) > CALLS_OF_AN_IMPORT.index(("s3.UploadPartCopy", 2))
    assert answers(end) == [SUCCEEDED if copied else "object-gone"]
    assert len(end.builds) == copied


def test_a_twin_uploaded_first_is_another_import() -> None:
    end = run(Upload(0, "a.iso", "twin"), Upload(3000, "b.iso", "one"))

    assert answers(end) == [SUCCEEDED, SUCCEEDED]
    assert attempts(end) == ["0", "0"]


def test_failing_twins_use_up_no_attempts_of_others() -> None:
    end = run(
        *(Upload(3000 * n, "a.iso", "twin") for n in range(MAX_CONSECUTIVE_FAILURES)),
        Upload(3000 * MAX_CONSECUTIVE_FAILURES, "a.iso", "one"),
        actions=[
            OperatorAction(3000 * n + 600, ActionKind.FAIL_BUILD, 0)
            for n in range(MAX_CONSECUTIVE_FAILURES)
        ],
    )

    assert answers(end) == ["build-failed"] * MAX_CONSECUTIVE_FAILURES + [SUCCEEDED]


@pytest.mark.parametrize("after", [0.6, 3.0, 600.0])
def test_an_upload_that_is_moved_is_imported_once(after: float) -> None:
    # As aws s3 mv, or an SFTP server's temporary name: written again elsewhere, and deleted here.
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(after, "b.iso", "one", in_parts=True),
        actions=[OperatorAction(after, ActionKind.DELETE_OBJECT, 0)],
    )

    assert answers(end) == [SUCCEEDED, SUCCEEDED]
    assert len(end.builds) == 1


def test_a_copy_lost_while_its_import_waits_is_made_again() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        actions=[OperatorAction(20, ActionKind.DELETE_COPIES, 0)],
        faults=[PlannedFault("dynamodb.UpdateItem", FaultKind.BUSY, 1, 12)],
    )

    assert answers(end) == [SUCCEEDED]
    assert len(end.builds) == 1


def test_a_copy_lost_with_its_upload_is_not_counted_as_a_lost_build() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(9000, "a.iso", "one"),
        actions=[
            OperatorAction(20, ActionKind.DELETE_COPIES, 0),
            OperatorAction(20, ActionKind.DELETE_VERSION, 0),
        ],
        faults=[PlannedFault("dynamodb.UpdateItem", FaultKind.BUSY, 1, 12)],
    )

    assert answers(end) == ["staging-lost", SUCCEEDED]
    assert attempts(end) == ["1"]


def test_a_run_that_shares_an_import_without_a_copy_makes_a_copy() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(30, "b.iso", "one"),
        actions=[
            OperatorAction(20, ActionKind.DELETE_COPIES, 0),
            OperatorAction(20, ActionKind.DELETE_VERSION, 0),
        ],
        # The first is aborted while it waits for quota; nothing was sent.
        faults=[PlannedFault("dynamodb.UpdateItem", FaultKind.BUSY, 1, 9)],
    )

    assert answers(end)[1] == SUCCEEDED
    assert len(end.builds) == 1


# ---------------------------------------------------------------- killed


def count_calls_to_answer() -> int:
    """Count the calls of an import without faults, until its answer is published."""
    calls: list[str] = []
    simulation = Simulation(Schedule(0, (Upload(0, "a.iso", "one"),)), calls.append, speed=20)
    simulation.run()
    services = ("dynamodb", "s3", "imagebuilder", "events")
    until = next(n for n, line in enumerate(calls) if "published ISO Import Succeeded" in line)
    return sum(line.split()[1] in services for line in calls[:until])


def test_a_function_killed_between_any_two_calls_has_the_same_result() -> None:
    # A kill after one call is a kill before the next: nothing happens between them.
    steps = count_calls_to_answer()
    assert steps > 30

    for step in range(1, steps + 1):
        end = run(Upload(0, "a.iso", "one"), kill=(step, True), speed=20)
        assert answers(end) == [SUCCEEDED], f"killed after call {step}"
        assert len(end.builds) == 1


def test_a_function_killed_while_it_distributes_has_the_same_result() -> None:
    trace: list[str] = []
    schedule = Schedule(0, (Upload(0, "a.iso", "one"),), distributes=True)
    simulation = Simulation(schedule, trace.append, speed=20)
    simulation.run()
    services = ("dynamodb", "s3", "imagebuilder", "events")
    calls = [line for line in trace if line.split()[1] in services]
    sent = next(n for n, line in enumerate(calls, 1) if "DistributeImage" in line)

    for step in range(sent - 6, sent + 4):
        end = run(Upload(0, "a.iso", "one"), kill=(step, True), distributes=True, speed=20)
        assert answers(end) == [SUCCEEDED], f"killed after call {step}"
        assert (len(end.builds), len(end.distributions)) == (1, 1)


def test_an_execution_aborted_by_hand_is_answered_by_the_sweep() -> None:
    end = run(
        Upload(0, "a.iso", "one"), actions=[OperatorAction(0.6, ActionKind.ABORT_EXECUTION, 0)]
    )

    assert len(answers(end)) == 1
    assert set(end.executions.values()) == {"ABORTED"}


def test_an_execution_aborted_during_its_build_is_answered_with_its_image() -> None:
    end = run(
        Upload(0, "a.iso", "one"), actions=[OperatorAction(300, ActionKind.ABORT_EXECUTION, 0)]
    )

    assert answers(end) == [SUCCEEDED]


def test_a_function_that_cannot_be_loaded_ends_in_an_answer() -> None:
    schedule = Schedule(
        0,
        (Upload(0, "a.iso", "one"),),
        (PlannedFault("lambda.Invoke", FaultKind.UNLOADABLE, 0, 5),),
    )

    end = Simulation(schedule).run()

    assert (
        find_violations(
            end, max_consecutive_failures=MAX_CONSECUTIVE_FAILURES, retries_suffice=False
        )
        == []
    )
    assert answers(end) == ["internal-error"]


# ---------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(ActionKind.CANCEL_BUILD, "build-cancelled"), (ActionKind.DELETE_BUILD, "build-gone")],
)
def test_a_manually_ended_build_is_reported_and_built_again(kind: ActionKind, answer: str) -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(3000, "a.iso", "one"),
        actions=[OperatorAction(600, kind, 0)],
    )

    assert answers(end) == [answer, SUCCEEDED]
    assert attempts(end) == ["0", "1"]


def test_a_retried_upload_gets_another_answer_and_no_extra_build() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        actions=[
            OperatorAction(600, ActionKind.RETRY, 0),
            OperatorAction(4000, ActionKind.RETRY, 0),
            OperatorAction(4000, ActionKind.RETRY, 0),
        ],
    )

    # The first was too early, and of the two at once one is refused.
    published = [event["detail"] for event in end.published if "Succeeded" in event["detail-type"]]
    assert [(each["metadata"]["run"], each["data"]["reused"]) for each in published] == [
        (0, False),
        (1, True),
    ]
    assert len(end.builds) == 1


def test_an_image_whose_ami_was_deregistered_is_built_again() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(3000, "b.iso", "one"),
        actions=[OperatorAction(2800, ActionKind.DEREGISTER_AMI, 0)],
    )

    assert answers(end) == [SUCCEEDED, SUCCEEDED]
    assert attempts(end) == ["0", "1"]


def test_a_token_of_a_deleted_build_is_reported_and_not_reused() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(3000, "a.iso", "one"),
        faults=[PlannedFault("imagebuilder.ImportDiskImage", FaultKind.KILLED_AFTER, 0)],
        interruptions={
            ("imagebuilder.ListImageBuildVersions", 1): OperatorAction(
                0, ActionKind.DELETE_BUILD, 0
            )
        },
    )

    assert answers(end) == ["build-gone", SUCCEEDED]
    assert attempts(end) == ["0", "1"]


@pytest.mark.parametrize("kind", [ActionKind.CANCEL_BUILD, ActionKind.FAIL_BUILD])
def test_a_manually_ended_distribution_is_reported_and_repeated(kind: ActionKind) -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(6000, "b.iso", "one"),
        actions=[OperatorAction(1790, kind, 0)],
        distributes=True,
    )

    assert answers(end) == ["distribution-failed", SUCCEEDED]
    assert (len(end.builds), len(end.distributions)) == (1, 2)


def test_an_execution_tracks_its_distribution_without_the_sweep() -> None:
    end = run(Upload(0, "a.iso", "one"), distributes=True)

    (made,) = end.distributions
    published = [
        event["detail"]["data"]["distributionArn"]
        for event in end.published
        if event["detail-type"] == "ISO Import Progressed"
    ]
    assert published[0] is None
    assert published[-1] == made["arn"]


def test_repeated_events_and_uploads_of_one_iso_share_one_distribution() -> None:
    end = run(
        Upload(0, "a.iso", "one", delays=(0.5,) * 5),
        Upload(2, "b.iso", "one"),
        Upload(9000, "a.iso", "one", in_parts=True),
        distributes=True,
    )

    assert answers(end) == [SUCCEEDED] * 3
    assert (len(end.builds), len(end.distributions)) == (1, 1)


# ---------------------------------------------------------------- transient and permanent errors


def test_a_quota_that_is_full_for_an_hour_is_waited_out() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        faults=[PlannedFault("imagebuilder.ImportDiskImage", FaultKind.OUT_OF_QUOTA, 0, 12)],
    )

    (build,) = end.builds
    assert answers(end) == [SUCCEEDED]
    assert build["history"][0]["at"] > 1_795_000_000 + 1800


def test_a_refused_request_is_reported_and_later_uploads_succeed() -> None:
    end = run(
        Upload(0, "a.iso", "one"),
        Upload(600, "a.iso", "one"),
        faults=[PlannedFault("imagebuilder.ImportDiskImage", FaultKind.REFUSED, 0)],
    )

    assert answers(end) == ["import-refused", SUCCEEDED]
    assert attempts(end) == ["1"]


@pytest.mark.parametrize(
    "failure",
    [
        PlannedFault("imagebuilder.GetImage", FaultKind.THROTTLED, 3, 8),
        PlannedFault("imagebuilder.ListWorkflowExecutions", FaultKind.BUSY, 0, 8),
        PlannedFault("events.PutEvents", FaultKind.NOTHING_ACCEPTED, 0, 9),
        PlannedFault("events.PutEvents", FaultKind.NOTHING_ACCEPTED, 6, 9),
        PlannedFault("s3.GetObject", FaultKind.BUSY, 0, 9),
        PlannedFault("dynamodb.UpdateItem", FaultKind.THROTTLED, 2, 9),
    ],
    ids=str,
)
def test_transient_errors_are_waited_out(failure: PlannedFault) -> None:
    assert answers(run(Upload(0, "a.iso", "one"), faults=[failure])) == [SUCCEEDED]


def test_a_failed_notification_does_not_end_the_tracking() -> None:
    # Given a bus that refuses events for longer than a notification is retried
    tries = [PlannedFault("events.PutEvents", FaultKind.NOTHING_ACCEPTED, 0, 21)]

    assert answers(run(Upload(0, "a.iso", "one"), faults=tries)) == [SUCCEEDED]


def test_an_image_that_never_ends_is_reported_at_the_limit() -> None:
    # Sweeps of some hours after the answer find the build going on, and nothing to do.
    rarely = {"PollIntervalSeconds": 900}
    end = run(Upload(0, "a.iso", "one"), parameters=rarely, speed=0.001, max_seconds=20 * 3600.0)

    assert answers(end) == ["build-timed-out"]
