"""Validates requests and responses, by the service model and by the documentation."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from botocore.model import OperationModel

from isodrop_local.image_builder.shapes import violations
from isodrop_local.image_builder.values import ServiceError

_BAD_REQUEST: Final = ("InvalidRequestException", "InvalidParameterException", "ClientException")
"""The error of an operation for a malformed request: the first of these that it lists."""
_URI: Final = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.*[^/]\.(?:iso|ISO|Iso))", re.DOTALL)
_MAX_NODE: Final = 2**30 - 1


class InvalidResponseError(AssertionError):
    """The fake was about to return something that Image Builder never returns."""


def listed_errors(operation: OperationModel) -> frozenset[str]:
    """Return the errors of an operation in the service model."""
    return frozenset(shape.name for shape in operation.error_shapes)


def malformed(operation: OperationModel, detail: str) -> ServiceError:
    """Make an operation's error for a request that the documentation does not allow."""
    listed = listed_errors(operation)
    return ServiceError(next(name for name in _BAD_REQUEST if name in listed), detail)


def check_request(operation: OperationModel, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the service model does not allow."""
    found = list(violations(operation.input_shape, parameters))
    if found:
        raise malformed(operation, "; ".join(found))


def check_response(operation: OperationModel, response: object, futures: Collection[str]) -> None:
    """Validate a response by the output shape, except for future states that a test added."""
    found = list(violations(operation.output_shape, _without_future_states(response, futures)))
    if found:
        raise InvalidResponseError(f"{operation.name} would return: {'; '.join(found)}")


def _without_future_states(value: Any, futures: Collection[str]) -> Any:
    """Replace each future state by one that is in the model."""
    if isinstance(value, dict):
        return {
            key: "PENDING"
            if key == "status" and item in futures
            else _without_future_states(item, futures)
            for key, item in value.items()
        }
    return (
        [_without_future_states(item, futures) for item in value]
        if isinstance(value, list)
        else value
    )


def location(uri: str) -> tuple[str, str]:
    """Split an import's URI into bucket and key."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise ServiceError(
            "ClientException",
            f"'{uri}' is not s3://bucket/key with a key that ends in .iso, .ISO or .Iso.",
        )
    return match["bucket"], match["key"]


def check_import(request: Mapping[str, Any]) -> None:
    """Refuse what is documented as invalid, with the operation's error for it.

    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
    """
    location(request["uri"])
    _only("platform", request["platform"], "Windows")
    _only("osVersion", request["osVersion"], "Microsoft Windows 11")
    if any(int(node) > _MAX_NODE for node in request["semanticVersion"].split(".")):
        raise ServiceError("ClientException", f"Each node of a version may be at most {_MAX_NODE}.")
    group = request.get("loggingConfiguration", {}).get("logGroupName", "/aws/imagebuilder/")
    if not group.startswith("/aws/imagebuilder/") and "executionRole" not in request:
        raise ServiceError("ClientException", f"The log group '{group}' needs an 'executionRole'.")


def _only(parameter: str, value: str, allowed: str) -> None:
    if value != allowed:
        raise ServiceError("ClientException", f"'{parameter}' must be '{allowed}', not '{value}'.")
