"""Import one ISO on this machine: ``make demo``, or ``python -m isodrop_local.demo``.

Starts the stack, deploys template.yaml, uploads a small Windows-like ISO or yours, prints each step
as it happens, and ends with the answer. Exit codes: 0 succeeded, 3 rejected, 4 failed, 2 usage
error, 1 any other error.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from isodrop.text import printable
from isodrop_cli.exit_codes import ExitCode
from isodrop_local.console_output import ConsoleOutput, size
from isodrop_local.deploy import DeployError
from isodrop_local.iso_maker import MICROSOFT_ENTERPRISE_INDEX, business_editions, make_iso
from isodrop_local.packaging import PackageError, cached_dependencies
from isodrop_local.stack import ANSWERS, EmulatedStack, Event, StackError, Subscription

ERRORS: Final = (
    *(StackError, DeployError, PackageError, TimeoutError),
    *(BotoCoreError, ClientError),
)
EXIT_CODES: Final = {
    "ISO Import Succeeded": ExitCode.OK,
    "ISO Import Rejected": ExitCode.REJECTED,
    "ISO Import Failed": ExitCode.FAILED,
}
LARGE_FILE: Final = 64 << 20
"""Larger files are linked into the bucket, not copied: the emulator keeps S3 in memory."""
ISO_NAME: Final = "en-us_windows_11_business_editions_version_24h2_x64_dvd.iso"
TIMEOUT: Final = 120.0
NEXT: Final = "next: make local to keep a stack running, or .venv/bin/isodrop inspect FILE"


def main(arguments: list[str] | None = None) -> int:
    """Run the demo, and return its exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--iso",
        type=Path,
        metavar="PATH",
        help="the ISO to upload (default: a small one that the demo makes)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    options = parser.parse_args(arguments)
    iso = options.iso and options.iso.expanduser()
    problem = iso and check_iso_path(iso)
    if problem:
        print(f"demo: {problem}", file=sys.stderr)
        return ExitCode.USAGE
    output = ConsoleOutput(as_json=options.json)
    end_on_signals()
    try:
        code = run(output, iso)
        output.hint(NEXT)
        return code
    except ERRORS as error:
        output.print_step("error", f"{type(error).__name__}: {error}", "bad")
        return ExitCode.ERROR
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130


def end_on_signals() -> None:
    """Handle SIGTERM like Ctrl-C: stop and remove everything."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def check_iso_path(path: Path) -> str:
    """Return why a path cannot be uploaded; empty if it can."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return (
            f"{printable(str(path))} has a name that is not UTF-8, as keys in S3 must be; rename it"
        )
    try:
        if path.is_dir():
            return f"{printable(str(path))} is a directory; name an ISO file"
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"{printable(str(path))} cannot be read: {error.strerror}"


def run(output: ConsoleOutput, iso: Path | None) -> int:
    """Upload and import the ISO once."""
    output.print_step(
        "starting",
        "starting the stack on this machine, where a build takes seconds, not half an hour",
    )
    with (
        EmulatedStack(files=[iso] if iso else ()) as stack,
        tempfile.TemporaryDirectory(prefix="isodrop-demo-") as folder,
    ):
        output.print_step("listening", f"listening at {stack.endpoint}", endpoint=stack.endpoint)
        deploy_stack(output, stack)
        uploads = stack.subscribe("uploads", {"source": ["aws.s3"]})
        key = upload_iso(output, stack, iso or make_demo_iso(output, Path(folder)))
        answer = follow_run(output, stack, uploads, key)
        output.show(answer)
        return print_result(output, stack, answer)


def deploy_stack(output: ConsoleOutput, stack: EmulatedStack) -> None:
    """Deploy the template, and print what was deployed."""
    if not cached_dependencies().exists():
        output.print_step("building", "building the layer for this machine's Python, once")
    stack.deploy()
    found = stack.client("cloudformation").describe_stack_resources(StackName=stack.name)
    count = len(found["StackResources"])
    output.print_step("deployed", f"deployed template.yaml: {count} resources", **stack.outputs)


def make_demo_iso(output: ConsoleOutput, folder: Path) -> Path:
    """Make the small ISO."""
    editions = business_editions(enterprise_index=MICROSOFT_ENTERPRISE_INDEX)
    path = make_iso(folder / ISO_NAME, editions=editions)
    output.print_step(
        "made",
        f"made a Windows-like ISO: UDF, an install.wim with {len(editions)} editions,"
        f" {size(path.stat().st_size)}",
        editions=len(editions),
    )
    return path


def upload_iso(output: ConsoleOutput, stack: EmulatedStack, path: Path) -> str:
    """Upload the file to the bucket."""
    key = path.name
    if not key.lower().endswith(".iso"):
        key += ".iso"
        output.print_step(
            "renamed", f"isodrop imports only .iso files, so this is uploaded as {printable(key)}"
        )
    put, verb = (
        (stack.link, "linked") if path.stat().st_size > LARGE_FILE else (stack.upload, "uploaded")
    )
    output.print_step("upload", f"uploading {printable(path.name)}, {size(path.stat().st_size)}")
    put(path, key)
    where = f"s3://{stack.bucket}/{key}"
    output.print_step("uploaded", f"{verb} to {printable(where, limit=1100)}", uri=where)
    return key


def follow_run(
    output: ConsoleOutput, stack: EmulatedStack, uploads: Subscription, key: str
) -> Event:
    """Print all that happens to an upload until its answer."""
    printed: dict[str, int] = {}

    def unseen(what: str, found: list[Any]) -> list[Any]:
        new = found[printed.get(what, 0) :]
        printed[what] = len(found)
        return new

    def poll() -> Event | None:
        for event in unseen("uploads", uploads.events()):
            found, reason = event["detail"]["object"], event["detail"].get("reason")
            if event["detail-type"] == "Object Created" and found["key"] == key:
                output.print_step(
                    "event",
                    f"S3 event: Object Created ({reason}), etag {found['etag']}",
                    event=event,
                )
        if not printed["uploads"]:
            return None
        for execution in unseen("executions", stack.executions()):
            output.print_step(
                "execution",
                f"execution {execution['name']} started",
                execution=execution["executionArn"],
            )
        for event in unseen("events", stack.events()):
            output.print_event(event)
            if event["detail-type"] in ANSWERS:
                answer: Event = event
                return answer
        return None

    answer: Event = stack.wait_for(poll, TIMEOUT)
    return answer


def print_result(output: ConsoleOutput, stack: EmulatedStack, answer: Event) -> int:
    """Print what the answer means, check that the AMI exists, and return the exit code."""
    code = EXIT_CODES[answer["detail-type"]]
    if code:
        output.print_next_steps(answer)
        return code
    for ami in answer["detail"]["data"]["amis"]:
        found = stack.client("ec2").describe_images(ImageIds=[ami["id"]])["Images"]
        output.print_step(
            "ami", f"ec2 describe-images finds {ami['id']}: {found[0]['Name']}", **ami
        )
    return code


if __name__ == "__main__":
    sys.exit(main())
