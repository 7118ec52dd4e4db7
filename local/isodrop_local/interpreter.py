"""The Python that functions run on: this machine's, or the one that ``RUNTIME_PYTHON`` names.

Lambda's own is 3.13. If this machine has it, ``make demo RUNTIME_PYTHON=python3.13`` makes
everything on the local stack run on it; ``make test-sam-local`` provides it.
"""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

MACHINE: Final = "aarch64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
ROOT: Final = Path(__file__).resolve().parents[2]
VARIABLE: Final = "RUNTIME_PYTHON"


class InterpreterError(Exception):
    """There is no such interpreter; the message says why."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python outside of any venv.

    Attributes
    ----------
    path : str
        Its executable.
    version : str
        Its full version and compiler, on which compiled modules depend.
    """

    path: str
    version: str

    @property
    def release(self) -> str:
        """Such as ``3.13``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def layer_settings(self) -> tuple[str, ...]:
        """The settings of the layer's Makefile that make the layer for it."""
        wheels = "host" if self.version == sys.version else MACHINE
        return (
            *(f"PYTHON={sys.executable}", f"LAYER_PLATFORMS={wheels}"),
            *(f"LAYER_PYTHON={self.release}", f"LAYER_COMPILER={self.path}"),
        )


@cache
def interpreter() -> Interpreter:
    """Find it.

    Raises
    ------
    InterpreterError
        ``RUNTIME_PYTHON`` does not exist or cannot be run.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return Interpreter(getattr(sys, "_base_executable", sys.executable), sys.version)
    try:
        command = [path, "-I", "-S", "-c", "import sys; print(sys.version, end='')"]
        output = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InterpreterError(f"{VARIABLE} names {path}, which does not run: {error}") from error
    return Interpreter(path, output.stdout)


def install_runtime_client(target: Path, release: str) -> None:
    """Install AWS's runtime client for a Python that need not be installed.

    Parameters
    ----------
    target : pathlib.Path
        The folder for it and its dependencies, which are locked by hashes.
    release : str
        That Python's, such as ``3.13``.

    Raises
    ------
    InterpreterError
        The message has the end of pip's output.
    """
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-compile", "--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--implementation", "cp", "--python-version", release),
        *("--platform", f"manylinux2014_{MACHINE}", "--platform", f"manylinux_2_28_{MACHINE}"),
        *("--requirement", str(ROOT / "requirements/runtime.txt"), "--target", str(target)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InterpreterError(f"no runtime client for {release}:\n{done.stderr[-2000:]}")
