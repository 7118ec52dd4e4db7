"""Each handler under the real Lambda runtime, with the files of ``events/in``, against the stack.

The files name an example's bucket and object; each test puts its own object under the file's key,
and sets only its bucket and its attributes. The bucket is not the stack's, whose rule would start
an execution: these tests take the place of executions.
"""

import copy
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isodrop.codes import Code
from isodrop.text import clean_tag_value
from isodrop_local.interpreter import interpreter
from isodrop_local.packaging import ROOT
from isodrop_local.stack import EmulatedStack
from tests.support.rie import Layout, Runtime, emulator, layout

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="aws-sam-cli ships the emulator for Linux only"
)

Event = dict[str, Any]
Uploaded = Callable[..., Event]
EVENTS = ROOT / "events" / "in"
IMPORT = "ImportDiskImage"


@pytest.fixture(scope="module")
def on() -> Iterator[Layout]:
    with layout() as made:
        yield made


@pytest.fixture(scope="module")
def import_iso(deployed: EmulatedStack, on: Layout) -> Iterator[Runtime]:
    code = ROOT / "functions" / "import_iso"
    # Uploads are in a bucket without a rule, so this function accepts those of any bucket.
    with Runtime.of(deployed, "ImportIso", code, on, without=["UPLOAD_BUCKET"]) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def report_build(deployed: EmulatedStack, on: Layout) -> Iterator[Runtime]:
    code = ROOT / "functions" / "report_build"
    with Runtime.of(deployed, "ReportBuild", code, on) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def sweep(deployed: EmulatedStack, on: Layout) -> Iterator[Runtime]:
    code = ROOT / "functions" / "sweep"
    with Runtime.of(deployed, "Sweep", code, on) as runtime:
        yield runtime


@pytest.fixture
def uploaded(stack: EmulatedStack, make_unique_iso: Callable[..., Path]) -> Iterator[Uploaded]:
    """Put an ISO at the key of an event's file; return the event, for that object."""
    s3 = stack.client("s3")
    bucket = f"plain-{uuid.uuid4()}"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def upload(name: str, **changes: Any) -> Event:
        return addressed_to(file(name), stack, bucket, make_unique_iso("upload.iso", **changes))

    yield upload
    for version in s3.list_object_versions(Bucket=bucket).get("Versions", []):
        s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket=bucket)


def file(name: str) -> Event:
    found: Event = json.loads((EVENTS / name).read_text())
    return found


def addressed_to(event: Event, stack: EmulatedStack, bucket: str, iso: Path) -> Event:
    """Upload under the event's key; return the event with that object's bucket and attributes."""
    s3, key = stack.client("s3"), event["detail"]["object"]["key"]
    s3.upload_file(str(iso), bucket, key)
    stored = s3.head_object(Bucket=bucket, Key=key)
    event = copy.deepcopy(event)
    event["detail"]["bucket"]["name"] = bucket
    event["detail"]["object"] |= {
        "size": stored["ContentLength"],
        "etag": stored["ETag"].strip('"'),
        "version-id": stored["VersionId"],
    }
    return event


def of(name: str, upload: Event) -> Event:
    """Return a file's event for the upload of another file's event."""
    return {**file(name), "detail": upload["detail"]}


def executed(upload: Event) -> Event:
    """Add the execution that the files of reports name, as the state machine does."""
    return {**upload, "executionArn": file("report-started.json")["executionArn"]}


def wait_for_event(stack: EmulatedStack, upload: Event, kind: str) -> Event:
    """Wait for an event about an upload."""
    bucket = upload["detail"]["bucket"]["name"]

    def about() -> Event | None:
        found = (
            event
            for event in stack.events()
            if event["detail-type"] == kind
            and event["detail"]["data"]["source"]["bucket"] == bucket
        )
        return next(found, None)

    event: Event = stack.wait_for(about)
    return event


def status(stack: EmulatedStack, build: str) -> str:
    """Get the status of a build from the stack's Image Builder."""
    image = stack.client("imagebuilder").get_image(imageBuildVersionArn=build)["image"]
    found: str = image["state"]["status"]
    return found


# ---------------------------------------------------------------------------- ImportIso


def test_a_good_iso_is_tracked_to_an_existing_build(
    stack: EmulatedStack, import_iso: Runtime, uploaded: Uploaded
) -> None:
    # Given an upload, as `sam local invoke` passes it: the bare event
    upload = uploaded("good.json")
    # When
    result = import_iso.invoke(upload)
    # Then
    assert result["nextStep"] == "track", result
    assert status(stack, result["buildArn"])


