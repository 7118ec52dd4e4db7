"""The emulator's process: MiniStack with the patches and the fake Image Builder.

``python -m isodrop_local.server --port 0`` prints the port when it is ready. It listens on the
loopback address, and on others only if requested; it keeps its files in a temporary folder of
its own, and removes it at exit.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
LOOPBACK = "127.0.0.1"
IP_FREEBIND = 15
"""A socket option of Linux for which Python has no name: to listen on an address before it exists.

An engine may create its bridge only with the first container. See ``man 7 ip``.
"""


def main() -> None:
    """Serve until a signal, or until the parent process ends."""
    arguments = _arguments()
    home = Path(tempfile.mkdtemp(prefix="isodrop-stack-"))
    try:
        listener = _listener(LOOPBACK, arguments.port)
        port = listener.getsockname()[1]
        # Elsewhere the engine forwards its own address to the loopback address.
        others = arguments.listen_address if sys.platform == "linux" else []
        listeners = [listener, *(_listener(each, port) for each in others)]
        configure(home, port, arguments.wait_scale, arguments.log_level)
        asyncio.run(serve([each.detach() for each in listeners], port, arguments))
    finally:
        remove(home)
    # Executions run in threads that never end, and may create a folder at any time.
    sys.stderr.flush()
    os._exit(0)


def _listener(address: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    try:
        listener.bind((address, port))
        listener.listen()
    except OSError as error:
        listener.close()
        sys.exit(
            f"port {port} on {address} is not available: {error.strerror}; choose another port"
        )
    return listener


def remove(folder: Path) -> None:
    """Remove a folder even if threads still write into it."""
    deadline = time.monotonic() + 5
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)


def configure(home: Path, port: int, wait_scale: float, log_level: str) -> None:
    """Set the environment variables that MiniStack reads when it is imported."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "LOCALSTACK_"))]:
        del os.environ[name]
    tempfile.tempdir = str(home)
    os.environ |= {
        "TMPDIR": str(home),
        "STATE_DIR": str(home / "state"),
        "S3_DATA_DIR": str(home / "s3"),
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": LOOPBACK,
        "MINISTACK_REGION": "us-east-1",
        "SFN_WAIT_SCALE": str(wait_scale),
        "LOG_LEVEL": log_level,
        # Features that it must not start.
        "LAMBDA_EXECUTOR": "local",
        "DOCKER_HOST": f"unix://{home}/no-docker",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        # AWS's default. The emulator's depends on this machine's memory; its invocations wait for
        # one of a few processes instead, so a high limit needs no more memory.
        # https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
        "LAMBDA_ACCOUNT_CONCURRENCY": "1000",
        # Policies of roles are enforced; the account's own key may do anything.
        "AUTH": "true",
    }


async def serve(listeners: list[int], port: int, arguments: argparse.Namespace) -> None:
    """Apply the patches, register the services and serve; stop on a signal."""
    # Importing MiniStack reads the environment that `configure` has set.
    from hypercorn.asyncio import serve as hypercorn_serve  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415

    from isodrop_local.patches import functions  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if arguments.with_parent:
        threading.Thread(target=_wait_for_parent, args=(loop, stop), daemon=True).start()

    config = Config()
    config.bind = [f"fd://{each}" for each in listeners]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.2
    config.loglevel = arguments.log_level
    gateway = make_gateway(
        arguments.wait_scale,
        lambda: print(port, flush=True),
        tuple(arguments.open_file),
        arguments.listen_address,
    )
    try:
        await hypercorn_serve(gateway, config, shutdown_trigger=stop.wait)
    finally:
        functions.close()


def make_gateway(
    wait_scale: float,
    ready: Callable[[], None],
    files: tuple[Path, ...] = (),
    extra_hosts: Collection[str] = (),
) -> Asgi:
    """Put the gate and the control API in front of the patched emulator.

    Parameters
    ----------
    wait_scale : float
    ready : callable
        Called when it accepts requests.
    files : tuple of pathlib.Path
        Files, and folders, that may be put into a bucket by reference.
    extra_hosts : collection of str
        Addresses besides 127.0.0.1 that requests may name as their host.
    """
    from ministack import app  # noqa: PLC0415

    from isodrop_local import control_api, fault_injection, patches, registration  # noqa: PLC0415
    from isodrop_local.gate import reason_to_refuse  # noqa: PLC0415
    from isodrop_local.image_builder import FakeImageBuilder  # noqa: PLC0415

    patches.apply_patches()
    builder = FakeImageBuilder(
        registration.EmulatorEnvironment(),
        speed=1 / wait_scale,
        account=registration.ACCOUNT,
        region=registration.REGION,
    )
    registration.register_service(builder)
    delivery = fault_injection.register_middleware(builder.controls.faults)

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await app.app(scope, receive, _announce_ready(send, ready))
        elif refused := reason_to_refuse(scope, extra_hosts):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close"})  # before it is accepted: a 403
            else:
                await _respond(send, 403, {"message": refused})
        elif scope["type"] == "http" and scope["path"].startswith(control_api.PREFIX):
            if scope["method"] != "POST":
                await _respond(send, 405, {"message": "the control API accepts only POST"})
                return
            request = await _body(receive)
            await _respond(
                send, *await control_api.handle(builder, delivery, scope["path"], request, files)
            )
        else:
            fault_injection.remember_connection(send)
            await app.app(as_https(scope), receive, send)

    return gateway


def as_https(scope: Any) -> Any:
    """Mark a request as encrypted, because the policies deny unencrypted ones."""
    return {**scope, "headers": [*scope.get("headers", ()), (b"x-forwarded-proto", b"https")]}


def _announce_ready(send: Any, ready: Callable[[], None]) -> Any:
    async def announcing(message: Any) -> None:
        await send(message)
        if message["type"] == "lifespan.startup.complete":
            ready()

    return announcing


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _respond(send: Any, status: int, content: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


def _wait_for_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop when stdin ends: the parent holds the other end until it ends."""
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 1024):
            pass
    with contextlib.suppress(RuntimeError):  # the loop may already be closed
        loop.call_soon_threadsafe(stop.set)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m isodrop_local.server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free port")
    parser.add_argument(
        "--wait-scale",
        type=float,
        default=1.0,
        help="the fraction of real time that waits take; 0.01 is a hundred times faster",
    )
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument(
        "--listen-address",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="another address to listen on, besides 127.0.0.1; may be repeated",
    )
    parser.add_argument(
        "--open-file",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="a file, or a folder of files, that may be put into a bucket by reference",
    )
    parser.add_argument("--with-parent", action="store_true", help="stop when stdin ends")
    return parser.parse_args()


if __name__ == "__main__":
    main()
