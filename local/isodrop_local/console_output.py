"""Says what happens as it happens: plain lines for people, one JSON object a line for machines."""

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from isodrop.text import printable
from isodrop_local.stack import Event

_COLOURS: Final = {"good": "32", "bad": "31", "dim": "2"}


class ConsoleOutput:
    """Writes to standard output, each line with the seconds since the beginning.

    Parameters
    ----------
    as_json : bool
        Whether machines read it.
    keys : bool
        Whether several uploads are told of, so that each line names its own.
    """

    def __init__(self, *, as_json: bool = False, keys: bool = False) -> None:
        self.as_json = as_json
        self._keys = keys
        self._told: set[str] = set()
        self._began = time.monotonic()
        self._seen = sys.stdout.isatty()
        self._coloured = self._seen and "NO_COLOR" not in os.environ

    def say(self, step: str, sentence: str, mood: str = "", **facts: Any) -> None:
        """Tell one step.

        Parameters
        ----------
        step : str
            What kind of step it is, for machines.
        sentence : str
            What happened, for people.
        mood : str
            ``good``, ``bad`` or ``dim``: its colour on a terminal.
        **facts
            What machines want to know of it.
        """
        elapsed = time.monotonic() - self._began
        if self.as_json:
            self._print({"elapsed": round(elapsed, 2), "step": step, "message": sentence} | facts)
            return
        self._print(f"{self.paint(f'{elapsed:6.1f}s', 'dim')}  {self.paint(sentence, mood)}")

    def show(self, event: Event) -> None:
        """Print an event in full; machines have had it already."""
        if not self.as_json:
            self._print(json.dumps(event, indent=2, ensure_ascii=False))

    def hint(self, sentence: str) -> None:
        """Tell a person at a terminal, and nobody else, what there is to try."""
        if self._seen and not self.as_json:
            self._print(self.paint(sentence, "dim"))

    def paint(self, words: str, mood: str) -> str:
        """Colour words on a terminal."""
        if not (self._coloured and mood):
            return words
        return f"\033[{_COLOURS[mood]}m{words}\033[0m"

    @staticmethod
    def _print(what: str | Mapping[str, Any]) -> None:
        print(what if isinstance(what, str) else json.dumps(what), flush=True)

    def event(self, event: Event) -> None:
        """Tell what isodrop said, in a line; what it said before under the same id is no news."""
        event_id = event["detail"]["metadata"]["eventId"]
        if event_id in self._told:
            return
        self._told.add(event_id)
        data = event["detail"]["data"]
        kind = event["detail-type"]
        whose = self._whose(event)
        match kind:
            case "ISO Import Started":
                self._started(event, data, whose)
            case "ISO Import Progressed":
                done, of = data.get("stepsDone"), data.get("stepsTotal")
                steps = f"  {done} of {of} steps" if of else ""
                what = "distribution" if data["distributionArn"] else "build"
                self.say("progress", f"{whose}{what} is {data['status']}{steps}", event=event)
            case "ISO Import Succeeded":
                self.say("answer", f"{whose}{kind}", "good", event=event)
            case _:
                self.say("answer", f"{whose}{kind}: {data['code']}", "bad", event=event)

    def advise(self, answer: Event) -> None:
        """Tell why there is no image, and what to do about it."""
        data = answer["detail"]["data"]
        whose = self._whose(answer)
        self.say("reason", f"{whose}{data['message']}", "bad", code=data["code"])
        self.say("remedy", f"{whose}What to do: {data['remedy']}")

    def _whose(self, event: Event) -> str:
        return f"{printable(event['detail']['data']['source']['key'])}: " if self._keys else ""

    def _started(self, event: Event, data: Mapping[str, Any], whose: str) -> None:
        plan = data["plan"]
        again = " (joins the import of an earlier drop)" if data["reused"] else ""
        self.say(
            "decision",
            f"{whose}decided: {plan['name']} {plan['semanticVersion']}; {plan['edition']} is image"
            f" {plan['imageIndex']} on this ISO{again}",
            event=event,
        )
        self.say("build", f"{whose}build {data['buildArn']}", build=data["buildArn"])


def size(count: int) -> str:
    """Write a number of bytes for people."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
