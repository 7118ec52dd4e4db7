"""Image Builder's REST and JSON protocol, by botocore's service model."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from botocore.model import OperationModel, Shape

from isodrop_local.image_builder.checks import malformed
from isodrop_local.image_builder.models import OPERATIONS, FakeImageBuilder
from isodrop_local.image_builder.shapes import service_model
from isodrop_local.image_builder.values import Json, ServiceError

Query = Mapping[str, str | Sequence[str]]
HttpResponse = tuple[int, dict[str, str], bytes]
"""HTTP status, headers, body."""


def respond(
    builder: FakeImageBuilder, method: str, path: str, query: Query, body: bytes
) -> HttpResponse:
    """Handle an HTTP request.

    Parameters
    ----------
    builder : FakeImageBuilder
        The fake that handles the requests.
    method, path : str
        The path without the query, percent-encoded or not.
    query : mapping
        The value, or values, of each parameter.
    body : bytes
        JSON, or nothing.

    Raises
    ------
    LostResponseError
        The caller gets no response.
    InvalidResponseError
        A defect of the fake, which must not go unnoticed.
    """
    try:
        operation, labels = _route(method, path)
        try:
            parameters = _parameters(operation, labels, query, body)
        except ServiceError as error:
            builder.controls.record_violation(f"{operation.name}: {error.message}")
            raise
        return _serialize(200, builder.call(operation.name, parameters))
    except ServiceError as error:
        return _serialize(_status(error), {"message": error.message}, error.code)


@lru_cache(maxsize=1)
def _routes() -> tuple[tuple[str, re.Pattern[str], OperationModel], ...]:
    """Compile the paths of all operations that the fake supports."""
    operations = map(service_model().operation_model, sorted(OPERATIONS))
    return tuple(
        (
            operation.http["method"],
            re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>.+)", operation.http["requestUri"])),
            operation,
        )
        for operation in operations
    )


def _route(method: str, path: str) -> tuple[OperationModel, Mapping[str, str]]:
    for wanted, pattern, operation in _routes():
        match = pattern.fullmatch(unquote(path))
        if match and wanted == method:
            return operation, match.groupdict()
    raise ServiceError("UnknownOperationException", f"{method} {path} is not emulated.", 404)


def _parameters(
    operation: OperationModel, labels: Mapping[str, str], query: Query, body: bytes
) -> Json:
    """Collect an operation's parameters from path, query and body."""
    members: Mapping[str, Shape] = operation.input_shape.members if operation.input_shape else {}
    places = {name: shape.serialization.get("location") for name, shape in members.items()}
    names = {shape.serialization.get("name", name): name for name, shape in members.items()}
    parameters = _decode_body(operation, body)
    misplaced = [name for name in parameters if places.get(name)]
    misplaced += [key for key in query if places.get(names.get(key, "")) != "querystring"]
    if misplaced:
        raise malformed(operation, f"{', '.join(misplaced)} not documented in this place")
    for key, value in query.items():
        parameters[names[key]] = _from_query(members[names[key]], value)
    return parameters | {names[label]: value for label, value in labels.items()}


def _decode_body(operation: OperationModel, body: bytes) -> Json:
    try:
        sent = json.loads(body) if body else {}
    except ValueError as error:
        raise malformed(operation, "the body is not JSON") from error
    if not isinstance(sent, dict):
        raise malformed(operation, "the body is not an object")
    return sent


def _from_query(shape: Shape, value: str | Sequence[str]) -> str | list[str]:
    values = [value] if isinstance(value, str) else list(value)
    return values if shape.type_name == "list" else values[0]


def _status(error: ServiceError) -> int:
    """Return an error's HTTP status: its own, or that of the service model."""
    if error.status:
        return error.status
    metadata: Mapping[str, Any] = service_model().shape_for(error.code).metadata
    return int(metadata["error"]["httpStatusCode"])


def _serialize(status: int, content: Json, error: str | None = None) -> HttpResponse:
    headers = {"Content-Type": "application/json", "x-amzn-RequestId": str(uuid4())}
    if error:
        headers["x-amzn-ErrorType"] = error
    return status, headers, json.dumps(content).encode()