@pytest.mark.parametrize(
    ("result", "next_step"), [("NO_THREATS_FOUND", "track"), ("THREATS_FOUND", "answer")]
)
def test_a_scan_result_decides_whether_its_upload_is_inspected(
    import_iso: Runtime, uploaded: Uploaded, result: str, next_step: str
) -> None:
    # Given an upload, and GuardDuty's result for it
    detail = uploaded("good.json")["detail"]
    event = file("scanned.json")
    event["detail"]["s3ObjectDetails"] |= {
        "bucketName": detail["bucket"]["name"],
        "eTag": detail["object"]["etag"],
        "versionId": detail["object"]["version-id"],
    }
    event["detail"]["scanResultDetails"]["scanResultStatus"] = result
    # When
    decided = import_iso.invoke(event)
    # Then
    assert decided["nextStep"] == next_step, decided


def test_the_same_event_in_the_same_execution_gives_the_same_build(
    stack: EmulatedStack, import_iso: Runtime, uploaded: Uploaded
) -> None:
    # Given
    upload = uploaded("good.json")
    first = import_iso.invoke(upload)
    # When
    again = import_iso.invoke(upload)
    # Then
    assert first["nextStep"] == "track", first
    assert again == first
    assert len(stack.image_builder.calls(IMPORT)) == 1


def test_a_repeat_by_another_execution_has_no_effect(
    stack: EmulatedStack, import_iso: Runtime, uploaded: Uploaded
) -> None:
    # Given an upload that an execution has claimed
    upload = uploaded("good.json")
    import_iso.invoke(upload)
    # When S3's event is delivered a second time
    result = import_iso.invoke(of("repeat.json", upload))
    # Then
    assert result == {"nextStep": "skip", "buildArn": None}
    assert len(stack.image_builder.calls(IMPORT)) == 1


def test_a_retry_is_an_import_with_its_overrides(
    stack: EmulatedStack, import_iso: Runtime, uploaded: Uploaded
) -> None:
    # Given an upload that has its build
    upload = uploaded("good.json")
    first = import_iso.invoke(upload)
    # When it is retried
    result = import_iso.invoke(of("retry.json", upload))
    # Then
    assert result["nextStep"] == "track", result
    assert status(stack, result["buildArn"])
    assert result["buildArn"] != first["buildArn"]
    assert "enterprisen" in result["buildArn"]


def test_an_odd_key_is_imported_by_its_copy(
    stack: EmulatedStack, import_iso: Runtime, uploaded: Uploaded
) -> None:
    # Given a key with spaces, a plus, Unicode and text like an escape
    upload = uploaded("odd-key.json")
    # When
    result = import_iso.invoke(upload)
    # Then
    bucket, key = (
        upload["detail"]["bucket"]["name"],
        file("odd-key.json")["detail"]["object"]["key"],
    )
    (call,) = stack.image_builder.calls(IMPORT)
    assert result["nextStep"] == "track", result
    assert call["parameters"]["tags"]["isodrop:source"] == clean_tag_value(f"s3://{bucket}/{key}")
    assert call["parameters"]["uri"].startswith(f"s3://{stack.outputs['StagingBucketName']}/")


def test_a_throttle_has_the_name_that_the_state_machine_retries(
    stack: EmulatedStack, import_iso: Runtime, uploaded: Uploaded
) -> None:
    # Given an Image Builder that throttles for longer than the client retries
    upload = uploaded("good.json")
    stack.image_builder.fail_next(IMPORT, code="CallRateLimitExceededException", times=3)
    # When
    throttled = import_iso.invoke(upload)
    stack.image_builder.reset()
    later = import_iso.invoke(upload)
    # Then
    assert throttled["errorType"] == "TransientError"
    assert "CallRateLimitExceededException" in throttled["errorMessage"]
    assert later["nextStep"] == "track", later


@pytest.mark.parametrize("handler", ["import_iso", "report_build"])
@pytest.mark.parametrize(
    "event", [{}, {"id": "1", "detail": None}, "text", {"report": {"kind": "answer"}}]
)
def test_an_event_that_is_not_an_upload_is_refused(
    request: pytest.FixtureRequest, handler: str, event: Any
) -> None:
    # Given an event that S3 never sends; When
    result = request.getfixturevalue(handler).invoke(event)
    # Then
    assert result["errorType"] == "InvalidEventError", result


# ---------------------------------------------------------------------------- ReportBuild


