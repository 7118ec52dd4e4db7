"""Progress events of a run, the same for terminals, pipes and programs. Pure."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from isodrop.codes import Rejection
from isodrop.domain.build import FINAL_STATUSES
from isodrop_cli.output.console import format_size
from isodrop_cli.output.run_format import answer_kind, as_json, describe_amis, parse_answer

if TYPE_CHECKING:
    from isodrop.domain.run import Run
    from isodrop_cli.operations import RunSnapshot
    from isodrop_cli.resumable_upload import Progress

WINDOW: Final = 15.0
"""Seconds over which a rate is measured."""
_WAITING: Final = "waiting for the import to start"
_UNCLAIMED: Final = (
    "the import has not started yet\n"
    "isodrop doctor shows why; the first sweep after ten minutes starts it"
)


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One thing that is new, for all renderers.

    Attributes
    ----------
    kind : str
        For programs: ``inspected``, ``note``, ``uploading``, ``uploaded``, ``state``,
        ``unclaimed`` or ``answer``.
    key : str
        The object's key.
    stage : str
        The stage that it belongs to, such as ``upload`` or ``building``. An event replaces what was
        shown for the same stage before.
    message : str
        For people; empty if the stage says it all.
    at : datetime
        When it happened, with a time zone; of a stage's first event, when the stage began.
    data : mapping
        For programs: JSON.
    fraction : float or None
        How much of the stage is done, from 0 to 1, if known.
    severity : str
        ``success``, ``error`` or empty.
    """

    kind: str
    key: str
    stage: str
    message: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    fraction: float | None = None
    severity: str = ""


@dataclass(slots=True)
class RateMeter:
    """The recent rate of a transfer.

    Examples
    --------
    >>> meter = RateMeter()
    >>> for second in range(5):
    ...     meter.record(second, 100 * second)
    >>> meter.rate, meter.seconds_for(1000)
    (100.0, 10.0)
    """

    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def record(self, now: float, amount: int) -> None:
        """Record the total amount so far, at a time in seconds."""
        self._samples.append((now, amount))
        while now - self._samples[0][0] > WINDOW:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """The amount per second; 0 while it is unknown."""
        (first, less), (last, more) = self._samples[0], self._samples[-1]
        return max(0.0, (more - less) / (last - first)) if last > first else 0.0

    def seconds_for(self, amount: int) -> float | None:
        """Estimate the seconds for an amount; ``None`` while the rate is unknown."""
        return amount / self.rate if self.rate else None


def format_duration(seconds: float) -> str:
    """Format a duration.

    Examples
    --------
    >>> format_duration(7.2), format_duration(754), format_duration(37_000)
    ('0:07', '12:34', '10:16:40')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def upload_event(key: str, at: datetime, progress: "Progress", meter: RateMeter) -> ProgressEvent:
    """Describe the progress of an upload."""
    size, resumed = progress.size, progress.resumed
    done = min(size, resumed + progress.sent)
    seconds = meter.seconds_for(size - done)
    parts = [f"{format_size(done)} of {format_size(size)}"]
    if meter.rate:
        parts.append(f"{format_size(int(meter.rate))}/s")
    if seconds is not None and done < size:
        parts.append(f"{format_duration(seconds)} left")
    if resumed:
        parts.append(f"{format_size(resumed)} uploaded before")
    data = {
        "bytes": done,
        "size": size,
        "bytesResumed": resumed,
        "bytesPerSecond": round(meter.rate),
        "secondsLeft": None if seconds is None else round(seconds),
    }
    fraction = done / size if size else 1.0
    return ProgressEvent("uploading", key, "upload", ", ".join(parts), at, data, fraction)


@dataclass(frozen=True, slots=True)
class ProgressTracker:
    """Remembers what was shown, so that each thing is shown once."""

    _messages: dict[tuple[str, int, str], str] = field(default_factory=dict)

    def new_events(
        self, snapshot: "RunSnapshot", key: str, now: datetime
    ) -> Iterator[ProgressEvent]:
        """Return the new events of a run."""
        run = snapshot.run
        run_id = ("", 0) if run is None else (run.upload_id, run.run_request.number)
        events = tuple(known_events(snapshot, key, now))
        for event, next_event in zip_longest(events, events[1:]):
            before = self._messages.get((*run_id, event.stage))
            if before is None or event.message not in ("", before):
                self._messages[*run_id, event.stage] = event.message
                # The exact time of the change is unknown, but it was before the next stage.
                changed = now if next_event is None else min(now, next_event.at)
                yield event if before is None else replace(event, at=changed)


def known_events(snapshot: "RunSnapshot", key: str, now: datetime) -> Iterator[ProgressEvent]:
    """Return all that is known of a run, in chronological order.

    Parameters
    ----------
    snapshot : RunSnapshot
    key : str
        The object's key: there is no run until an execution has claimed it.
    now : datetime
        The time of events that have no time of their own.
    """
    run = snapshot.run
    if run is None:
        event, message = ("unclaimed", _UNCLAIMED) if snapshot.is_unclaimed else ("state", _WAITING)
        yield ProgressEvent(event, key, "decide", message, now)
        return
    yield ProgressEvent(
        "state",
        key,
        "decide",
        _decision_message(run),
        _parse_time(run.claimed_at),
        _state_data(run),
    )
    times = {
        status: _parse_time(when)
        for status, when in run.status_first_seen_at.items()
        if status not in FINAL_STATUSES  # the answer has those
    }
    for status in sorted(times, key=times.__getitem__):
        data = {**_state_data(run), "status": status}
        steps = snapshot.steps
        if status != max(times, key=times.__getitem__) or not steps.total:
            yield ProgressEvent("state", key, status.lower(), "", times[status], data)
            continue
        data |= {"stepsDone": steps.done, "stepsTotal": steps.total}
        message = f"{steps.done} of {steps.total} steps"
        fraction = steps.done / steps.total
        yield ProgressEvent("state", key, status.lower(), message, times[status], data, fraction)
    if run.answered_at is not None:
        yield answer_event(run)


def answer_event(run: "Run") -> ProgressEvent:
    """Return the event of a run's answer."""
    answer = parse_answer(run)
    if answer is None or run.answered_at is None:
        raise ValueError("the run has no answer yet")
    kind, data = answer_kind(answer), answer["detail"]["data"]
    lines = describe_amis(answer)
    if data.get("reused"):
        lines.append("reuses the image of an earlier upload")
    lines += [data[name] for name in ("code", "message", "remedy") if name in data]
    return ProgressEvent(
        "answer",
        run.upload.key,
        kind.lower(),
        "\n".join(lines),
        _parse_time(run.answered_at),
        as_json(run),
        severity="success" if kind == "Succeeded" else "error",
    )


def _decision_message(run: "Run") -> str:
    if run.decision is None:
        return "inspecting the ISO"
    if isinstance(run.decision, Rejection):
        return run.decision.code.value
    image = f"{run.decision.name} {run.decision.semantic_version}"
    return image if run.import_build.arn else f"requesting {image} from Image Builder"


def _state_data(run: "Run") -> dict[str, Any]:
    document = as_json(run)
    names = ("uploadId", "run", "state", "executionArn", "buildArn", "distributionArn")
    return {name: document[name] for name in names}


def _parse_time(written: str) -> datetime:
    return datetime.fromisoformat(written)
