"""Runs handlers under the Lambda runtime interface emulator that aws-sam-cli contains.

It is what ``sam local invoke`` runs inside its container: the emulator, the
runtime client for Python, the function's code and its layer, and no other installed packages.
"""

import json
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from isodrop_local.interpreter import install_runtime_client, interpreter
from isodrop_local.packaging import ROOT, built_layer
from isodrop_local.stack import ACCOUNT, REGION, EmulatedStack

PYTHON: Final = (interpreter().path, "-S", "-s")
"""Without site-packages."""
INVOCATIONS: Final = "2015-03-31/functions/function/invocations"
START_SECONDS: Final = 10


class RuntimeDiedError(Exception):
    """The emulator did not start, or has ended; the message has its log."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files that every function needs.

    Attributes
    ----------
    layer : pathlib.Path
        The layer as Lambda mounts it; its packages are in the folder ``python``.
    client : pathlib.Path
        awslambdaric and its dependencies, and nothing else.
    scratch : pathlib.Path
        The folder for bytecode and logs.
    """

    layer: Path
    client: Path
    scratch: Path


@contextmanager
def layout() -> Iterator[Layout]:
    """Unpack the layer and collect the runtime client, inside the block."""
    with tempfile.TemporaryDirectory(prefix="isodrop-rie-") as folder:
        made = Layout(Path(folder, "layer"), Path(folder, "client"), Path(folder, "scratch"))
        for each in (made.layer, made.client, made.scratch):
            each.mkdir()
        archive = built_layer(ROOT / "layers" / "isodrop", "build-IsodropLayer")
        with zipfile.ZipFile(BytesIO(archive)) as layer:
            layer.extractall(made.layer)
        if interpreter().version == sys.version:
            _link("awslambdaric", made.client)
        else:
            install_runtime_client(made.client, interpreter().release)
        yield made


def _link(name: str, folder: Path) -> None:
    """Link an installed distribution and its dependencies into a folder."""
    found = distribution(name)
    for top in {file.parts[0] for file in found.files or ()}:
        link = folder / top
        if top != ".." and not top.endswith(".dist-info") and not link.exists():
            link.symlink_to(str(found.locate_file(top)))
    for requirement in found.requires or ():
        wanted = re.match(r"[\w.-]+", requirement)
        if wanted and "extra ==" not in requirement:
            _link(wanted[0], folder)


def emulator() -> Path:
    """Find the emulator for this machine in aws-sam-cli."""
    sam = find_spec("samcli")
    assert sam
    assert sam.origin
    machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
    return Path(sam.origin).parent / "local" / "rapid" / f"aws-lambda-rie-{machine}"


class Runtime:
    """One function under the emulator, from ``with`` to its end.

    Parameters
    ----------
    code : pathlib.Path
        The folder that has ``app.py``.
    on : Layout
        The layer and the runtime client.
    variables : mapping of str to str
        The function's environment.
    timeout : int
        The function's, in seconds.
    """

    def __init__(
        self, code: Path, on: Layout, variables: Mapping[str, str] | None = None, timeout: int = 10
    ) -> None:
        self._code = code
        self._on = on
        self._timeout = timeout
        self._variables = dict(variables or {})
        self._log = on.scratch / f"{code.name}.log"
        self._address = ""
        self._emulator: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(
        cls,
        stack: EmulatedStack,
        name: str,
        code: Path,
        on: Layout,
        without: Collection[str] = (),
    ) -> Self:
        """Make one like the stack's function with this logical id.

        Variables of its environment can be omitted.
        """
        resource = stack.client("cloudformation").describe_stack_resource(
            StackName=stack.name, LogicalResourceId=name
        )["StackResourceDetail"]
        function = stack.client("lambda").get_function_configuration(
            FunctionName=resource["PhysicalResourceId"]
        )
        variables = {
            "AWS_LAMBDA_FUNCTION_NAME": function["FunctionName"],
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function["MemorySize"]),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "none",
            **function["Environment"]["Variables"],
            "AWS_ENDPOINT_URL": stack.endpoint,
        }
        kept = {key: value for key, value in variables.items() if key not in without}
        return cls(code, on, kept, function["Timeout"])

    @property
    def environ(self) -> dict[str, str]:
        """The whole environment of the emulator: nothing is inherited."""
        return {
            "PATH": os.defpath,
            "LANG": "en_US.UTF-8",
            "HOME": str(self._on.scratch),
            "TMPDIR": str(self._on.scratch),
            "LAMBDA_TASK_ROOT": str(self._code),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self._timeout),
            # The code's folder comes first, because it is the working directory.
            "PYTHONPATH": f"{self._on.layer / 'python'}:{self._on.client}",
            # Bytecode is not written beside the sources, and only once.
            "PYTHONPYCACHEPREFIX": str(self._on.scratch / "bytecode"),
            **self._variables,
        }

    def __enter__(self) -> Self:
        """Start the emulator; the function is loaded by the first invocation."""
        port, api = _free_ports()
        self._address = f"127.0.0.1:{port}"
        with self._log.open("wb") as log:
            self._emulator = subprocess.Popen(
                [
                    str(emulator()),
                    # By default it listens on every address of the machine.
                    *("--runtime-interface-emulator-address", self._address),
                    *("--runtime-api-address", f"127.0.0.1:{api}"),
                    *(*PYTHON, "-m", "awslambdaric", "app.handler"),
                ],
                cwd=self._code,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_listening(port)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it; on SIGTERM it kills the function's process first."""
        assert self._emulator
        self._emulator.terminate()
        try:
            self._emulator.wait(10)
        except subprocess.TimeoutExpired:
            self._emulator.kill()
            self._emulator.wait()

    def invoke(self, event: Any) -> Any:
        """Invoke the function; return its result, or the error as the runtime reports it."""
        request = urllib.request.Request(  # always http on the loopback address
            f"http://{self._address}/{INVOCATIONS}", data=json.dumps(event).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=self._timeout + 10) as answer:  # noqa: S310
            return json.load(answer)

    def log(self) -> str:
        """Return the log of the emulator and the function."""
        return self._log.read_text(errors="replace")

    def _wait_until_listening(self, port: int) -> None:
        assert self._emulator
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._emulator.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeDiedError(f"{emulator().name} does not listen:\n{self.log()}")


def _free_ports() -> tuple[int, int]:
    """Find two free ports; both are bound at the same time, so that they differ."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
