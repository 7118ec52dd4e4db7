"""The image that replaces AWS's where that is not available: Debian's Python 3.13.

It has what the SAM CLI requires of an image, and what Lambda documents: the interpreter,
AWS's own runtime client in ``/var/runtime``, the function in ``/var/task``, layers in ``/opt``. It
has no boto3, so that anything missing in the layer is noticed.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html
https://docs.aws.amazon.com/lambda/latest/dg/packaging-layers.html
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from isodrop_local.interpreter import install_runtime_client

RELEASE: Final = "trixie"
"""The release of Debian that has Lambda's version of Python."""
DESCRIPTION: Final = f"the stand-in: Python 3.13 of Debian {RELEASE}, with awslambdaric"
_LEFT_OUT: Final = (
    "var/cache",
    "var/lib/apt",
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
)
_BOOTSTRAP: Final = """\
#!/bin/sh
export PYTHONPATH=/var/task:/opt/python:/var/runtime
exec python3 -m awslambdaric "$_HANDLER"
"""
_ENVIRON: Final = ("LANG=en_US.UTF-8", "TZ=:UTC", "LAMBDA_TASK_ROOT=/var/task")


class StandInError(Exception):
    """The image could not be made; the message has the end of the output."""


def make(
    folder: Path, import_command: Sequence[str], name: str, environ: Mapping[str, str]
) -> None:
    """Make the image.

    Parameters
    ----------
    folder : pathlib.Path
        The folder for its files; temporary ones are removed.
    import_command : sequence of str
        Makes an image from an archive; options, archive and name are appended.
    name : str
        The image's name.
    environ : mapping
        The environment of that command.

    Raises
    ------
    StandInError
        A step failed.
    """
    root, archive = python_root(folder), folder / "image.tar"
    runtime = root / "var/runtime"
    runtime.mkdir(parents=True, exist_ok=True)
    install_runtime_client(runtime, "3.13")
    bootstrap = runtime / "bootstrap"
    bootstrap.write_text(_BOOTSTRAP)
    bootstrap.chmod(0o755)
    for place in ("var/task", "opt"):
        (root / place).mkdir(parents=True, exist_ok=True)
    left_out = [f"--exclude=./{each}" for each in _LEFT_OUT]
    _run("tar", "-C", str(root), *left_out, "-cf", str(archive), ".")
    changes = ("WORKDIR /var/task", *(f"ENV {each}" for each in _ENVIRON))
    options = [word for change in changes for word in ("--change", change)]
    _run(*import_command, "--quiet", *options, str(archive), name, environ=environ)
    archive.unlink()


def python_root(folder: Path) -> Path:
    """Install Debian with Python into a folder, only once; return its root."""
    root = folder / "debian"
    if not root.exists():
        packages = "--include=python3,ca-certificates"
        _run("debootstrap", "--variant=minbase", packages, RELEASE, str(root))
    return root


def _run(*command: str, environ: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    if done.returncode:
        output = f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        raise StandInError(f"{' '.join(command[:3])} … failed ({done.returncode}):\n{output}")
