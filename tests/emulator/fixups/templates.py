"""What CloudFormation makes of a template: mends of the emulator's provisioners."""

from typing import Any

from ministack.services.cloudformation import provisioners

_PROFILE = "AWS::IAM::InstanceProfile"
_before = dict(provisioners._RESOURCE_HANDLERS[_PROFILE])


def create_instance_profile(logical_id: str, props: dict[str, Any], stack: str) -> Any:
    """Let ``Ref`` of an instance profile be its name; the emulator's is its ARN.

    "Ref returns the name of the instance profile", and where a name is wanted, as in Image
    Builder's infrastructure configuration, an ARN is malformed.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-instanceprofile.html
    """
    arn, attributes = _before["create"](logical_id, props, stack)
    return arn.rpartition("/")[2], attributes


def delete_instance_profile(name: str, props: dict[str, Any]) -> None:
    """Delete it by its name."""
    profile = provisioners._iam._instance_profiles.get(name)
    if profile is not None:
        _before["delete"](profile["Arn"], props)


def mend() -> None:
    """Put the mends in place."""
    provisioners._RESOURCE_HANDLERS[_PROFILE] = {
        "create": create_instance_profile,
        "delete": delete_instance_profile,
    }
