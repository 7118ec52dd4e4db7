"""The oracle finds each violation of the guarantees, and none in a run without violations."""

from dataclasses import replace
from typing import Any

import pytest

from isodrop_local.faults import LOST_RESPONSE, NO_ENTRY_ACCEPTED, Fault, Faults, error_response
from tests.resilience.oracle import FinalState, UploadedIso, find_violations
from tests.resilience.schedule import Schedule
from tests.resilience.state_machine import Machine, TaskError

UPLOADED = UploadedIso("a.iso", "v1", "one", "Enterprise", "", deleted=False, decision="")
OTHER = replace(UPLOADED, key="b.iso", version="v2")


def a_build(number: int = 1, run: str = "d1", states: str = "PENDING AVAILABLE") -> dict[str, Any]:
    history = [
        {"status": state, "at": 100.0 * number + at} for at, state in enumerate(states.split())
    ]
    return {
        "arn": f"arn:image/x/{number}",
        "token": f"t{number}",
        "etagRead": "e1",
        "uri": f"s3://staging/{number}.iso",
        "request": {"tags": {"isodrop:upload": run}},
        "outputResources": {"amis": [{"image": f"ami-{number}"}]},
        "history": history,
    }


def an_answer(kind: str = "Succeeded", version: str = "v1", **data: Any) -> dict[str, Any]:
    about = {"source": {"versionId": version}, "buildArn": "arn:image/x/1", "reused": False}
    return {
        "detail-type": f"ISO Import {kind}",
        "detail": {
            "metadata": {"eventId": f"id-{version}", "attemptId": "t1"},
            "data": {**about, "message": "as published", "executionArn": "execution", **data},
        },
    }


def answer_of_retry(number: int) -> dict[str, Any]:
    answer = an_answer(reused=True)
    answer["detail"]["metadata"] |= {"run": number, "eventId": f"id-v1-{number}"}
    return answer


VALID = FinalState(
    uploaded=[UPLOADED],
    published=[an_answer()],
    builds=[a_build()],
    executions={"execution": "SUCCEEDED"},
    versions={"d1": "v1", "d2": "v2"},
    lost_amis={},
    undelivered=0,
    violations=[],
    isos={"e1": "one", "e2": "two"},
)
FAILED = an_answer("Failed", code="build-failed")
COPY = {**a_build(7), "source": "arn:image/x/1"}
DISTRIBUTED = replace(
    VALID,
    published=[an_answer(distributionArn=COPY["arn"], amis=[{"id": "ami-1"}, {"id": "ami-7"}])],
    distributions=[COPY],
    distributes=True,
)


def test_a_run_that_keeps_the_guarantees_has_no_violations() -> None:
    # EventBridge delivers at least once.
    repeated = replace(VALID, published=[an_answer(), an_answer()])
    failed = replace(
        VALID, published=[FAILED], builds=[a_build(1, states="PENDING FAILED"), a_build(2)]
    )

    running = replace(
        failed,
        builds=[failed.builds[0], a_build(3, states="PENDING BUILDING")],
        staged=["s3://staging/3.iso", "s3://staging/sent.iso"],
        maybe_sent=frozenset({"s3://staging/sent.iso"}),
    )
    retried = replace(VALID, published=[an_answer(), answer_of_retry(1)], run_counts={"v1": 2})

    for end in (VALID, repeated, failed, DISTRIBUTED, retried, running):
        assert find_violations(end, max_consecutive_failures=2) == []


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ({"published": []}, "has 0 answers"),
        ({"published": [an_answer(), an_answer(minutes=1)]}, "has 2 answers"),
        (
            {
                "uploaded": [UPLOADED, OTHER],
                "published": [
                    an_answer(),
                    {
                        **an_answer(version="v2", reused=True),
                        "detail": {
                            **an_answer(version="v2", reused=True)["detail"],
                            "metadata": {"eventId": "id-v1", "attemptId": "t1"},
                        },
                    },
                ],
            },
            "two uploads have an answer with the eventId",
        ),
        ({"published": [an_answer(), an_answer(version="v9")]}, "which nobody uploaded"),
        ({"run_counts": {"v1": 2}}, "(retry 1) has 0 answers"),
        ({"published": [an_answer(), answer_of_retry(1)]}, "nobody uploaded or retried (1)"),
        (
            {"published": [an_answer("Failed", code="internal-error")]},
            "failed for a transient reason",
        ),
        (
            {"published": [an_answer("Failed", code="execution-ended")]},
            "failed for a transient reason",
        ),
        (
            {"published": [an_answer("Rejected", code="server-iso")]},
            "an importable ISO was rejected",
        ),
        (
            {"published": [an_answer("Rejected", code="object-gone")]},
            "was built for it",
        ),
        ({"published": [an_answer("Rejected", code="object-gone")]}, "nobody deleted that version"),
        (
            {"published": [an_answer("Failed", code="staging-lost", buildArn=None)]},
            "nobody deleted a copy",
        ),
        ({"staged": ["s3://staging/1.iso"]}, "s3://staging/1.iso is left"),
        ({"staged": ["s3://staging/unfinished.iso"]}, "s3://staging/unfinished.iso is left"),
        ({"uploaded": [replace(UPLOADED, decision="not-an-iso")]}, "should be not-an-iso"),
        ({"published": [an_answer(buildArn=None)]}, "succeeded without a build"),
        ({"published": [an_answer(buildArn="arn:image/y/1")]}, "which isodrop never started"),
        ({"published": [an_answer(reused=True)]}, "reused is True"),
        ({"published": [FAILED]}, "is build-failed, but"),
        ({"builds": [a_build(states="PENDING BUILDING")]}, "never was AVAILABLE"),
        ({"builds": [{**a_build(), "etagRead": "e2"}]}, "was made of e2"),
        ({"builds": [{**a_build(), "token": "t9"}]}, "has the attemptId of another build"),
        ({"builds": [a_build(1), a_build(2)]}, "has two live builds"),
        ({"builds": [a_build(), {**a_build(2), "token": "t1"}]}, "two builds have one token"),
        ({"builds": [a_build(run="nobody")]}, "started for an unknown upload"),
        (
            {"builds": [a_build(n, states="PENDING FAILED") for n in (1, 2, 3)]},
            "lost 3 builds in a row",
        ),
        ({"executions": {"execution": "RUNNING"}}, "is RUNNING"),
        ({"executions": {"execution": "FAILED"}}, "is FAILED"),
        ({"undelivered": 1}, "dead-letter queue"),
        ({"violations": ["a token with other parameters"]}, "a token with other parameters"),
    ],
)
def test_each_violation_is_detected(change: dict[str, Any], violation: str) -> None:
    lines = find_violations(replace(VALID, **change), max_consecutive_failures=2)

    assert any(violation in line for line in lines), lines


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ({"published": [an_answer()]}, "was not distributed: None"),
        ({"distributions": []}, "was not distributed: arn:image/x/7"),
        ({"distributions": [{**COPY, "source": "arn:image/y/1"}]}, "is of arn:image/y/1"),
        ({"distributions": [{**COPY, "source": "arn:image/y/1"}]}, "which isodrop never started"),
        ({"distributions": [{**COPY, "history": []}]}, "arn:image/x/7 never was AVAILABLE"),
        (
            {"published": [an_answer(distributionArn=COPY["arn"], amis=[])]},
            "does not name all AMIs",
        ),
        ({"distributions": [{**COPY, "token": "t1"}]}, "two builds have one token"),
        ({"distributions": [COPY, {**COPY, "token": "t8"}]}, "arn:image/x/1 has two live builds"),
        ({"builds": [a_build(states="PENDING FAILED")]}, "is not AVAILABLE"),
        ({"published": [an_answer("Failed", code="distribution-failed")]}, "names no AMI"),
    ],
)
def test_each_violation_by_a_distribution_is_detected(
    change: dict[str, Any], violation: str
) -> None:
    lines = find_violations(replace(DISTRIBUTED, **change), max_consecutive_failures=2)

    assert any(violation in line for line in lines), lines


