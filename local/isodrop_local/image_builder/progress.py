"""The progress of a build's workflows, derived from its history and the clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from isodrop_local.image_builder.lifecycle import WORKFLOWS, Build, Entered, Workflow
from isodrop_local.image_builder.values import Json, timestamp


@dataclass(frozen=True, slots=True)
class Execution:
    """One runtime instance of a workflow.

    Attributes
    ----------
    build, number
        The build, and the place in its history at which the workflow began.
    now : float
        The time of the request.
    duration : float
        How long the workflow takes if it succeeds.
    """

    build: Build
    number: int
    now: float
    duration: float

    @property
    def began(self) -> Entered:
        """The entry of the state that the workflow belongs to."""
        return self.build.history[self.number]

    @property
    def ended(self) -> Entered | None:
        """The entry that ended it; ``None`` while it runs."""
        later = self.build.history[self.number + 1 :]
        return later[0] if later else None

    @property
    def workflow(self) -> Workflow:
        """The workflow."""
        return WORKFLOWS[self.began.status]

    @property
    def id(self) -> str:
        """Its workflowExecutionId."""
        return self.build.id("wf", self.number)

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of its steps."""
        planned_failure = self.ended.planned_failure if self.ended else None
        return planned_failure.steps if planned_failure else self.workflow.steps

    @property
    def status(self) -> str:
        """Its status."""
        if self.ended is None:
            return "RUNNING"
        has_failed = self.ended.status in ("FAILED", "CANCELLED")
        return self.ended.status if has_failed else "COMPLETED"

    @property
    def succeeded(self) -> int:
        """How many steps have succeeded."""
        if self.ended and self.ended.planned_failure:
            return self.steps.index(self.ended.planned_failure.failed_step)
        if self.status == "COMPLETED":
            return len(self.steps)
        elapsed = (self.ended.at if self.ended else self.now) - self.began.at
        # Even if it is held in the state: the last step succeeds only when the state is left.
        share = min(elapsed / self.duration, 1.0) if self.duration else 0.0
        return min(int(share * len(self.steps)), len(self.steps) - 1)

    def to_response(self) -> Json:
        """Return it as ListWorkflowExecutions does.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_WorkflowExecutionMetadata.html
        """
        shown: Json = {
            "workflowBuildVersionArn": self.workflow.arn(self.build.region),
            "workflowExecutionId": self.id,
            "type": self.workflow.kind,
            "status": self.status,
            "totalStepCount": len(self.steps),
            "totalStepsSucceeded": self.succeeded,
            "totalStepsFailed": int(self.status == "FAILED"),
            "totalStepsSkipped": 0,
            "startTime": timestamp(self.began.at),
            "retried": any(
                entry.status == self.began.status for entry in self.build.history[self.number + 1 :]
            ),
        }
        if self.ended:
            shown["endTime"] = timestamp(self.ended.at)
            shown["message"] = self.ended.reason[:500]
        return shown

    def steps_to_response(self) -> list[Json]:
        """Return its steps as ListWorkflowStepExecutions does.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_WorkflowStepMetadata.html
        """
        done = self.succeeded
        return [
            {
                "stepExecutionId": self.build.id("step", self.number, step),
                "name": step,
                "action": step,
                "status": "COMPLETED"
                if index < done
                else self.status
                if index == done
                else "PENDING",
            }
            for index, step in enumerate(self.steps)
        ]


def executions(build: Build, now: float, timings: Mapping[str, float]) -> Iterator[Execution]:
    """Return the workflows that a build has started, the latest first."""
    for number, entry in reversed(list(enumerate(build.history))):
        if entry.status in WORKFLOWS:
            yield Execution(build, number, now, timings.get(entry.status, 0.0))
