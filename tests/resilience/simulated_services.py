"""AWS in one process and without real time, as the functions and the state machine call it.

moto's services and the fake Image Builder handle the requests of the functions' real boto3 clients,
unless a fault is due; Lambda and Step Functions run the real handlers and the real definition.
"""

import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any, Final, Self
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import boto3
import botocore.retries.quota
import botocore.retries.standard
import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError
from moto.core.models import botocore_stubber

from isodrop_local.faults import (
    LOST_RESPONSE,
    NO_ENTRY_ACCEPTED,
    Fault,
    Faults,
    HttpResponse,
    error_name,
    error_response,
    model_of,
    service_cause,
)
from isodrop_local.image_builder import FakeImageBuilder, LostResponseError, ServiceError, respond
from isodrop_local.image_builder.client import Raw
from isodrop_local.image_builder.shapes import convert_case
from tests.resilience.scheduler import DeadlineError, VirtualScheduler
from tests.resilience.state_machine import Machine, TaskError
from tests.support.harness import ACCOUNT, REGION

ROOT: Final = Path(__file__).resolve().parents[2]
FUNCTIONS: Final = {"ImportIso": "import_iso", "ReportBuild": "report_build", "Sweep": "sweep"}
SECONDS: Final = {"ImportIso": 900.0, "ReportBuild": 150.0, "Sweep": 300.0}
MACHINE: Final = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:isodrop"
_SERVICES: Final = {"eventbridge": "events", "sfn": "stepfunctions"}
"""Services that botocore's events call by another name than its clients."""


class AbortedError(BaseException):
    """The execution was aborted, so nothing more of it runs."""


@dataclass(slots=True)
class Execution:
    """One execution of the state machine."""

    input: str
    status: str = "RUNNING"
    error: str = ""
    cause: str = ""


class SynchronousExecutor:
    """Replaces a pool of threads: runs each call immediately, in the caller's thread."""

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, run: Callable[..., Any], *how: Any) -> Future[Any]:
        """Run it; a kill is raised in the caller."""
        done: Future[Any] = Future()
        try:
            done.set_result(run(*how))
        except Exception as error:  # noqa: BLE001 - like the pool
            done.set_exception(error)
        return done


class KilledError(BaseException):
    """The function's process is killed; nothing in it catches that."""


def _clear_services(module: ModuleType) -> None:
    """Let a function create its services anew, as in a new execution environment."""
    (cached,) = (each for each in vars(module).values() if hasattr(each, "cache_clear"))
    cached.cache_clear()


