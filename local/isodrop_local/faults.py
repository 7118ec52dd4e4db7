"""What goes wrong with calls on demand, of any service: the values, the store, the wire."""

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
REJECTED: Final = "not-taken"
"""In the place of an error's name: PutEvents answers 200 and yet took no entry."""

_COMMON: Final = {
    # What every service may answer, listed or not.
    "InternalFailure": 500,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "ThrottlingException": 400,
}

Answer = tuple[int, dict[str, str], bytes]
"""HTTP status, headers, body."""


@cache
def model_of(service: str) -> ServiceModel:
    """Get a service's model, as this botocore has it."""
    return botocore.session.get_session().get_service_model(service)


def error_name(service: str, code: str) -> str:
    """Name an error of a service as Step Functions' SDK integration does.

    It is the exception of the SDK for Java; a code that the service does not model has none of its
    own there, and is that of the whole service.
    https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
    """
    named = service.capitalize()
    modelled = {shape.name for shape in model_of(service).error_shapes}
    is_known = code in modelled or code == "SdkClientException"
    return f"{named}.{code}" if is_known else f"{named}.{named}Exception"


def service_cause(message: str, service: str, status: int) -> str:
    """Write an error's Cause as Step Functions does: as the SDK for Java writes its message."""
    return f"{message} (Service: {service}, Status Code: {status}, Request ID: {uuid.UUID(int=0)})"


@dataclass(frozen=True, slots=True)
class Fault:
    """How the next calls of an operation go wrong.

    Attributes
    ----------
    operation : str
        ``ImportDiskImage`` and the like; ``*`` for any.
    code : str
        The error's name, :data:`LOST_RESPONSE` or :data:`REJECTED`.
    message : str
        What the error says.
    status : int or None
        The HTTP status; ``None`` for the service model's.
    committed : bool
        Whether the operation takes its effect all the same, so that only its answer is lost.
    kill_caller : bool
        Whether the Lambda function that called is killed on the spot.
    times : int
        How many calls it meets.
    service : str
        Whose operation, by botocore's name.
    skip : int
        How many calls go well before.
    """

    operation: str
    code: str = "ServiceException"
    message: str = "Told to fail by the test."
    status: int | None = None
    committed: bool = False
    kill_caller: bool = False
    times: int = 1
    service: str = "imagebuilder"
    skip: int = 0

    def __post_init__(self) -> None:
        """Refuse what would never happen, so that no test waits for it."""
        model = model_of(self.service)
        if self.operation not in (*model.operation_names, "*"):
            raise ValueError(f"{self.service} has no operation {self.operation!r}")
        if self.code in (LOST_RESPONSE, REJECTED) or self.status is not None:
            return
        errors = {shape.name for shape in model.error_shapes}
        if self.code not in errors and (self.service == "imagebuilder" or self.code not in _COMMON):
            raise ValueError(f"{self.service} has no error {self.code!r}: give it a status")


@dataclass(slots=True)
class Faults:
    """What is still to go wrong; calls of an operation meet it in the order of its making."""

    _waiting: list[Fault] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, fault: Fault) -> None:
        """Let something go wrong."""
        with self._lock:
            self._waiting.append(fault)

    def take_due(self, operation: str, service: str = "imagebuilder") -> Fault | None:
        """Take the fault that a call meets, if any."""
        met: Fault | None = None
        left: list[Fault] = []
        with self._lock:
            for fault in self._waiting:
                now = fault
                if fault.service == service and fault.operation in (operation, "*"):
                    if fault.skip:
                        now = replace(fault, skip=fault.skip - 1)
                    elif met is None:
                        met, now = fault, replace(fault, times=fault.times - 1)
                if now.times > 0:
                    left.append(now)
            self._waiting = left
        return met

    def left(self) -> int:
        """Count the calls that are still to go wrong."""
        with self._lock:
            return sum(fault.times for fault in self._waiting)

    def clear(self) -> None:
        """Forget what has not happened yet."""
        with self._lock:
            self._waiting.clear()


def error_response(fault: Fault) -> Answer:
    """Write a fault as its service would answer it.

    Examples
    --------
    >>> fault = Fault("GetObject", "SlowDown", service="s3")
    >>> written(fault)[0]
    503
    """
    protocol = model_of(fault.service).metadata["protocol"]
    if fault.code == REJECTED:
        refusal = {"ErrorCode": "InternalFailure", "ErrorMessage": fault.message}
        said: Any = {"FailedEntryCount": 1, "Entries": [refusal]}
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(said).encode()
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
    """Find an error's HTTP status in the service model, unless it has one of its own."""
    if fault.status is not None:
        return fault.status
    if fault.code in _COMMON:
        return _COMMON[fault.code]
    found: dict[str, Any] = model_of(fault.service).shape_for(fault.code).metadata.get("error", {})
    return int(found.get("httpStatusCode", 400))
