"""The requests that start a build, each field of them decided here."""

from collections.abc import Mapping
from typing import Any, Final

from isodrop.domain.model import DistributionSettings, ImportPlan, ImportSettings

Request = Mapping[str, Any]
"""The parameters of one ImportDiskImage or DistributeImage call: plain JSON, sent as frozen."""


UEFI_DATA_LIMIT: Final = 64_000
"""Characters of ``registerImageOptions.uefiData`` at the most."""


def import_request(
    plan: ImportPlan, uri: str, settings: ImportSettings, token: str, tags: Mapping[str, str]
) -> Request:
    """Make the one request of an import. Every field that ImportDiskImage has is decided here.

    Parameters
    ----------
    plan, uri, settings
        What was decided, where the copy lies, and what the stack says of every import.
    token : str
        The client token, 36 characters.
    tags : mapping of str to str
        What the ledger knows beside the plan's tags.

    Returns
    -------
    Request
        Plain JSON, to be frozen in the ledger before it is first sent.

    See Also
    --------
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
    """
    request: dict[str, Any] = {
        "clientToken": token,
        "name": plan.name,
        "semanticVersion": plan.semantic_version,
        "description": plan.description,
        "platform": "Windows",
        "osVersion": "Microsoft Windows 11",
        "infrastructureConfigurationArn": settings.infrastructure_configuration_arn,
        "uri": uri,
        "windowsConfiguration": {"imageIndex": plan.image_index},
        "tags": {**plan.tags, **tags},
    }
    register: dict[str, Any] = {}
    if settings.secure_boot is not None:
        register["secureBootEnabled"] = settings.secure_boot
    if settings.uefi_data is not None:
        register["uefiData"] = settings.uefi_data
    if register:
        request["registerImageOptions"] = register
    if settings.execution_role is not None:
        request["executionRole"] = settings.execution_role
    if settings.log_group_name is not None:
        request["loggingConfiguration"] = {"logGroupName": settings.log_group_name}
    return request


def distribution_request(
    build_arn: str, how: DistributionSettings, token: str, tags: Mapping[str, str]
) -> Request:
    """Make the one request of a distribution. Every field of DistributeImage is decided here.

    Parameters
    ----------
    build_arn : str
        The finished image's build version.
    how : DistributionSettings
    token : str
        The client token, 36 characters.
    tags : mapping of str to str
        For the image resource that the distribution makes.

    Returns
    -------
    Request
        Plain JSON, to be frozen in the ledger before it is first sent.

    See Also
    --------
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DistributeImage.html
    """
    request: dict[str, Any] = {
        "clientToken": token,
        "sourceImage": build_arn,
        "distributionConfigurationArn": how.configuration_arn,
        "executionRole": how.execution_role,
        "tags": dict(tags),
    }
    if how.log_group_name is not None:
        request["loggingConfiguration"] = {"logGroupName": how.log_group_name}
    return request
