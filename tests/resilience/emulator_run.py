"""A schedule on the deployed stack, with processes that are killed and time that is shortened.

This is like the simulation, except that the order of calls depends on the machine.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from heapq import heapify, heappop
from typing import Any, Final

import boto3
from botocore.exceptions import ClientError

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.aws.staging import StagingBucket
from isodrop.aws.step_functions import StepFunctions
from isodrop.domain.content import PART_SIZE
from isodrop.errors import IsodropError
from isodrop_cli.operations import StackOperations
from isodrop_local.stack import EmulatedStack, Event, StackError, credentials
from tests.resilience.actors import (
    copied_etag,
    deleted,
    make_iso,
    maybe_sent,
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
    PlannedFault,
    Schedule,
    Upload,
)
from tests.support.aging import aged

PARAMETERS: Final = {
    "MaxConsecutiveFailures": MAX_CONSECUTIVE_FAILURES,
    "AllowedOverrides": "edition,rebuild",
    "MaxBuildsAtOnce": 100,
    "MaxBuildsPerDay": 1000,
}
"""Parameters that the stack must be deployed with."""
LATEST: Final = 10_000.0
"""Actions of later days are performed after these seconds, when all builds have ended."""
MARGIN: Final = 1.0
"""Seconds after which an event that is due has certainly started its execution."""
_BUSY: Final = ("open", "started", "removed", "errors")
QUIET_SWEEPS: Final = 2
"""The run is over after this many sweeps in a row that found nothing."""


class EmulatorRun:
    """One run of one schedule on a stack that many runs may share, one after the other.

    Parameters
    ----------
    schedule : Schedule
    stack : EmulatedStack
        Deployed with :data:`PARAMETERS`.
    timeout : float
        Seconds after which it must be over.
    """

    def __init__(self, schedule: Schedule, stack: EmulatedStack, timeout: float = 120.0) -> None:
        self.schedule = schedule
        self.stack = stack
        self._timeout = timeout
        self._before = {each["executionArn"] for each in stack.executions()}
        # Each run has its own keys and ISOs, so that it shares no import with another run.
        self._series = f"S{schedule.seed}X{len(self._before)}"
        self._uploaded: list[UploadedIso] = []
        self._etags: dict[str, str] = {}
        self._lost_amis: dict[str, float] = {}
        self._lost_copies = False
        self._staging = StagingBucket(stack.client("s3"), stack.outputs["StagingBucketName"])
        self._last_delivery = 0.0

    def run(self) -> FinalState:
        """Run it to its end; return the final state."""
        ib = self.stack.image_builder
        ib.reset()
        ib.set_quota(self.schedule.quota)
        for planned in self.schedule.faults:
            inject(self.stack, planned)
        self._play()
        self._settle()
        end = self._end()
        ib.set_quota(100)
        return end

    def _play(self) -> None:
        """Perform all uploads and actions of the schedule, each at its time."""
        queue: list[tuple[float, int, Callable[[], None]]] = []
        for upload in self.schedule.uploads:
            queue.append((upload.at, len(queue), lambda upload=upload: self._upload(upload)))  # type: ignore[misc] # mypy sees no default
        for action in self.schedule.actions:
            at = min(action.at, LATEST)
            queue.append((at, len(queue), lambda action=action: self._perform(action)))  # type: ignore[misc] # likewise
        heapify(queue)
        began = time.monotonic()
        while queue:
            at, _, step = heappop(queue)
            time.sleep(max(0.0, began + at * self.stack.wait_scale - time.monotonic()))
            step()

    def _settle(self) -> None:
        """Sweep as the template's schedule does, until nothing is in progress."""
        quiet, deadline = 0, time.monotonic() + self._timeout
        while quiet < QUIET_SWEEPS and time.monotonic() < deadline:
            time.sleep(0.2)
            try:
                found = self.stack.sweep()
            except StackError:  # faults affect the sweep, too
                continue
            mine = [each for each in self.stack.executions() if self._is_new(each)]
            is_busy = time.monotonic() < self._last_delivery + MARGIN
            is_busy = is_busy or any(each["status"] == "RUNNING" for each in mine)
            is_busy = is_busy or len({*map(_version, self._answers())}) < len(self._uploaded)
            quiet = 0 if is_busy or any(found[name] for name in _BUSY) else quiet + 1

    def _is_new(self, execution: dict[str, Any]) -> bool:
        return execution["executionArn"] not in self._before

    def _answers(self) -> list[Event]:
        return [
            event
            for event in self.stack.answers()
            if event["detail"]["data"]["source"]["key"].startswith(self._series)
        ]

    # ------------------------------------------------------------------ uploads and actions

    def _key(self, key: str) -> str:
        return f"{self._series}/{key}"

    def _upload(self, upload: Upload) -> None:
        scale = self.stack.wait_scale
        delays = [delay * scale for delay in upload.delays]
        self.stack.deliver_next(*delays)
        self._last_delivery = max(self._last_delivery, time.monotonic() + max(delays, default=0.0))
        data, key = make_iso(upload.iso, self._series), self._key(upload.key)
        _, version = put(self.stack.client("s3"), self.stack.bucket, key, data, upload)
        self._etags[copied_etag(data, PART_SIZE)] = upload.iso
        self._uploaded.append(uploaded_iso(upload, key, version))

    def _builds(self) -> list[dict[str, Any]]:
        tagged = f"s3://{self.stack.bucket}/{self._series}/"
        builds = self.stack.image_builder.builds()
        mine = {
            each["uri"]
            for each in builds
            if each["request"]["tags"].get("isodrop:source", "").startswith(tagged)
        }
        return [each for each in builds if each["uri"] in mine]  # including those of actions

    def _perform(self, action: OperatorAction) -> None:
        try:
            self._perform_unchecked(action)
        except (StackError, ClientError, IsodropError):
            return  # the build or object has ended or is gone

    def _perform_unchecked(self, action: OperatorAction) -> None:  # noqa: C901 - a table of actions
        ib, builds = self.stack.image_builder, self._builds()
        arns = [each["arn"] for each in builds]
        amis = [ami["image"] for each in builds for ami in each["outputResources"]["amis"]]
        new = [each["executionArn"] for each in self.stack.executions() if self._is_new(each)]
        match action.kind:
            case ActionKind.DELETE_OBJECT | ActionKind.DELETE_VERSION if self._uploaded:
                one = self._uploaded[action.which % len(self._uploaded)]
                self._delete_upload(one, permanently=action.kind is ActionKind.DELETE_VERSION)
            case ActionKind.DELETE_COPIES:
                self._lost_copies = bool(self._staging.empty()) or self._lost_copies
            case ActionKind.CANCEL_BUILD if arns:
                ib.cancel(arns[action.which % len(arns)])
            case ActionKind.DELETE_BUILD if arns:
                self._delete(arns[action.which % len(arns)])
            case ActionKind.FAIL_BUILD if arns:
                ib.fail(arns[action.which % len(arns)])
            case ActionKind.DEREGISTER_AMI if amis:
                self._deregister(amis[action.which % len(amis)])
            case ActionKind.BUILD_THE_SAME if builds:
                theirs = builds[action.which % len(builds)]["request"]
                mine = {"clientToken": f"by-hand-{time.time_ns()}", "tags": {"by": "hand"}}
                self.stack.client("imagebuilder").import_disk_image(**{**theirs, **mine})
            case ActionKind.FORGET_TOKENS:
                ib.forget_tokens()
            case ActionKind.RETRY if self._uploaded:
                self._retry(self._uploaded[action.which % len(self._uploaded)].key)
            case ActionKind.ABORT_EXECUTION if new:
                execution = new[action.which % len(new)]
                self.stack.client("stepfunctions").stop_execution(executionArn=execution)

    def _delete_upload(self, one: UploadedIso, *, permanently: bool) -> None:
        which = {"VersionId": one.version} if permanently else {}
        self.stack.client("s3").delete_object(Bucket=self.stack.bucket, Key=one.key, **which)
        if permanently:
            self._uploaded = deleted(self._uploaded, one.version)

    def _deregister(self, ami: str) -> None:
        """Deregister an AMI that is no longer new."""
        (arn,) = (
            each["arn"]
            for each in self._builds()
            if ami in [made["image"] for made in each["outputResources"]["amis"]]
        )
        if aged(self.stack, arn, "availableAt"):
            self.stack.client("ec2").deregister_image(ImageId=ami)
            self._lost_amis.setdefault(ami, time.time())

    def _delete(self, arn: str) -> None:
        """Delete a build that is no longer new."""
        if aged(self.stack, arn, "buildRecordedAt"):
            self.stack.image_builder.delete(arn)

    def _retry(self, key: str) -> None:
        """Retry an upload as isodrop retry does."""
        machine, table = (
            self.stack.outputs[name] for name in ("ImportStateMachineArn", "LedgerTableName")
        )
        dynamodb = boto3.resource("dynamodb", endpoint_url=self.stack.endpoint, **credentials())
        operator = StackOperations(
            s3=self.stack.client("s3"),
            builder=ImageBuilder(self.stack.client("imagebuilder"), self.stack.client("ec2")),
            ledger=Ledger(dynamodb.Table(table)),
            executions=StepFunctions(self.stack.client("stepfunctions"), machine),
            bucket=self.stack.bucket,
        )
        operator.retry(operator.get_history(self.stack.bucket, key), {})

    # ------------------------------------------------------------------ the final state

    def _end(self) -> FinalState:
        pages = self.stack.client("dynamodb").get_paginator("scan")
        scanned = pages.paginate(TableName=self.stack.outputs["LedgerTableName"])
        ledger = [item for page in scanned for item in page["Items"]]
        return FinalState(
            uploaded=self._uploaded,
            published=[
                {"detail-type": event["detail-type"], "detail": event["detail"]}
                for event in self._answers()
            ],
            builds=self._builds(),
            executions={
                each["executionArn"]: each["status"]
                for each in self.stack.executions()
                if self._is_new(each)
            },
            versions=versions_by_upload(ledger),
            staged=[self._staging.uri(each.key) for each in self._staging.list_copies()],
            maybe_sent=maybe_sent(ledger),
            lost_copies=self._lost_copies,
            run_counts=runs_by_version(ledger),
            lost_amis=self._lost_amis,
            undelivered=0,
            violations=self.stack.image_builder.violations(),
            isos=self._etags,
        )


def _version(event: Event) -> str:
    return str(json.dumps(event["detail"]["data"]["source"]["versionId"]))


def inject(stack: EmulatedStack, planned: PlannedFault) -> None:
    """Inject a planned fault into a stack."""
    fault = asdict(planned.fault())
    stack.fail_next(fault.pop("service"), fault.pop("operation"), **fault)
