"""Import each new image into Amazon WorkSpaces."""

import os
from typing import Any

import boto3

from isodrop.events import SucceededData, verify

ledger = boto3.resource("dynamodb").Table(os.environ["LEDGER_TABLE"])
image_builder = boto3.client("imagebuilder")
workspaces: Any = boto3.client("workspaces")


def handler(event: dict[str, Any], _context: object) -> None:
    answer = verify(event, ledger, image_builder).data
    if not isinstance(answer, SucceededData):
        return
    name, version = answer.plan.name, answer.plan.semantic_version
    try:
        workspaces.import_custom_workspace_image(
            # At most 64 characters, so a long name loses its end and not the version.
            ImageName=f"{name[: 63 - len(version)]}_{version}",
            ImageDescription=f"Imported by isodrop as {answer.amis[0].id}",
            ImageSource={"ImageBuildVersionArn": answer.build_arn},
            InfrastructureConfigurationArn=os.environ["INFRASTRUCTURE_CONFIGURATION_ARN"],
            ComputeType="BASE",
            Protocol="DCV",  # WorkSpaces has no PCoIP for Windows 11
            Platform="WINDOWS",
            OsVersion="Windows_11",
        )
    except workspaces.exceptions.ResourceAlreadyExistsException:
        return  # an event may be delivered twice, and an ISO uploaded twice
