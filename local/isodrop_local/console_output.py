"""Print the progress of the local stack: plain lines, or one JSON object per line."""

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from isodrop.text import printable
from isodrop_local.stack import Event

_COLORS: Final = {"good": "32", "bad": "31", "dim": "2"}


class ConsoleOutput:
    """Writes to standard output, each line with the seconds since the beginning.

    Parameters
    ----------
    as_json : bool
        Whether to print JSON.
    keys : bool
        Whether to begin each line with the upload's key, for several uploads.
    """

    def __init__(self, *, as_json: bool = False, keys: bool = False) -> None:
        self.as_json = as_json
        self._keys = keys
        self._printed: set[str] = set()
        self._began = time.monotonic()
        self._is_terminal = sys.stdout.isatty()
        self._colored = self._is_terminal and "NO_COLOR" not in os.environ

    def print_step(self, step: str, message: str, severity: str = "", **data: Any) -> None:
        """Print one step.

        Parameters
        ----------
        step : str
            The kind of step, for programs.
        message : str
            What happened, for people.
        severity : str
            ``good``, ``bad`` or ``dim``: its color on a terminal.
        **data
            Details for programs.
        """
        elapsed = time.monotonic() - self._began
        if self.as_json:
            self._print({"elapsed": round(elapsed, 2), "step": step, "message": message} | data)
            return
        self._print(f"{self.paint(f'{elapsed:6.1f}s', 'dim')}  {self.paint(message, severity)}")

    def show(self, event: Event) -> None:
        """Print an event in full, unless JSON is printed anyway."""
        if not self.as_json:
            self._print(json.dumps(event, indent=2, ensure_ascii=False))

    def hint(self, message: str) -> None:
        """Print a hint, on a terminal only."""
        if self._is_terminal and not self.as_json:
            self._print(self.paint(message, "dim"))

    def paint(self, text: str, severity: str) -> str:
        """Color a text on a terminal."""
        if not (self._colored and severity):
            return text
        return f"\033[{_COLORS[severity]}m{text}\033[0m"

    @staticmethod
    def _print(line: str | Mapping[str, Any]) -> None:
        print(line if isinstance(line, str) else json.dumps(line), flush=True)

    def print_event(self, event: Event) -> None:
        """Print one of isodrop's events on one line, unless its id was printed before."""
        event_id = event["detail"]["metadata"]["eventId"]
        if event_id in self._printed:
            return
        self._printed.add(event_id)
        data = event["detail"]["data"]
        kind = event["detail-type"]
        prefix = self._prefix(event)
        match kind:
            case "ISO Import Started":
                self._started(event, data, prefix)
            case "ISO Import Progressed":
                done, total = data.get("stepsDone"), data.get("stepsTotal")
                steps = f"  {done} of {total} steps" if total else ""
                subject = "distribution" if data["distributionArn"] else "build"
                self.print_step(
                    "progress", f"{prefix}{subject} is {data['status']}{steps}", event=event
                )
            case "ISO Import Succeeded":
                self.print_step("answer", f"{prefix}{kind}", "good", event=event)
            case _:
                self.print_step("answer", f"{prefix}{kind}: {data['code']}", "bad", event=event)

    def print_next_steps(self, answer: Event) -> None:
        """Print why there is no image, and what to do about it."""
        data = answer["detail"]["data"]
        prefix = self._prefix(answer)
        self.print_step("reason", f"{prefix}{data['message']}", "bad", code=data["code"])
        self.print_step("remedy", f"{prefix}What to do: {data['remedy']}")

    def _prefix(self, event: Event) -> str:
        return f"{printable(event['detail']['data']['source']['key'])}: " if self._keys else ""

    def _started(self, event: Event, data: Mapping[str, Any], prefix: str) -> None:
        plan = data["plan"]
        reuse = " (reuses the import of an earlier upload)" if data["reused"] else ""
        self.print_step(
            "decision",
            f"{prefix}decided: {plan['name']} {plan['semanticVersion']}; {plan['edition']} is image"
            f" {plan['imageIndex']} on this ISO{reuse}",
            event=event,
        )
        self.print_step("build", f"{prefix}build {data['buildArn']}", build=data["buildArn"])


def size(count: int) -> str:
    """Format a number of bytes."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
