"""A fake Image Builder with a clock, an environment and a boto3 client, for its tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from isodrop_local.image_builder import FakeImageBuilder, InMemoryEnvironment, client

if TYPE_CHECKING:
    from mypy_boto3_imagebuilder.client import ImagebuilderClient


@dataclass
class FakeSetup:
    """A fake, its environment and clock, and a boto3 client of it."""

    now: float = 1_800_000_000.0
    environment: InMemoryEnvironment = field(default_factory=InMemoryEnvironment)
    timings: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        self.builder = FakeImageBuilder(self.environment, lambda: self.now, timings=self.timings)
        self.controls = self.builder.controls
        self.api: ImagebuilderClient = client(self.builder)
        self.infrastructure = self.api.create_infrastructure_configuration(
            name="isodrop", instanceProfileName="isodrop", clientToken="infrastructure"
        )["infrastructureConfigurationArn"]

    def an_import(self, **changes: Any) -> dict[str, Any]:
        """Make a request to import, with a new token."""
        return {
            "name": "Windows-11",
            "semanticVersion": "11.26100.1742",
            "platform": "Windows",
            "osVersion": "Microsoft Windows 11",
            "infrastructureConfigurationArn": self.infrastructure,
            "uri": "s3://isodrop-upload/windows.iso",
            "clientToken": f"token-{len(self.controls.calls)}",
        } | changes

    def imported(self, **changes: Any) -> str:
        """Start an import; return the build's ARN."""
        return self.api.import_disk_image(**self.an_import(**changes))["imageBuildVersionArn"]

    def image(self, arn: str) -> Any:
        """Get an image."""
        return self.api.get_image(imageBuildVersionArn=arn)["image"]

    def state(self, arn: str) -> Any:
        """Get its state."""
        return self.image(arn)["state"]

    def status(self, arn: str) -> str:
        """Get its status."""
        return str(self.state(arn)["status"])


def refusal(call: Callable[..., object], **parameters: Any) -> tuple[str, int]:
    """Make a call that is refused; return the error's name and its HTTP status."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