def test_a_deregistered_ami_makes_room_for_another_build() -> None:
    two = replace(VALID, builds=[a_build(1), a_build(2)])

    for end in (replace(two, lost_amis={"ami-1": 150.0}),):
        assert find_violations(end, max_consecutive_failures=2) == []


def test_a_seed_always_makes_the_same_schedule() -> None:
    assert Schedule.of(7) == Schedule.of(7)
    assert str(Schedule.of(7)) == str(Schedule.of(7))
    assert Schedule.of(7) != Schedule.of(8)


def test_a_state_machine_that_has_more_than_is_known_is_refused() -> None:
    definition = {"StartAt": "A", "States": {"A": {"Type": "Succeed", "InputPath": "$.a"}}}

    with pytest.raises(NotImplementedError, match="InputPath"):
        Machine(definition, lambda *_: None, lambda _: None).run({}, "execution")


def test_an_undefined_value_is_an_error_as_in_step_functions() -> None:
    wait = {"Type": "Wait", "Seconds": "{% $states.input.nothing %}", "Next": "A"}

    with pytest.raises(TaskError, match="is undefined"):
        Machine({"StartAt": "A", "States": {"A": wait}}, lambda *_: None, lambda _: None).run(
            {}, "execution"
        )


def test_faults_occur_in_order_after_the_calls_that_they_skip() -> None:
    faults = Faults()
    faults.add(Fault("PutItem", LOST_RESPONSE, service="dynamodb", skip=1))
    faults.add(Fault("PutItem", "ThrottlingException", service="dynamodb", times=2))

    met = [faults.take_due("PutItem", "dynamodb") for _ in range(4)]

    assert [each and each.code for each in met] == [
        "ThrottlingException",
        LOST_RESPONSE,
        "ThrottlingException",
        None,
    ]
    assert faults.take_due("GetItem", "dynamodb") is None
    assert faults.left() == 0


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (Fault("GetObject", "SlowDown", service="s3"), 503, b"<Code>SlowDown</Code>"),
        (Fault("HeadObject", "SlowDown", service="s3"), 503, b""),
        (Fault("PutItem", "InternalServerError", service="dynamodb"), 500, b"InternalServerError"),
        (Fault("DescribeImages", "Busy", service="ec2", status=503), 503, b"<Code>Busy</Code>"),
        (Fault("PutEvents", NO_ENTRY_ACCEPTED, service="events"), 200, b'"FailedEntryCount": 1'),
    ],
)
def test_a_fault_is_written_as_its_service_would(fault: Fault, status: int, words: bytes) -> None:
    found, _, body = error_response(fault)

    assert found == status
    assert words in body


def test_a_fault_unknown_to_every_service_is_refused() -> None:
    with pytest.raises(ValueError, match="no operation 'GetThing'"):
        Fault("GetThing", service="s3")
    with pytest.raises(ValueError, match="no error 'Tired'"):
        Fault("GetObject", "Tired", service="s3")
