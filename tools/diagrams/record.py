"""The metrics that isodrop sends to CloudWatch on a simulated day: the numbers of the dashboard.

The lines that the functions write in the embedded metric format are parsed as CloudWatch does, at
the time of the simulation. The metrics of Step Functions and Lambda themselves are counted here, as
documented. There are no metrics of EventBridge and of queues.

See Also
--------
https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from isodrop_local.template import ROOT
from tests.resilience.schedule import (
    ActionKind,
    FaultKind,
    OperatorAction,
    PlannedFault,
    Schedule,
    Upload,
)
from tests.resilience.scheduler import BEGIN
from tests.resilience.simulated_services import Execution
from tests.resilience.simulation import Simulation
from tests.resilience.state_machine import TaskError

RECORDED: Final = ROOT / "tests/data/metrics.tsv"
_HOUR: Final = 3600.0
_UPLOADS: Final = 40
_ENDS: Final[Mapping[str, str]] = {
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "ABORTED": "ExecutionsAborted",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one metric.

    Attributes
    ----------
    at : float
        Seconds since the epoch.
    namespace, name : str
    dimensions : str
        As ``name=value``, separated by commas; for CloudWatch each set is a separate metric.
    value : float
    unit : str
        One of CloudWatch's.
    """

    at: float
    namespace: str
    name: str
    dimensions: str
    value: float
    unit: str

    @classmethod
    def read(cls, line: str) -> "Sample":
        """Parse a line."""
        at, namespace, name, dimensions, value, unit = line.split("\t")
        return cls(BEGIN + float(at), namespace, name, dimensions, float(value), unit)

    def __str__(self) -> str:
        """Format it as a line, with its time since the beginning."""
        values = (f"{self.at - BEGIN:.0f}", self.namespace, self.name, self.dimensions)
        return "\t".join((*values, f"{self.value:.10g}", self.unit))


def dimensions(values: Mapping[str, str]) -> str:
    """Format dimensions as in samples."""
    return ",".join(f"{name}={value}" for name, value in values.items())


def day_schedule(seed: int = 1) -> Schedule:
    """Make a day's schedule: most imports succeed, and all that the dashboard shows happens."""
    random = Random(f"day {seed}")  # noqa: S311 # repeatable, not secret
    uploads = []
    for number in range(_UPLOADS):
        at = round(random.triangular(0.5, 22, 9) * _HOUR, 1)
        iso = f"disc-{number if random.random() < 0.85 else random.randrange(number + 1)}"
        iso = random.choice(("server", "text")) if random.random() < 0.2 else iso
        metadata = {"edition": "Home"} if random.random() < 0.1 else {}
        delays = (0.5, 2.0) if random.random() < 0.2 else (0.5,)
        uploads.append(Upload(at, f"{number}.iso", iso, metadata=metadata, delays=delays))
    uploads[7] = Upload(6 * _HOUR, "7.iso", "not-announced", delays=())
    uploads.sort(key=lambda upload: upload.at)

    def during_build(number: int, kind: ActionKind) -> OperatorAction:
        return OperatorAction(uploads[number].at + _HOUR / 6, kind, 0)

    return Schedule(
        seed=seed,
        uploads=tuple(uploads),
        faults=(
            PlannedFault("s3.GetObject", FaultKind.THROTTLED, skip=20, times=9),
            PlannedFault("lambda.Invoke", FaultKind.KILLED_BEFORE, skip=60),
            PlannedFault("dynamodb.UpdateItem", FaultKind.KILLED_BEFORE, skip=50),
            PlannedFault("stepfunctions.DescribeExecution", FaultKind.THROTTLED, skip=10, times=3),
        ),
        actions=(
            during_build(5, ActionKind.FAIL_BUILD),
            during_build(15, ActionKind.CANCEL_BUILD),
            during_build(20, ActionKind.ABORT_EXECUTION),
            during_build(30, ActionKind.FAIL_BUILD),
        ),
        quota=4,
    )


class _RecordedDay(Simulation):
    """A simulation that records every metric."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)
        self.samples: list[Sample] = []

    def record(
        self,
        namespace: str,
        name: str,
        values: Mapping[str, str],
        value: float = 1,
        unit: str = "Count",
    ) -> None:
        sample = Sample(self.clock.now, namespace, name, dimensions(values), value, unit)
        self.samples.append(sample)

    def record_line(self, line: str) -> None:
        """Record a line of the log, if it is in the embedded metric format."""
        if '"_aws"' not in line:
            return
        values = json.loads(line)
        for metrics in values["_aws"]["CloudWatchMetrics"]:
            for names in metrics["Dimensions"]:
                found = {name: values[name] for name in names}
                for metric in metrics["Metrics"]:
                    (value,) = values[metric["Name"]]
                    self.record(metrics["Namespace"], metric["Name"], found, value, metric["Unit"])

    def _start(self, event: str, arn: str) -> None:
        self.record("AWS/States", "ExecutionsStarted", {"StateMachineArn": "ImportStateMachine"})
        super()._start(event, arn)

    def _execute(self, execution: Execution, arn: str) -> None:
        super()._execute(execution, arn)
        ended = _ENDS[execution.status]
        self.record("AWS/States", ended, {"StateMachineArn": "ImportStateMachine"})

    def _create_resources(self) -> None:
        super()._create_resources()
        del os.environ["POWERTOOLS_METRICS_DISABLED"]

    def _invoke(self, function: str, payload: Any) -> Any:
        failed = 0
        try:
            return super()._invoke(function, payload)
        except TaskError:
            failed = 1
            raise
        finally:
            self.record("AWS/Lambda", "Errors", {"FunctionName": function}, failed)


class _LineWriter(io.StringIO):
    """A standard output that passes on each line."""

    def __init__(self, write_line: Callable[[str], None]) -> None:
        super().__init__()
        self._write_line = write_line

    def write(self, words: str) -> int:
        self._write_line(words)
        return len(words)


def samples(schedule: Schedule) -> list[Sample]:
    """Run a schedule, and return its samples."""
    day = _RecordedDay(schedule)
    with redirect_stdout(_LineWriter(day.record_line)):
        day.run()
    return day.samples


def record(path: Path = RECORDED) -> None:
    """Write the samples of a day to a file."""
    path.write_text("".join(f"{sample}\n" for sample in samples(day_schedule())))


def read_recording(path: Path = RECORDED) -> Iterator[Sample]:
    """Read the samples of the file."""
    return map(Sample.read, path.read_text().splitlines())
