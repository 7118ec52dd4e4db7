"""What ends a command from outside: Ctrl-C, SIGTERM, a terminal that is closed.

All of them are raised as :class:`KeyboardInterrupt`, so that whatever is going on ends in the same
way: uploads stop, threads end, the terminal is as it was. Windows has no SIGHUP; its SIGBREAK is
Ctrl-Break, and a console that is closed.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from isodrop_cli import exit_codes

_WORDS: Final = {
    "SIGTERM": "terminated",
    "SIGHUP": "ended, because the terminal was closed",
    "SIGBREAK": "interrupted",
}


class SignalError(KeyboardInterrupt):
    """A signal that ends the command, other than Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def raised() -> Iterator[None]:
    """Let the signals that end a command be raised inside the block, where that is possible."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = [number for name in _WORDS if (number := getattr(signal, name, None)) is not None]
    before = {}
    for number in known:
        # Whoever is told to ignore one, by nohup for one, goes on ignoring it.
        if signal.getsignal(number) is signal.SIG_DFL:
            before[number] = signal.signal(number, _raise)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(number: int, _frame: FrameType | None) -> None:
    raise SignalError(number)


def describe(error: KeyboardInterrupt) -> str:
    """Say in a word what ended the command."""
    if isinstance(error, SignalError):
        return _WORDS[signal.Signals(error.number).name]
    return "interrupted"


def exit_status(error: KeyboardInterrupt) -> int:
    """Say how a shell would have a program exit that was ended so."""
    number = error.number if isinstance(error, SignalError) else signal.SIGINT
    return exit_codes.SIGNALLED + int(number)
