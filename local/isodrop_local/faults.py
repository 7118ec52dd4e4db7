"""Faults of calls to any service: their values, their store, and their responses."""

import json
import threading
import uuid
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import ServiceModel

LOST_RESPONSE: Final = "lost"
"""Instead of an error code: the connection breaks, and the caller gets no response."""
NO_ENTRY_ACCEPTED: Final = "no-entry-accepted"
"""Instead of an error code: PutEvents returns 200, but has accepted no entry."""

_COMMON: Final = {
    # The errors that every service may return, listed or not.
    "InternalFailure": 500,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "ThrottlingException": 400,
}

HttpResponse = tuple[int, dict[str, str], bytes]
"""HTTP status, headers, body."""


@cache
def model_of(service: str) -> ServiceModel:
    """Return a service's model from botocore."""
    return botocore.session.get_session().get_service_model(service)


def error_name(service: str, code: str) -> str:
    """Return the name of a service's error in Step Functions' SDK integration.

    It is the exception of the SDK for Java; a code that is not in the service model is reported as
    the service's base exception.
    https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
    """
    service_name = service.capitalize()
    modeled = {shape.name for shape in model_of(service).error_shapes}
    is_known = code in modeled or code == "SdkClientException"
    return f"{service_name}.{code}" if is_known else f"{service_name}.{service_name}Exception"


def service_cause(message: str, service: str, status: int) -> str:
    """Return an error's Cause as Step Functions does: the message of the SDK for Java."""
    return f"{message} (Service: {service}, Status Code: {status}, Request ID: {uuid.UUID(int=0)})"


@dataclass(frozen=True, slots=True)
class Fault:
    """How the next calls of an operation fail.

    Attributes
    ----------
    operation : str
        ``ImportDiskImage`` and the like; ``*`` for any.
    code : str
        The error's name, :data:`LOST_RESPONSE` or :data:`NO_ENTRY_ACCEPTED`.
    message : str
        The error's message.
    status : int or None
        The HTTP status; ``None`` for the service model's.
    committed : bool
        Whether the operation takes effect although the call fails.
    kill_caller : bool
        Whether the calling Lambda function is killed at once.
    times : int
        How many calls fail.
    service : str
        The service, by botocore's name.
    skip : int
        How many calls succeed first.
    """

    operation: str
    code: str = "ServiceException"
    message: str = "The test makes this call fail."
    status: int | None = None
    committed: bool = False
    kill_caller: bool = False
    times: int = 1
    service: str = "imagebuilder"
    skip: int = 0

    def __post_init__(self) -> None:
        """Refuse an impossible fault, so that no test waits for it."""
        model = model_of(self.service)
        if self.operation not in (*model.operation_names, "*"):
            raise ValueError(f"{self.service} has no operation {self.operation!r}")
        if self.code in (LOST_RESPONSE, NO_ENTRY_ACCEPTED) or self.status is not None:
            return
        errors = {shape.name for shape in model.error_shapes}
        if self.code not in errors and (self.service == "imagebuilder" or self.code not in _COMMON):
            raise ValueError(f"{self.service} has no error {self.code!r}: give it a status")


@dataclass(slots=True)
class Faults:
    """The faults that calls will still encounter, in that order."""

    _waiting: list[Fault] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        with self._lock:
            self._waiting.append(fault)

    def take_due(self, operation: str, service: str = "imagebuilder") -> Fault | None:
        """Take the fault that is due for a call, if any."""
        due: Fault | None = None
        remaining: list[Fault] = []
        with self._lock:
            for fault in self._waiting:
                updated = fault
                if fault.service == service and fault.operation in (operation, "*"):
                    if fault.skip:
                        updated = replace(fault, skip=fault.skip - 1)
                    elif due is None:
                        due, updated = fault, replace(fault, times=fault.times - 1)
                if updated.times > 0:
                    remaining.append(updated)
            self._waiting = remaining
        return due

    def left(self) -> int:
        """Count the calls that will still fail."""
        with self._lock:
            return sum(fault.times for fault in self._waiting)

    def clear(self) -> None:
        """Remove the faults that are still due."""
        with self._lock:
            self._waiting.clear()


def error_response(fault: Fault) -> HttpResponse:
    """Return a fault as the response of its service.

    Examples
    --------
    >>> fault = Fault("GetObject", "SlowDown", service="s3")
    >>> error_response(fault)[0]
    503
    """
    protocol = model_of(fault.service).metadata["protocol"]
    if fault.code == NO_ENTRY_ACCEPTED:
        refusal = {"ErrorCode": "InternalFailure", "ErrorMessage": fault.message}
        content: Any = {"FailedEntryCount": 1, "Entries": [refusal]}
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(content).encode()
    status = _status(fault)
    code, message = escape(fault.code), escape(fault.message)
    if protocol == "rest-xml":
        if fault.operation.startswith("Head"):  # no body: botocore makes the status the code
            return status, {"Content-Type": "application/xml"}, b""
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return status, {"Content-Type": "application/xml"}, body.encode()
    if protocol == "ec2":
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        body = f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"
        return status, {"Content-Type": "text/xml"}, body.encode()
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-ErrorType": fault.code}
    return status, headers, json.dumps({"__type": fault.code, "message": fault.message}).encode()


def _status(fault: Fault) -> int:
    """Return an error's HTTP status: its own, or that of the service model."""
    if fault.status is not None:
        return fault.status
    if fault.code in _COMMON:
        return _COMMON[fault.code]
    found: dict[str, Any] = model_of(fault.service).shape_for(fault.code).metadata.get("error", {})
    return int(found.get("httpStatusCode", 400))
