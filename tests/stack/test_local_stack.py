"""The local stack as tests use it: its errors and its controls."""

import http.client
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from isodrop_local.stack import EmulatedStack, StackError


def test_an_emulator_that_dies_shows_its_log() -> None:
    with EmulatedStack() as stack:
        assert stack._server
        stack._server.kill()
        stack._server.wait()
        with pytest.raises(StackError, match=r"is gone(.|\n)*Worker thread pool"):
            stack.client("s3")


def test_an_emulator_that_cannot_start_fails_with_a_reason(deployed: EmulatedStack) -> None:
    taken = int(deployed.endpoint.rpartition(":")[2])
    with (
        pytest.raises(StackError, match=r"did not start(.|\n)*in use"),
        EmulatedStack(port=taken),
    ):
        pass


def test_an_unsuccessful_wait_times_out_and_lists_the_events(
    stack: EmulatedStack, make_unique_iso: Callable[..., Path]
) -> None:
    stack.image_builder.hold("BUILDING")
    stack.upload(make_unique_iso("held.iso"))
    with pytest.raises(TimeoutError, match="ISO Import Started"):
        stack.wait_for_answer("held.iso", 8)
    stack.image_builder.release()
    assert stack.wait_for_answer("held.iso")["detail-type"] == "ISO Import Succeeded"


def test_a_linked_file_is_imported_like_an_uploaded_one(
    stack: EmulatedStack, make_unique_iso: Callable[..., Path]
) -> None:
    iso = make_unique_iso("linked.iso")
    stack.link(iso, metadata={"image-name": "linked-by-reference"})
    data = stack.wait_for_answer("linked.iso")["detail"]["data"]
    assert data["plan"]["name"] == "linked-by-reference"
    assert data["source"]["size"] == iso.stat().st_size


def test_planned_failures_and_recorded_calls_are_available(
    stack: EmulatedStack, make_unique_iso: Callable[..., Path]
) -> None:
    stack.image_builder.fail_next("ImportDiskImage", code="ServiceUnavailableException", times=2)
    stack.upload(make_unique_iso("third-time.iso"))
    answer = stack.wait_for_answer("third-time.iso")
    assert answer["detail-type"] == "ISO Import Succeeded"
    stack.settle()
    calls = stack.image_builder.calls("ImportDiskImage")
    assert [call["error"] for call in calls] == [
        "ServiceUnavailableException",
        "ServiceUnavailableException",
        None,
    ]
    built = [build["arn"] for build in stack.image_builder.builds()]
    assert built.count(answer["detail"]["data"]["buildArn"]) == 1


def test_an_unknown_control_request_is_an_error(deployed: EmulatedStack) -> None:
    with pytest.raises(StackError, match="no_such_knob"):
        deployed.control("imagebuilder/no_such_knob")


def test_an_emulator_also_listens_on_the_given_address() -> None:
    # The second address of the loopback interface replaces a bridge's, and is otherwise unused.
    with EmulatedStack(extra_addresses=["127.0.0.2"]) as stack:
        port = int(stack.endpoint.rpartition(":")[2])
        with socket.create_connection(("127.0.0.2", port), 5):
            pass
        assert status(stack, HEALTH, {"Host": f"127.0.0.2:{port}"}, "GET") == 200
        assert status(stack, HEALTH, {"Host": f"127.0.0.3:{port}"}, "GET") == 403
    with EmulatedStack() as stack, socket.socket() as probe:
        port = int(stack.endpoint.rpartition(":")[2])
        assert probe.connect_ex(("127.0.0.2", port)) != 0


def status(
    stack: EmulatedStack, path: str, headers: Mapping[str, str], method: str = "POST"
) -> int:
    """The status code of the gateway's response."""
    connection = http.client.HTTPConnection(stack.endpoint.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, b"{}" if method == "POST" else None, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()


HEALTH = "/_ministack/health"  # which the emulator answers without a signature, too


@pytest.mark.parametrize("path", [HEALTH, "/_isodrop/counts"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:4566"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "example.org"},
        {"Host": "127.0.0.1.example.org:4566"},
        {"Host": ""},
    ],
)
def test_no_web_page_may_use_the_stack(
    deployed: EmulatedStack, path: str, headers: Mapping[str, str]
) -> None:
    assert status(deployed, path, headers) == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:4566", "bucket.s3.localhost"])
def test_local_programs_may_use_the_stack(deployed: EmulatedStack, host: str) -> None:
    for path in (HEALTH, "/_isodrop/counts"):
        assert status(deployed, path, {"Host": host}) != 403


def test_the_control_api_accepts_only_post(deployed: EmulatedStack) -> None:
    assert status(deployed, "/_isodrop/counts", {}, "GET") == 405


@pytest.mark.parametrize("path", ["/etc/passwd", "{open}/../../etc/passwd", "{open}/away"])
def test_only_files_that_the_stack_was_started_with_are_read(
    deployed: EmulatedStack, tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "away").unlink(missing_ok=True)
    (folder / "away").symlink_to("/etc/passwd")
    named = path.format(open=folder)
    request = {"bucket": deployed.bucket, "key": "passwd.iso", "path": named}
    with pytest.raises(StackError, match="was not named when the stack was started"):
        deployed.control("objects", request)
    listed = deployed.client("s3").list_objects_v2(Bucket=deployed.bucket, Prefix="passwd")
    assert not listed["KeyCount"]
