"""The life of one image build: the states it passed through, its workflows, and how it failed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal
from uuid import NAMESPACE_URL, uuid5

from isodrop_local.image_builder.values import Json, timestamp

# About how long the real service stays in each state: half an hour in all.
# https://docs.aws.amazon.com/imagebuilder/latest/userguide/import-iso-disk.html
TIMINGS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "PENDING": 20.0,
        "CREATING": 60.0,
        "BUILDING": 1200.0,
        "TESTING": 240.0,
        "DISTRIBUTING": 120.0,
        "INTEGRATING": 20.0,
    }
)
PATH: Final = (*TIMINGS, "AVAILABLE")
Kind = Literal["import", "distribution"]
"""The kind of build: an import of an ISO, or the distribution of a finished image."""
PATHS: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {"import": PATH, "distribution": ("PENDING", "DISTRIBUTING", "AVAILABLE")}
)
TERMINAL: Final = frozenset(
    {"AVAILABLE", "FAILED", "CANCELLED", "DEPRECATED", "DISABLED", "DELETED"}
)
RESUMABLE: Final = frozenset({"TESTING", "DISTRIBUTING", "INTEGRATING"})
"""The states that RetryImage returns to: "without rebuilding the phases that already completed"."""


def scaled(factor: float) -> dict[str, float]:
    """Scale the real timings: with ``scaled(0.01)`` an import takes 17 seconds."""
    return {status: seconds * factor for status, seconds in TIMINGS.items()}


@dataclass(frozen=True, slots=True)
class Workflow:
    """One of the managed workflows of a build, and the state in which it runs."""

    kind: str
    name: str
    steps: tuple[str, ...]

    def arn(self, region: str) -> str:
        """Return the ARN of the Amazon-managed workflow."""
        return f"arn:aws:imagebuilder:{region}:aws:workflow/{self.kind.lower()}/{self.name}/1.0.0/1"


# It is documented that an import runs workflows, but not the names of their steps: these are
# invented, in the style of https://docs.aws.amazon.com/imagebuilder/latest/userguide/wfdoc-step-actions.html
WORKFLOWS: Final[Mapping[str, Workflow]] = MappingProxyType(
    {
        "BUILDING": Workflow(
            "BUILD",
            "import-disk-image",
            (
                "LaunchBuildInstance",
                "DownloadIso",
                "ValidateIso",
                "ApplyWindowsImage",
                "InstallDrivers",
                "RunSysprep",
                "RegisterImage",
            ),
        ),
        "TESTING": Workflow(
            "TEST", "test-image", ("LaunchTestInstance", "WaitForSsmAgent", "TerminateTestInstance")
        ),
        "DISTRIBUTING": Workflow("DISTRIBUTION", "distribute-image", ("DistributeImage",)),
    }
)

MESSAGE: Final = "SSM execution failed: the step exited with code 1."


@dataclass(frozen=True, slots=True)
class PlannedFailure:
    """How a build will fail.

    Attributes
    ----------
    status : str
        The state in which it fails.
    step : str
        The workflow step that fails; an unknown name replaces the last step, and an
        empty one is the step in the middle.
    message : str
        The reason of the state and of the failure context.
    """

    status: str = "BUILDING"
    step: str = ""
    message: str = MESSAGE

    @classmethod
    def at(cls, step: str, message: str = MESSAGE) -> "PlannedFailure":
        """Return the failure of a step, in the state of its workflow; BUILDING if there is none."""
        owners = (status for status, workflow in WORKFLOWS.items() if step in workflow.steps)
        return cls(next(owners, "BUILDING"), step, message)

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of the failing state's workflow, if it has one."""
        workflow = WORKFLOWS.get(self.status)
        steps = workflow.steps if workflow else ()
        return steps if not self.step or self.step in steps else (*steps[:-1], self.step)

    @property
    def failed_step(self) -> str:
        """The step that fails, by name; empty where there are no steps."""
        return self.step or (self.steps[len(self.steps) // 2] if self.steps else "")

    @property
    def share(self) -> float:
        """The share of the failing state's duration after which it fails."""
        return (self.steps.index(self.failed_step) + 1) / len(self.steps) if self.steps else 1.0


@dataclass(frozen=True, slots=True)
class Entered:
    """A state that a build entered: when, and why."""

    status: str
    at: float
    reason: str = ""
    planned_failure: PlannedFailure | None = None


@dataclass(frozen=True, slots=True)
class Ami:
    """An AMI that a build created."""

    region: str
    image: str
    name: str
    description: str
    account: str

    def to_response(self) -> Json:
        """Return it as ``outputResources.amis`` has it."""
        shown = {
            "region": self.region,
            "image": self.image,
            "name": self.name,
            "accountId": self.account,
            "description": self.description,
        }
        return {name: value for name, value in shown.items() if value}


@dataclass(slots=True)
class Build:
    """An image build version: its request and its history.

    Attributes
    ----------
    arn, token : str
        Its ARN, and the client token of its request.
    request : mapping
        The parameters of ImportDiskImage, or of the operation that started it.
    path : tuple of str
        The states that it passes through, AVAILABLE last.
    history : list of Entered
        The past states, and the current one.
    etag : str or None
        The object's ETag when BUILDING began, which is when the service reads it.
    """

    kind: ClassVar[Kind] = "import"

    arn: str
    request: Mapping[str, Any]
    region: str
    account: str
    infrastructure: Mapping[str, Any]
    path: tuple[str, ...]
    history: list[Entered]
    tags: dict[str, str] = field(default_factory=dict)
    planned_failure: PlannedFailure | None = None
    cancel_at: float | None = None
    etag: str | None = None
    amis: tuple[Ami, ...] = ()

    @property
    def name(self) -> str:
        """The image's name, as requested."""
        return str(self.request["name"])

    @property
    def os_version(self) -> str:
        """The operating system on it."""
        return str(self.request["osVersion"])

    @property
    def token(self) -> str:
        """The client token of the request."""
        return str(self.request["clientToken"])

    @property
    def version_arn(self) -> str:
        """The ARN without the build number."""
        return self.arn.rpartition("/")[0]

    @property
    def order(self) -> tuple[int, ...]:
        """Its position among the builds of its name: by version, then by build number."""
        version, number = self.arn.split("/")[-2:]
        return (*map(int, version.split(".")), int(number))

    @property
    def current(self) -> Entered:
        """The current state."""
        return self.history[-1]

    @property
    def status(self) -> str:
        """The current state's name."""
        return self.current.status

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status not in TERMINAL

    def summary(self) -> Json:
        """Return the fields that GetImage and ListImageBuildVersions share."""
        own_logs = f"/aws/imagebuilder/{self.name}".replace(" ", "-")
        shown: Json = {
            "arn": self.arn,
            "name": self.name,
            "type": "AMI",
            "version": "/".join(self.arn.split("/")[-2:]),
            "platform": "Windows",
            "osVersion": self.os_version,
            "state": self.state(),
            "dateCreated": timestamp(self.history[0].at),
            "buildType": "IMPORT_ISO",
            "imageSource": "IMPORTED",
            "outputResources": {"amis": [ami.to_response() for ami in self.amis]},
            "loggingConfiguration": self.request.get(
                "loggingConfiguration", {"logGroupName": own_logs}
            ),
        }
        return shown | ({"tags": dict(self.tags)} if self.tags else {})

    def image(self) -> Json:
        """Return the image as GetImage does.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_Image.html
        """
        workflows = [WORKFLOWS[status] for status in self.path if status in WORKFLOWS]
        shown = self.summary() | {
            "infrastructureConfiguration": dict(self.infrastructure),
            "executionRole": self.request.get("executionRole"),
            "workflows": [{"workflowArn": flow.arn(self.region)} for flow in workflows],
        }
        return {name: value for name, value in shown.items() if value}

    def state(self) -> Json:
        """Return the state; its failureContext only "when the image status is FAILED".

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImageState.html
        """
        state: Json = {"status": self.status}
        if self.current.reason:
            state["reason"] = self.current.reason[:1024]
        if self.status == "FAILED" and self.current.planned_failure:
            state["failureContext"] = self._failure_context(self.current.planned_failure)
        return state

    def _failure_context(self, planned_failure: PlannedFailure) -> Json:
        """Return what failed, and where.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImageFailureContext.html
        """
        context: Json = {"imageStatus": planned_failure.status}
        if planned_failure.failed_step:
            context["failedStep"] = planned_failure.failed_step
        workflow = WORKFLOWS.get(planned_failure.status)
        if workflow:
            ran = len(self.history) - 2
            context["workflowExecutionId"] = self.id("wf", ran)
            context["workflowArn"] = workflow.arn(self.region)
            context["stepExecutionId"] = self.id("step", ran, planned_failure.failed_step)
        if planned_failure.status == "DISTRIBUTING":
            context["distributionFailure"] = self.distribution_failure(planned_failure.message)
        elif workflow:
            context["componentFailure"] = {"errorMessage": planned_failure.message}
        return context

    def distribution_failure(self, message: str) -> Json:
        """Return the failures of the distribution."""
        return {"errorMessage": message}

    def id(self, prefix: str, *of: object) -> str:
        """Derive the id of a part of this build, which is always the same."""
        return f"{prefix}-{uuid5(NAMESPACE_URL, '/'.join(map(str, (self.arn, *of))))}"
