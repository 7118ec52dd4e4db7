"""The local stack for tests and the demo: start, deploy, upload, receive events, stop."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypedDict

import boto3
from botocore.config import Config

from isodrop_local.deploy import deploy
from isodrop_local.packaging import ROOT

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
ANSWERS: Final = frozenset({"ISO Import Succeeded", "ISO Import Failed", "ISO Import Rejected"})
DEFAULT_WAIT_SCALE: Final = 0.002
"""The default fraction of real time that everything takes: half an hour in 3.6 s."""

BYTECODE: Final = {"PYTHONPYCACHEPREFIX": str(ROOT / "build" / "bytecode")}
"""Where bytecode goes unless the environment says otherwise: the emulator starts in a third of the
time with it, and the sources' folders stay clean."""

PARAMETERS: Final = {"MinIsoMegabytes": 0}
"""The default parameters of a deployment: the ISOs made here are small."""

Event = dict[str, Any]


class StackError(Exception):
    """The local stack failed or cannot be used; the message says why."""


class EmulatedStack:
    """The emulator in its own process, with template.yaml deployed to it.

    Parameters
    ----------
    wait_scale : float
        The fraction of real time that waits, retries and builds take.
    name : str
        The CloudFormation stack's name.
    port : int
        The port on 127.0.0.1; 0 for a free one.
    extra_addresses : sequence of str
        Other addresses of this machine that it listens on, at the same port.
    files : iterable of pathlib.Path
        Files, and folders, that :meth:`link` may put into the bucket: the emulator reads
        no others.

    Examples
    --------
    >>> with EmulatedStack() as stack:                                     # doctest: +SKIP
    ...     stack.deploy({"MaxConsecutiveFailures": 2})
    ...     stack.upload(Path("Win11.iso"))
    ...     stack.wait_for_answer("Win11.iso")["detail-type"]
    'ISO Import Succeeded'
    """

    def __init__(
        self,
        *,
        wait_scale: float = DEFAULT_WAIT_SCALE,
        name: str = "isodrop",
        port: int = 0,
        extra_addresses: Sequence[str] = (),
        files: Iterable[Path] = (),
    ) -> None:
        self.wait_scale = wait_scale
        self.name = name
        self.endpoint = ""
        self.outputs: dict[str, str] = {}
        self.parameters: dict[str, str] = {}
        self.image_builder = RemoteImageBuilder(self)
        self._wanted_port = port
        self._listen_options = [
            word for address in extra_addresses for word in ("--listen-address", address)
        ]
        self._files = tuple(files)
        self._log: deque[str] = deque(maxlen=400)
        self._received: Subscription | None = None
        self._clients: dict[str, Any] = {}
        self._server: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._home: tempfile.TemporaryDirectory[str] | None = None

    # ------------------------------------------------------------------ start and stop

    def __enter__(self) -> Self:
        """Start the emulator and wait until it is ready."""
        # The server removes its files; those of a killed server are removed with this folder.
        self._home = tempfile.TemporaryDirectory(prefix="isodrop-", ignore_cleanup_errors=True)
        self._server = subprocess.Popen(
            [
                *(sys.executable, "-m", "isodrop_local.server", "--with-parent"),
                *("--port", str(self._wanted_port), "--wait-scale", str(self.wait_scale)),
                *self._listen_options,
                *(word for path in self._files for word in ("--open-file", str(path.resolve()))),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**BYTECODE, **os.environ, "TMPDIR": self._home.name},
            # Ctrl-C is handled here; the server stops when its stdin is closed.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._keep_log, args=(self._server,), daemon=True)
        self._reader.start()
        assert self._server.stdout
        port = self._server.stdout.readline().strip()
        if not port:
            self.__exit__(None, None, None)
            raise StackError(f"the emulator did not start:\n{self.log()}")
        self.endpoint = f"http://127.0.0.1:{port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the emulator; it removes its files."""
        server, self._server = self._server, None
        if server is None or self._home is None:
            return
        assert server.stdin
        assert server.stdout
        server.stdin.close()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()
        for client in self._clients.values():
            client.close()
        self._home.cleanup()

    def deploy(self, parameters: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Deploy template.yaml and subscribe to its events."""
        given = {**PARAMETERS, **(parameters or {})}
        self.parameters = {key: str(value) for key, value in given.items()}
        if self._received is None:
            # As in an account in which Image Builder has been used before. CreateServiceLinkedRole
            # gives the role another name in the emulator.
            self.client("iam").create_role(
                RoleName="AWSServiceRoleForImageBuilder",
                Path="/aws-service-role/imagebuilder.amazonaws.com/",
                AssumeRolePolicyDocument="{}",
            )
        self.outputs = deploy(
            self.client("cloudformation"), self.client("s3"), self.name, self.parameters
        )
        if self._received is None:
            bus = self.outputs.get("EventBusName", "default")
            self._received = self.subscribe("isodrop", {"source": ["isodrop"]}, bus)
        return self.outputs

    def log(self, lines: int = 40) -> str:
        """Get the end of the emulator's log."""
        if self._reader and (self._server is None or self._server.poll() is not None):
            self._reader.join(1)
        return "".join(list(self._log)[-lines:])

    def _keep_log(self, server: "subprocess.Popen[str]") -> None:
        assert server.stderr
        with server.stderr as lines:
            self._log.extend(lines)

    def _check_running(self) -> None:
        if self._server is None or self._server.poll() is not None:
            code = self._server.returncode if self._server else None
            raise StackError(f"the emulator is gone (exit {code}); its log ends:\n{self.log()}")

    # ------------------------------------------------------------------ clients and control API

    def create_role(self, name: str, *statements: Mapping[str, Any]) -> str:
        """Create a role that anybody may assume, with a policy; return its ARN."""
        iam = self.client("iam")
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]
        if statements:
            iam.put_role_policy(
                RoleName=name, PolicyName="may", PolicyDocument=_policy(*statements)
            )
        return str(role["Arn"])

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which boto3, the AWS CLI and isodrop use this stack."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "none",
            "ISODROP_STACK": self.name,
        }

    def client(self, service: str) -> Any:
        """Return a boto3 client for this stack."""
        self._check_running()
        if service not in self._clients:
            session: Any = boto3.session.Session(**credentials())
            config = Config(retries={"total_max_attempts": 2}, read_timeout=70)
            self._clients[service] = session.client(
                service, endpoint_url=self.endpoint, config=config
            )
        return self._clients[service]

    def control(self, path: str, request_body: Mapping[str, Any] | None = None) -> Any:
        """Call the control API; see :mod:`isodrop_local.control_api`."""
        self._check_running()
        request = urllib.request.Request(  # noqa: S310  # always http on the loopback address
            f"{self.endpoint}/_isodrop/{path}",
            data=json.dumps(dict(request_body or {})).encode(),
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise StackError(f"{path}: {error.read().decode()}") from error

    @property
    def bucket(self) -> str:
        """The upload bucket."""
        return self.outputs["UploadBucketName"]

    def upload(
        self, path: Path, key: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> str:
        """Upload a file; return its key."""
        key = path.name if key is None else key
        self.client("s3").upload_file(
            str(path), self.bucket, key, ExtraArgs={"Metadata": dict(metadata or {})}
        )
        return key

    def link(
        self, path: Path, key: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> str:
        """Put one of the stack's files into the bucket without copying it; return its key."""
        key = path.name if key is None else key
        request_body = {"bucket": self.bucket, "key": key, "path": str(path.resolve())}
        self.control("objects", {**request_body, "metadata": dict(metadata or {})})
        return key

    def list_reads(self, key: str) -> list[tuple[int, int]]:
        """List the ranges that were read of a linked file: offset and length."""
        request_body = {"bucket": self.bucket, "key": key}
        return [(offset, length) for offset, length in self.control("objects/reads", request_body)]

    # ------------------------------------------------------------------ faults

    def s3_behavior(self, **what: Any) -> None:
        """Choose S3's behavior: see :class:`~isodrop_local.s3_multipart.Behavior`."""
        self.control("objects/behavior", what)

    def fail_next(self, service: str, operation: str, **how: Any) -> None:
        """Make the next calls of the functions, or of the state machine, fail.

        Parameters
        ----------
        service, operation : str
            ``dynamodb`` and ``PutItem``; ``lambda`` and ``Invoke`` are the state machine's own.
        **how
            See :class:`~isodrop_local.faults.Fault`.
        """
        self.control("faults", {"service": service, "operation": operation, **how})

    def faults_left(self) -> int:
        """Count the calls that will still fail."""
        return int(self.control("counts")["faults"])

    def deliver_next(self, *delays: float) -> None:
        """Deliver the next upload's event after each of these delays in seconds, or not at all."""
        self.control("deliveries", {"delays": delays})

    def publish_as_service(self, event: Mapping[str, Any]) -> None:
        """Put an event of an AWS service on the default bus."""
        self.control("events", event)

    def counts(self) -> dict[str, int]:
        """Count the calls that functions make, all calls of Image Builder, and the invocations."""
        counts: dict[str, int] = self.control("counts")["calls"]
        for call in self.image_builder.calls():
            name = f"imagebuilder.{call['operation']}"
            counts[name] = counts.get(name, 0) + 1
        return counts

    def authorizations(self) -> list[dict[str, Any]]:
        """List the requests of callers other than the account, and whether they were allowed.

        Each once: ``principal``, ``action``, ``resource``, ``context`` (the conditions' keys, in
        lowercase) and ``allowed``, which is what the caller's own policies say.
        """
        calls: list[dict[str, Any]] = self.control("authorizations")
        return calls

    # ------------------------------------------------------------------ events

    def events(self) -> list[Event]:
        """Return all events of ``source: isodrop`` received so far, oldest first."""
        if self._received is None:
            raise StackError("nothing is deployed yet that could send events")
        return self._received.events()

    def answers(self, key: str | None = None) -> list[Event]:
        """Return the answers received so far, for one key or all."""
        return [
            event
            for event in self.events()
            if event["detail-type"] in ANSWERS
            and key in (None, event["detail"]["data"]["source"]["key"])
        ]

    def wait_for(self, found: Callable[[], Any], timeout: float = 30.0) -> Any:
        """Wait until ``found`` returns something, and return it.

        Raises
        ------
        TimeoutError
            The message has the events received so far and the emulator's log.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self._check_running()
            got = found()
            if got:
                return got
            time.sleep(0.05)
        received = [event["detail-type"] for event in self.events()]
        raise TimeoutError(
            f"timed out after {timeout} s; events: {received}; the log ends:\n{self.log()}"
        )

    def wait_for_answer(self, key: str, timeout: float = 30.0, *, nth: int = 1) -> Event:
        """Wait for an upload's answer.

        Parameters
        ----------
        key : str
            The object's.
        timeout : float
            In seconds.
        nth : int
            Which answer of the key, counted from 1.
        """

        def nth_answer() -> Event | None:
            received = self.answers(key)
            return received[nth - 1] if len(received) >= nth else None

        got: Event = self.wait_for(nth_answer, timeout)
        return got

    def executions(self) -> list[dict[str, Any]]:
        """Return the state machine's executions, the oldest first."""
        states = self.client("stepfunctions")
        arn = self.outputs["ImportStateMachineArn"]
        pages = states.get_paginator("list_executions").paginate(stateMachineArn=arn)
        found = [execution for page in pages for execution in page["executions"]]
        return sorted(found, key=lambda execution: execution["startDate"])

    def settle(self, timeout: float = 30.0) -> None:
        """Wait until no execution is running."""
        self.wait_for(
            lambda: all(each["status"] != "RUNNING" for each in self.executions()), timeout
        )

    def sweep(self) -> dict[str, int]:
        """Run a sweep with a minimum age of 0; return its summary."""
        response = self.client("lambda").invoke(
            FunctionName=self.outputs["SweepFunctionName"], Payload=json.dumps({"minAgeMinutes": 0})
        )
        result: dict[str, int] = json.load(response["Payload"])
        if "FunctionError" in response:
            raise StackError(f"the sweep failed: {result}")
        return result

    def subscribe(
        self, name: str, pattern: Mapping[str, Any], bus: str = "default"
    ) -> "Subscription":
        """Subscribe to future events that match a pattern, as any consumer would."""
        sqs, events = self.client("sqs"), self.client("events")
        queue = sqs.create_queue(QueueName=f"subscriber-{name}")["QueueUrl"]
        described = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        rule = {"Name": f"subscriber-{name}", "EventBusName": bus}
        events.put_rule(**rule, EventPattern=json.dumps(pattern))
        target = {"Id": "queue", "Arn": described["Attributes"]["QueueArn"]}
        events.put_targets(Rule=rule["Name"], EventBusName=bus, Targets=[target])
        return Subscription(sqs, queue)


def _policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


class Subscription:
    """A queue behind a rule, and all events that it received."""

    def __init__(self, sqs: Any, queue: str) -> None:
        self._sqs = sqs
        self._queue = queue
        self._received: list[Event] = []

    def events(self) -> list[Event]:
        """Return all events received so far, oldest first."""
        while True:
            messages = self._sqs.receive_message(
                QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=0
            ).get("Messages", [])
            for message in messages:
                self._received.append(json.loads(message["Body"]))
                self._sqs.delete_message(
                    QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"]
                )
            if not messages:
                return list(self._received)


class RemoteImageBuilder:
    """The fake Image Builder of a stack, over its control API."""

    def __init__(self, stack: EmulatedStack) -> None:
        self._stack = stack

    def calls(self, operation: str | None = None) -> list[dict[str, Any]]:
        """List the calls that reached the service, of one operation or all."""
        return list(self._post("calls", operation=operation))

    def builds(self, kind: str = "import") -> list[dict[str, Any]]:
        """List the builds of a kind, ``import`` or ``distribution``, the oldest first."""
        return list(self._post("builds", kind=kind))

    def violations(self) -> list[Any]:
        """List what isodrop must never do, and did."""
        return list(self._post("violations"))

    def fail_next(self, operation: str, **how: Any) -> None:
        """Make the next calls fail: ``code``, ``times``, ``committed`` and so on."""
        self._post("fail_next", operation=operation, **how)

    def fail_next_build(self, **how: Any) -> None:
        """Make the next builds fail: ``message``, ``step``, ``times``, ``kind`` and so on."""
        self._post("fail_next_build", **how)

    def hold(self, status: str, kind: str = "import") -> None:
        """Keep builds of a kind in a state."""
        self._post("hold", status=status, kind=kind)

    def release(self, status: str | None = None) -> None:
        """Release them."""
        self._post("release", status=status)

    def cancel(self, arn: str) -> None:
        """Cancel a build, as somebody in the console would."""
        self._post("cancel", arn=arn)

    def delete(self, arn: str) -> None:
        """Delete a build, whatever state it is in."""
        self._post("delete", arn=arn)

    def fail(self, arn: str) -> None:
        """Make a running build fail in its current state."""
        self._post("fail", arn=arn)

    def forget_tokens(self) -> None:
        """Forget all client tokens."""
        self._post("forget_tokens")

    def set_quota(self, quota: int) -> None:
        """Set how many builds may run at once."""
        self._post("set_quota", quota=quota)

    def set_status(self, arn: str, status: str, reason: str | None = None) -> None:
        """Put a build into a state."""
        self._post("set_status", arn=arn, status=status, reason=reason)

    def reset(self) -> None:
        """Forget all faults, holds, calls and violations; builds stay."""
        self._post("reset")

    def _post(self, action: str, **request_body: Any) -> Any:
        return self._stack.control(f"imagebuilder/{action}", request_body)


class Credentials(TypedDict):
    """What :class:`boto3.session.Session` takes."""

    aws_access_key_id: str
    aws_secret_access_key: str
    region_name: str


def credentials() -> Credentials:
    """Return credentials: the emulator derives the account from the key."""
    return {
        "aws_access_key_id": ACCOUNT,
        "aws_secret_access_key": "none",
        "region_name": REGION,
    }
