"""A whole deployment in one process and without real time: our own code, and what it stands on.

The real handlers of the real functions, driven by the real state machine's definition, call AWS
through real boto3 clients. Their requests end at moto's S3, DynamoDB, EventBridge and EC2 and at
the stack's own Image Builder, unless the schedule says that something else becomes of them. Which
request comes first where several are under way is the seed's choice, so that a run can be replayed.
"""

import importlib.util
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any, Final, Self
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import boto3
import botocore.endpoint
import botocore.retries.quota
import botocore.retries.standard
import botocore.session
import moto.dynamodb.models.table
import moto.s3.models
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError
from moto import mock_aws
from moto.core.models import botocore_stubber

import isodrop.aws.staging
import isodrop.bootstrap
from isodrop import bootstrap
from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.aws.staging import StagingBucket
from isodrop.aws.step_functions import Execution as ExecutionAsTold
from isodrop.aws.step_functions import StepFunctions
from isodrop_cli.operations import Operator, OperatorError
from isodrop_local.faults import (
    LOST_RESPONSE,
    REJECTED,
    Answer,
    Fault,
    Faults,
    error_name,
    error_response,
    model_of,
    service_cause,
)
from isodrop_local.image_builder import FakeImageBuilder, LostResponseError, ServiceError, respond
from isodrop_local.image_builder.client import Raw
from isodrop_local.image_builder.shapes import convert_case
from isodrop_local.template import definition
from tests.integration.conftest import ACCOUNT as ENVIRON
from tests.integration.conftest import BUCKET, STAGING, ledger_properties
from tests.resilience.actors import (
    budget_of,
    copied_etag,
    deleted,
    make_iso,
    maybe_sent,
    maybe_tokens,
    put,
    runs_by_version,
    uploaded_iso,
    versions_by_upload,
)
from tests.resilience.oracle import FinalState, UploadedIso
from tests.resilience.schedule import (
    MAX_CONSECUTIVE_FAILURES,
    ActionKind,
    OperatorAction,
    Schedule,
    Upload,
)
from tests.resilience.scheduler import BEGIN, DeadlineError, VirtualScheduler
from tests.resilience.state_machine import Machine, TaskError
from tests.support.harness import ACCOUNT, REGION, MotoEnvironment
from tests.support.moto_s3 import real_multipart

ROOT: Final = Path(__file__).resolve().parents[2]
FUNCTIONS: Final = {"ImportIso": "import_iso", "ReportBuild": "report_build", "Sweep": "sweep"}
SECONDS: Final = {"ImportIso": 900.0, "ReportBuild": 150.0, "Sweep": 300.0}
SWEEP_EVERY: Final = 900.0
MACHINE: Final = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:isodrop"
DAY: Final = 24 * 3600.0
WEEK: Final = 7 * DAY
PART_SIZE: Final = 256 * 1024
"""Of the copies here: the ISOs are small."""
_BUSY: Final = ("started", "open", "removed", "released", "builds_at_once", "errors")
PARAMETERS: Final = {"PollIntervalSeconds": 240, "TrackingTimeoutHours": 14}
"""Rarer looks than the template allows at the most seldom: each costs real time here."""
_SERVICES: Final = {"eventbridge": "events", "sfn": "stepfunctions"}
"""Whom botocore's events call by another name than its clients."""


class AbortedError(BaseException):
    """The execution is stopped: nothing further of it runs."""


@dataclass(slots=True)
class Execution:
    """One execution of the state machine."""

    input: str
    status: str = "RUNNING"
    error: str = ""
    cause: str = ""


class AtOnce:
    """Stands for a pool of threads: does what it is given at once, in the caller's own."""

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, do: Callable[..., Any], *how: Any) -> Future[Any]:
        """Do it; who is killed meanwhile does nothing further."""
        done: Future[Any] = Future()
        try:
            done.set_result(do(*how))
        except Exception as error:  # noqa: BLE001 - as the pool does
            done.set_exception(error)
        return done


class KilledError(BaseException):
    """The function's process is killed; nothing in it catches that."""


