"""Makes the requests that start a build; no other module adds a field."""

from collections.abc import Mapping
from typing import Any, Final

from isodrop.domain.model import DistributionSettings, ImportPlan, ImportSettings

Request = Mapping[str, Any]
"""The parameters of one ImportDiskImage or DistributeImage call: plain JSON, sent as stored."""


UEFI_DATA_LIMIT: Final = 64_000
"""Maximum length of ``registerImageOptions.uefiData`` in characters."""


def import_request(
    plan: ImportPlan, uri: str, settings: ImportSettings, token: str, tags: Mapping[str, str]
) -> Request:
    """Make the ImportDiskImage request for an import; settings that are ``None`` are left out.

    Parameters
    ----------
    plan, uri, settings
        The plan, the ``s3://`` URI of the copy, and the stack's settings for every import.
    token : str
        The client token, 36 characters.
    tags : mapping of str to str
        Tags in addition to the plan's, such as the import key.

    Returns
    -------
    Request
        Plain JSON, stored in the ledger before it is first sent.

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
    build_arn: str, settings: DistributionSettings, token: str, tags: Mapping[str, str]
) -> Request:
    """Make the DistributeImage request for a distribution.

    Parameters
    ----------
    build_arn : str
        The ARN of the finished image's build version.
    settings : DistributionSettings
    token : str
        The client token, 36 characters.
    tags : mapping of str to str
        For the image resource that the distribution creates.

    Returns
    -------
    Request
        Plain JSON, stored in the ledger before it is first sent.

    See Also
    --------
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DistributeImage.html
    """
    request: dict[str, Any] = {
        "clientToken": token,
        "sourceImage": build_arn,
        "distributionConfigurationArn": settings.configuration_arn,
        "executionRole": settings.execution_role,
        "tags": dict(tags),
    }
    if settings.log_group_name is not None:
        request["loggingConfiguration"] = {"logGroupName": settings.log_group_name}
    return request
