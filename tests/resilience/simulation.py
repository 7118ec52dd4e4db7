"""A whole deployment in one process and without real time.

The real handlers of the real functions, driven by the real state machine's definition, call AWS
through real boto3 clients. moto's S3, DynamoDB, EventBridge and EC2 and the fake Image Builder
handle their requests, unless the schedule plans a fault. The seed decides the order of concurrent
requests, so that a run can be replayed.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import botocore.endpoint
import moto.dynamodb.models.table
import moto.s3.models
from moto import mock_aws

import isodrop.aws.staging
import isodrop.bootstrap
from isodrop import bootstrap
from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.aws.staging import StagingBucket
from isodrop.aws.step_functions import Execution as StepFunctionsExecution
from isodrop.aws.step_functions import StepFunctions
from isodrop_cli.operations import OperatorError, StackOperations
from isodrop_local.faults import LOST_RESPONSE, Fault
from isodrop_local.image_builder import FakeImageBuilder, LostResponseError, ServiceError
from isodrop_local.template import definition
from tests.integration.conftest import ACCOUNT as ENVIRON
from tests.integration.conftest import BUCKET, STAGING, ledger_properties
from tests.resilience.actors import (
    copied_etag,
    deleted,
    make_iso,
    maybe_sent,
    maybe_tokens,
    put,
    read_build_counts,
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
from tests.resilience.scheduler import BEGIN
from tests.resilience.simulated_services import (
    MACHINE,
    RUNNING,
    CachedSession,
    SimulatedServices,
    SynchronousExecutor,
    new_session,
)
from tests.resilience.state_machine import TaskError
from tests.support.harness import ACCOUNT, REGION, MotoEnvironment
from tests.support.moto_s3 import real_multipart

ROOT: Final = Path(__file__).resolve().parents[2]
SWEEP_EVERY: Final = 900.0
DAY: Final = 24 * 3600.0
WEEK: Final = 7 * DAY
PART_SIZE: Final = 256 * 1024
"""The part size of copies in simulations, because their ISOs are small."""


_BUSY: Final = ("started", "open", "removed", "freed", "slots_in_use", "errors")
PARAMETERS: Final = {"PollIntervalSeconds": 240, "TrackingTimeoutHours": 14}
"""Rarer polls than the template allows, because each takes real time."""


@cache
def _definition(**parameters: object) -> dict[str, Any]:
    return definition(**parameters)


class Simulation(SimulatedServices):
    """One run of one schedule.

    Parameters
    ----------
    schedule : Schedule
    trace : callable, optional
        Gets a line for each call and its result, for people.
    interruptions : mapping, optional
        An upload or action at the moment of a call, by the call's name and number, from 1.
    kill : tuple of int and bool, optional
        The number of the call, from 1, at which its function is killed; and whether after it.
    parameters : mapping, optional
        Parameters of the template, instead of :data:`PARAMETERS`.
    speed : float
        How many times faster than the real service builds are.
    max_seconds : float
        The maximum length of the simulation in seconds.
    """

    def __init__(
        self,
        schedule: Schedule,
        trace: Callable[[str], None] | None = None,
        *,
        interruptions: Mapping[tuple[str, int], Upload | OperatorAction] | None = None,
        kill: tuple[int, bool] | None = None,
        parameters: Mapping[str, int] | None = None,
        speed: float = 1.0,
        max_seconds: float = WEEK,
    ) -> None:
        self._max_seconds = max_seconds
        self.schedule = schedule
        self.sent: Counter[str] = Counter()
        self._interruptions = interruptions or {}
        self._kill = kill
        self._parameters = {**PARAMETERS, **(parameters or {})}
        self._speed = speed
        self._running = 0
        self._uploaded: list[UploadedIso] = []
        self._etags: dict[str, str] = {}
        self._lost_amis: dict[str, float] = {}
        self._lost_copies = False
        distributes = str(schedule.distributes).lower()
        super().__init__(
            schedule.seed, _definition(**self._parameters, DistributesImages=distributes), trace
        )
        for planned in schedule.faults:
            self.faults.add(planned.fault())

    def run(self) -> FinalState:
        """Run it to its end; return the final state."""
        with self._environment():
            for upload in self.schedule.uploads:
                self._spawn(partial(self._upload, upload), upload.at)
            for action in self.schedule.actions:
                self._spawn(partial(self._act, action), action.at)
            self.clock.spawn(self._sweep)
            self.clock.run(self._max_seconds)
            return self._end()

    def _spawn(self, run: Callable[[], None], after: float = 0.0) -> None:
        """Start a task that the sweeps wait for."""
        self._running += 1

        def counted() -> None:
            run()
            self._running -= 1

        self.clock.spawn(counted, after)

    def _sweep(self) -> None:
        """Sweep as the template's schedule does, until there is nothing left to sweep."""
        quiet = 0
        while self._running or quiet < 2:
            try:
                found = self._invoke("Sweep", {})
            except TaskError as error:
                self._trace_line("the sweep failed", error)
                found = {"started": 1}
            busy = self._running or self._is_building()
            busy = busy or any(found.get(name) for name in _BUSY)
            quiet = 0 if busy else quiet + 1
            self.clock.sleep(SWEEP_EVERY)

    def _is_building(self) -> bool:
        """Whether a build runs that will end, though perhaps no execution tracks it."""
        is_running = any(build.running for build in self.builder.builds.values())
        return is_running and self.clock.now < BEGIN + 3 * DAY

    # ------------------------------------------------------------------ the environment

    @contextmanager
    def _environment(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, ENVIRON, clear=True))
            stack.enter_context(mock_aws())
            stack.enter_context(real_multipart())
            # Copies have several parts, one after the other: the only threads are the scheduler's.
            stack.enter_context(patch.object(isodrop.bootstrap, "PART_SIZE", PART_SIZE))
            stack.enter_context(patch.object(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 1024))
            stack.enter_context(
                patch.object(isodrop.aws.staging, "ThreadPoolExecutor", SynchronousExecutor)
            )
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
            self._create_resources()
            RUNNING.append(self)
            stack.callback(RUNNING.pop)
            # A client's own quick retries wait for the real clock.
            stack.enter_context(
                patch.object(botocore.endpoint, "time", SimpleNamespace(sleep=self._back_off))
            )
            stack.enter_context(
                patch.object(bootstrap, "boto3", SimpleNamespace(Session=CachedSession))
            )
            stack.enter_context(patch.object(bootstrap, "datetime", self._datetime()))
            yield

    def _create_resources(self) -> None:
        """Create the template's resources."""
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
            "SUPPORTED_WINDOWS_BUILDS": "22621,26100",
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
        """Create a distribution configuration for this Region and another one."""
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

    def _due(self, service: str, operation: str) -> Fault | None:
        """Return the fault of a call, if any; first make any planned interruption."""
        call = f"{service}.{operation}"
        self.sent[call] += 1
        interruption = self._interruptions.get((call, self.sent[call]))
        if isinstance(interruption, OperatorAction):
            self._act(interruption)
        elif interruption is not None:
            self._upload(interruption)
        if self._kill is not None and self._kill[0] == self.sent.total():
            return Fault(
                operation, LOST_RESPONSE, service=service, committed=self._kill[1], kill_caller=True
            )
        return self.faults.take_due(operation, service)

    # ------------------------------------------------------------------ uploads and actions

    def _upload(self, upload: Upload) -> None:
        data = make_iso(upload.iso)
        etag, version = put(self.outside("s3"), BUCKET, upload.key, data, upload)
        self._trace_line("uploaded", upload.iso, "to", upload.key, version)
        self._etags[copied_etag(data, PART_SIZE)] = upload.iso
        self._uploaded.append(uploaded_iso(upload, upload.key, version))
        event = _event(upload, len(data), etag, version, len(self._uploaded))
        for delay in upload.delays:
            self._spawn(partial(self._deliver, json.dumps(event)), delay)

    def _act(self, action: OperatorAction) -> None:
        try:
            self._act_unchecked(action)
        except (
            *(ServiceError, LostResponseError, OperatorError),
            self.outside("ec2").exceptions.ClientError,
        ) as error:
            self._trace_line("no effect:", error)
        self._trace_line("somebody", action.kind, action.which)

    def _act_unchecked(self, action: OperatorAction) -> None:  # noqa: C901 - a table of actions
        builds = [*self.builder.builds.values()]
        imports = [build for build in builds if build.kind == "import"]
        running = [build.arn for build in builds if build.running]
        amis = [ami.image for build in builds for ami in build.amis]
        running_executions = [each for each in self.executions.values() if each.status == "RUNNING"]
        match action.kind:
            case ActionKind.DELETE_OBJECT | ActionKind.DELETE_VERSION if self._uploaded:
                one = self._uploaded[action.which % len(self._uploaded)]
                self._delete(one, permanently=action.kind is ActionKind.DELETE_VERSION)
            case ActionKind.DELETE_COPIES:
                self._lost_copies = self._lost_copies or bool(self._staging.empty())
            case ActionKind.CANCEL_BUILD if running:
                self.builder.cancel(running[action.which % len(running)])
            case ActionKind.DELETE_BUILD if builds:
                self.builder.delete(builds[action.which % len(builds)].arn)
            case ActionKind.FAIL_BUILD if running:
                self.builder.fail(running[action.which % len(running)])
            case ActionKind.DEREGISTER_AMI if amis:
                ami = amis[action.which % len(amis)]
                self.outside("ec2").deregister_image(ImageId=ami)
                self._lost_amis.setdefault(ami, self.clock.now)
            case ActionKind.BUILD_THE_SAME if imports:
                theirs = {**imports[action.which % len(imports)].request, "tags": {"by": "hand"}}
                theirs["clientToken"] = f"by hand {self.clock.now}"
                self.builder.call("ImportDiskImage", theirs)
            case ActionKind.RETRY if self._uploaded:
                self._retry(self._uploaded[action.which % len(self._uploaded)].key)
            case ActionKind.ABORT_EXECUTION if running_executions:
                running_executions[action.which % len(running_executions)].status = "ABORTED"
            case ActionKind.FORGET_TOKENS:
                self.builder.forget_tokens()

    def _delete(self, one: UploadedIso, *, permanently: bool) -> None:
        which = {"VersionId": one.version} if permanently else {}
        self.outside("s3").delete_object(Bucket=BUCKET, Key=one.key, **which)
        if permanently:
            self._uploaded = deleted(self._uploaded, one.version)

    def _retry(self, key: str) -> None:
        """Retry an upload as isodrop retry does."""
        operator = StackOperations(
            s3=self.outside("s3"),
            builder=ImageBuilder(_UNUSED, _UNUSED),
            ledger=Ledger(new_session().resource("dynamodb").Table("ledger")),
            executions=_Executions(_UNUSED, MACHINE, self),
            bucket=BUCKET,
        )
        operator.retry(operator.get_history(BUCKET, key), {})

    # ------------------------------------------------------------------ the final state

    def _end(self) -> FinalState:
        items = self.outside("dynamodb").scan(TableName="ledger")["Items"]
        return FinalState(
            uploaded=self._uploaded,
            published=self.published,
            builds=self.builder.history(),
            distributions=self.builder.history("distribution"),
            distributes=self.schedule.distributes,
            executions={arn: each.status for arn, each in self.executions.items()},
            versions=versions_by_upload(items),
            build_counts=read_build_counts(items, self.schedule.at_once, self.schedule.per_day),
            maybe_tokens=maybe_tokens(items),
            staged=[self._staging.uri(each.key) for each in self._staging.list_copies()],
            maybe_sent=maybe_sent(items),
            lost_copies=self._lost_copies,
            run_counts=runs_by_version(items),
            lost_amis=self._lost_amis,
            undelivered=0,
            violations=self.builder.controls.violations,
            isos=self._etags,
        )


_UNUSED: Any = None
"""Stands for clients that a retry does not use."""


@dataclass(frozen=True, slots=True)
class _Executions(StepFunctions):
    """The simulation's executions, as an operator's client starts and describes them."""

    simulation: Simulation

    def start_execution(self, name: str, event: Mapping[str, Any]) -> str | None:
        request = {"name": name, "input": json.dumps(event)}
        status, _, body = self.simulation.states("StartExecution", request)
        return str(json.loads(body)["executionArn"]) if status == HTTPStatus.OK else None

    def describe_execution(self, arn: str) -> StepFunctionsExecution | None:
        found = self.simulation.executions.get(arn)
        return None if found is None else StepFunctionsExecution(arn, found.status, found.cause)


def _event(upload: Upload, size: int, etag: str, version: str, number: int) -> dict[str, Any]:
    """Make S3's event of an upload."""
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
