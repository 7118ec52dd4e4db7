"""Hashes large copies as the importing function does, and compares with ``sha256sum``.

``python -m tests.soak.flat_hash`` serves a file of each size from the loopback address. It reads
the file with boto3 in parallel ranges in a separate process, and with curl and sha256sum from the
same server. It exits with 1 if the hashes differ, or if that process used 256 MiB or more.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

SIZES: Final = (1024, 100 * 1024**2 + 1, 1024**3, 8 * 1024**3)
MAX_MEMORY: Final = 256 * 1024**2
_CHILD: Final = """
import resource, sys, time
import boto3
from botocore.config import Config
from isodrop.aws.staging import StagingBucket
from isodrop.domain.content_hash import compute_sha256

port, size = sys.argv[1:]
session = boto3.Session("key", "secret", region_name="us-east-1")
client = session.client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{port}",
    config=Config(s3={"addressing_style": "path"}, max_pool_connections=24),
)
bucket = StagingBucket(client, "copies")
began = time.monotonic()
print(compute_sha256(lambda at, length: bucket.read("copy.iso", '"etag"', at, length), int(size)))
print(time.monotonic() - began)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.flat_hash", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="in bytes")
    parser.add_argument("--delay", type=float, default=0.025, help="seconds before a response")
    parser.add_argument("--rate", type=float, default=1e12, help="bytes a second of a connection")
    options = parser.parse_args()
    wrong = 0
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "copy.iso")
            fill(path, size)
            with served(path, options.delay, options.rate) as port:
                ours, seconds, memory = hashed(port, size)
                theirs, others = piped(port, size)
        wrong += ours != theirs or memory >= MAX_MEMORY
        print(
            f"{size:>13,} bytes  {'the same' if ours == theirs else 'OTHER'}"
            f"  {memory / 1024**2:5.0f} MiB  {seconds:7.2f} s, {size / seconds / 1e6:6.0f} MB/s"
            f"  (curl | sha256sum {others:7.2f} s, {size / others / 1e6:6.0f} MB/s)",
            flush=True,
        )
    return 1 if wrong else 0


def fill(path: Path, size: int) -> None:
    """Make a file that is mostly holes, with random bytes in some places."""
    random = Random(size)  # noqa: S311 - repeatable, not secret
    with path.open("wb") as file:
        file.truncate(size)
        for _ in range(min(2000, size // 64)):
            file.seek(random.randrange(max(1, size - 64)))
            file.write(random.randbytes(64))


@contextmanager
def served(path: Path, delay: float, rate: float) -> Iterator[int]:
    """Serve ranges of a file; return the port."""
    command = [sys.executable, "-m", "tools.bench.server", str(path), str(delay), str(rate)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        assert server.stdin
        try:
            yield int(server.stdout.readline())
        finally:
            server.stdin.close()
            server.wait(10)


def hashed(port: int, size: int) -> tuple[str, float, int]:
    """Hash it as the function does; return the hash, the seconds and the peak memory."""
    output = subprocess.run(
        [sys.executable, "-c", _CHILD, str(port), str(size)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    return output[0], float(output[1]), int(output[2])


def piped(port: int, size: int) -> tuple[str, float]:
    """Hash it with sha256sum, over one connection; return the hash and the seconds."""
    began = time.monotonic()
    url = f"http://127.0.0.1:{port}/"
    command = f"curl -sS -r 0-{size - 1} {url} | sha256sum"
    output = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=True)
    return output.stdout.split()[0], time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
