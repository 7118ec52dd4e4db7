"""The response to CloudFormation of the function that empties the staging bucket."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from threading import Thread
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from urllib3.exceptions import URLSchemeUnknown

from isodrop_local.template import ROOT

CONTEXT = SimpleNamespace(
    function_name="EmptyStagingBucket",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:EmptyStagingBucket",
    aws_request_id="r-1",
)


class CloudFormation(HTTPServer):
    """A server for the responses: records the requests, and returns a given status."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), Receiver)


class Receiver(BaseHTTPRequestHandler):
    server: CloudFormation

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    with CloudFormation() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("STAGING_BUCKET", "staging")
    spec = spec_from_file_location(
        "empty_staging_bucket", ROOT / "functions/empty_staging_bucket/app.py"
    )
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}}):
        yield module.handler


def event(server: CloudFormation, kind: str, address: str = "") -> dict[str, Any]:
    return {
        "RequestType": kind,
        "ResponseURL": address or f"http://127.0.0.1:{server.server_port}/response?Signature=s",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "StagingBucketCleanup",
    }


def test_the_response_is_sent_without_a_content_type_as_its_url_requires(
    cloudformation: CloudFormation, handler: Any
) -> None:
    handler(event(cloudformation, "Create"), CONTEXT)
    ((path, headers, response),) = cloudformation.requests
    assert path == "/response?Signature=s"
    assert headers["content-type"] == ""
    assert response == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "staging",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "StagingBucketCleanup",
    }


def test_on_deletion_the_bucket_is_emptied(cloudformation: CloudFormation, handler: Any) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(
        Bucket="staging", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    s3.put_object(Bucket="staging", Key="copy.iso", Body=b"1")
    handler(event(cloudformation, "Delete"), CONTEXT)
    assert s3.list_objects_v2(Bucket="staging")["KeyCount"] == 0
    assert cloudformation.requests[0][2]["Status"] == "SUCCESS"


def test_a_bucket_that_cannot_be_emptied_is_reported(
    cloudformation: CloudFormation, handler: Any
) -> None:
    handler(event(cloudformation, "Delete"), CONTEXT)
    assert cloudformation.requests[0][2]["Status"] == "FAILED"


def test_a_response_that_is_refused_is_an_error(
    cloudformation: CloudFormation, handler: Any
) -> None:
    cloudformation.status = 403
    with pytest.raises(RuntimeError, match="403"):
        handler(event(cloudformation, "Create"), CONTEXT)


def test_an_address_of_a_file_is_refused(cloudformation: CloudFormation, handler: Any) -> None:
    with pytest.raises(URLSchemeUnknown):
        handler(event(cloudformation, "Create", "file://localhost/etc/hostname"), CONTEXT)