@cache
def _function_module(name: str) -> ModuleType:
    """Import a function's code under its own name, because each is called ``app``."""
    path = ROOT / "functions" / FUNCTIONS[name] / "app.py"
    spec = importlib.util.spec_from_file_location(f"simulated_{FUNCTIONS[name]}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _loader() -> Any:
    """Load once what all sessions read from disk."""
    return botocore.session.get_session().get_component("data_loader")


def new_session() -> boto3.Session:
    core = botocore.session.get_session()
    core.register_component("data_loader", _loader())
    return boto3.Session(botocore_session=core)


@cache
def _outside(service: str) -> Any:
    return new_session().client(service)  # type: ignore[call-overload] # any service


class SimulatedServices(ABC):
    """The services that a deployment calls: AWS, including Lambda and Step Functions.

    Parameters
    ----------
    seed : int
        Decides how long calls take.
    machine : dict
        The state machine's definition.
    trace : callable, optional
        Called with each call and its result, for people.
    """

    builder: FakeImageBuilder

    def __init__(
        self, seed: int, machine: dict[str, Any], trace: Callable[[str], None] | None
    ) -> None:
        self.random = Random(f"run {seed}")  # noqa: S311 # repeatable, not secret
        self.clock = VirtualScheduler()
        self.faults = Faults()
        self.calls = 0
        self.published: list[dict[str, Any]] = []
        self.executions: dict[str, Execution] = {}
        self._trace = trace or (lambda _: None)
        self._definition = machine

    @abstractmethod
    def _spawn(self, run: Callable[[], None], after: float = 0.0) -> None:
        """Start something that the end of the run waits for."""

    @abstractmethod
    def _due(self, service: str, operation: str) -> Fault | None:
        """Return the fault of this call, if it has one."""

    def outside(self, service: str) -> Any:
        """Get a client of a person or a service: its calls have no faults."""
        return _outside(service)

    # ------------------------------------------------------------------ requests

    def _wait(self) -> None:
        """Let time pass for a call: usually little, sometimes much."""
        dice = self.random.random()
        most = 0.05 if dice < 0.85 else 2.0 if dice < 0.97 else 20.0
        self.clock.sleep(self.random.uniform(0.001, most))

    def _back_off(self, _seconds: float) -> None:
        """Replace the sleep between a client's own retries, and its random duration."""
        self.clock.sleep(self.random.uniform(0.0, 2.0))

    def _trace_line(self, *words: object) -> None:
        self._trace(f"{self.clock.now - 1_795_000_000:12.3f}  {' '.join(map(str, words))}")

    def handle_request(
        self, event_name: str, request: AWSPreparedRequest, **_more: Any
    ) -> AWSResponse | None:
        """Respond to a function's request, or apply its fault."""
        _, name, operation = event_name.split(".")
        service = _SERVICES.get(name, name)
        self.calls += 1
        fault = self._due(service, operation)
        self._trace_line(service, operation, "" if fault is None else fault)
        self._wait()
        if fault is not None and not fault.committed:
            return self._fail(fault, request)
        answer = self._respond(service, operation, request)
        self._wait()
        if fault is not None:
            return self._fail(fault, request)
        return answer

    def _fail(self, fault: Fault, request: AWSPreparedRequest) -> AWSResponse:
        if fault.kill_caller:
            raise KilledError
        if fault.code == LOST_RESPONSE:
            self.clock.sleep(20)
            raise ReadTimeoutError(endpoint_url=request.url)
        return _response(request, error_response(fault))

    def _respond(self, service: str, operation: str, request: AWSPreparedRequest) -> AWSResponse:
        if service == "imagebuilder":
            url = urlsplit(request.url)
            found = respond(
                self.builder, request.method, url.path, parse_qs(url.query), _body(request)
            )
            return _response(request, found)
        if service == "stepfunctions":
            return _response(request, self.states(operation, json.loads(_body(request))))
        answer: AWSResponse | None = botocore_stubber(f"before-send.{service}.{operation}", request)
        assert answer is not None
        if operation == "PutEvents":
            for entry in json.loads(_body(request))["Entries"]:
                detail = json.loads(entry["Detail"])
                self.published.append({"detail-type": entry["DetailType"], "detail": detail})
                self._trace_line("published", entry["DetailType"], detail["data"].get("code", ""))
        return answer

    # ------------------------------------------------------------------ Lambda and Step Functions

    def _perform(self, resource: str, arguments: Any) -> Any:
        """Perform a task of the state machine."""
        if resource.startswith("arn:aws:states:::aws-sdk:imagebuilder:"):
            return self._call_image_builder(resource.rpartition(":")[2], arguments)
        function = arguments["FunctionName"].rpartition(":")[2]
        fault = self.faults.take_due("Invoke", "lambda")
        self.calls += 1
        self._trace_line("Invoke", function, arguments["Payload"].get("report", ""), fault or "")
        self._wait()
        if fault is None:
            return {"Payload": self._invoke(function, arguments["Payload"])}
        if fault.committed and not fault.kill_caller:
            # Its result is lost, but it continues, and the next try runs at the same time.
            self._spawn(partial(self._invoke_unobserved, function, arguments["Payload"]))
        if fault.kill_caller:
            raise TaskError("Runtime.ExitError", "signal: killed")
        if fault.code.startswith("Runtime."):
            raise TaskError(fault.code, fault.message)
        if fault.code == LOST_RESPONSE:
            raise TaskError("Lambda.SdkClientException", "Unable to execute HTTP request")
        cause = service_cause("An error occurred.", "Lambda", 500)
        raise TaskError("Lambda.ServiceException", cause)

    def _invoke_unobserved(self, function: str, payload: Any) -> None:
        try:
            self._invoke(function, payload)
        except TaskError as error:
            self._trace_line("unobserved", error)

    def _invoke(self, function: str, payload: Any) -> Any:
        task = self.clock.current
        assert task is not None
        module = _function_module(function)
        _clear_services(module)
        task.deadline = deadline = self.clock.now + SECONDS[function]
        context = SimpleNamespace(
            function_name=function,
            memory_limit_in_mb=512,
            invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}",
            aws_request_id="request",
            get_remaining_time_in_millis=lambda: (deadline - self.clock.now) * 1000,
        )
        try:
            return json.loads(json.dumps(module.handler(payload, context)))
        except KilledError:
            raise TaskError("Runtime.ExitError", "signal: killed") from None
        except DeadlineError:
            raise TaskError("Sandbox.Timedout", "Task timed out") from None
        except Exception as error:
            cause = {"errorType": type(error).__name__, "errorMessage": str(error)}
            self._trace_line(function, "raised", cause)
            raise TaskError(type(error).__name__, json.dumps(cause)) from error
        finally:
            task.deadline = None

    def _call_image_builder(self, action: str, arguments: Any) -> Any:
        """Call Image Builder as Step Functions' SDK integration does."""
        operation = model_of("imagebuilder").operation_model(action[0].upper() + action[1:])
        fault = self.faults.take_due(operation.name)
        self.calls += 1
        self._wait()
        if fault is not None:
            self._trace_line("States:", operation.name, fault)
            if fault.code in (LOST_RESPONSE, NO_ENTRY_ACCEPTED):
                raise TaskError("Imagebuilder.SdkClientException", fault.message)
            raise _refused(fault.code, fault.message, error_response(fault)[0])
        try:
            answer = self.builder.call(
                operation.name, convert_case(operation.input_shape, arguments, str.lower)
            )
        except LostResponseError as error:
            raise TaskError("Imagebuilder.SdkClientException", str(error)) from error
        except ServiceError as error:
            raise _refused(error.code, str(error), error.status or 400) from error
        return convert_case(operation.output_shape, answer, str.upper)

    def states(self, operation: str, arguments: Mapping[str, Any]) -> HttpResponse:
        """Respond as Step Functions does."""
        body: dict[str, Any]
        if operation == "DescribeExecution":
            found = self.executions[arguments["executionArn"]]
            body = {"executionArn": arguments["executionArn"], "status": found.status}
            body |= {"error": found.error, "cause": found.cause} if found.error else {}
            return _json(200, body)
        arn = f"{MACHINE.replace('stateMachine', 'execution')}:{arguments['name']}"
        known = self.executions.get(arn)
        if known and (known.status != "RUNNING" or known.input != arguments["input"]):
            return _json(400, {"__type": "ExecutionAlreadyExists", "message": "The name is used."})
        if known is None:
            self._start(arguments["input"], arn)
        return _json(200, {"executionArn": arn, "startDate": self.clock.now})

    def _deliver(self, event: str) -> None:
        """Start an execution with a random name, as EventBridge does."""
        name = UUID(int=self.random.getrandbits(128))
        self._start(event, f"{MACHINE.replace('stateMachine', 'execution')}:{name}")

    def _start(self, event: str, arn: str) -> None:
        self.executions[arn] = Execution(event)
        self._spawn(partial(self._execute, self.executions[arn], arn))

    def _execute(self, execution: Execution, arn: str) -> None:
        def raise_if_aborted() -> None:
            if execution.status != "RUNNING":
                raise AbortedError

        def perform(resource: str, arguments: Any) -> Any:
            raise_if_aborted()
            try:
                return self._perform(resource, arguments)
            finally:
                raise_if_aborted()

        def sleep(seconds: float) -> None:
            self.clock.sleep(seconds)
            raise_if_aborted()

        try:
            Machine(self._definition, perform, sleep, self.random).run(
                json.loads(execution.input), arn
            )
            execution.status = "SUCCEEDED"
        except TaskError as error:
            self._trace_line("execution failed", error)
            execution.status, execution.error = "FAILED", error.error
            execution.cause = error.cause
        except AbortedError:
            self._trace_line("execution aborted", arn)


