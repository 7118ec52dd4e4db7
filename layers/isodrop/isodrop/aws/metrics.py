"""CloudWatch metrics, written to the log in the embedded metric format.

Every metric has the dimension ``service``, which is the stack's name. Metrics with more dimensions
are also written without them. The dashboard and the alarms in monitoring.yaml use the namespace and
the names.

The counts of a sweep are written only if they are not zero, because a custom metric is billed for
every hour in which it is written. The log contains the summary of each sweep.

See Also
--------
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from isodrop.codes import Code

if TYPE_CHECKING:
    from isodrop.domain.run import Run
    from isodrop.domain.sweep_summary import SweepSummary
    from isodrop.events import Event

NAMESPACE: Final = "isodrop"
ACTION_REQUIRED: Final = frozenset({Code.INTERNAL_ERROR, Code.DAILY_LIMIT_REACHED})
"""Codes of answers that raise an alarm, because the operator can act on them."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Writes the metrics of one stack to standard output."""

    stack: str

    def record_inspection(self, requests: int, bytes_read: int) -> None:
        """Count the requests and bytes of one inspection of an ISO."""
        self._emit(
            {
                "InspectionRequests": (MetricUnit.Count, requests),
                "InspectionBytes": (MetricUnit.Bytes, bytes_read),
            }
        )

    def record_run(self) -> None:
        """Count a run that has a build to track or an answer to publish."""
        self._emit({"Runs": (MetricUnit.Count, 1)})

    def record_answer(self, run: "Run", answer: "Event", now: datetime) -> None:
        """Count an answer by ``kind`` and ``code``, and write the age of its run."""
        kind = answer.detail_type.rsplit(" ", 1)[-1]
        code = getattr(answer.data, "code", None)
        seconds = (now - datetime.fromisoformat(run.claimed_at)).total_seconds()
        dimensions = {"kind": kind} | ({"code": code} if code else {})
        self._emit({"Answers": (MetricUnit.Count, 1)}, **dimensions)
        if code in ACTION_REQUIRED:
            self._emit({"ActionRequired": (MetricUnit.Count, 1)})
        self._emit({"TimeToAnswer": (MetricUnit.Seconds, seconds)}, kind=kind)

    def record_sweep(self, summary: "SweepSummary") -> None:
        """Write the counts of a sweep that are not zero."""
        values = {
            "OpenRuns": (MetricUnit.Count, summary.open),
            "OldestOpenRunAge": (MetricUnit.Seconds, summary.oldest_open_seconds),
            "AwaitedBuilds": (MetricUnit.Count, summary.builds),
            "SweepActions": (MetricUnit.Count, summary.answered + summary.started),
            "SweepAnswers": (MetricUnit.Count, summary.answered),
            "SweepStarts": (MetricUnit.Count, summary.started),
            "SlotsInUse": (MetricUnit.Count, summary.slots_in_use),
            "BuildsToday": (MetricUnit.Count, summary.builds_today),
            "SweepItemErrors": (MetricUnit.Count, summary.errors),
        }
        if nonzero := {name: value for name, value in values.items() if value[1]}:
            self._emit(nonzero)

    def _emit(self, values: Mapping[str, tuple[MetricUnit, float]], **dimensions: str) -> None:
        line = EphemeralMetrics(namespace=NAMESPACE, service=self.stack)
        combined = {"service": self.stack}
        for name, value in dimensions.items():
            combined |= {name: value}
            line.add_dimensions(**combined)
        for name, (unit, number) in values.items():
            line.add_metric(name, unit, number)
        line.flush_metrics()
