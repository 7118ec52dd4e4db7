"""Threads that run one at a time, each until it waits; the clock jumps to whoever is next.

So there is no time but this one, and whatever races in it races again when it is run again.
"""

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

BEGIN: Final = 1_795_000_000.0
"""Seconds since the epoch at which every run begins: in November 2026."""


class _GoneError(BaseException):
    """The run is over: whoever still waits goes."""


@dataclass(slots=True)
class Task:
    """One thread and what it is about.

    Attributes
    ----------
    deadline : float or None
        Until when whatever it does now must be done, see :meth:`VirtualScheduler.sleep`.
    """

    run: Callable[[], None]
    deadline: float | None = None
    gone: bool = False
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _thread: threading.Thread | None = None


class DeadlineError(BaseException):
    """What a task did took longer than it may; nothing in our code catches it."""


class VirtualScheduler:
    """Whoever has it runs.

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
        self._back = threading.Semaphore(0)
        self._error: BaseException | None = None

    def __call__(self) -> float:
        """Tell the time."""
        return self.now

    @property
    def current(self) -> Task | None:
        """Whoever runs; ``None`` outside of all tasks."""
        return self._current

    def spawn(self, run: Callable[[], None], after: float = 0.0) -> None:
        """Let something run, so many seconds from now."""
        self._put(Task(run), after)

    def sleep(self, seconds: float) -> None:
        """Let the others run, and time pass.

        Raises
        ------
        DeadlineError
            If meanwhile the task's own deadline has come.
        """
        task = self._current
        if task is None:
            return
        if task.deadline is not None:
            seconds = min(seconds, max(0.0, task.deadline - self.now))
        self._put(task, seconds)
        self._back.release()
        task._go.acquire()
        if task.gone:
            raise _GoneError
        if task.deadline is not None and self.now >= task.deadline:
            raise DeadlineError

    def run(self, until: float) -> None:
        """Run until nobody waits any more, or until so many seconds have passed.

        Raises
        ------
        Exception
            Whatever a task raised.
        """
        while self._queue and self._error is None:
            when, _, task = heapq.heappop(self._queue)
            if when > BEGIN + until:
                heapq.heappush(self._queue, (when, _, task))
                break
            self.now = max(self.now, when)
            self._resume(task)
        for _, _, task in self._queue:
            task.gone = True
            if task._thread is not None:
                self._resume(task)
        self._queue.clear()
        if self._error is not None:
            raise self._error

    def _put(self, task: Task, after: float) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + after, self._count, task))

    def _resume(self, task: Task) -> None:
        self._current = task
        if task._thread is None:
            task._thread = threading.Thread(target=self._body, args=(task,), daemon=True)
            task._thread.start()
        else:
            task._go.release()
        self._back.acquire()
        self._current = None

    def _body(self, task: Task) -> None:
        try:
            task.run()
        except _GoneError:
            pass
        except BaseException as error:  # noqa: BLE001 # raised again by whoever runs them all
            self._error = error
        finally:
            self._back.release()


def never(*_: Any, **__: Any) -> Any:
    """Stand where nobody may come, such as for real sleep."""
    raise AssertionError("nothing may wait for the real clock here")
