"""``make test-sam-local``: ``sam local invoke`` of every function, as a new user would try it.

In a copy of the repository as it would be cloned, it runs ``make local CONTAINERS=1``, and then,
unchanged, the printed commands that make an ISO and invoke functions. It also imports every module
of the built layer in Lambda's image, and runs the handlers' tests and whole imports on Lambda's
Python. It exits with 1 at the first step that fails, and removes everything that it created.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from isodrop_local.interpreter import VARIABLE, InterpreterError
from isodrop_local.packaging import ROOT
from tools.sam_local import stand_in
from tools.sam_local.engine import RUNTIME, Engine, EngineError, engine
from tools.sam_local.stand_in import StandInError
from tools.sam_walkthrough import StepError, Walk, commands_of

GUIDE_SECONDS: Final = 120
LAST_LINE: Final = "Ctrl-C stops the stack"
ON_LAMBDAS_PYTHON: Final = ("tests/stack/test_import.py", "tests/stack/test_runtime.py")
"""In this order: the former counts all answers of its stack, and the latter publishes one again."""
_IMPORTS: Final = """
import importlib, pathlib, sys
sys.path.insert(0, "/opt/python")
folder = pathlib.Path("/opt/python/isodrop")
names = sorted(
    ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in folder.rglob("*.py")
)
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "rich":  # the command's own; the layer does not ship it
            raise
import boto3
print(f"{len(names)} modules on Python {sys.version.split()[0]} with boto3 {boto3.__version__}")
"""


def main() -> int:
    """Run all steps, and print their results."""
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="isodrop-sam-local-") as name:
            folder = Path(name)
            walk = Walk(folder)
            walk.copy()
            _print_step("a container engine and an image")
            with engine(folder / "engine") as container_engine:
                seconds = time.monotonic() - began
                print(f"   {container_engine.image}; ready after {seconds:.0f} s", flush=True)
                _check_in_image(walk, container_engine)
            _test_on_lambda_python(folder)
    except (
        *(StepError, EngineError, StandInError, InterpreterError),
        subprocess.TimeoutExpired,
    ) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print(f"all steps passed in {time.monotonic() - began:.0f} s, on {container_engine.image}")
    return 0


def _print_step(step: str) -> None:
    print(f"== {step}", flush=True)


def _require(holds: object, otherwise: str) -> None:
    if not holds:
        raise StepError(otherwise)


# ------------------------------------------------------------------------- in the image


def _check_in_image(walk: Walk, container_engine: Engine) -> None:
    if not container_engine.pulls:
        # The stand-in for AWS's image is in no registry: this is the only setting that differs from
        # those of a user who has AWS's image.
        with (walk.clone / "samconfig.toml").open("a") as settings:
            settings.write("\n[default.local_invoke.parameters]\nskip_pull_image = true\n")
    with _run_local_stack(walk, container_engine) as guide:
        exports, commands = read_guide(guide)
        _print_step("the instructions of make local: make an ISO and upload it")
        selected = [each for each in commands if re.match(r"mkdir|isodrop (upload|list)", each)]
        for command in selected:
            _shell(walk, container_engine, exports, command)
        _print_step("invoke every function in a container")
        results = {}
        for command in _select_container_commands(commands):
            output = _shell(walk, container_engine, exports, command)
            if invoked := re.search(r"sam local invoke (\w+)", command):
                results[invoked[1]] = _result(invoked[1], output)
        _check_results(results)
        _print_step("the results")
        print(f"   {_shell(walk, container_engine, exports, 'isodrop list').strip()}", flush=True)
    _print_step("every module of the built layer")
    layer = walk.clone / ".aws-sam/build/IsodropLayer"
    printed = container_engine.run(["python3", "-c", _IMPORTS], {layer: "/opt"})
    print(f"   {printed.strip()}", flush=True)


@contextmanager
def _run_local_stack(walk: Walk, container_engine: Engine) -> Iterator[str]:
    """Run ``make local CONTAINERS=1`` in the copy; yield what it prints."""
    print("   $ make local CONTAINERS=1", flush=True)
    environ = {**walk.environ(container_engine.environ), "MAKEFLAGS": ""}
    process = subprocess.Popen(
        # The target's command, with this venv instead of the copy's own.
        [sys.executable, "-m", "isodrop_local.serve", "--containers", "1"],
        cwd=walk.clone,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: deque[str] = deque()
    is_complete = threading.Event()
    reader = threading.Thread(target=_read, args=(process, lines, is_complete), daemon=True)
    reader.start()
    try:
        if not is_complete.wait(GUIDE_SECONDS) or process.poll() is not None:
            raise StepError(f"make local did not start:\n{''.join(lines)}")
        yield "".join(lines)
    finally:
        process.terminate()
        process.wait(30)


def _read(
    process: "subprocess.Popen[str]", lines: "deque[str]", is_complete: threading.Event
) -> None:
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        if LAST_LINE in line:
            is_complete.set()
    is_complete.set()


def read_guide(guide: str) -> tuple[list[str], list[str]]:
    """Parse the exports and the commands of a guide, in order."""
    guide = guide.replace("\\\n", "")
    exports = re.findall(r"^ *(export .*)$", guide, re.MULTILINE)
    return exports, commands_of(guide)


def _select_container_commands(commands: list[str]) -> list[str]:
    """Select the commands from the build to the last ``sam local invoke``."""
    begin = commands.index("sam build --no-cached")
    last = max(place for place, each in enumerate(commands) if "sam local invoke" in each)
    return commands[begin : last + 1]


def _shell(walk: Walk, container_engine: Engine, exports: list[str], command: str) -> str:
    """Run a command in a shell that is set up as in the guide."""
    print(f"   $ {command}", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", "\n".join([*exports, command])],
        cwd=walk.clone,
        env=walk.environ(container_engine.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise StepError(f"exit {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
    if "sam local invoke" in command:
        print(f"   {done.stdout.strip()[-300:]}   ({time.monotonic() - began:.1f} s)", flush=True)
    return done.stdout


def _result(function: str, output: str) -> dict[str, Any]:
    """Read a function's result, which is the last line that the SAM CLI prints."""
    lines = output.strip().splitlines()
    _require(lines, f"{function} printed nothing")
    result: dict[str, Any] = json.loads(lines[-1])
    _require("errorType" not in result, f"{function} failed: {result}")
    return result


