"""An upload from event to answer in one process: isodrop, moto's AWS, the fake Image Builder.

:meth:`ImportHarness.follow` does what Step Functions does, in the simplest way:
poll, wait, poll again. The stack's tests run the real definition.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from isodrop.aws.allow_list import AllowListSource
from isodrop.aws.event_bus import EventPublisher
from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.aws.s3_events import parse_event
from isodrop.aws.staging import StagingBucket
from isodrop.aws.step_functions import StepFunctions
from isodrop.domain.allow_list import AllowList, AllowListMode
from isodrop.domain.build import BuildPhase
from isodrop.domain.build_limits import BuildLimits
from isodrop.domain.content import PART_SIZE
from isodrop.domain.model import FIRST_RUN, DistributionSettings, ImportSettings, RunRequest, Upload
from isodrop.domain.overrides import RULES
from isodrop.domain.results import ExecutionError
from isodrop.domain.run import Run
from isodrop.domain.sweep_summary import SweepSummary
from isodrop.services.allow_list import AllowListGate
from isodrop.services.annotations import Annotator
from isodrop.services.distribution import Distributor
from isodrop.services.intake import Intake, IntakeResult, NextStep
from isodrop.services.latest import LatestParameters
from isodrop.services.outcomes import OutcomeReader
from isodrop.services.reporting import Reporter
from isodrop.services.staging import Stager
from isodrop.services.submission import BuildSubmitter
from isodrop.services.sweep import Sweeper
from isodrop_cli.operations import StackOperations
from isodrop_local.image_builder import FakeImageBuilder, client
from isodrop_local.iso_maker import EditionSpec, business_editions, make_iso
from tests.integration.conftest import BUCKET, STAGING

ACCOUNT = "123456789012"
REGION = "eu-central-1"
TRACKING_POLL_SECONDS = 240.0  # seconds; the real state machine polls every minute


@dataclass(slots=True)
class Clock:
    """A clock that a test advances."""

    now: float = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now

    def time(self) -> datetime:
        """The time as a datetime."""
        return datetime.fromtimestamp(self.now, UTC)


@dataclass(frozen=True, slots=True)
class MotoEnvironment:
    """The services that the fake Image Builder uses: moto's S3 and EC2."""

    client: Callable[[str], Any]

    def owns_bucket(self, bucket: str) -> bool:
        """Whether it is one of the two buckets."""
        return bucket in {BUCKET, STAGING}

    def object_etag(self, bucket: str, key: str) -> str | None:
        """The current object's ETag."""
        s3 = self.client("s3")
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        return next((each["ETag"].strip('"') for each in listed if each["Key"] == key), None)

    def register_image(self, name: str, description: str) -> str:
        """Register with moto's EC2."""
        made = self.client("ec2").register_image(
            Name=name, Description=description, RootDeviceName="/dev/sda1"
        )
        return str(made["ImageId"])

    def publish(self, event: Mapping[str, Any]) -> None:
        """Image Builder's own events are not used here."""

    def kill_caller(self) -> None:
        """Nothing can be killed here."""