def test_a_build_is_published_from_its_start_to_its_answer(
    stack: EmulatedStack, import_iso: Runtime, report_build: Runtime, uploaded: Uploaded
) -> None:
    # Given an upload that the execution of the reports has claimed
    upload = uploaded("good.json")
    build = import_iso.invoke(executed(upload))["buildArn"]
    # When each report is requested in turn
    started = report_build.invoke(of("report-started.json", upload))
    progressed = report_build.invoke(of("report-progressed.json", upload))
    stack.wait_for(lambda: status(stack, build) == "AVAILABLE")
    answer = report_build.invoke(of("report-answer.json", upload))
    again = report_build.invoke(of("report-answer.json", upload))
    # Then the events arrive, and there is one answer however often it is requested
    moved = wait_for_event(stack, upload, "ISO Import Progressed")["detail"]["data"]
    published = wait_for_event(stack, upload, "ISO Import Succeeded")["detail"]
    assert (started, progressed) == ({}, {})
    assert (
        wait_for_event(stack, upload, "ISO Import Started")["detail"]["data"]["buildArn"] == build
    )
    assert (moved["previousStatus"], moved["status"]) == ("CREATING", "BUILDING")
    assert answer == again
    assert answer == {
        "detailType": "ISO Import Succeeded",
        "eventId": published["metadata"]["eventId"],
        "code": None,
    }
    assert published["data"]["amis"]


def test_an_arm64_iso_is_answered_with_why_not(
    stack: EmulatedStack, import_iso: Runtime, report_build: Runtime, uploaded: Uploaded
) -> None:
    # Given
    upload = uploaded("arm64.json", architecture="arm64")
    # When
    decided = import_iso.invoke(executed(upload))
    answer = report_build.invoke(of("report-answer.json", upload))
    # Then
    published = wait_for_event(stack, upload, "ISO Import Rejected")["detail"]["data"]
    assert decided == {"nextStep": "answer", "buildArn": None}
    assert answer["code"] == published["code"] == Code.WRONG_ARCHITECTURE.value
    assert stack.image_builder.calls(IMPORT) == []


def test_a_failed_execution_is_answered(
    stack: EmulatedStack, report_build: Runtime, uploaded: Uploaded
) -> None:
    # Given an upload whose first function timed out before it could claim anything
    upload = uploaded("good.json")
    # When
    answer = report_build.invoke(of("report-answer-broken.json", upload))
    # Then
    published = wait_for_event(stack, upload, "ISO Import Failed")["detail"]["data"]
    assert answer["detailType"] == "ISO Import Failed", answer
    assert answer["code"] == published["code"] == Code.INTERNAL_ERROR.value
    assert "Sandbox.Timedout" in published["message"]


@pytest.mark.parametrize(
    "name", ["report-started.json", "report-progressed.json", "report-answer.json"]
)
def test_an_execution_without_the_upload_publishes_nothing(
    import_iso: Runtime, report_build: Runtime, uploaded: Uploaded, name: str
) -> None:
    # Given an upload that another execution has claimed
    upload = uploaded("good.json")
    import_iso.invoke(upload)
    # When, Then
    assert report_build.invoke(of(name, upload)) == {}


# ---------------------------------------------------------------------------- the harness itself

PROBE = """
import importlib.util, os, sys

def handler(event, context):
    return {
        "path": sys.path,
        "found": [name for name in event if importlib.util.find_spec(name)],
        "milliseconds": context.get_remaining_time_in_millis(),
        "environ": dict(os.environ),
        "version": sys.version,
    }
"""


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """Make a function that returns what it can import."""
    code = tmp_path / "probe"
    code.mkdir()
    (code / "app.py").write_text(PROBE)
    return code


def test_a_function_imports_its_layer_and_nothing_of_the_venv(probe: Path, on: Layout) -> None:
    # Given modules of which the layer has two, and this venv all
    with Runtime(probe, on, timeout=7) as runtime:
        # When
        seen = runtime.invoke(["boto3", "pydantic", "pytest", "ministack", "samcli"])
    # Then
    assert seen["version"] == interpreter().version
    assert seen["found"] == ["boto3", "pydantic"]
    assert not [path for path in seen["path"] if "site-packages" in path or path == str(ROOT)]
    assert 6000 < seen["milliseconds"] <= 7000
    assert seen["environ"]["AWS_LAMBDA_RUNTIME_API"].startswith("127.0.0.1:")


def test_a_runtime_ends_with_its_process_and_leaves_its_ports(probe: Path, on: Layout) -> None:
    # Given
    with Runtime(probe, on) as runtime:
        runtime.invoke([])
    # When, Then
    with pytest.raises(OSError, match="refused"):
        runtime.invoke([])
    assert emulator().exists()


def test_every_file_of_events_in_is_used_here() -> None:
    used = Path(__file__).read_text()
    assert [path.name for path in EVENTS.iterdir() if f'"{path.name}"' not in used] == []


# ---------------------------------------------------------------------------- Sweep


def test_a_sweep_logs_its_results(sweep: Runtime) -> None:
    result = sweep.invoke({"source": "aws.events", "detail-type": "Scheduled Event"})

    assert result["errors"] == 0, result
    assert result["complete"] is True
