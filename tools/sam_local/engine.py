"""The engine that runs containers: Docker where it is there with AWS's image, else podman.

podman is started here with a store, a configuration and a socket of its own, and goes again with
all of it. So nothing that somebody else has in a container engine is touched, and the image that
stands for AWS's, and has its name, is seen by nobody else.
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
"""AWS's image for the functions, by the name that the SAM CLI has for it."""
PACKAGES: Final = {
    "podman": "podman",
    "runc": "runc",
    "iptables": "iptables",
    "debootstrap": "debootstrap",
    "/usr/lib/podman/netavark": "netavark",
}
"""What podman and the image take, and the Debian packages that have it."""
# crun knows no cgroups of both versions at once; where nothing but podman limits containers, a
# limit cannot be raised.
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
    """No container engine is available; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers, with an image under AWS's name.

    Attributes
    ----------
    host : str or None
        For ``DOCKER_HOST``; None for that of the environment.
    image : str
        Which image that is, in words.
    pulls : bool
        Whether the SAM CLI may look for a newer one.
    """

    host: str | None
    image: str
    pulls: bool

    @property
    def environ(self) -> Mapping[str, str]:
        """What lets the SAM CLI find it."""
        return {} if self.host is None else {"DOCKER_HOST": self.host}

    def client(self) -> Any:
        """Speak to it."""
        return docker.from_env() if self.host is None else docker.DockerClient(self.host)

    def run(self, command: list[str], mounts: Mapping[Path, str], **how: Any) -> str:
        """Run a command in the image; give what it prints.

        Raises
        ------
        EngineError
            With what it wrote, if it fails.
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
    """Find an engine, or start one in a folder for as long as it takes.

    Raises
    ------
    EngineError
        Neither is to be had.
    """
    missing = _why_not_docker()
    if missing is None:
        yield Engine(None, IMAGE, pulls=True)
        return
    print(f"   not AWS's image: {missing}", flush=True)
    with _podman(folder) as host:
        yield Engine(host, stand_in.WORDS, pulls=False)


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
    absent = sorted({has for what, has in PACKAGES.items() if shutil.which(what) is None})
    if absent:
        install = f"apt-get install --no-install-recommends {' '.join(absent)}"
        raise EngineError(f"and podman lacks Debian's {', '.join(absent)}: {install}")
    if os.geteuid() != 0:
        raise EngineError("and podman with an image of our own takes root: run it with sudo")
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
        # First whatever still runs, then who would serve it.
        subprocess.run(
            [*podman, "rm", "--all", "--force"], env=environ, capture_output=True, check=False
        )
        service.terminate()
        service.wait(10)
        subprocess.run([*podman, "unmount", "--all"], env=environ, capture_output=True, check=False)
        subprocess.run(["umount", str(folder / "root/overlay")], capture_output=True, check=False)
