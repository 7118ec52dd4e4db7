"""What a request and an answer must be: by the service model, and by what the documents add."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from botocore.model import OperationModel

from isodrop_local.image_builder.shapes import violations
from isodrop_local.image_builder.values import ServiceError

_BAD_REQUEST: Final = ("InvalidRequestException", "InvalidParameterException", "ClientException")
"""What an operation answers to a malformed request: the first of these that it lists."""
_URI: Final = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.*[^/]\.(?:iso|ISO|Iso))", re.DOTALL)
_MAX_NODE: Final = 2**30 - 1


class InvalidResponseError(AssertionError):
    """The fake itself was about to answer something that Image Builder never would."""


def listed_errors(operation: OperationModel) -> frozenset[str]:
    """List the errors that the service model knows of an operation."""
    return frozenset(shape.name for shape in operation.error_shapes)


def malformed(operation: OperationModel, detail: str) -> ServiceError:
    """Make the error that an operation answers to a request that is not what is documented."""
    listed = listed_errors(operation)
    return ServiceError(next(name for name in _BAD_REQUEST if name in listed), detail)


def check_request(operation: OperationModel, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that are not what the service model documents."""
    faults = list(violations(operation.input_shape, parameters))
    if faults:
        raise malformed(operation, "; ".join(faults))


def check_response(operation: OperationModel, answer: object, futures: Collection[str]) -> None:
    """Hold an answer to the output shape, but for the states of the future that were ordered."""
    faults = list(violations(operation.output_shape, _of_today(answer, futures)))
    if faults:
        raise InvalidResponseError(f"{operation.name} would answer: {'; '.join(faults)}")


def _of_today(value: Any, futures: Collection[str]) -> Any:
    """Put a state that the model knows in the place of each that it cannot know yet."""
    if isinstance(value, dict):
        return {
            key: "PENDING" if key == "status" and item in futures else _of_today(item, futures)
            for key, item in value.items()
        }
    return [_of_today(item, futures) for item in value] if isinstance(value, list) else value


def location(uri: str) -> tuple[str, str]:
    """Take an import's URI apart into bucket and key."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise ServiceError(
            "ClientException", f"'{uri}' is not s3://bucket/key with a key in .iso, .ISO or .Iso."
        )
    return match["bucket"], match["key"]


def check_import(request: Mapping[str, Any]) -> None:
    """Reject what the documentation says is invalid, with the operation's error for it.

    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
    """
    location(request["uri"])
    _only("platform", request["platform"], "Windows")
    _only("osVersion", request["osVersion"], "Microsoft Windows 11")
    if any(int(node) > _MAX_NODE for node in request["semanticVersion"].split(".")):
        raise ServiceError("ClientException", f"A version's nodes end at {_MAX_NODE}.")
    group = request.get("loggingConfiguration", {}).get("logGroupName", "/aws/imagebuilder/")
    if not group.startswith("/aws/imagebuilder/") and "executionRole" not in request:
        raise ServiceError("ClientException", f"The log group '{group}' needs an 'executionRole'.")


def _only(parameter: str, value: str, allowed: str) -> None:
    if value != allowed:
        raise ServiceError("ClientException", f"'{parameter}' must be '{allowed}', not '{value}'.")