@dataclass(slots=True)
class ImportHarness:
    """The services of one stack, and the events that it published."""

    session: boto3.Session
    ledger: Ledger
    folder: Path
    clock: Clock = field(default_factory=Clock)
    writes: int = 0
    across_windows_builds: bool = False
    part_size: int = PART_SIZE
    limits: BuildLimits | None = None
    allow_list_mode: AllowListMode = AllowListMode.OFF
    allow_list_source: str | None = None
    distribution: DistributionSettings | None = None
    image_builder: FakeImageBuilder = field(init=False)
    settings: ImportSettings = field(init=False)
    builder: ImageBuilder = field(init=False)
    queue: str = field(init=False)
    clients: dict[str, Any] = field(default_factory=dict)
    machine_arn: str = ""
    logged: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.image_builder = FakeImageBuilder(
            MotoEnvironment(self.client), self.clock, account=ACCOUNT, region=REGION
        )
        imagebuilder = client(self.image_builder)
        made = imagebuilder.create_infrastructure_configuration(
            name="isodrop-imports", instanceProfileName="profile", clientToken="token"
        )
        self.settings = ImportSettings(
            "isodrop",
            made["infrastructureConfigurationArn"],
            allowed_overrides=frozenset(RULES),
        )
        self.builder = ImageBuilder(imagebuilder=imagebuilder, ec2=self.session.client("ec2"))
        self.queue = self._subscribe()

    def _subscribe(self) -> str:
        sqs, events = self.client("sqs"), self.client("events")
        url = sqs.create_queue(QueueName="answers")["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:answers"
        events.put_rule(Name="answers", EventPattern=json.dumps({"source": ["isodrop"]}))
        events.put_targets(Rule="answers", Targets=[{"Id": "queue", "Arn": arn}])
        return str(url)

    def client(self, service: str) -> Any:
        """A cached boto3 client: creating one takes longer than most calls."""
        if service not in self.clients:
            self.clients[service] = self.session.client(service)  # type: ignore[call-overload] # any service
        return self.clients[service]

    @property
    def intake(self) -> Intake:
        """The service of ImportIso, created again, as in a new process."""
        return Intake(
            s3=self.client("s3"),
            builder=self.builder,
            ledger=self.ledger,
            settings=self.settings,
            uefi_data_uri=None,
            stager=self.stager,
            gate=AllowListGate(
                bucket=self.stager.bucket,
                ledger=self.ledger,
                mode=self.allow_list_mode,
                read_list=self.read_allow_list,
                chunk_size=64 * 1024,
            ),
            submitter=self.submitter,
            now=self.clock.time,
        )

    def read_allow_list(self) -> AllowList:
        """Read the allow-list from its source."""
        s3, ssm = (lambda: self.client("s3")), (lambda: self.client("ssm"))
        return AllowListSource(s3, ssm, self.allow_list_source).read()

    @property
    def stager(self) -> Stager:
        """The service that makes the copies."""
        bucket = StagingBucket(self.client("s3"), STAGING)
        return Stager(bucket, self.builder, self.ledger, self.clock.time, self.part_size)

    def staged(self) -> list[str]:
        """The copies in the staging bucket, and the uploads in progress."""
        return [each.key for each in self.stager.bucket.list_copies()]

    @property
    def submitter(self) -> BuildSubmitter:
        """The service that submits builds."""
        return BuildSubmitter(
            self.builder,
            self.ledger,
            "isodrop",
            max_consecutive_failures=2,
            limits=self.limits,
            now=self.clock.time,
        )

    @property
    def reporter(self) -> Reporter:
        """The service of ReportBuild that publishes events."""
        return Reporter(
            ledger=self.ledger,
            publisher=EventPublisher(self.client("events"), "default"),
            outcomes=OutcomeReader(self.builder, self.ledger, self.clock.time),
            stager=self.stager,
            annotator=Annotator(
                s3=self.client("s3"),
                builder=self.builder,
                latest=LatestParameters(
                    builder=self.builder,
                    ssm=self.client("ssm"),
                    ledger=self.ledger,
                    across_windows_builds=self.across_windows_builds,
                    now=self.clock.time,
                ),
                clock=lambda: self.clock.now,
            ),
            stack="isodrop",
            now=self.clock.time,
            count_answer=lambda _run, answer, _now: self.counted.append(answer.detail_type),
        )

    @property
    def distributor(self) -> Distributor:
        """The service of ReportBuild that starts distributions."""
        return Distributor(
            self.builder, self.ledger, self.submitter, self.distribution, self.clock.time
        )

    def start_distribution(self, upload: Upload, execution: str = "execution-1") -> str | None:
        """Start a distribution; return the ARN to track."""
        run = self.claim_run(upload, execution)
        return self.distributor.start_distribution(run).distribution.arn

    @property
    def executions(self) -> StepFunctions:
        """A state machine whose executions do nothing until they are stopped."""
        if not self.machine_arn:
            made = self.client("stepfunctions").create_state_machine(
                name="ImportStateMachine",
                roleArn=f"arn:aws:iam::{ACCOUNT}:role/import-state-machine",
                definition='{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}',
            )
            self.machine_arn = made["stateMachineArn"]
        return StepFunctions(self.client("stepfunctions"), self.machine_arn)

    def run(self, name: str) -> str:
        """Start an execution of that name; return its ARN."""
        arn = self.executions.start_execution(name, {})
        assert arn is not None
        return arn

    def abort(self, execution: str) -> None:
        """Stop an execution."""
        self.client("stepfunctions").stop_execution(
            executionArn=execution, error="Stopped", cause="by hand"
        )

    def sweep(
        self,
        has_time: Callable[[], bool] = lambda: True,
        prefix: str = "",
        *,
        requires_malware_scan: bool = False,
    ) -> SweepSummary:
        """Run a sweep."""
        return Sweeper(
            s3=self.client("s3"),
            builder=self.builder,
            ledger=self.ledger,
            executions=self.executions,
            distributor=self.distributor,
            outcomes=self.reporter.outcomes,
            reporter=self.reporter,
            bucket=BUCKET,
            tracking_timeout=timedelta(hours=16),
            now=self.clock.time,
            has_time=has_time,
            log=lambda message, fields: self.logged.append((message, fields)),
            prefix=prefix,
            requires_malware_scan=requires_malware_scan,
        ).run()

    @property
    def operations(self) -> StackOperations:
        """The operator of this stack."""
        return StackOperations(
            s3=self.client("s3"),
            builder=self.builder,
            ledger=self.ledger,
            executions=self.executions,
            bucket=BUCKET,
        )

    def started(self) -> list[tuple[Upload, RunRequest, str]]:
        """The uploads and requests of the executions, and their ARNs, the oldest first."""
        found = []
        for event, arn in self.started_with():
            upload, request, _ = parse_event(event)
            found.append((upload, request, arn))
        return found

    def started_with(self) -> list[tuple[dict[str, Any], str]]:
        """The events of the executions, and their ARNs, the oldest first."""
        states = self.client("stepfunctions")
        found = []
        listed = states.list_executions(stateMachineArn=self.executions.machine_arn)
        for each in listed["executions"]:
            arn = each["executionArn"]
            event = json.loads(states.describe_execution(executionArn=arn)["input"])
            if event:
                found.append((event, arn))
        return found[::-1]

    def iso(self, editions: tuple[EditionSpec, ...] | None = None, **how: Any) -> bytes:
        """Make an ISO."""
        path = self.folder / "made.iso"
        make_iso(path, editions=editions or business_editions(), **how)
        return path.read_bytes()

    def upload(self, key: str = "win11.iso", body: bytes | None = None, **metadata: str) -> Upload:
        """Put an object; return the upload of its event."""
        data = self.iso() if body is None else body
        answer = self.client("s3").put_object(
            Bucket=BUCKET,
            Key=key,
            Body=data,
            Metadata={name.replace("_", "-"): value for name, value in metadata.items()},
        )
        self.writes += 1
        return Upload(
            bucket=BUCKET,
            key=key,
            etag=answer["ETag"].strip('"'),
            size=len(data),
            sequencer=f"{self.writes:016X}",
            version_id=answer.get("VersionId"),
        )

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.client("s3").delete_object(Bucket=BUCKET, Key=key)

    def follow(
        self, upload: Upload, execution: str = "execution-1", request: RunRequest = FIRST_RUN
    ) -> IntakeResult:
        """Do what the state machine does, from the upload to the answer."""
        outcome = self.intake.process(upload, execution, request)
        if outcome.next_step is NextStep.SKIP:
            return outcome
        if outcome.build_arn is not None:
            self.reporter.publish_started(self.claim_run(upload, execution, request))
            self.wait_for(outcome.build_arn, upload, execution, request)
            run = self.distributor.start_distribution(self.claim_run(upload, execution, request))
            if run.distribution.arn is not None:
                self.wait_for(run.distribution.arn, upload, execution, request)
        self.reporter.publish_answer(self.claim_run(upload, execution, request))
        return outcome

    def wait_for(
        self, build_arn: str, upload: Upload, execution: str, request: RunRequest = FIRST_RUN
    ) -> None:
        """Poll a build until it has ended, at most a thousand times."""
        seen = None
        for _ in range(1000):
            build = self.builder.get_build(build_arn)
            if build is None or build.phase is not BuildPhase.RUNNING:
                return
            if build.status != seen:
                run = self.reporter.record_status(upload, execution, request, build.status)
                assert run is not None
                self.reporter.publish_progress(run, build.status, seen)
                seen = build.status
            self.clock.now += TRACKING_POLL_SECONDS

    def answer_broken(self, upload: Upload, error: str, cause: str, execution: str) -> None:
        """Do what the state machine does if an execution fails."""
        self.reporter.publish_answer(
            self.claim_run(upload, execution), ExecutionError(error, cause)
        )

    def claim_run(
        self, upload: Upload, execution: str = "execution-1", request: RunRequest = FIRST_RUN
    ) -> Run:
        """Claim the upload's run."""
        run = self.reporter.claim_run(upload, execution, request)
        assert run is not None
        return run

    def published(self) -> list[dict[str, Any]]:
        """All events since the last call, oldest first."""
        sqs = self.client("sqs")
        found: list[dict[str, Any]] = []
        while True:
            page = sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
            if not page.get("Messages"):
                return found
            for message in page["Messages"]:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])

    def answers(self) -> list[dict[str, Any]]:
        """The answers among the events."""
        last = ("Succeeded", "Failed", "Rejected")
        return [event for event in self.published() if event["detail-type"].endswith(last)]

    def submissions(self) -> int:
        """How often ImportDiskImage was called."""
        return len(self.image_builder.controls.calls_of("ImportDiskImage"))

    def advance_clock(self, **delta: float) -> None:
        """Advance the clock."""
        self.clock.now += timedelta(**delta).total_seconds()


