"""Values for the template's parameters."""

from itertools import product

INFRASTRUCTURE = "arn:aws:imagebuilder:eu-central-1:123456789012:infrastructure-configuration/ours"
ROLE = "arn:aws:iam::123456789012:role/ours/builder"
IN_A_SUBNET = {"SubnetId": "subnet-0123456789abcdef0", "SecurityGroupIds": "sg-0123456789abcdef0"}


def isos_below(prefix: str) -> set[str]:
    """The ARNs of all ISOs below a prefix, with every spelling of .iso."""
    spellings = map("".join, product("iI", "sS", "oO"))
    return {f"arn:aws:s3:::UploadBucket/{prefix}*.{each}" for each in spellings}