@cache
def _module(name: str) -> ModuleType:
    """Import a function's code under a name of its own: both are called ``app``."""
    path = ROOT / "functions" / FUNCTIONS[name] / "app.py"
    spec = importlib.util.spec_from_file_location(f"promise_{FUNCTIONS[name]}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _loader() -> Any:
    """Share what all sessions read from disk."""
    return botocore.session.get_session().get_component("data_loader")


def _session() -> boto3.Session:
    core = botocore.session.get_session()
    core.register_component("data_loader", _loader())
    return boto3.Session(botocore_session=core)


@cache
def _outside(service: str) -> Any:
    return _session().client(service)  # type: ignore[call-overload] # any service


@cache
def _definition(**parameters: object) -> dict[str, Any]:
    return definition(**parameters)


class Simulation:
    """One run of one schedule.

    Parameters
    ----------
    schedule : Schedule
    trace : callable, optional
        Is told each call and what became of it, for people.
    meanwhile : mapping, optional
        What people do at the very moment of a call: by its name and number, from 1.
    kill : tuple of int and bool, optional
        Which call of a function, from 1, the function is killed at; and whether after it.
    parameters : mapping, optional
        The template's, instead of :data:`PARAMETERS`.
    speed : float
        How many times faster than the real service builds go.
    """

    def __init__(
        self,
        schedule: Schedule,
        trace: Callable[[str], None] | None = None,
        *,
        meanwhile: Mapping[tuple[str, int], Upload | OperatorAction] | None = None,
        kill: tuple[int, bool] | None = None,
        parameters: Mapping[str, int] | None = None,
        speed: float = 1.0,
    ) -> None:
        self.schedule = schedule
        self.random = Random(f"run {schedule.seed}")  # noqa: S311 # repeatable, not secret
        self.clock = VirtualScheduler()
        self.faults = Faults()
        self.calls = 0
        self.sent: Counter[str] = Counter()
        self._meanwhile = meanwhile or {}
        self._kill = kill
        self._parameters = {**PARAMETERS, **(parameters or {})}
        self._speed = speed
        self.heard: list[dict[str, Any]] = []
        self.executions: dict[str, Execution] = {}
        self._running = 0
        self._dropped: list[UploadedIso] = []
        self._etags: dict[str, str] = {}
        self._lost_amis: dict[str, float] = {}
        self._lost_copies = False
        self._trace = trace or (lambda _: None)
        distributes = str(schedule.distributes).lower()
        self._definition = _definition(**self._parameters, DistributesImages=distributes)
        for failure in schedule.faults:
            self.faults.add(failure.fault())

    def run(self) -> FinalState:
        """Run it to its end, and read how it ended."""
        with self._ground():
            for upload in self.schedule.uploads:
                self._spawn(partial(self._upload, upload), upload.at)
            for deed in self.schedule.deeds:
                self._spawn(partial(self._do, deed), deed.at)
            self.clock.spawn(self._sweep)
            self.clock.run(WEEK)
            return self._end()

    def _spawn(self, run: Callable[[], None], after: float = 0.0) -> None:
        """Let something run that sweeps wait for."""
        self._running += 1

        def counted() -> None:
            run()
            self._running -= 1

        self.clock.spawn(counted, after)

    def _sweep(self) -> None:
        """Sweep as the schedule has it, until there is nothing left to sweep."""
        quiet = 0
        while self._running or quiet < 2:
            try:
                found = self._invoked("Sweep", {})
            except TaskError as error:
                self._say("the sweep failed", error)
                found = {"started": 1}
            busy = self._running or self._is_building()
            busy = busy or any(found.get(name) for name in _BUSY)
            quiet = 0 if busy else quiet + 1
            self.clock.sleep(SWEEP_EVERY)

    def _is_building(self) -> bool:
        """Whether a build goes on that will end some day, though perhaps nobody follows it."""
        goes_on = any(build.running for build in self.builder.builds.values())
        return goes_on and self.clock.now < BEGIN + 3 * DAY

    # ------------------------------------------------------------------ the ground

    @contextmanager
    def _ground(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, ENVIRON, clear=True))
            stack.enter_context(mock_aws())
            stack.enter_context(real_multipart())
            # Copies of several parts, one after the other: the clock's threads are the only ones.
            stack.enter_context(patch.object(isodrop.bootstrap, "PART_SIZE", PART_SIZE))
            stack.enter_context(patch.object(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 1024))
            stack.enter_context(patch.object(isodrop.aws.staging, "ThreadPoolExecutor", AtOnce))
            for models in (moto.s3.models, moto.dynamodb.models.table):
                stack.enter_context(patch.object(models, "utcnow", self._now))
            self.builder = FakeImageBuilder(
                MotoEnvironment(self.outside),
                self.clock,
                account=ACCOUNT,
                region=REGION,
                speed=self._speed,
            )
            self.builder.quota = self.schedule.quota
            self._make()
            _running.append(self)
            stack.callback(_running.pop)
            # A client's own quick retries wait for the real clock.
            stack.enter_context(
                patch.object(botocore.endpoint, "time", SimpleNamespace(sleep=self._backed_off))
            )
            stack.enter_context(patch.object(bootstrap, "boto3", SimpleNamespace(Session=_Session)))
            stack.enter_context(patch.object(bootstrap, "datetime", self._datetime()))
            yield

    def _make(self) -> None:
        """Make what the template makes."""
        s3 = self.outside("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.create_bucket(Bucket=STAGING, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self.outside("dynamodb").create_table(TableName="ledger", **ledger_properties())
        made = self.builder.call(
            "CreateInfrastructureConfiguration",
            {"name": "imports", "instanceProfileName": "profile", "clientToken": "token"},
        )
        os.environ |= {
            "STACK_NAME": "isodrop",
            "LEDGER_TABLE": "ledger",
            "STAGING_BUCKET": STAGING,
            "EVENT_BUS": "default",
            "EDITION": "Enterprise",
            "SUPPORTED_BUILDS": "22621,26100",
            "ALLOWED_OVERRIDES": "edition,rebuild",
            "INFRASTRUCTURE_CONFIGURATION_ARN": made["infrastructureConfigurationArn"],
            "MAX_CONSECUTIVE_FAILURES": str(MAX_CONSECUTIVE_FAILURES),
            "MAX_BUILDS_AT_ONCE": str(self.schedule.at_once),
            "MAX_BUILDS_PER_DAY": str(self.schedule.per_day),
            "STATE_MACHINE_ARN": MACHINE,
            "UPLOAD_BUCKET": BUCKET,
            "TRACKING_HOURS": str(self._parameters["TrackingTimeoutHours"]),
            "POWERTOOLS_LOG_LEVEL": "CRITICAL",
            "POWERTOOLS_METRICS_DISABLED": "true",
        }
        if self.schedule.distributes:
            os.environ |= self._distribution()

    def _distribution(self) -> dict[str, str]:
        """Make a configuration that copies images here and to another Region."""
        regions = (REGION, "us-west-2")
        made = self.builder.call(
            "CreateDistributionConfiguration",
            {
                "name": "everywhere",
                "distributions": [
                    {"region": region, "amiDistributionConfiguration": {}} for region in regions
                ],
                "clientToken": "token",
            },
        )
        return {
            "DISTRIBUTION_CONFIGURATION_ARN": made["distributionConfigurationArn"],
            "EXECUTION_ROLE": f"arn:aws:iam::{ACCOUNT}:role/builds",
        }

    def outside(self, service: str) -> Any:
        """Get a client for whoever stands outside: nothing goes wrong with its calls."""
        return _outside(service)

    @property
    def _staging(self) -> StagingBucket:
        return StagingBucket(self.outside("s3"), STAGING)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now, UTC).replace(tzinfo=None)

    def _datetime(self) -> Any:
        clock = self.clock

        class Datetime(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.fromtimestamp(clock.now, tz)

        return Datetime

    # ------------------------------------------------------------------ what is called

    def _wait(self) -> None:
        """Let a call take its time: mostly little, sometimes much."""
        dice = self.random.random()
        most = 0.05 if dice < 0.85 else 2.0 if dice < 0.97 else 20.0
        self.clock.sleep(self.random.uniform(0.001, most))

    def _backed_off(self, _seconds: float) -> None:
        """Stand for the real sleep between a client's own quick retries, and its real dice."""
        self.clock.sleep(self.random.uniform(0.0, 2.0))

    def _say(self, *words: object) -> None:
        self._trace(f"{self.clock.now - 1_795_000_000:12.3f}  {' '.join(map(str, words))}")

    def sent_by_a_function(
        self, event_name: str, request: AWSPreparedRequest, **_more: Any
    ) -> AWSResponse | None:
        """Answer a request of a function's; what comes in the way is the schedule's choice."""
        _, name, operation = event_name.split(".")
        service = _SERVICES.get(name, name)
        self.calls += 1
        fault = self._due(service, operation)
        self._say(service, operation, "" if fault is None else fault)
        self._wait()
        if fault is not None and not fault.committed:
            return self._went_wrong(fault, request)
        answer = self._answered(service, operation, request)
        self._wait()
        if fault is not None:
            return self._went_wrong(fault, request)
        return answer

    def _due(self, service: str, operation: str) -> Fault | None:
        """Find out what becomes of a call; and let people do what they do at this very moment."""
        call = f"{service}.{operation}"
        self.sent[call] += 1
        meanwhile = self._meanwhile.get((call, self.sent[call]))
        if isinstance(meanwhile, OperatorAction):
            self._do(meanwhile)
        elif meanwhile is not None:
            self._upload(meanwhile)
        if self._kill is not None and self._kill[0] == self.sent.total():
            return Fault(
                operation, LOST_RESPONSE, service=service, committed=self._kill[1], kill_caller=True
            )
        return self.faults.take_due(operation, service)

    def _went_wrong(self, fault: Fault, request: AWSPreparedRequest) -> AWSResponse:
        if fault.kill_caller:
            raise KilledError
        if fault.code == LOST_RESPONSE:
            self.clock.sleep(20)
            raise ReadTimeoutError(endpoint_url=request.url)
        return _response(request, error_response(fault))

    def _answered(self, service: str, operation: str, request: AWSPreparedRequest) -> AWSResponse:
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
                self.heard.append({"detail-type": entry["DetailType"], "detail": detail})
                self._say("heard", entry["DetailType"], detail["data"].get("code", ""))
        return answer

    # ------------------------------------------------------------------ Lambda and Step Functions

    def _perform(self, resource: str, asked: Any) -> Any:
        """Do a task of the state machine."""
        if resource.startswith("arn:aws:states:::aws-sdk:imagebuilder:"):
            return self._integrated(resource.rpartition(":")[2], asked)
        function = asked["FunctionName"].rpartition(":")[2]
        fault = self.faults.take_due("Invoke", "lambda")
        self.calls += 1
        self._say("Invoke", function, asked["Payload"].get("report", ""), fault or "")
        self._wait()
        if fault is None:
            return {"Payload": self._invoked(function, asked["Payload"])}
        if fault.committed and not fault.kill_caller:
            # Nobody hears how it ends, yet it goes on: the next try runs beside it.
            self._spawn(partial(self._unheard, function, asked["Payload"]))
        if fault.kill_caller:
            raise TaskError("Runtime.ExitError", "signal: killed")
        if fault.code.startswith("Runtime."):
            raise TaskError(fault.code, fault.message)
        if fault.code == LOST_RESPONSE:
            raise TaskError("Lambda.SdkClientException", "Unable to execute HTTP request")
        cause = service_cause("An error occurred.", "Lambda", 500)
        raise TaskError("Lambda.ServiceException", cause)

    def _unheard(self, function: str, payload: Any) -> None:
        try:
            self._invoked(function, payload)
        except TaskError as error:
            self._say("nobody hears", error)

    def _invoked(self, function: str, payload: Any) -> Any:
        task = self.clock.current
        assert task is not None
        module = _module(function)
        for wired in ("intake", "services", "sweep"):
            if hasattr(module, wired):
                getattr(module, wired).cache_clear()
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
            said = {"errorType": type(error).__name__, "errorMessage": str(error)}
            self._say(function, "raised", said)
            raise TaskError(type(error).__name__, json.dumps(said)) from error
        finally:
            task.deadline = None

    def _integrated(self, action: str, asked: Any) -> Any:
        """Call Image Builder as Step Functions' SDK integration does."""
        operation = model_of("imagebuilder").operation_model(action[0].upper() + action[1:])
        fault = self.faults.take_due(operation.name)
        self.calls += 1
        self._wait()
        if fault is not None:
            self._say("States:", operation.name, fault)
            if fault.code in (LOST_RESPONSE, REJECTED):
                raise TaskError("Imagebuilder.SdkClientException", fault.message)
            raise _refused(fault.code, fault.message, error_response(fault)[0])
        try:
            answer = self.builder.call(
                operation.name, convert_case(operation.input_shape, asked, str.lower)
            )
        except LostResponseError as error:
            raise TaskError("Imagebuilder.SdkClientException", str(error)) from error
        except ServiceError as error:
            raise _refused(error.code, str(error), error.status or 400) from error
        return convert_case(operation.output_shape, answer, str.upper)

    def states(self, operation: str, asked: Mapping[str, Any]) -> Answer:
        """Answer as Step Functions does."""
        said: dict[str, Any]
        if operation == "DescribeExecution":
            found = self.executions[asked["executionArn"]]
            said = {"executionArn": asked["executionArn"], "status": found.status}
            said |= {"error": found.error, "cause": found.cause} if found.error else {}
            return _json(200, said)
        arn = f"{MACHINE.replace('stateMachine', 'execution')}:{asked['name']}"
        known = self.executions.get(arn)
        if known and (known.status != "RUNNING" or known.input != asked["input"]):
            return _json(400, {"__type": "ExecutionAlreadyExists", "message": "Taken."})
        if known is None:
            self._start(asked["input"], arn)
        return _json(200, {"executionArn": arn, "startDate": self.clock.now})

    def _deliver(self, event: str) -> None:
        """Let EventBridge start an execution, whose name it makes up."""
        name = UUID(int=self.random.getrandbits(128))
        self._start(event, f"{MACHINE.replace('stateMachine', 'execution')}:{name}")

    def _start(self, event: str, arn: str) -> None:
        self.executions[arn] = Execution(event)
        self._spawn(partial(self._execute, self.executions[arn], arn))

    def _execute(self, execution: Execution, arn: str) -> None:
        def unless_aborted() -> None:
            if execution.status != "RUNNING":
                raise AbortedError

        def perform(resource: str, asked: Any) -> Any:
            unless_aborted()
            try:
                return self._perform(resource, asked)
            finally:
                unless_aborted()

        def sleep(seconds: float) -> None:
            self.clock.sleep(seconds)
            unless_aborted()

        try:
            Machine(self._definition, perform, sleep, self.random).run(
                json.loads(execution.input), arn
            )
            execution.status = "SUCCEEDED"
        except TaskError as error:
            self._say("execution failed", error)
            execution.status, execution.error = "FAILED", error.error
            execution.cause = error.cause
        except AbortedError:
            self._say("execution aborted", arn)

    # ------------------------------------------------------------------ people

    def _upload(self, upload: Upload) -> None:
        data = make_iso(upload.iso)
        etag, version = put(self.outside("s3"), BUCKET, upload.key, data, upload)
        self._say("uploaded", upload.iso, "to", upload.key, version)
        self._etags[copied_etag(data, PART_SIZE)] = upload.iso
        self._dropped.append(uploaded_iso(upload, upload.key, version))
        event = _event(upload, len(data), etag, version, len(self._dropped))
        for delay in upload.delays:
            self._spawn(partial(self._deliver, json.dumps(event)), delay)

    def _do(self, deed: OperatorAction) -> None:
        try:
            self._done(deed)
        except (
            *(ServiceError, LostResponseError, OperatorError),
            self.outside("ec2").exceptions.ClientError,
        ) as error:
            self._say("in vain:", error)
        self._say("somebody", deed.do, deed.which)

    def _done(self, deed: OperatorAction) -> None:  # noqa: C901 - a table of what people do
        builds = [*self.builder.builds.values()]
        imports = [build for build in builds if build.kind == "import"]
        running = [build.arn for build in builds if build.running]
        amis = [ami.image for build in builds for ami in build.amis]
        going = [each for each in self.executions.values() if each.status == "RUNNING"]
        match deed.do:
            case ActionKind.DELETE_OBJECT | ActionKind.DELETE_VERSION if self._dropped:
                one = self._dropped[deed.which % len(self._dropped)]
                self._delete(one, for_good=deed.do is ActionKind.DELETE_VERSION)
            case ActionKind.DELETE_COPIES:
                self._lost_copies = self._lost_copies or bool(self._staging.empty())
            case ActionKind.CANCEL_BUILD if running:
                self.builder.cancel(running[deed.which % len(running)])
            case ActionKind.DELETE_BUILD if builds:
                self.builder.delete(builds[deed.which % len(builds)].arn)
            case ActionKind.FAIL_BUILD if running:
                self.builder.fail(running[deed.which % len(running)])
            case ActionKind.DEREGISTER_AMI if amis:
                ami = amis[deed.which % len(amis)]
                self.outside("ec2").deregister_image(ImageId=ami)
                self._lost_amis.setdefault(ami, self.clock.now)
            case ActionKind.BUILD_THE_SAME if imports:
                theirs = {**imports[deed.which % len(imports)].request, "tags": {"by": "hand"}}
                theirs["clientToken"] = f"by hand {self.clock.now}"
                self.builder.call("ImportDiskImage", theirs)
            case ActionKind.RETRY if self._dropped:
                self._retry(self._dropped[deed.which % len(self._dropped)].key)
            case ActionKind.ABORT_EXECUTION if going:
                going[deed.which % len(going)].status = "ABORTED"
            case ActionKind.FORGET_TOKENS:
                self.builder.forget_tokens()

    def _delete(self, one: UploadedIso, *, for_good: bool) -> None:
        which = {"VersionId": one.version} if for_good else {}
        self.outside("s3").delete_object(Bucket=BUCKET, Key=one.key, **which)
        if for_good:
            self._dropped = deleted(self._dropped, one.version)

    def _retry(self, key: str) -> None:
        """Do what isodrop retry does."""
        operator = Operator(
            s3=self.outside("s3"),
            builder=ImageBuilder(_NOBODY, _NOBODY),
            ledger=Ledger(_session().resource("dynamodb").Table("ledger")),
            executions=_Executions(_NOBODY, MACHINE, self),
            bucket=BUCKET,
        )
        operator.retry(operator.get_history(BUCKET, key), {})

    # ------------------------------------------------------------------ the end

    def _end(self) -> FinalState:
        items = self.outside("dynamodb").scan(TableName="ledger")["Items"]
        return FinalState(
            uploaded=self._dropped,
            heard=self.heard,
            builds=self.builder.history(),
            distributions=self.builder.history("distribution"),
            distributes=self.schedule.distributes,
            executions={arn: each.status for arn, each in self.executions.items()},
            runs=versions_by_upload(items),
            budget=budget_of(items, self.schedule.at_once, self.schedule.per_day),
            maybe_tokens=maybe_tokens(items),
            staged=[self._staging.uri(each.key) for each in self._staging.list_copies()],
            maybe_sent=maybe_sent(items),
            lost_copies=self._lost_copies,
            retries=runs_by_version(items),
            lost_amis=self._lost_amis,
            undelivered=0,
            violations=self.builder.controls.violations,
            isos=self._etags,
        )


_NOBODY: Any = None
"""Whom an operator that retries does not call."""


@dataclass(frozen=True, slots=True)
class _Executions(StepFunctions):
    """The simulation's executions, as an operator's own client would start and see them."""

    simulation: Simulation

    def start_execution(self, name: str, event: Mapping[str, Any]) -> str | None:
        asked = {"name": name, "input": json.dumps(event)}
        status, _, said = self.simulation.states("StartExecution", asked)
        return str(json.loads(said)["executionArn"]) if status == HTTPStatus.OK else None

    def describe_execution(self, arn: str) -> ExecutionAsTold | None:
        found = self.simulation.executions.get(arn)
        return None if found is None else ExecutionAsTold(arn, found.status, found.cause)


class _Session:
    """boto3's session as the functions make it; its clients are made but once for all runs."""

    def client(self, service: str, **how: Any) -> Any:
        """Get a client."""
        return _inside("client", service, **how)

    def resource(self, service: str, **how: Any) -> Any:
        """Get a resource."""
        return _inside("resource", service, **how)


_running: list[Simulation] = []
"""Whoever runs, if anybody does: the clients' requests are theirs."""


@cache
def _inside(kind: str, service: str, **how: Any) -> Any:
    # A client's budget of retries lasts: without an end, lest one run should miss another's.
    quota = partial(botocore.retries.quota.RetryQuota, 10**9)
    with patch.object(botocore.retries.standard.quota, "RetryQuota", quota):
        return getattr(_wired(), kind)(service, **how)


@cache
def _wired() -> boto3.Session:
    session = _session()
    events = session._session.get_component("event_emitter")
    events.unregister("before-send", botocore_stubber)
    events.register("before-send", _handed_on)
    return session


def _handed_on(**sent: Any) -> AWSResponse | None:
    return _running[-1].sent_by_a_function(**sent)


def _refused(code: str, message: str, status: int) -> TaskError:
    """Refuse a call of Image Builder as Step Functions tells it."""
    cause = service_cause(message, "Imagebuilder", status)
    return TaskError(error_name("imagebuilder", code), cause)


def _body(request: AWSPreparedRequest) -> bytes:
    return bytes(request.body) if isinstance(request.body, bytes | bytearray) else b""


def _response(request: AWSPreparedRequest, answer: Answer) -> AWSResponse:
    status, headers, body = answer
    return AWSResponse(request.url, status, HTTPHeaders.from_pairs(headers.items()), Raw(body))


def _json(status: int, said: Mapping[str, Any]) -> Answer:
    return status, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(said).encode()


def _event(upload: Upload, size: int, etag: str, version: str, number: int) -> dict[str, Any]:
    """Tell of an upload as S3 does."""
    event: dict[str, Any] = json.loads((ROOT / "events/in/good.json").read_text())
    event["detail"]["bucket"]["name"] = BUCKET
    event["detail"]["object"] = {
        "key": upload.key,
        "size": size,
        "etag": etag,
        "version-id": version,
        "sequencer": f"{number:016X}",
    }
    return event
