"""Runs external programs, or skips the test if one is missing."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

PACKAGES = {
    "wimlib-imagex": "wimtools",
    "genisoimage": "genisoimage",
    "mkudffs": "udftools",
    "7z": "p7zip-full",
}


class ProgramError(Exception):
    """A program failed; the message is its last line."""


@cache
def _place(name: str) -> str | None:
    # Debian installs mkudffs in a folder that only root has in PATH.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def need(name: str) -> str:
    """Return a program's path, or skip the test."""
    place = _place(name)
    if place is None:
        pytest.skip(f"{name} is not installed (Debian package {PACKAGES[name]})")
    return place


def run(name: str, *arguments: str | Path, into: Path | None = None) -> None:
    """Run a program; its standard output goes into a file if one is given.

    Raises
    ------
    ProgramError
        It ended with another status than 0.
    """
    command = [need(name), *map(str, arguments)]
    if into is None:
        done = subprocess.run(command, capture_output=True, check=False)
    else:
        with into.open("wb") as file:
            done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        lines = (done.stderr + (done.stdout or b"")).decode(errors="replace").split("\n")
        raise ProgramError(next((line for line in reversed(lines) if line.strip()), "no output"))
