"""Registers the fake Image Builder with the emulator, whose services it uses."""

import asyncio
import json
import re
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from ministack import app
from ministack.core import router
from ministack.services import ec2, eventbridge, s3, stepfunctions
from ministack.services.cloudformation import provisioners

from isodrop_local import fault_injection, image_builder
from isodrop_local.image_builder import FakeImageBuilder, LostResponseError, respond
from isodrop_local.patches import functions, policies

ACCOUNT, REGION = "123456789012", "us-east-1"
_caller: ContextVar[str] = ContextVar("caller", default="")


class EmulatorEnvironment:
    """The emulator's S3, EC2 and EventBridge, as Image Builder uses them."""

    def owns_bucket(self, bucket: str) -> bool:
        """Whether the bucket exists."""
        return bucket in s3._buckets

    def object_etag(self, bucket: str, key: str) -> str | None:
        """The current object's ETag."""
        record = s3._buckets.get(bucket, {"objects": {}})["objects"].get(key)
        return None if record is None else str(record["etag"]).strip('"')

    def register_image(self, name: str, description: str) -> str:
        """Register an AMI that ``describe-images`` returns."""
        request = {
            "Name": [re.sub(r"[^A-Za-z0-9()\[\] ./'@_-]", "-", name)],
            "Description": [description],
            "Architecture": ["x86_64"],
            "VirtualizationType": ["hvm"],
            "RootDeviceName": ["/dev/sda1"],
        }
        status, _, body = ec2._register_image(request)
        found = re.search(rb"<imageId>([^<]+)<", body)
        if status != 200 or not found:
            raise RuntimeError(f"the emulator's EC2 registered no image: {body!r}")
        return found[1].decode()

    def publish(self, event: Mapping[str, Any]) -> None:
        """Put an event of the service on the default bus."""
        publish_as_service("aws.imagebuilder", event)

    def kill_caller(self) -> None:
        """Kill the function that makes the current call."""
        functions.kill(_caller.get())


def publish_as_service(source: str, event: Mapping[str, Any]) -> None:
    """Put an event of an AWS service on the default bus, which no other caller may do.

    https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html
    """
    eventbridge._dispatch_event(
        {
            "EventId": str(uuid.uuid4()),
            "Source": source,
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"]),
            "Resources": event["resources"],
            "EventBusName": "default",
            "Time": event["time"],
            "Account": ACCOUNT,
            "Region": REGION,
        }
    )


def register_service(builder: FakeImageBuilder) -> None:
    """Register the service with the emulator: its API, its SDK integrations, its resources."""

    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> tuple[int, dict[str, str], Any]:
        _caller.set(fault_injection.caller(headers))
        try:
            return await asyncio.to_thread(respond, builder, method, path, query, body)
        except LostResponseError:
            return fault_injection.close_connection(_caller.get())

    app.SERVICE_REGISTRY["imagebuilder"] = {"module": "imagebuilder"}
    app.SERVICE_HANDLERS["imagebuilder"] = policies.guarded("imagebuilder", handle)
    policies.register_image_builder(builder.tags_of)
    router.SERVICE_PATTERNS["imagebuilder"] = {"host_patterns": [r"imagebuilder\."]}
    stepfunctions._AWS_SDK_SERVICE_MAP["imagebuilder"] = {"protocol": "rest-json"}
    provisioners._RESOURCE_HANDLERS.update(image_builder.provisioners(builder))
