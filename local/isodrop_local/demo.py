"""The whole way of one ISO on this machine: ``make demo``, or ``python -m isodrop_local.demo``.

Starts the stack, deploys template.yaml, drops a small Windows-like ISO or yours, shows each step as
it happens, and ends with the answer. Exit codes: 0 succeeded, 3 rejected, 4 failed, 2 wrong usage,
1 something else went wrong.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from isodrop.text import printable
from isodrop_local.console_output import ConsoleOutput, size
from isodrop_local.deploy import DeployError
from isodrop_local.iso_maker import ENTERPRISE_ON_REAL_MEDIA, business_editions, make_iso
from isodrop_local.packaging import PackageError, kept_dependencies
from isodrop_local.stack import ANSWERS, Event, LocalStack, StackError, Subscription

TROUBLE, USAGE, REJECTED, FAILED = 1, 2, 3, 4
TROUBLES: Final = (
    *(StackError, DeployError, PackageError, TimeoutError),
    *(BotoCoreError, ClientError),
)
EXITS: Final = {
    "ISO Import Succeeded": 0,
    "ISO Import Rejected": REJECTED,
    "ISO Import Failed": FAILED,
}
BIG: Final = 64 << 20
"""From here on a file is linked into the bucket, not copied: the emulator keeps S3 in memory."""
ISO_NAME: Final = "en-us_windows_11_business_editions_version_24h2_x64_dvd.iso"
PATIENCE: Final = 120.0
NEXT: Final = "next: make local, which leaves it running, or .venv/bin/isodrop inspect FILE"


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; answer with its exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--iso", type=Path, metavar="PATH", help="drop this file")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    said = parser.parse_args(arguments)
    iso = said.iso and said.iso.expanduser()
    wrong = iso and check_iso_path(iso)
    if wrong:
        print(f"demo: {wrong}", file=sys.stderr)
        return USAGE
    narrator = ConsoleOutput(as_json=said.json)
    end_on_signals()
    try:
        code = run(narrator, iso)
        narrator.hint(NEXT)
        return code
    except TROUBLES as error:
        narrator.say("trouble", f"{type(error).__name__}: {error}", "bad")
        return TROUBLE
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130


def end_on_signals() -> None:
    """Let SIGTERM end a command as Ctrl-C does: with everything stopped and removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def check_iso_path(path: Path) -> str:
    """Say why a path cannot be dropped; nothing if it can."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return f"{printable(str(path))} has a name that is not UTF-8, and S3's keys are; rename it"
    try:
        if path.is_dir():
            return f"{printable(str(path))} is a directory; name an ISO file"
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"{printable(str(path))} cannot be read: {error.strerror}"


def run(narrator: ConsoleOutput, iso: Path | None) -> int:
    """Go the whole way once."""
    narrator.say("starting", "starting the stack on this machine; half an hour takes seconds in it")
    with (
        LocalStack(files=[iso] if iso else ()) as stack,
        tempfile.TemporaryDirectory(prefix="isodrop-demo-") as folder,
    ):
        narrator.say("listening", f"listening at {stack.endpoint}", endpoint=stack.endpoint)
        deployed(narrator, stack)
        uploads = stack.subscribe("uploads", {"source": ["aws.s3"]})
        key = upload_iso(narrator, stack, iso or make_demo_iso(narrator, Path(folder)))
        answer = follow_run(narrator, stack, uploads, key)
        narrator.show(answer)
        return is_answered(narrator, stack, answer)


def deployed(narrator: ConsoleOutput, stack: LocalStack) -> None:
    """Deploy, and say so."""
    if not kept_dependencies().exists():
        narrator.say("building", "building the layer for this machine's Python, once")
    stack.deploy()
    found = stack.client("cloudformation").describe_stack_resources(StackName=stack.name)
    count = len(found["StackResources"])
    narrator.say("deployed", f"deployed template.yaml: {count} resources", **stack.outputs)


def make_demo_iso(narrator: ConsoleOutput, folder: Path) -> Path:
    """Make the small ISO."""
    editions = business_editions(enterprise_index=ENTERPRISE_ON_REAL_MEDIA)
    path = make_iso(folder / ISO_NAME, editions=editions)
    narrator.say(
        "made",
        f"made a Windows-like ISO: UDF, an install.wim with {len(editions)} editions,"
        f" {size(path.stat().st_size)}",
        editions=len(editions),
    )
    return path


def upload_iso(narrator: ConsoleOutput, stack: LocalStack, path: Path) -> str:
    """Put the file into the bucket."""
    key = path.name
    if not key.lower().endswith(".iso"):
        key += ".iso"
        narrator.say(
            "renamed", f"isodrop hears only of .iso, so this is dropped as {printable(key)}"
        )
    put, word = (stack.link, "linked") if path.stat().st_size > BIG else (stack.upload, "uploaded")
    narrator.say("upload", f"drop {printable(path.name)}, {size(path.stat().st_size)}")
    put(path, key)
    where = f"s3://{stack.bucket}/{key}"
    narrator.say("uploaded", f"{word} to {printable(where, limit=1100)}", uri=where)
    return key


def follow_run(
    narrator: ConsoleOutput, stack: LocalStack, uploads: Subscription, key: str
) -> Event:
    """Tell everything that is to be seen of an upload until its answer."""
    told: dict[str, int] = {}

    def fresh(what: str, found: list[Any]) -> list[Any]:
        new = found[told.get(what, 0) :]
        told[what] = len(found)
        return new

    def look() -> Event | None:
        for event in fresh("uploads", uploads.events()):
            found, reason = event["detail"]["object"], event["detail"].get("reason")
            if event["detail-type"] == "Object Created" and found["key"] == key:
                narrator.say(
                    "event",
                    f"S3 says: Object Created ({reason}), etag {found['etag']}",
                    event=event,
                )
        if not told["uploads"]:
            return None
        for execution in fresh("executions", stack.executions()):
            narrator.say(
                "execution",
                f"execution {execution['name']} has it",
                execution=execution["executionArn"],
            )
        for event in fresh("events", stack.events()):
            narrator.event(event)
            if event["detail-type"] in ANSWERS:
                answer: Event = event
                return answer
        return None

    followed_to: Event = stack.wait_for(look, PATIENCE)
    return followed_to


def is_answered(narrator: ConsoleOutput, stack: LocalStack, answer: Event) -> int:
    """Say what it means, check that the AMI is there, and choose the exit code."""
    code = EXITS[answer["detail-type"]]
    if code:
        narrator.advise(answer)
        return code
    for ami in answer["detail"]["data"]["amis"]:
        found = stack.client("ec2").describe_images(ImageIds=[ami["id"]])["Images"]
        narrator.say("ami", f"ec2 describe-images knows {ami['id']}: {found[0]['Name']}", **ami)
    return code


if __name__ == "__main__":
    sys.exit(main())
