"""Commands in pipes, stopped by signals, and without a terminal."""

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isodrop_cli.main import main

ISODROP = (sys.executable, "-m", "isodrop_cli")


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """A server that accepts requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "terminated"),
        (signal.SIGHUP, "terminated, because the terminal was closed"),
    ],
)
def test_a_signal_ends_a_command_with_a_message(
    silent_server: socket.socket, tmp_path: Path, number: signal.Signals, message: str
) -> None:
    address = f"http://127.0.0.1:{silent_server.getsockname()[1]}"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    with subprocess.Popen(
        [*ISODROP, "list"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        connection, _ = silent_server.accept()
        with connection:
            connection.recv(1)
            run.send_signal(number)
            out, err = run.communicate(timeout=30)

    assert (run.returncode, out, err) == (128 + number, "", f"isodrop: {message}\n")


def test_a_closed_pipe_ends_a_command_silently() -> None:
    names = [f"Win11_{number}.iso" for number in range(5000)]
    run = subprocess.run(
        ["sh", "-c", '"$@" | head -n 1', "sh", *ISODROP, "names", "--json", *names],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (run.stdout, run.stderr) == ("[\n", "")


@pytest.mark.parametrize("columns", ["0", "", "many"])
def test_an_invalid_terminal_width_still_shows_all(
    monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    main(["names", "Win11_24H2_English_x64.iso"])

    assert "24H2" in screen.getvalue()
    assert "\x1b[3" not in screen.getvalue(), "no color"
