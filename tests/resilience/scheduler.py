"""Threads that run one at a time, each until it sleeps; the clock jumps to the next one's time.

This is the only time in a simulation, so its races repeat exactly.
"""

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

BEGIN: Final = 1_795_000_000.0
"""Seconds since the epoch at which every run starts, in November 2026."""


class _StoppedError(BaseException):
    """The run is over, so a thread that still sleeps ends."""


class Signal:
    """One thread waits for it and another one sets it; a plain lock, which is the fastest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.wait, self.set = self._lock.acquire, self._lock.release


@dataclass(slots=True)
class Task:
    """A thread and its state.

    Attributes
    ----------
    deadline : float or None
        When its current work times out, see :meth:`VirtualScheduler.sleep`.
    """

    run: Callable[[], None]
    deadline: float | None = None
    stopped: bool = False
    _go: Signal = field(default_factory=Signal)
    _thread: threading.Thread | None = None


class DeadlineError(BaseException):
    """A task exceeded its deadline; no handler of exceptions catches this."""


class VirtualScheduler:
    """Runs tasks one at a time, in the order of their virtual times.

    Attributes
    ----------
    now : float
        Seconds since the epoch.
    """

    def __init__(self) -> None:
        self.now = BEGIN
        self._queue: list[tuple[float, int, Task]] = []
        self._count = 0
        self._current: Task | None = None
        self._until = BEGIN
        self._over = False
        self._back = Signal()
        self._error: BaseException | None = None

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    @property
    def current(self) -> Task | None:
        """The running task; ``None`` outside of all tasks."""
        return self._current

    def spawn(self, run: Callable[[], None], after: float = 0.0) -> None:
        """Start a task after some seconds."""
        self._put(Task(run), after)

    def sleep(self, seconds: float) -> None:
        """Let time pass, and other tasks run.

        Raises
        ------
        DeadlineError
            If the task's deadline has passed.
        """
        task = self._current
        if task is None:
            return
        if task.deadline is not None:
            seconds = min(seconds, max(0.0, task.deadline - self.now))
        self._put(task, seconds)
        if self._switch() is not task:
            task._go.wait()
        if task.stopped:
            raise _StoppedError
        if task.deadline is not None and self.now >= task.deadline:
            raise DeadlineError

    def run(self, until: float) -> None:
        """Run until no task is left, or until some seconds have passed.

        Raises
        ------
        Exception
            The exception of a task.
        """
        self._until, self._over = BEGIN + until, False
        self._switch()
        self._back.wait()
        self._over = True
        for _, _, task in self._queue:
            task.stopped = True
            if task._thread is not None:
                self._resume(task)
                self._back.wait()
        self._current = None
        self._queue.clear()
        if self._error is not None:
            raise self._error

    def _put(self, task: Task, after: float) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + after, self._count, task))

    def _switch(self) -> Task | None:
        """Resume the next task, which may be the calling one, or end the run."""
        if self._over or self._error or not self._queue or self._queue[0][0] > self._until:
            self._back.set()
            return None
        before = self._current
        when, _, task = heapq.heappop(self._queue)
        self.now = max(self.now, when)
        if task is not before:
            self._resume(task)
        return task

    def _resume(self, task: Task) -> None:
        self._current = task
        if task._thread is None:
            task._thread = threading.Thread(target=self._body, args=(task,), daemon=True)
            task._thread.start()
        else:
            task._go.set()

    def _body(self, task: Task) -> None:
        try:
            task.run()
        except _StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 # run() raises it again
            self._error = error
        finally:
            self._switch()


def never(*_: Any, **__: Any) -> Any:
    """Replace a function that must not be called, such as the real sleep."""
    raise AssertionError("nothing may wait for the real clock here")
