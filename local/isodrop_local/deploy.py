"""Deploys template.yaml through CloudFormation's own interface, as ``sam deploy`` does."""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from isodrop_local.packaging import ROOT, package

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_s3 import S3Client

ARTIFACTS: Final = "deployment-artifacts"
CAPABILITIES: Final = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")


class DeployError(Exception):
    """The deployment failed; the message has CloudFormation's events."""


def deploy(
    cloudformation: "CloudFormationClient",
    s3: "S3Client",
    name: str,
    parameters: Mapping[str, Any],
    *,
    template: Path = ROOT / "template.yaml",
    timeout: float = 120.0,
) -> dict[str, str]:
    """Package and deploy a template; return the stack's outputs.

    Parameters
    ----------
    cloudformation, s3
        Clients of the account to deploy to.
    name : str
        The stack's name; an existing stack is updated.
    parameters : mapping
        The template's parameters that differ from their defaults.
    template : pathlib.Path
        The template.
    timeout : float
        The time limit in seconds.

    Raises
    ------
    DeployError
        The stack cannot be created, or not in time.
    """
    s3.create_bucket(Bucket=ARTIFACTS)

    def upload(content: bytes, suffix: str) -> str:
        key = hashlib.sha256(content).hexdigest() + suffix
        s3.put_object(Bucket=ARTIFACTS, Key=key, Body=content)
        return f"s3://{ARTIFACTS}/{key}"

    body = json.dumps(package(template, upload)).encode()
    address = upload(body, ".template").removeprefix("s3://")
    request: dict[str, Any] = {
        "StackName": name,
        "TemplateURL": f"{s3.meta.endpoint_url}/{address}",
        "Capabilities": list(CAPABILITIES),
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()
        ],
    }
    try:
        cloudformation.create_stack(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AlreadyExistsException":
            raise
        cloudformation.update_stack(**request)
    return _outputs(cloudformation, name, time.monotonic() + timeout)


def _outputs(cloudformation: "CloudFormationClient", name: str, deadline: float) -> dict[str, str]:
    """Wait for the stack, and read its outputs."""
    while time.monotonic() < deadline:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        status = stack["StackStatus"]
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
        if "FAILED" in status or "ROLLBACK" in status:
            break
        time.sleep(0.05)
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    reasons = [
        f"  {event.get('LogicalResourceId')} {event.get('ResourceStatus')}"
        f" {event.get('ResourceStatusReason', '')}"
        for event in reversed(events)
        if "FAILED" in event.get("ResourceStatus", "") or "ResourceStatusReason" in event
    ]
    raise DeployError(f"the stack {name} is {status}:\n" + "\n".join(reasons))
