"""A big upload, killed twice and resumed: ``python -m tests.soak.resumable_upload --size 1024``.

Makes an ISO of that size in MiB, uploads it with the command itself to the local stack, sends
it a signal when a third and two thirds of the parts have arrived, lets the third run continue
to the answer, and prints how many parts each run sent. The parts are listed by S3: a part that was
sent twice would have another time.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from isodrop_local.iso_maker import make_iso
from isodrop_local.stack import EmulatedStack

WAIT_SCALE: Final = 0.005
SETTLED: Final = 1.1  # seconds; more than the precision of S3's times
_BLOCK: Final = 1 << 20
_MARK: Final = 4096

Parts = Mapping[int, str]
"""The parts that S3 has, and when each arrived."""


@dataclass(slots=True)
class Soak:
    """The upload of one file, and its observed parts.

    Attributes
    ----------
    stack : EmulatedStack
    path : Path
    before : mapping of int to str
        The parts that S3 had when the last run began.
    again : set of int
        Parts that were sent although S3 had them.
    """

    stack: EmulatedStack
    path: Path
    before: Parts = field(default_factory=dict)
    repeated: set[int] = field(default_factory=set)

    def start(self) -> "subprocess.Popen[str]":
        """Start the command."""
        return subprocess.Popen(
            [Path(sys.executable).with_name("isodrop"), "upload", str(self.path), "--json"],
            env={**self.stack.environment, "PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            text=True,
        )

    def interrupt(self, how: signal.Signals, wanted: int) -> None:
        """Run until S3 has that many parts, send the signal, and list the parts."""
        began = time.monotonic()
        running = self.start()
        while running.poll() is None and len(self.parts()) < wanted:
            time.sleep(0.02)
        running.send_signal(how)
        running.communicate()
        self.print_run(how.name, running.returncode, self.settled(), time.monotonic() - began)

    def print_run(self, ended: str, status: int, after: Parts, seconds: float) -> None:
        """Print a run, and record the parts that were sent again."""
        repeated = {
            number
            for number, arrived in self.before.items()
            if after.get(number, arrived) != arrived
        }
        new = len(after.keys() - self.before.keys())
        self.repeated |= repeated
        print(
            f"{ended:>8} {status:>5} {len(self.before):>9} {new:>6} {len(repeated):>6}"
            f" {len(after):>6} {seconds:>7.1f} s",
            flush=True,
        )
        self.before = after

    def parts(self) -> Parts:
        """List the parts that S3 has."""
        s3, which = self.stack.client("s3"), {"Bucket": self.stack.bucket, "Key": self.path.name}
        uploads = s3.list_multipart_uploads(Bucket=self.stack.bucket).get("Uploads", [])
        return {
            part["PartNumber"]: part["LastModified"].isoformat()
            for upload in uploads
            for page in s3.get_paginator("list_parts").paginate(
                **which, UploadId=upload["UploadId"]
            )
            for part in page.get("Parts", [])
        }

    def settled(self) -> Parts:
        """List the parts until no more arrive."""
        seen = self.parts()
        while True:
            time.sleep(SETTLED)
            if (now := self.parts()) == seen:
                return seen
            seen = now


def fill(path: Path) -> None:
    """Write unique bytes into each empty MiB, so that no two parts are equal."""
    with path.open("r+b") as file:
        for at in range(0, path.stat().st_size - _MARK, _BLOCK):
            file.seek(at)
            if not any(file.read(_MARK)):
                file.seek(at)
                file.write(hashlib.sha256(str(at).encode()).digest())


def digest_of(body: Any) -> str:
    """Hash a file, or the body of a response of S3."""
    digest = hashlib.sha256()
    while block := body.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def run(stack: EmulatedStack, path: Path, count: int) -> list[str]:
    """Upload and kill twice, then complete the upload; return the failed checks."""
    soak = Soak(stack, path)
    print("ended by  exit  had before   sent  again    has    time")
    soak.interrupt(signal.SIGINT, count // 3)
    soak.interrupt(signal.SIGKILL, 2 * count // 3)
    began = time.monotonic()
    done = soak.start()
    out, _ = done.communicate()
    events = [json.loads(line) for line in out.splitlines()]
    sent = next((each for each in events if each["event"] == "uploaded"), {"parts": 0})
    had = len(soak.before)
    if sent["parts"]:
        new = sent["partsSent"]
        print(
            f"{'itself':>8} {done.returncode:>5} {had:>9} {new:>6}"
            f" {max(0, new + had - sent['parts']):>6} {sent['parts']:>6}"
            f" {time.monotonic() - began:>7.1f} s"
        )
    body = stack.client("s3").get_object(Bucket=stack.bucket, Key=path.name)["Body"]
    with path.open("rb") as file:
        is_same = digest_of(file) == digest_of(body)
    wrong = {
        "it did not succeed": done.returncode == 0 and events[-1].get("state") == "succeeded",
        "parts were sent again": not soak.repeated
        and sent.get("partsSent", 0) + had == sent["parts"],
        "a run was not interrupted in the middle": 0 < had < sent["parts"],
        "S3 has other bytes than the file": is_same,
    }
    return [check for check, holds in wrong.items() if not holds]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.resumable_upload", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--size", type=int, default=1024, help="of the ISO, in MiB (1024)")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="isodrop-soak-") as folder,
        EmulatedStack(wait_scale=WAIT_SCALE) as stack,
    ):
        path = make_iso(Path(folder) / "Win11.iso", size=options.size << 20)
        fill(path)
        stack.deploy()
        wrong = run(stack, path, options.size // 8)
    for check in wrong:
        print(f"  WRONG: {check}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
