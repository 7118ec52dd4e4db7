"""What people outside of a deployment do and see; alike in one process and on the stack."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import md5
from typing import Any, Final

from isodrop_local.iso_maker import business_editions, make_image, server_editions
from tests.resilience.oracle import Budget, UploadedIso
from tests.resilience.schedule import Upload

TWIN_BYTE: Final = 400
"""Where a twin differs, from the end: in a hole between files."""
REJECTION_CODES: Final[Mapping[str, str]] = {"text": "not-an-iso", "server": "server-iso"}


@cache
def make_iso(name: str, series: str = "") -> bytes:
    """Make the bytes of a disc: each is always the same, and no two are alike.

    Parameters
    ----------
    name : str
        One of the schedule's.
    series : str
        ISOs of another series are others.
    """
    if name == "twin":
        # All that the reader reads is the same, and the size.
        twin = bytearray(make_iso("one", series))
        twin[-TWIN_BYTE] ^= 1
        return bytes(twin)
    if name == "text":
        return f"this is not an ISO {series}\n".encode() * 40_000
    editions = server_editions() if name == "server" else business_editions()
    label = f"DISC_{name.upper()}_{series}"
    # A long one takes two reads.
    image = make_image(editions=editions, label=label, size=3_000_000 if name == "long" else None)
    return image.read(0, image.size)


def put(s3: Any, bucket: str, key: str, data: bytes, upload: Upload) -> tuple[str, str]:
    """Write an object as a schedule has it; get its ETag and its version."""
    where = {"Bucket": bucket, "Key": key}
    metadata = dict(upload.metadata)
    if upload.in_parts:
        made = s3.create_multipart_upload(**where, Metadata=metadata)
        part = {**where, "UploadId": made["UploadId"]}
        sent = s3.upload_part(**part, PartNumber=1, Body=data)
        parts = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"]}]}
        answer = s3.complete_multipart_upload(**part, MultipartUpload=parts)
    else:
        answer = s3.put_object(**where, Body=data, Metadata=metadata)
    return answer["ETag"].strip('"'), answer["VersionId"]


def uploaded_iso(upload: Upload, key: str, version: str) -> UploadedIso:
    """Write down what was uploaded."""
    return UploadedIso(
        key=key,
        version=version,
        iso=upload.iso,
        edition=upload.metadata.get("edition", "Enterprise"),
        rebuild=upload.metadata.get("rebuild", ""),
        deleted=False,
        decision=REJECTION_CODES.get(upload.iso, ""),
        announced=bool(upload.delays),
    )


def deleted(runs: Sequence[UploadedIso], version: str) -> list[UploadedIso]:
    """Write down that a version is there no more."""
    return [replace(each, deleted=True) if each.version == version else each for each in runs]


def copied_etag(data: bytes, part_size: int) -> str:
    """Make the ETag that a copy of these bytes has: a multipart upload's, of parts of that size."""
    starts = range(0, len(data), part_size)
    digests = [md5(data[at : at + part_size]).digest() for at in starts]  # noqa: S324 - S3's ETag
    return f"{md5(b''.join(digests)).hexdigest()}-{len(digests)}"  # noqa: S324 - likewise


def maybe_sent(ledger: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Read off the ledger's raw items which copies may be imported, for all that it knows."""
    return frozenset(
        json.loads(item["request"]["S"]).get("uri", "")
        for item in ledger
        if item.get("status", {}).get("S") == "submitted" and "buildArn" not in item
    )


def maybe_tokens(ledger: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Read off the ledger's raw items which imports may have been sent, for all that it knows."""
    return frozenset(
        json.loads(item["request"]["S"])["clientToken"]
        for item in ledger
        if item.get("status", {}).get("S") == "submitted" and "buildArn" not in item
    )


def budget_of(ledger: Iterable[Mapping[str, Any]], at_once: int, per_day: int) -> Budget:
    """Read off the ledger's raw items what is counted."""
    items = list(ledger)
    tokens, days = {}, {}
    for item in items:
        if "request" in item and "day" in item:
            token = json.loads(item["request"]["S"])["clientToken"]
            identity = item["pk"]["S"].removeprefix("ATTEMPTS#")
            number = int(item["sk"]["S"].removeprefix("ATTEMPT#"))
            tokens[f"{identity}#{number}"] = token
            days[token] = item["day"]["S"]
    budget = {item["sk"]["S"]: item for item in items if item["pk"]["S"] == "BUDGET"}
    under_way = budget.get("UNDER-WAY", {}).get("attempts", {}).get("SS", [])
    return Budget(
        at_once=at_once,
        per_day=per_day,
        days=days,
        today={
            name.removeprefix("DAY#"): int(item["builds"]["N"])
            for name, item in budget.items()
            if name.startswith("DAY#")
        },
        under_way=frozenset(tokens[name] for name in under_way),
    )


def versions_by_upload(ledger: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Read off the ledger's raw items the version that each upload wrote."""
    return {
        item["pk"]["S"].removeprefix("UPLOAD#"): json.loads(item["upload"]["S"])["version_id"]
        for item in ledger
        if item["pk"]["S"].startswith("UPLOAD#")
    }


def runs_by_version(ledger: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Read off the ledger's raw items how often each version of an object was claimed."""
    return Counter(
        json.loads(item["upload"]["S"])["version_id"]
        for item in ledger
        if item["pk"]["S"].startswith("UPLOAD#")
    )
