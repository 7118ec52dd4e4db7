"""Measures what grows with the number of answered uploads: ``python -m tools.bench growth``.

The ledger and the bucket are filled directly in moto: 100,000 uploads one after
the other would take a day. The counts are correct nevertheless: moto pages as AWS does, by
``Limit``, by 1 MB and by 1,000 versions. Its own time is excluded, because it reads whole tables.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self
from unittest.mock import patch

import boto3
from botocore.client import BaseClient
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.s3.models import FakeKey, s3_backends

from isodrop.aws.ledger import Ledger
from isodrop.aws.ledger_items import image_items, upload_run_key
from isodrop.domain.ids import upload_id
from isodrop.domain.model import Upload
from isodrop.domain.run import ImageRecord
from isodrop.services.sweep import MAX_PAGES
from tests.integration.conftest import ACCOUNT, BUCKET, STAGING, ledger_properties
from tests.support.harness import ACCOUNT as ACCOUNT_ID
from tests.support.harness import REGION, ImportHarness
from tests.support.moto_s3 import real_multipart
from tools.bench.pages import PAGE, put_section

HEADING: Final = "## Growth"
SIZES: Final = (100, 1_000, 10_000, 100_000)
INTAKE: Final = "one intake"
SWEEP: Final = "one sweep"
FIRST: Final = "first.iso"
_VERSIONS_PER_SWEEP: Final = MAX_PAGES * 1000
"""The most versions that a sweep lists; by default there are four sweeps an hour."""
YEAR: Final = timedelta(days=365)
"""The period over which the uploads are spread."""


@dataclass(slots=True)
class Meter:
    """The AWS calls of one measured action.

    Attributes
    ----------
    calls : Counter
        By operation.
    received : int
        Bytes of the responses' bodies.
    moto_seconds : float
        Seconds that moto took for them.
    seconds : float
        Seconds of isodrop and boto3.
    """

    calls: Counter[str] = field(default_factory=Counter)
    received: int = 0
    moto_seconds: float = 0.0
    seconds: float = 0.0


@contextmanager
def metered() -> Iterator[Meter]:
    """Count the calls inside the block."""
    meter = Meter()
    process, call = BotocoreStubber.process_request, BaseClient._make_api_call  # type: ignore[attr-defined] # what every call goes through

    def timed(stubber: Any, request: Any) -> Any:
        began = time.perf_counter()
        response = process(stubber, request)
        meter.moto_seconds += time.perf_counter() - began
        meter.received += 0 if response is None else len(response[2] or b"")
        return response

    def counted(client: Any, operation: str, arguments: Any) -> Any:
        meter.calls[operation] += 1
        return call(client, operation, arguments)

    began = time.perf_counter()
    with (
        patch.object(BotocoreStubber, "process_request", timed),
        patch.object(BaseClient, "_make_api_call", counted),
    ):
        yield meter
    meter.seconds = time.perf_counter() - began - meter.moto_seconds


@contextmanager
def stack(folder: Path) -> Iterator[ImportHarness]:
    """Create a stack in this process, with one answered upload."""
    with patch.dict(os.environ, ACCOUNT, clear=True), mock_aws(), real_multipart():
        session = boto3.Session()
        s3 = session.client("s3")
        for bucket in (BUCKET, STAGING):
            s3.create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
            )
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        session.client("dynamodb").create_table(TableName="ledger", **ledger_properties())
        harness = ImportHarness(session, Ledger.connect(session, "ledger"), folder)
        harness.clock.now = datetime.now(UTC).timestamp() + (2 * YEAR).total_seconds()
        yield harness


def fill(harness: ImportHarness, uploads: int) -> None:
    """Add answered uploads, spread over a year, each with its own image."""
    first = harness.upload(FIRST)
    harness.follow(first, harness.run("first"))
    table = dynamodb_backends[ACCOUNT_ID][REGION].get_table("ledger")
    keys = s3_backends[ACCOUNT_ID]["aws"].buckets[BUCKET].keys
    harness.upload("small.txt", b"x")
    (key,) = keys.getlist("small.txt")
    keys.pop("small.txt")
    (items,) = [each for name, each in table.items.items() if name.value.startswith("UPLOAD#")]
    (run,) = items.values()
    ((image_name, build),) = harness.ledger.list_image_names()
    now = harness.clock.time()
    for number in range(uploads - 1):
        name, at = f"{number:06}.iso", now - YEAR * (1 - number / uploads)
        clone = object.__new__(_ListedKey)  # moto's own copy would have its own file
        vars(clone).update(vars(key), name=name, last_modified=at.replace(tzinfo=None))
        keys.setlist(name, [clone])
        named = upload_id(Upload(BUCKET, name, "", 0, "", key.version_id))
        claimed = {"claimedAt": at.isoformat(timespec="milliseconds")}
        _put(table, run.attrs, upload_run_key(named, 0) | claimed)
        # Older than the existing one, so that no image is missing.
        arn = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT_ID}:image/{image_name}/10.0.{number}/1"
        image = ImageRecord.from_arn(arn, build, at.isoformat(timespec="milliseconds"))
        _put(table, {}, image_items(image)[0])


class _ListedKey(FakeKey):
    """An object that is listed and not read.

    moto copies all objects of a bucket for each page of its versions, with files for their
    bodies: 20 GB for 100,000 objects. It only reads the copies, so this object may be its own copy.
    """

    def __deepcopy__(self, _: object) -> Self:
        return self


def _put(table: Any, shared: Mapping[str, DynamoType], own: Mapping[str, Any]) -> None:
    """Put an item without moto's checks, which take a millisecond each."""
    item = Item(DynamoType({"S": own["pk"]}), DynamoType({"S": own["sk"]}), {})
    item.attrs.update({**shared, **{name: _typed(value) for name, value in own.items()}})
    table.items[item.hash_key][item.range_key] = item