def _check_results(results: Mapping[str, Mapping[str, Any]]) -> None:
    decided, swept = results["ImportIso"], results["Sweep"]
    _require(decided["nextStep"] == "track", f"ImportIso decided {decided}")
    # A version that nothing else here has imported: its build was requested from the container.
    _require("/11.26200." in decided["buildArn"], f"ImportIso returned no build: {decided}")
    _require("ReportBuild" in results, "ReportBuild was not called")
    _require(swept["errors"] == 0, f"the sweep had errors: {swept}")
    _require(swept["complete"] is True, f"the sweep is incomplete: {swept}")


# ------------------------------------------------------------------------- on Lambda's Python


def _test_on_lambda_python(folder: Path) -> None:
    _print_step("the handlers' tests, and whole imports on the stack, on Lambda's Python")
    python = _find_python() or _install_debian_python(folder)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *ON_LAMBDAS_PYTHON],
        cwd=ROOT,
        env={**os.environ, VARIABLE: python, "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        timeout=600,
    )
    _require(done.returncode == 0, f"pytest ended with {done.returncode}")


def _find_python() -> str | None:
    """Find Lambda's Python on this machine; ``None`` if it does not run."""
    command = [RUNTIME, "-c", "import sys; print(sys._base_executable)"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _install_debian_python(folder: Path) -> str:
    """Install Debian's Python into a folder, and write a script that runs it there."""
    if shutil.which("debootstrap") is None:
        raise StepError(f"there is no {RUNTIME} here, and no debootstrap to install it")
    (folder / "engine").mkdir(exist_ok=True)
    root = stand_in.python_root(folder / "engine")
    loader = next(root.glob("lib*/ld-linux-*"))
    (libraries,) = root.glob("usr/lib/*-linux-gnu")
    script = folder / RUNTIME
    script.write_text(
        f'#!/bin/sh\nexec {loader} --library-path {libraries} {root}/usr/bin/{RUNTIME} "$@"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


if __name__ == "__main__":
    sys.exit(main())
