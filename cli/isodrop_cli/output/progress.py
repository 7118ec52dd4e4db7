"""What is new of a drop, the same for eyes, pipes and programs. Pure."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from isodrop.codes import Rejection
from isodrop.domain.build import FINAL_STATUSES
from isodrop_cli.output.console import format_size
from isodrop_cli.output.run_format import amis_of, as_json, kind_of, parse_answer

if TYPE_CHECKING:
    from isodrop.domain.run import Run
    from isodrop_cli.operations import RunSnapshot
    from isodrop_cli.resumable_upload import Progress

WINDOW: Final = 15.0
"""Seconds over which a rate is taken."""
_WAITS: Final = "waiting for the stack to take it"
_LATE: Final = (
    "the stack has not taken it yet\n"
    "isodrop doctor says why; the sweep, every SweepIntervalMinutes, starts what is ten minutes old"
)


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One thing that is new.

    Attributes
    ----------
    event : str
        What kind it is, for programs: ``looked``, ``uploading``, ``uploaded``, ``state``,
        ``late``, ``note`` or ``answer``.
    key : str
        Of which object.
    step : str
        The step of the way that it belongs to, such as ``upload`` or ``building``. News of the
        same step take the place of what was told of it before.
    sentence : str
        For people; empty where the step says it all.
    at : datetime
        Since when it holds, with a time zone.
    facts : mapping
        For programs: plain JSON.
    share : float or None
        How much of the step is done, from 0 to 1, where that can be said.
    mood : str
        ``good``, ``bad`` or empty.
    """

    event: str
    key: str
    step: str
    message: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    share: float | None = None
    severity: str = ""


@dataclass(slots=True)
class RateMeter:
    """How fast something goes of late.

    Examples
    --------
    >>> pace = RateMeter()
    >>> for second in range(5):
    ...     pace.saw(second, 100 * second)
    >>> pace.rate, pace.left(1000)
    (100.0, 10.0)
    """

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def saw(self, now: float, amount: int) -> None:
        """Take note of how much there was at a time, in seconds."""
        self._seen.append((now, amount))
        while now - self._seen[0][0] > WINDOW:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """So much a second; 0 while that cannot be said."""
        (first, less), (last, more) = self._seen[0], self._seen[-1]
        return max(0.0, (more - less) / (last - first)) if last > first else 0.0

    def left(self, amount: int) -> float | None:
        """Seconds that it takes to do so much more; ``None`` while that cannot be said."""
        return amount / self.rate if self.rate else None


def clock(seconds: float) -> str:
    """Write a time that has passed.

    Examples
    --------
    >>> clock(7.2), clock(754), clock(37_000)
    ('0:07', '12:34', '10:16:40')
    """
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def sending(key: str, at: datetime, progress: "Progress", pace: RateMeter) -> ProgressEvent:
    """Say how far an upload is."""
    size, kept = progress.size, progress.kept
    done = min(size, kept + progress.sent)
    left = pace.left(size - done)
    words = [f"{format_size(done)} of {format_size(size)}"]
    if pace.rate:
        words.append(f"{format_size(int(pace.rate))}/s")
    if left is not None and done < size:
        words.append(f"{clock(left)} left")
    if kept:
        words.append(f"{format_size(kept)} were there")
    facts = {
        "bytes": done,
        "size": size,
        "bytesKept": kept,
        "bytesPerSecond": round(pace.rate),
        "secondsLeft": None if left is None else round(left),
    }
    share = done / size if size else 1.0
    return ProgressEvent("uploading", key, "upload", ", ".join(words), at, facts, share)


@dataclass(frozen=True, slots=True)
class ProgressTracker:
    """What was told so far, so that each thing is told once."""

    _sentences: dict[tuple[str, int, str], str] = field(default_factory=dict)

    def new(self, snapshot: "RunSnapshot", key: str, now: datetime) -> Iterator[ProgressEvent]:
        """Say what is new of an ask."""
        run = snapshot.run
        whose = ("", 0) if run is None else (run.upload_id, run.request.number)
        known = tuple(seen(snapshot, key, now))
        for news, after in zip_longest(known, known[1:]):
            before = self._sentences.get((*whose, news.step))
            if before is None or news.message not in ("", before):
                self._sentences[*whose, news.step] = news.message
                # When it changed nobody knows, but it was before what came after it.
                changed = now if after is None else min(now, after.at)
                yield news if before is None else replace(news, at=changed)


def seen(snapshot: "RunSnapshot", key: str, now: datetime) -> Iterator[ProgressEvent]:
    """Say all that is known of an ask, in the order in which it came about.

    Parameters
    ----------
    snapshot : RunSnapshot
    key : str
        Of its object, which an ask that nobody has claimed does not know.
    now : datetime
        Since when what has no time of its own is told to hold.
    """
    run = snapshot.run
    if run is None:
        event, words = ("late", _LATE) if snapshot.is_overdue else ("state", _WAITS)
        yield ProgressEvent(event, key, "decide", words, now)
        return
    yield ProgressEvent("state", key, "decide", _decided(run), _time(run.claimed_at), _state(run))
    at = {
        status: _time(when)
        for status, when in run.status_first_seen_at.items()
        if status not in FINAL_STATUSES  # the answer has those
    }
    for status in sorted(at, key=at.__getitem__):
        facts = {**_state(run), "status": status}
        steps = snapshot.steps
        if status != max(at, key=at.__getitem__) or not steps.total:
            yield ProgressEvent("state", key, status.lower(), "", at[status], facts)
            continue
        facts |= {"stepsDone": steps.done, "stepsTotal": steps.total}
        words = f"{steps.done} of {steps.total} steps"
        share = steps.done / steps.total
        yield ProgressEvent("state", key, status.lower(), words, at[status], facts, share)
    if run.answered_at is not None:
        yield concluded(run)


def concluded(run: "Run") -> ProgressEvent:
    """Say the answer of a drop that has one."""
    answer = parse_answer(run)
    if answer is None or run.answered_at is None:
        raise ValueError("it has no answer yet")
    kind, data = kind_of(answer), answer["detail"]["data"]
    lines = amis_of(answer)
    if data.get("reused"):
        lines.append("the image of an earlier drop")
    lines += [data[name] for name in ("code", "message", "remedy") if name in data]
    return ProgressEvent(
        "answer",
        run.upload.key,
        kind.lower(),
        "\n".join(lines),
        _time(run.answered_at),
        as_json(run),
        severity="good" if kind == "Succeeded" else "bad",
    )


def _decided(run: "Run") -> str:
    if run.decision is None:
        return "the stack looks at it"
    if isinstance(run.decision, Rejection):
        return run.decision.code.value
    image = f"{run.decision.name} {run.decision.semantic_version}"
    return image if run.import_build.arn else f"asks Image Builder for {image}"


def _state(run: "Run") -> dict[str, Any]:
    told = as_json(run)
    names = ("uploadId", "run", "state", "executionArn", "buildArn", "distributionArn")
    return {name: told[name] for name in names}


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written)
