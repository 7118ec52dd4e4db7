"""The picture of ``isodrop drop`` in README.md, from a drop on the stack of this machine."""

import io
import os
import re
import tempfile
from pathlib import Path
from typing import Final

import boto3
from rich.console import Console
from rich.terminal_theme import MONOKAI

from isodrop_cli import operations
from isodrop_cli.clock import utc_now
from isodrop_cli.commands.drop import FileDrop, Way
from isodrop_cli.output.progress import ProgressEvent
from isodrop_cli.output.renderers import StepsView
from isodrop_cli.stack import Stack
from isodrop_local.iso_maker import make_iso
from isodrop_local.packaging import ROOT
from isodrop_local.stack import LocalStack, credentials

PICTURE: Final = ROOT / "docs" / "drop.svg"
SIZE: Final = 64 << 20
_WIDTH: Final = 92
# The picture asks nobody for a font; each viewer has one of fixed width.
_FONT_FACES: Final = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


class Camera(StepsView):
    """The view of one drop, photographed in the middle of its build."""

    def __init__(self, film: Console, title: str) -> None:
        super().__init__(Console(file=io.StringIO(), width=_WIDTH), utc_now, title)
        self._film = film
        self._has_taken_one = False

    def show(self, news: ProgressEvent) -> None:
        """Take it into the picture, and take the picture."""
        super().show(news)
        if news.step == "building" and news.share and not self._has_taken_one:
            self._has_taken_one = True
            self.take()

    def take(self) -> None:
        """Take a picture."""
        self._film.print(self.render())


def draw() -> None:
    """Drop an ISO, and draw what a person would see."""
    operations.WAIT_SECONDS = 0.3  # type: ignore[misc] # as much shorter as the build is
    film = Console(record=True, file=io.StringIO(), width=_WIDTH, force_terminal=True)
    film.print("$ isodrop drop Win11.iso\n", style="bold", highlight=False)
    with (
        tempfile.TemporaryDirectory(prefix="isodrop-pictures-") as folder,
        LocalStack(wait_scale=0.005) as stack,
    ):
        path = make_iso(Path(folder) / "Win11.iso")
        os.truncate(path, SIZE)
        stack.deploy()
        os.environ["AWS_ENDPOINT_URL"] = stack.endpoint
        found = Stack(boto3.Session(**credentials()), stack.outputs)
        run = FileDrop(found, path, path.name, {}, Way())
        with Camera(film, f"{path.name} to {run.address}") as camera:
            run.go(camera, force=False, follow=True)
        film.print("\n… and at last\n", style="dim", highlight=False)
        camera.take()
    drawn = film.export_svg(title="isodrop drop", theme=MONOKAI, unique_id="isodrop-drop")
    PICTURE.write_text(_FONT_FACES.sub("", drawn))