def _typed(value: Any) -> DynamoType:
    return DynamoType({"N": str(value)} if isinstance(value, int) else {"S": value})


def measure(uploads: int) -> dict[str, Meter]:
    """Fill a stack and measure each operation once; of the sweeps, keep the one with most calls."""
    with (
        tempfile.TemporaryDirectory(prefix="isodrop-bench-") as folder,
        stack(Path(folder)) as harness,
    ):
        fill(harness, uploads)
        next_one = harness.upload("next.iso", edition="Professional")
        operations: dict[str, Callable[[], object]] = {
            INTAKE: lambda: harness.intake.process(next_one, harness.run("next")),
            "`isodrop list --limit 50`": lambda: harness.operations.list_recent(50),
            "`isodrop status KEY`": lambda: harness.operations.take_snapshot(
                harness.operations.get_history(None, FIRST).last
            ),
            "`isodrop watch`, its start": lambda: harness.operations.list_active(
                (harness.clock.time() - timedelta(minutes=1)).isoformat()
            ),
            "updating `latest`": lambda: harness.reporter.annotator.latest.update(
                *harness.ledger.list_image_names()[0], lambda: None
            ),
        }
        found = {}
        harness.sweep()
        harness.intake.process(harness.upload("warm.iso", edition="Education"), harness.run("warm"))
        for name, do in operations.items():
            if name != INTAKE:
                do()  # so that one-time imports and clients are not measured
            with metered() as found[name]:
                do()
        found[SWEEP] = max(_sweep_all(harness), key=lambda meter: meter.calls.total())
        return found


def _sweep_all(harness: ImportHarness) -> Iterator[Meter]:
    """Sweep until the whole bucket has been listed."""
    complete = False
    while not complete:
        with metered() as meter:
            complete = harness.sweep().complete
        yield meter


_SECTION: Final = """\
{heading}

Generated by `python -m tools.bench growth`, or `make growth`.

Each column is a stack with that number of uploads, answered over a year, each with its own image,
all with the same name. The ledger and the bucket are filled directly in moto, which paginates as
AWS does: by `Limit`, by 1 MB, by 1,000 versions. The cells have the number of AWS calls of one
operation and, in parentheses, the KiB that they returned, which bound its memory. The last column
compares the time that isodrop and boto3 took, without moto, in the largest stack and in the
smallest.

| operation | {sizes} | time, largest ÷ smallest |
| --- | {columns}--: |
{rows}

A sweep lists at most {pages} pages of the bucket and leaves the rest to the next sweeps; the
table shows the sweep that makes the most calls. So an upload whose event was lost is found within
{rounds} sweeps in a bucket of {largest:,} versions, and within {million} sweeps, or {hours:.1f}
hours, in a bucket of a million. In the ledger, a sweep looks up the uploads of the last eight
days.

Two things are not bounded: the number of uploads without an answer, which every sweep and
`isodrop watch` read completely (100 per call), and the number of image names: a sweep checks a
parameter for each name, and for each of its Windows builds.
"""


def section(sizes: Sequence[int]) -> str:
    """Measure, and write the page's section."""
    found = {}
    for size in sizes:
        found[size] = measure(size)
        print(f"{size:,}: {_calls(found[size][INTAKE])} per intake", file=sys.stderr)
    rows = [
        f"| {name} | {' | '.join(_calls(found[size][name]) for size in sizes)} |"
        f" {_ratio(found[sizes[0]][name], found[sizes[-1]][name])} |"
        for name in found[sizes[0]]
    ]
    return _SECTION.format(
        heading=HEADING,
        largest=sizes[-1],
        sizes=" | ".join(f"{size:,}" for size in sizes),
        columns="--: | " * len(sizes),
        rows="\n".join(rows),
        pages=MAX_PAGES,
        rounds=-(-sizes[-1] // _VERSIONS_PER_SWEEP),
        million=-(-1_000_000 // _VERSIONS_PER_SWEEP),
        hours=1_000_000 / _VERSIONS_PER_SWEEP / 4,
    )


def _ratio(smallest: Meter, largest: Meter) -> str:
    return f"{largest.seconds / smallest.seconds:.1f}"


def _calls(meter: Meter) -> str:
    return f"{meter.calls.total()} ({meter.received / 1024:,.0f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and put the section into the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="uploads, ascending")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    given = parser.parse_args(arguments)
    text = section(given.sizes)
    put_section(given.page, HEADING, text)
    print(text)
