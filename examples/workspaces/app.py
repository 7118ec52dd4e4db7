"""Import each new image into Amazon WorkSpaces."""

import os
from typing import Any

import boto3


def handler(event: dict[str, Any], _context: object) -> None:
    data = event["detail"]["data"]
    name, version = data["plan"]["name"], data["plan"]["semanticVersion"]
    workspaces: Any = boto3.client("workspaces")
    try:
        workspaces.import_custom_workspace_image(
            # At most 64 characters, so a long name loses its end and not the version.
            ImageName=f"{name[: 63 - len(version)]}_{version}",
            ImageDescription=f"Imported by isodrop as {data['amis'][0]['id']}",
            ImageSource={"ImageBuildVersionArn": data["buildArn"]},
            InfrastructureConfigurationArn=os.environ["INFRASTRUCTURE_CONFIGURATION_ARN"],
            ComputeType="BASE",
            Protocol="DCV",  # WorkSpaces has no PCoIP for Windows 11
            Platform="WINDOWS",
            OsVersion="Windows_11",
        )
    except workspaces.exceptions.ResourceAlreadyExistsException:
        return  # an event may be delivered twice, and an ISO uploaded twice
