"""Many uploads at once: ``python -m tests.resilience.burst --isos 300 --quota 20``.

Uploads that many ISOs, each of them under two keys, all at once, to an Image Builder that runs few
builds at a time. It waits for all answers, checks them, and prints time, invocations and calls.
Everything takes a hundredth of its real time.
"""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from isodrop.domain.content import PART_SIZE
from isodrop_local.stack import EmulatedStack, Event
from tests.resilience.actors import copied_etag, make_iso, put, versions_by_upload
from tests.resilience.oracle import FinalState, UploadedIso, find_violations
from tests.resilience.schedule import MAX_CONSECUTIVE_FAILURES, Upload

WAIT_SCALE: Final = 0.01
PARAMETERS: Final = {
    "PollIntervalSeconds": 900,
    "TrackingTimeoutHours": 20,
    "MaxConsecutiveFailures": MAX_CONSECUTIVE_FAILURES,
    "MaxBuildsAtOnce": 1000,
    "MaxBuildsPerDay": 1000,
}
"""Rare polls, because six hundred executions share one emulator; and limits that are never reached,
so that uploads wait only for the quota of Image Builder."""
TIMEOUT_SECONDS: Final = 1500.0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.resilience.burst", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--isos", type=int, default=300)
    parser.add_argument("--quota", type=int, default=20, help="builds that run at once")
    arguments = parser.parse_args()
    with EmulatedStack(wait_scale=WAIT_SCALE) as stack:
        stack.deploy(PARAMETERS)
        stack.image_builder.set_quota(arguments.quota)
        began = time.monotonic()
        end = burst(stack, arguments.isos)
        lines = find_violations(end, max_consecutive_failures=MAX_CONSECUTIVE_FAILURES)
        print_summary(stack, end, time.monotonic() - began)
    for line in lines:
        print(f"  VIOLATION: {line}")
    extra_builds = len(end.ours) - arguments.isos
    print(f"{len(lines)} violations; {extra_builds} builds more than ISOs")
    return 1 if lines or extra_builds else 0


def burst(stack: EmulatedStack, isos: int) -> FinalState:
    """Upload everything at once, wait for every answer, and read the final state."""
    s3, bucket = stack.client("s3"), stack.bucket

    def run(name: str) -> tuple[str, UploadedIso]:
        number = name.partition("-")[2]
        data = make_iso("one", number)
        _, version = put(s3, bucket, f"{name}.iso", data, Upload(0, name, "one"))
        made = UploadedIso(
            f"{name}.iso", version, number, "Enterprise", "", deleted=False, decision=""
        )
        return copied_etag(data, PART_SIZE), made

    names = [f"{which}-{number}" for number in range(isos) for which in ("first", "again")]
    with ThreadPoolExecutor(8) as many:
        uploaded_isos = list(many.map(run, names))
    stack.wait_for(partial(_all_answered, stack, len(names)), TIMEOUT_SECONDS)
    stack.settle(TIMEOUT_SECONDS)
    pages = stack.client("dynamodb").get_paginator("scan")
    scanned = pages.paginate(TableName=stack.outputs["LedgerTableName"])
    ledger: list[dict[str, Any]] = [item for page in scanned for item in page["Items"]]
    return FinalState(
        uploaded=[each for _, each in uploaded_isos],
        published=[_without_envelope(event) for event in stack.events()],
        builds=stack.image_builder.builds(),
        executions={each["executionArn"]: each["status"] for each in stack.executions()},
        versions=versions_by_upload(ledger),
        lost_amis={},
        undelivered=0,
        violations=stack.image_builder.violations(),
        isos={etag: each.iso for etag, each in uploaded_isos},
    )


def _all_answered(stack: EmulatedStack, wanted: int) -> bool:
    time.sleep(1)  # reading the queue loads the emulator, too
    return len(stack.answers()) >= wanted


def _without_envelope(event: Event) -> dict[str, Any]:
    return {"detail-type": event["detail-type"], "detail": event["detail"]}


def print_summary(stack: EmulatedStack, end: FinalState, seconds: float) -> None:
    """Print the figures of a burst."""
    uploads = len(end.uploaded)
    kinds = Counter(event["detail-type"] for event in end.published)
    counts = Counter(stack.counts())
    print(f"{uploads} uploads in {seconds:.0f} s, {len(end.ours)} builds, {dict(kinds)}")
    for name, count in counts.most_common():
        print(f"{count:>9,}  {count / uploads:6.1f} per upload  {name}")
    calls = counts.total() - counts["lambda.Invoke"]
    print(f"{counts['lambda.Invoke'] / uploads:.1f} invocations, {calls / uploads:.1f} calls each")


if __name__ == "__main__":
    sys.exit(main())
