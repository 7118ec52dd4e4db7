"""``make diagrams``: draw the state machine and the dashboard from their sources.

With ``--record`` two runs are recorded again first: the day whose metrics the dashboard shows, and
an upload in a terminal. ``--check`` writes nothing and prints which files are out of date.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from isodrop_local.template import ROOT
from tools.diagrams import dashboard, record, state_machine, terminal
from tools.diagrams.themes import apply_themes

Draw = Callable[[Sequence[dict[str, Any]]], list[str]]
_DRAWER: Final = Path(__file__).with_name("draw.mjs")


def draw(drawings: Sequence[dict[str, Any]]) -> list[str]:
    """Draw graphs and charts, in order.

    Raises
    ------
    subprocess.CalledProcessError
        One of them cannot be drawn.
    """
    done = subprocess.run(
        ["node", str(_DRAWER)],
        input=json.dumps(drawings),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    drawn: list[str] = json.loads(done.stdout)
    return drawn


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of the pictures.

    Attributes
    ----------
    definition : dict
        The state machine's, in Amazon States Language.
    body : dict
        The dashboard's.
    samples : tuple of record.Sample
        The metrics of the day that the dashboard shows.
    """

    definition: dict[str, Any]
    body: dict[str, Any]
    samples: tuple[record.Sample, ...]


def sources() -> Sources:
    """Read the sources of the pictures."""
    definition = json.loads((ROOT / "statemachine/import.asl.json").read_text())
    return Sources(definition, dashboard.body(), tuple(record.read_recording()))


def make_diagrams(inputs: Sources, draw: Draw = draw) -> dict[str, str]:
    """Make each picture, by its path from the root."""
    graph = {"kind": "graph", "graph": state_machine.graph(inputs.definition)}
    drawn, *graphs = draw([graph, *dashboard.charts(inputs.body, inputs.samples)])
    return {
        "docs/machine.svg": apply_themes(drawn),
        "docs/dashboard.svg": apply_themes(dashboard.assemble(inputs.body, graphs)),
    }


def find_drift(inputs: Sources, root: Path = ROOT, draw: Draw = draw) -> Iterator[str]:
    """List the diagrams that are out of date."""
    for name, picture in make_diagrams(inputs, draw).items():
        path = root / name
        if not path.exists() or path.read_text() != picture:
            yield f"{name} is out of date; run: make diagrams"


def main() -> None:
    """Draw the pictures, or check that they are up to date."""
    parser = argparse.ArgumentParser(prog="python -m tools.diagrams", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and run nothing")
    parser.add_argument(
        "--record", action="store_true", help="upload an ISO and simulate a day, too"
    )
    arguments = parser.parse_args()
    if arguments.check:
        sys.exit("\n".join(find_drift(sources())) or None)
    if arguments.record:
        record.record()
        terminal.draw()
    for name, picture in make_diagrams(sources()).items():
        (ROOT / name).write_text(picture)


if __name__ == "__main__":
    main()
