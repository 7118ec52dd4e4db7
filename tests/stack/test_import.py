"""One answer for each run, one build for each import, on the deployed template."""

import json
from pathlib import Path
from typing import Any

import pytest

from isodrop.codes import Code
from isodrop_local.iso_maker import (
    business_editions,
    consumer_editions,
    evaluation_editions,
    server_editions,
)
from isodrop_local.stack import EmulatedStack
from tests.stack.conftest import MakeIso, upload_failing_iso
from tests.support.aging import aged

IMPORT = "ImportDiskImage"


def data(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["detail"]["data"]
    return found


def builds_of(stack: EmulatedStack, key: str) -> list[dict[str, Any]]:
    return [
        build
        for build in stack.image_builder.builds()
        if build["request"]["tags"]["isodrop:source"].endswith(f"/{key}")
    ]


def test_an_uploaded_iso_becomes_an_ami_with_progress_events(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    stack.image_builder.hold("BUILDING")  # so that a busy machine sees more than its end
    key = stack.upload(iso(), "Büro/Windows 11 + 100%41 (日本語).ISO")
    stack.wait_for(
        lambda: [
            e
            for e in stack.events()
            if data(e)["source"]["key"] == key and data(e).get("status") == "BUILDING"
        ]
    )
    stack.image_builder.release()

    answer = stack.wait_for_answer(key)

    published = [e for e in stack.events() if data(e)["source"]["key"] == key]
    ami = data(answer)["amis"][0]
    (image,) = stack.client("ec2").describe_images(ImageIds=[ami["id"]])["Images"]
    assert answer["detail-type"] == "ISO Import Succeeded"
    assert data(answer)["plan"]["name"] == "windows-11-enterprise-x64-en-us"
    assert data(answer)["plan"]["semanticVersion"] == "11.26100.1742"
    assert data(answer)["plan"]["imageIndex"] == 5
    assert image["Name"] == ami["name"]
    assert published[0]["detail-type"] == "ISO Import Started"
    assert {e["detail-type"] for e in published[1:-1]} == {"ISO Import Progressed"}
    assert stack.image_builder.violations() == []


@pytest.mark.parametrize(
    ("editions", "code"),
    [
        (business_editions(architecture="arm64"), Code.WRONG_ARCHITECTURE),
        (server_editions(), Code.SERVER_ISO),
        (evaluation_editions(), Code.EVALUATION_ISO),
        (consumer_editions(), Code.NO_SUCH_EDITION),
    ],
)
def test_an_iso_that_cannot_be_imported_is_rejected(
    stack: EmulatedStack, iso: MakeIso, editions: Any, code: Code
) -> None:
    answer = stack.wait_for_answer(stack.upload(iso(editions)))

    assert answer["detail-type"] == "ISO Import Rejected"
    assert data(answer)["code"] == code
    assert stack.image_builder.calls(IMPORT) == []


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("text.iso", b"this is not an ISO\n" * 40_000, Code.NOT_AN_ISO),
        ("empty.iso", b"", Code.NOT_AN_ISO),
        ("odd.iSo", b"anything", Code.NOT_AN_ISO),
    ],
)
def test_any_bytes_are_answered(
    stack: EmulatedStack, tmp_path: Path, name: str, body: bytes, code: Code
) -> None:
    path = tmp_path / name
    path.write_bytes(body)

    answer = stack.wait_for_answer(stack.upload(path))

    assert (answer["detail-type"], data(answer)["code"]) == ("ISO Import Rejected", code)


def test_a_truncated_iso_is_rejected(stack: EmulatedStack, iso: MakeIso) -> None:
    path = iso()
    path.write_bytes(path.read_bytes()[:600_000])

    assert data(stack.wait_for_answer(stack.upload(path)))["code"] == Code.TRUNCATED


def test_a_file_not_named_iso_is_ignored(
    stack: EmulatedStack, iso: MakeIso, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("not for isodrop")
    before = len(stack.executions())

    stack.upload(notes)
    stack.wait_for_answer(stack.upload(iso(server_editions())))

    assert len(stack.executions()) == before + 1


def test_the_same_iso_again_is_answered_with_the_existing_image(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    path = iso()
    first = stack.wait_for_answer(stack.upload(path))

    second = stack.wait_for_answer(stack.upload(path), nth=2)

    assert (data(first)["reused"], data(second)["reused"]) == (False, True)
    assert data(first)["amis"] == data(second)["amis"]
    assert first["detail"]["metadata"]["eventId"] != second["detail"]["metadata"]["eventId"]
    assert len(builds_of(stack, path.name)) == 1


def test_the_same_bytes_in_parts_under_another_key_are_the_same_import(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    path = iso(size=6 * 1024 * 1024)
    first = stack.wait_for_answer(stack.upload(path))
    s3, body, key = stack.client("s3"), path.read_bytes(), "in-parts.iso"
    upload = s3.create_multipart_upload(Bucket=stack.bucket, Key=key)["UploadId"]
    where = {"Bucket": stack.bucket, "Key": key, "UploadId": upload}
    cut = 5 * 1024 * 1024
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**where, PartNumber=number, Body=part)["ETag"],
        }
        for number, part in enumerate((body[:cut], body[cut:]), start=1)
    ]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})

    second = stack.wait_for_answer(key)

    assert data(second)["source"]["etag"].endswith("-2")
    assert data(second)["source"]["etag"] != data(first)["source"]["etag"]
    assert data(second)["reused"] is True
    assert data(second)["amis"] == data(first)["amis"]
    assert builds_of(stack, key) == []


