"""Finds the address by which containers reach this machine, and the stack on it.

``sam local invoke`` runs a function in a container. There, 127.0.0.1 is the container itself;
this machine is the gateway of the engine's network. On Linux the stack must listen there, too.
Docker Desktop forwards connections to its own address of the host to 127.0.0.1.
https://docs.docker.com/engine/network/drivers/bridge/
"""

import ipaddress
import sys
from typing import Final

import docker
from docker.errors import DockerException

from isodrop_local.stack import StackError

NETWORK: Final = "bridge"
"""The engine's default network, which the SAM CLI's containers are in."""
_NO_ENGINE: Final = (
    "no container engine responds, and sam local invoke needs one: start Docker, or set DOCKER_HOST"
    " to another engine's socket"
)
_DESKTOP: Final = (
    "the address by which containers reach this machine can be detected on Linux only; name the one"
    " that host.docker.internal has in a container: make local CONTAINERS=ADDRESS"
)


def host_address(wanted: str) -> str:
    """Find the address.

    Parameters
    ----------
    wanted : str
        An IP address to use; for anything else, the engine is asked.

    Raises
    ------
    StackError
        With what to do about it.
    """
    try:
        return str(ipaddress.ip_address(wanted))
    except ValueError:
        pass
    if sys.platform != "linux":
        raise StackError(_DESKTOP)
    try:
        client = docker.from_env()
        network = client.networks.get(NETWORK)
        client.close()
    except DockerException as error:
        raise StackError(f"{_NO_ENGINE} ({error})") from error
    for part in network.attrs["IPAM"]["Config"]:
        gateway = ipaddress.ip_address(part["Gateway"])
        if gateway.version == 4:  # IPv4
            return str(gateway)
    raise StackError(f"the engine's network {NETWORK} has no gateway: {network.attrs['IPAM']}")
