"""Signals that end a command: Ctrl-C, SIGTERM, a terminal that is closed.

All of them are raised as :class:`KeyboardInterrupt`, so that a command always ends the same way:
uploads stop, threads end, the terminal is restored. Windows has no SIGHUP; its SIGBREAK is sent
by Ctrl-Break and when a console is closed.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNAL_BASE: Final = 128  # what a shell adds to the number of the signal: 130 for Ctrl-C
_DESCRIPTIONS: Final = {
    "SIGTERM": "terminated",
    "SIGHUP": "terminated, because the terminal was closed",
    "SIGBREAK": "interrupted",
}


class SignalError(KeyboardInterrupt):
    """A signal that ends the command, other than Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Turn the signals that end a command into exceptions, inside the block, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [
        number for name in _DESCRIPTIONS if (number := getattr(signal, name, None)) is not None
    ]
    previous = {}
    for number in numbers:
        # A signal that is ignored, by nohup for example, stays ignored.
        if signal.getsignal(number) is signal.SIG_DFL:
            previous[number] = signal.signal(number, _raise)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _raise(number: int, _frame: FrameType | None) -> None:
    raise SignalError(number)


def describe(error: KeyboardInterrupt) -> str:
    """Describe what ended the command."""
    if isinstance(error, SignalError):
        return _DESCRIPTIONS[signal.Signals(error.number).name]
    return "interrupted"


def exit_code(error: KeyboardInterrupt) -> int:
    """Return the exit code that a shell reports for that signal."""
    number = error.number if isinstance(error, SignalError) else signal.SIGINT
    return _SIGNAL_BASE + int(number)