@contextmanager
def failing(client: Any, operation: str, code: str, status: int = 400) -> Iterator[None]:
    """Make each call of an operation of a client fail with an AWS error."""

    def fail(**_: Any) -> None:
        response = {
            "Error": {"Code": code, "Message": "as reported"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        raise ClientError(response, operation)  # type: ignore[arg-type] # the stubs want all of it

    name = f"before-call.*.{operation}"
    client.meta.events.register(name, fail)
    yield
    client.meta.events.unregister(name, fail)


def refuse(client: Any, operation: str) -> None:
    """Make AWS refuse an operation of a client."""

    def refused(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not allowed"}}, operation)

    client.meta.events.register(f"before-call.*.{operation}", refused)


def hide_amis(harness: ImportHarness, minutes: float) -> None:
    """Make EC2 return no AMI for some minutes, as it may with new ones."""
    for operation in ("DescribeImages", "CreateTags"):
        _hide(harness, harness.builder.ec2, operation, "InvalidAMIID.NotFound", minutes)


def hide_builds(harness: ImportHarness, minutes: float) -> None:
    """Make Image Builder return no build for some minutes."""
    _hide(harness, harness.builder.imagebuilder, "GetImage", "ResourceNotFoundException", minutes)


def _hide(harness: ImportHarness, client: Any, operation: str, code: str, minutes: float) -> None:
    until = harness.clock.now + 60 * minutes

    def unknown(**_: Any) -> None:
        if harness.clock.now < until:
            error = {"Error": {"Code": code, "Message": "does not exist"}}
            raise ClientError(error, operation)  # type: ignore[arg-type] # the stubs want more

    client.meta.events.register(f"before-call.*.{operation}", unknown)