def test_a_failed_build_is_reported_and_the_next_upload_builds_again(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    path = iso()
    failed = stack.wait_for_answer(upload_failing_iso(stack, path, message="Setup found no TPM."))

    key = stack.upload(path, metadata={"image-name": path.stem})
    again = stack.wait_for_answer(key, nth=2)

    assert failed["detail-type"] == "ISO Import Failed"
    assert data(failed)["code"] == Code.BUILD_FAILED
    assert "Setup found no TPM." in data(failed)["message"]
    assert data(failed)["failedStep"]
    assert data(failed)["logStream"] == "11.26100.1742/" + data(failed)["buildArn"].split("/")[-1]
    assert data(failed)["retryable"] is True
    assert again["detail-type"] == "ISO Import Succeeded"
    assert (data(again)["attempt"], data(again)["reused"]) == (1, False)
    assert len(builds_of(stack, path.name)) == 2
    assert stack.image_builder.violations() == []


def test_an_event_delivered_twice_is_one_build_and_one_answer(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    key = stack.upload(iso())
    execution = stack.wait_for(
        lambda: next((e for e in stack.executions()[::-1] if _is_of(stack, e, key)), None)
    )
    event = _input(stack, execution)

    # A repeated delivery by EventBridge starts another execution.
    states, arn = stack.client("stepfunctions"), stack.outputs["ImportStateMachineArn"]
    for _ in range(3):
        states.start_execution(stateMachineArn=arn, input=json.dumps(event))
    stack.wait_for_answer(key)
    stack.settle()

    assert len(stack.answers(key)) == 1
    assert len(builds_of(stack, key)) == 1


def _input(stack: EmulatedStack, execution: dict[str, Any]) -> dict[str, Any]:
    states = stack.client("stepfunctions")
    given = states.describe_execution(executionArn=execution["executionArn"])["input"]
    event: dict[str, Any] = json.loads(given)
    return event


def _is_of(stack: EmulatedStack, execution: dict[str, Any], key: str) -> bool:
    return bool(_input(stack, execution)["detail"]["object"]["key"] == key)


@pytest.mark.parametrize("committed", [True, False], ids=["after", "before"])
def test_a_lambda_killed_around_the_import_is_one_build_and_one_answer(
    stack: EmulatedStack, iso: MakeIso, committed: bool
) -> None:
    stack.image_builder.fail_next(IMPORT, committed=committed, kill_caller=True)

    key = stack.upload(iso())
    answer = stack.wait_for_answer(key)
    stack.settle()

    assert answer["detail-type"] == "ISO Import Succeeded"
    assert len(stack.answers(key)) == 1
    assert len(builds_of(stack, key)) == 1
    # A request that took effect is found in the list of builds; another one is sent again.
    assert len(stack.image_builder.calls(IMPORT)) == (1 if committed else 2)
    assert stack.image_builder.violations() == []


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (IMPORT, "TooManyRequestsException"),
        (IMPORT, "ServiceUnavailableException"),
        ("GetImage", "CallRateLimitExceededException"),
        ("ListWorkflowExecutions", "ServiceException"),
    ],
)
def test_transient_errors_are_waited_out(
    stack: EmulatedStack, iso: MakeIso, operation: str, code: str
) -> None:
    stack.image_builder.fail_next(operation, code=code, times=7)

    key = stack.upload(iso())

    assert stack.wait_for_answer(key)["detail-type"] == "ISO Import Succeeded"
    assert len(builds_of(stack, key)) == 1


