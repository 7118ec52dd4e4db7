"""What a day of isodrop sends to CloudWatch, from a simulated one: the numbers of the dashboard.

The lines that the functions write in the embedded metric format are read as CloudWatch would, at
the time of the simulation. What Step Functions and Lambda count by themselves is counted here, as
their documentation has it. There is no EventBridge and no queue that could count.

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
        As ``name=value``, with commas between; CloudWatch takes each set for a metric of its own.
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
        """Read one back from its line."""
        at, namespace, name, dimensions, value, unit = line.split("\t")
        return cls(BEGIN + float(at), namespace, name, dimensions, float(value), unit)

    def __str__(self) -> str:
        """Write it as a line, its time from the beginning."""
        values = (f"{self.at - BEGIN:.0f}", self.namespace, self.name, self.dimensions)
        return "\t".join((*values, f"{self.value:.10g}", self.unit))


def dimensions(values: Mapping[str, str]) -> str:
    """Write dimensions as samples have them."""
    return ",".join(f"{name}={value}" for name, value in values.items())


def simulate_day(seed: int = 1) -> Schedule:
    """Simulate a day: most imports succeed, and everything that the dashboard shows happens."""
    random = Random(f"day {seed}")  # noqa: S311 # repeatable, not secret
    uploads = []
    for number in range(_UPLOADS):
        at = round(random.triangular(0.5, 22, 9) * _HOUR, 1)
        iso = f"disc-{number if random.random() < 0.85 else random.randrange(number + 1)}"
        iso = random.choice(("server", "text")) if random.random() < 0.2 else iso
        metadata = {"edition": "Home"} if random.random() < 0.1 else {}
        delays = (0.5, 2.0) if random.random() < 0.2 else (0.5,)
        uploads.append(Upload(at, f"{number}.iso", iso, metadata=metadata, delays=delays))
    uploads[7] = Upload(6 * _HOUR, "7.iso", "nobody-was-told", delays=())
    uploads.sort(key=lambda upload: upload.at)

    def while_it_runs(number: int, kind: ActionKind) -> OperatorAction:
        return OperatorAction(uploads[number].at + _HOUR / 6, kind, 0)

    return Schedule(
        seed=seed,
        uploads=tuple(uploads),
        faults=(
            PlannedFault("s3.GetObject", FaultKind.THROTTLED, skip=20, times=9),
            PlannedFault("lambda.Invoke", FaultKind.KILLED_BEFORE, skip=60),
            PlannedFault("dynamodb.UpdateItem", FaultKind.KILLED_BEFORE, skip=50),
        ),
        actions=(
            while_it_runs(5, ActionKind.FAIL_BUILD),
            while_it_runs(15, ActionKind.CANCEL_BUILD),
            while_it_runs(20, ActionKind.ABORT_EXECUTION),
            while_it_runs(30, ActionKind.FAIL_BUILD),
        ),
        quota=4,
    )


class _RecordedDay(Simulation):
    """A simulation of which every metric is written down."""

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
        """Take a line of the log, if it is of the embedded metric format."""
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
        self._tell = write_line

    def write(self, words: str) -> int:
        self._tell(words)
        return len(words)


def samples(schedule: Schedule) -> list[Sample]:
    """Run a schedule, and get all that it counted."""
    watched = _RecordedDay(schedule)
    with redirect_stdout(_LineWriter(watched.record_line)):
        watched.run()
    return watched.samples


def record(path: Path = RECORDED) -> None:
    """Write down the samples of a day."""
    path.write_text("".join(f"{sample}\n" for sample in samples(simulate_day())))


def read_recording(path: Path = RECORDED) -> Iterator[Sample]:
    """Read them back."""
    return map(Sample.read, path.read_text().splitlines())
