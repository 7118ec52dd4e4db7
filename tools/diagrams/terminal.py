"""The screenshot of ``isodrop upload`` in README.md, recorded on the local stack."""

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
from isodrop_cli.commands.upload import FileUpload, ResumeHint
from isodrop_cli.output.progress import ProgressEvent
from isodrop_cli.output.renderers import StepsView
from isodrop_cli.stack import Stack
from isodrop_local.iso_maker import make_iso
from isodrop_local.packaging import ROOT
from isodrop_local.stack import EmulatedStack, credentials

PICTURE: Final = ROOT / "docs" / "upload.svg"
SIZE: Final = 64 << 20
_WIDTH: Final = 92
# The picture embeds no font; each viewer has a monospaced one.
_FONT_FACES: Final = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


class CapturedView(StepsView):
    """The view of one upload, captured in the middle of its build."""

    def __init__(self, recording: Console, title: str) -> None:
        super().__init__(Console(file=io.StringIO(), width=_WIDTH), utc_now, title)
        self._recording = recording
        self._is_captured = False

    def show(self, event: ProgressEvent) -> None:
        """Add an event to the view, and capture it once during the build."""
        super().show(event)
        if event.stage == "building" and event.fraction and not self._is_captured:
            self._is_captured = True
            self.capture()

    def capture(self) -> None:
        """Capture the view."""
        self._recording.print(self.render())


def draw() -> None:
    """Upload an ISO, and draw what a terminal shows."""
    operations.WAIT_SECONDS = 0.3  # type: ignore[misc] # shortened like the build
    recording = Console(record=True, file=io.StringIO(), width=_WIDTH, force_terminal=True)
    recording.print("$ isodrop upload Win11.iso\n", style="bold", highlight=False)
    with (
        tempfile.TemporaryDirectory(prefix="isodrop-diagrams-") as folder,
        EmulatedStack(wait_scale=0.005) as stack,
    ):
        path = make_iso(Path(folder) / "Win11.iso")
        os.truncate(path, SIZE)
        stack.deploy()
        os.environ["AWS_ENDPOINT_URL"] = stack.endpoint
        found = Stack(boto3.Session(**credentials()), stack.outputs)
        run = FileUpload(found, path, path.name, {}, ResumeHint())
        with CapturedView(recording, f"{path.name} to {run.uri}") as view:
            run.upload_and_follow(view, force=False, follow=True)
        recording.print("\n… and finally\n", style="dim", highlight=False)
        view.capture()
    drawn = recording.export_svg(title="isodrop upload", theme=MONOKAI, unique_id="isodrop-upload")
    PICTURE.write_text(_FONT_FACES.sub("", drawn))