def test_an_ami_that_ec2_does_not_know_yet_is_waited_for(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    stack.fail_next("ec2", "DescribeImages", code="InvalidAMIID.NotFound", status=400, times=3)

    key = stack.upload(iso())

    assert stack.wait_for_answer(key)["detail-type"] == "ISO Import Succeeded"
    assert stack.faults_left() == 0
    assert len(builds_of(stack, key)) == 1


def test_a_full_quota_is_waited_out(stack: EmulatedStack, iso: MakeIso) -> None:
    stack.image_builder.fail_next(IMPORT, code="ServiceQuotaExceededException", status=402, times=8)

    key = stack.upload(iso())

    assert stack.wait_for_answer(key)["detail-type"] == "ISO Import Succeeded"
    assert len(builds_of(stack, key)) == 1


def test_a_wait_that_reaches_its_limit_is_reported_as_such(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    stack.image_builder.fail_next("GetImage", code="CallRateLimitExceededException", times=999)

    answer = stack.wait_for_answer(stack.upload(iso()), timeout=60)

    assert answer["detail-type"] == "ISO Import Failed"
    assert data(answer)["code"] == Code.SERVICE_UNAVAILABLE


def test_a_refused_import_is_reported_and_not_sent_again(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    stack.image_builder.fail_next(IMPORT, code="ClientException", message="No such subnet.")

    answer = stack.wait_for_answer(stack.upload(iso()))

    assert answer["detail-type"] == "ISO Import Failed"
    assert data(answer)["code"] == Code.IMPORT_REFUSED
    assert "No such subnet." in data(answer)["message"]
    assert len(stack.image_builder.calls(IMPORT)) == 1


def test_a_manually_cancelled_build_is_reported(stack: EmulatedStack, iso: MakeIso) -> None:
    stack.image_builder.hold("BUILDING")
    key = stack.upload(iso())
    build = stack.wait_for(lambda: builds_of(stack, key))[0]

    stack.image_builder.cancel(build["arn"])
    stack.image_builder.release()

    assert data(stack.wait_for_answer(key))["code"] == Code.BUILD_CANCELLED


def test_a_manually_deleted_build_is_reported(stack: EmulatedStack, iso: MakeIso) -> None:
    stack.image_builder.hold("BUILDING")
    key = stack.upload(iso())
    build = stack.wait_for(lambda: builds_of(stack, key))[0]

    stack.wait_for(
        lambda: aged(stack, build["arn"], "buildRecordedAt")
    )  # otherwise it may be too new
    stack.image_builder.delete(build["arn"])
    stack.image_builder.release()

    assert data(stack.wait_for_answer(key))["code"] == Code.BUILD_GONE


@pytest.mark.parametrize("status", ["DEPRECATED", "DELETED", "DISABLED", "WARMING_UP"])
def test_every_status_is_handled(stack: EmulatedStack, iso: MakeIso, status: str) -> None:
    stack.image_builder.hold("BUILDING")
    key = stack.upload(iso())
    build = stack.wait_for(lambda: builds_of(stack, key))[0]

    stack.image_builder.set_status(build["arn"], status)
    if status == "WARMING_UP":  # an unknown status: the build is tracked until it ends
        stack.wait_for(lambda: [e for e in stack.events() if data(e).get("status") == status])
        stack.image_builder.set_status(build["arn"], "FAILED", "So it ended.")

    expected = Code.BUILD_FAILED if status == "WARMING_UP" else Code.BUILD_GONE
    assert data(stack.wait_for_answer(key))["code"] == expected


def test_an_object_replaced_during_its_build_is_imported_as_well(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    stack.image_builder.hold("PENDING")
    key = stack.upload(iso(), "replaced.iso")
    stack.wait_for(lambda: builds_of(stack, key))
    stack.upload(iso(business_editions(revision=2033)), key)
    stack.wait_for(lambda: len(builds_of(stack, key)) == 2)
    stack.image_builder.release()

    stack.wait_for_answer(key, nth=2)

    versions = {data(answer)["plan"]["semanticVersion"] for answer in stack.answers(key)}
    assert versions == {"11.26100.1742", "11.26100.2033"}


def test_no_copy_is_left_at_the_end(stack: EmulatedStack) -> None:
    stack.settle()
    for _ in range(2):
        stack.sweep()

    listed = stack.client("s3").list_objects_v2(Bucket=stack.outputs["StagingBucketName"])
    running = {build["uri"] for build in stack.image_builder.builds() if not ended(build)}
    kept = {
        f"s3://{stack.outputs['StagingBucketName']}/{each['Key']}"
        for each in listed.get("Contents", [])
    }
    assert kept <= running


def ended(build: dict[str, Any]) -> bool:
    return build["history"][-1]["status"] in {
        *("AVAILABLE", "FAILED", "CANCELLED", "DEPRECATED", "DELETED", "DISABLED"),
    }


def test_every_execution_ends_and_every_answer_is_one(stack: EmulatedStack) -> None:
    stack.settle()

    ids = [answer["detail"]["metadata"]["eventId"] for answer in stack.answers()]
    runs = [answer["detail"]["metadata"]["uploadId"] for answer in stack.answers()]
    # Only tests abort executions.
    assert {execution["status"] for execution in stack.executions()} <= {"SUCCEEDED", "ABORTED"}
    assert len(ids) == len(set(ids))
    assert len(runs) == len(set(runs))
