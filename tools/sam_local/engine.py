"""The engine that runs containers: Docker if it is available with AWS's image, else podman.

podman is started with its own store, configuration and socket, all of which are removed afterwards.
So no other containers or images are touched, and the substitute for AWS's image, which has its
name, is not visible to others.
"""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import DockerException
from samcli.local.docker.lambda_image import LambdaImage, Runtime

from tools.sam_local import stand_in

RUNTIME: Final = "python3.13"
ARCHITECTURE: Final = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
IMAGE: Final = (
    f"{LambdaImage._INVOKE_REPO_PREFIX}/{Runtime.get_image_name_tag(RUNTIME, ARCHITECTURE)}"
)
"""AWS's image for the functions, by the SAM CLI's name."""
PACKAGES: Final = {
    "podman": "podman",
    "runc": "runc",
    "iptables": "iptables",
    "debootstrap": "debootstrap",
    "/usr/lib/podman/netavark": "netavark",
}
"""Programs that podman and the image require, and their Debian packages."""
# crun does not support both versions of cgroups at once. The limits are set here, because podman
# cannot raise them.
_CONFIGURATION: Final = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"

[network]
network_backend = "netavark"
"""
_START_SECONDS: Final = 20.0


class EngineError(Exception):
    """No container engine is available, or a command in one failed; the message says why."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine, with an image under AWS's name.

    Attributes
    ----------
    host : str or None
        For ``DOCKER_HOST``; ``None`` for the environment's.
    image : str
        A description of the image.
    pulls : bool
        Whether the SAM CLI may look for a newer one.
    """

    host: str | None
    image: str
    pulls: bool

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables with which the SAM CLI finds it."""
        return {} if self.host is None else {"DOCKER_HOST": self.host}

    def client(self) -> Any:
        """Create a client of it."""
        return docker.from_env() if self.host is None else docker.DockerClient(self.host)

    def run(self, command: list[str], mounts: Mapping[Path, str], **how: Any) -> str:
        """Run a command in the image; return what it prints.

        Raises
        ------
        EngineError
            The command failed; the message has its output.
        """
        volumes = {str(path): {"bind": inside, "mode": "ro"} for path, inside in mounts.items()}
        try:
            printed = self.client().containers.run(
                IMAGE, command[1:], entrypoint=command[:1], volumes=volumes, remove=True, **how
            )
        except DockerException as error:
            raise EngineError(str(error)) from error
        return str(printed.decode())


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """Find an engine, or start one in a folder, for the duration of the block.

    Raises
    ------
    EngineError
        Neither is available.
    """
    missing = _why_not_docker()
    if missing is None:
        yield Engine(None, IMAGE, pulls=True)
        return
    print(f"   using the stand-in instead of AWS's image: {missing}", flush=True)
    with _podman(folder) as host:
        yield Engine(host, stand_in.DESCRIPTION, pulls=False)


def _why_not_docker() -> str | None:
    """Return why AWS's image cannot be run; None if it can."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        return f"no Docker here ({str(error).splitlines()[0][:120]})"
    try:
        client.images.pull(*IMAGE.split(":"))
    except DockerException as error:
        return f"it could not be pulled ({str(error).splitlines()[0][:120]})"
    finally:
        client.close()
    return None


@contextmanager
def _podman(folder: Path) -> Iterator[str]:
    missing_packages = sorted(
        {package for what, package in PACKAGES.items() if shutil.which(what) is None}
    )
    if missing_packages:
        install = f"apt-get install --no-install-recommends {' '.join(missing_packages)}"
        raise EngineError(f"podman requires Debian's {', '.join(missing_packages)}: {install}")
    if os.geteuid() != 0:
        raise EngineError("podman with a substitute image requires root: run it with sudo")
    folder.mkdir()
    (folder / "containers.conf").write_text(_CONFIGURATION)
    environ = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
    podman = ["podman", "--root", str(folder / "root"), "--runroot", str(folder / "run")]
    stand_in.make(folder, [*podman, "import"], IMAGE, environ)
    socket = folder / "socket"
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen(
            [*podman, "system", "service", "--time=0", f"unix://{socket}"],
            stdout=log,
            stderr=log,
            env=environ,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not socket.exists():
            if service.poll() is not None or time.monotonic() > deadline:
                raise EngineError(f"podman does not start:\n{(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield f"unix://{socket}"
    finally:
        # First the containers that still run, then the service.
        subprocess.run(
            [*podman, "rm", "--all", "--force"], env=environ, capture_output=True, check=False
        )
        service.terminate()
        service.wait(10)
        subprocess.run([*podman, "unmount", "--all"], env=environ, capture_output=True, check=False)
        subprocess.run(["umount", str(folder / "root/overlay")], capture_output=True, check=False)
