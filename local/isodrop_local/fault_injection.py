"""Injects faults into calls that functions make, into invocations, and into S3's events.

Calls that a test or its subscriber makes never fail.
"""

import asyncio
import contextvars
import re
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, cast

from ministack import app
from ministack.services import eventbridge, lambda_svc

from isodrop_local.faults import LOST_RESPONSE, Fault, Faults, HttpResponse, error_response
from isodrop_local.patches import functions

Handler = Callable[..., Awaitable[Any]]

SERVICES: Final = ("s3", "dynamodb", "events", "ec2")
"""Image Builder has faults of its own, which calls of Step Functions encounter, too."""
_S3_OPERATIONS: Final[tuple[tuple[str, bool, str, frozenset[str], bool | None], ...]] = (
    # Name, whether it concerns an object, method, query parameters, whether it copies.
    ("ListParts", True, "GET", frozenset({"uploadId"}), None),
    ("GetObjectTagging", True, "GET", frozenset({"tagging"}), None),
    ("GetObject", True, "GET", frozenset(), None),
    ("HeadObject", True, "HEAD", frozenset(), None),
    ("UploadPartCopy", True, "PUT", frozenset({"uploadId"}), True),
    ("UploadPart", True, "PUT", frozenset({"uploadId"}), False),
    ("PutObjectTagging", True, "PUT", frozenset({"tagging"}), None),
    ("CopyObject", True, "PUT", frozenset(), True),
    ("PutObject", True, "PUT", frozenset(), False),
    ("CreateMultipartUpload", True, "POST", frozenset({"uploads"}), None),
    ("CompleteMultipartUpload", True, "POST", frozenset({"uploadId"}), None),
    ("AbortMultipartUpload", True, "DELETE", frozenset({"uploadId"}), None),
    ("DeleteObject", True, "DELETE", frozenset(), None),
    ("ListMultipartUploads", False, "GET", frozenset({"uploads"}), None),
    ("ListObjectsV2", False, "GET", frozenset({"list-type"}), None),
    ("DeleteObjects", False, "POST", frozenset({"delete"}), None),
)
_BROKEN: Final[HttpResponse] = (200, {"Content-Length": "1000000"}, b"{")
_connection: ContextVar[Callable[..., Any] | None] = ContextVar("connection", default=None)


def remember_connection(send: Callable[..., Any]) -> None:
    """Record the connection of the current request, for :func:`close_connection`."""
    _connection.set(send)


def close_connection(mark: str) -> HttpResponse:
    """Close a function's connection before the response; other callers get a truncated response.

    Half a response is not realistic for functions: botocore accepts truncated JSON after
    a successful status, and no service sends 200 before its work is done.
    """
    send = _connection.get()
    if mark and send is not None:
        # From hypercorn's stream via its protocol to its server; the tests of the patches check it.
        server = cast(Any, send).__self__.send.__self__.send.__self__
        server.writer.transport.abort()
    return _BROKEN


def caller(headers: Mapping[str, str]) -> str:
    """Return the mark of the function's environment that made a call; empty for other callers."""
    found = re.search(rf"\bapp/({functions.MARK}\S+)", headers.get("user-agent", ""))
    return found[1] if found else ""


def s3_operation(
    method: str, path: str, headers: Mapping[str, str], query: Mapping[str, Any]
) -> str | None:
    """Return the S3 operation of a call; ``None`` for one that no function uses."""
    target = (method, path.strip("/").count("/") > 0)
    copies = "x-amz-copy-source" in headers
    for name, is_of_object, how, parameters, copying in _S3_OPERATIONS:
        matches = (how, is_of_object) == target and copying in (None, copies)
        if matches and parameters <= query.keys():
            return name
    return None


def operation(service: str, headers: Mapping[str, str], body: bytes) -> str | None:
    """Return the operation of a call to another service; see :func:`s3_operation`."""
    if service == "ec2":
        action = re.search(rb"\bAction=(\w+)", body)
        return action[1].decode() if action else None
    return headers.get("x-amz-target", "").rpartition(".")[2] or None


def inject_faults(service: str, handler: Handler, faults: Faults, counts: Counter[str]) -> Handler:
    """Inject faults into a service, and count the calls that functions make."""

    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Any:
        mark, operation_name = caller(headers), None
        if mark and service == "s3":
            operation_name = s3_operation(method, path, headers, query)
        elif mark:
            operation_name = operation(service, headers, body)
        if operation_name:
            counts[f"{service}.{operation_name}"] += 1
        fault = faults.take_due(operation_name, service) if operation_name else None
        if fault is None:
            return await handler(method, path, headers, body, query)
        if fault.committed:
            await handler(method, path, headers, body, query)
        if fault.kill_caller:
            await asyncio.to_thread(functions.kill, mark)
        return close_connection(mark) if fault.code == LOST_RESPONSE else error_response(fault)

    return handle


def execute(
    faults: Faults, counts: Counter[str], func: dict[str, Any], event: Any, request_id: str
) -> dict[str, Any]:
    """Invoke a function, unless a fault is due; the fault's code is the error's name.

    If the fault is committed, the function runs, in parallel with the next invocation.
    """
    counts["lambda.Invoke"] += 1
    fault = faults.take_due("Invoke", "lambda")
    if fault is None:
        return functions.execute(func, event, request_id)
    if fault.committed:
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(functions.execute, func, event, request_id), daemon=True
        ).start()
    return {"body": _error(fault), "error": True, "log": fault.message}


def _error(fault: Fault) -> dict[str, str]:
    code = "Lambda.SdkClientException" if fault.code == LOST_RESPONSE else fault.code
    if fault.kill_caller:
        code = "Runtime.ExitError"
    return {"errorType": code, "errorMessage": fault.message}


class EventDelivery:
    """Delivers S3's events: at once, or as planned for the next ones.

    Attributes
    ----------
    counts : Counter
        The calls that functions make to services except Image Builder, and the invocations.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._dispatch = eventbridge._dispatch_event
        self._plans: deque[Sequence[float]] = deque()

    def plan(self, delays: Sequence[float]) -> None:
        """Deliver the next upload's event after each of these delays in seconds, or not at all."""
        self._plans.append(delays)

    def dispatch(self, event: dict[str, Any], *args: Any, **more: Any) -> None:
        """Deliver one event."""
        if event.get("Source") != "aws.s3" or not self._plans:
            self._dispatch(event, *args, **more)
            return
        for delay in self._plans.popleft():
            # The emulator keeps account and Region in the context.
            context = contextvars.copy_context()
            timer = threading.Timer(delay, context.run, (self._dispatch, dict(event), *args), more)
            timer.daemon = True
            timer.start()


def register_middleware(faults: Faults) -> EventDelivery:
    """Inject faults into calls that functions make, and into the delivery of S3's events."""
    delivery = EventDelivery()
    for service in SERVICES:
        handler = app.SERVICE_HANDLERS[service]
        app.SERVICE_HANDLERS[service] = inject_faults(service, handler, faults, delivery.counts)
    lambda_svc._execute_function_warm = lambda *invocation: execute(
        faults, delivery.counts, *invocation
    )
    eventbridge._dispatch_event = delivery.dispatch
    return delivery