class CachedSession:
    """A boto3 session for the functions; its clients are created once for all runs."""

    def client(self, service: str, **how: Any) -> Any:
        """Get a client."""
        return _client("client", service, **how)

    def resource(self, service: str, **how: Any) -> Any:
        """Get a resource."""
        return _client("resource", service, **how)


RUNNING: list[SimulatedServices] = []
"""The running simulation, if any, which gets the clients' requests."""


@cache
def _client(kind: str, service: str, **how: Any) -> Any:
    # A client keeps its retry quota: it is unlimited, so that one run does not use another's.
    quota = partial(botocore.retries.quota.RetryQuota, 10**9)
    with patch.object(botocore.retries.standard.quota, "RetryQuota", quota):
        return getattr(_simulated_session(), kind)(service, **how)


@cache
def _simulated_session() -> boto3.Session:
    session = new_session()
    events = session._session.get_component("event_emitter")
    events.unregister("before-send", botocore_stubber)
    events.register("before-send", _send)
    return session


def _send(**sent: Any) -> AWSResponse | None:
    return RUNNING[-1].handle_request(**sent)


def _refused(code: str, message: str, status: int) -> TaskError:
    """Make the error of a refused call of Image Builder, as Step Functions reports it."""
    cause = service_cause(message, "Imagebuilder", status)
    return TaskError(error_name("imagebuilder", code), cause)


def _body(request: AWSPreparedRequest) -> bytes:
    return bytes(request.body) if isinstance(request.body, bytes | bytearray) else b""


def _response(request: AWSPreparedRequest, answer: HttpResponse) -> AWSResponse:
    status, headers, body = answer
    return AWSResponse(request.url, status, HTTPHeaders.from_pairs(headers.items()), Raw(body))


def _json(status: int, body: Mapping[str, Any]) -> HttpResponse:
    return status, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(body).encode()
