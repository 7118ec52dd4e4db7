"""What uploaders and operators do, and what they can see; the same for both kinds of run."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import md5
from typing import Any, Final

from isodrop_local.iso_maker import business_editions, make_image, server_editions
from tests.resilience.oracle import BuildCounts, UploadedIso
from tests.resilience.schedule import Upload

TWIN_BYTE: Final = 400
"""Offset from the end at which a twin differs; it lies between two files."""
REJECTION_CODES: Final[Mapping[str, str]] = {"text": "not-an-iso", "server": "server-iso"}


@cache
def make_iso(name: str, series: str = "") -> bytes:
    """Make an ISO: always the same bytes for a name, and different ones for each name.

    Parameters
    ----------
    name : str
        One of the schedule's names.
    series : str
        ISOs of different series differ.
    """
    if name == "twin":
        # The size and all that the reader reads are the same.
        twin = bytearray(make_iso("one", series))
        twin[-TWIN_BYTE] ^= 1
        return bytes(twin)
    if name == "text":
        return f"this is not an ISO {series}\n".encode() * 40_000
    editions = server_editions() if name == "server" else business_editions()
    label = f"DISC_{name.upper()}_{series}"
    # A long one is copied in several parts.
    image = make_image(editions=editions, label=label, size=3_000_000 if name == "long" else None)
    return image.read(0, image.size)


def put(s3: Any, bucket: str, key: str, data: bytes, upload: Upload) -> tuple[str, str]:
    """Write an object as a schedule says; return its ETag and its version."""
    where = {"Bucket": bucket, "Key": key}
    metadata = dict(upload.metadata)
    if upload.in_parts:
        made = s3.create_multipart_upload(**where, Metadata=metadata)
        part = {**where, "UploadId": made["UploadId"]}
        sent = s3.upload_part(**part, PartNumber=1, Body=data)
        parts = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"]}]}
        response = s3.complete_multipart_upload(**part, MultipartUpload=parts)
    else:
        response = s3.put_object(**where, Body=data, Metadata=metadata)
    return response["ETag"].strip('"'), response["VersionId"]


def uploaded_iso(upload: Upload, key: str, version: str) -> UploadedIso:
    """Describe an upload for the oracle."""
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
    """Mark a version as deleted."""
    return [replace(each, deleted=True) if each.version == version else each for each in runs]


def copied_etag(data: bytes, part_size: int) -> str:
    """Return the ETag of a multipart copy of these bytes, with parts of that size."""
    starts = range(0, len(data), part_size)
    digests = [md5(data[at : at + part_size]).digest() for at in starts]  # noqa: S324 - S3's ETag
    return f"{md5(b''.join(digests)).hexdigest()}-{len(digests)}"  # noqa: S324 - likewise


def maybe_sent(ledger: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """List the copies whose import may have been submitted, as far as the ledger knows."""
    return frozenset(
        json.loads(item["request"]["S"]).get("uri", "")
        for item in ledger
        if item.get("status", {}).get("S") == "submitted" and "buildArn" not in item
    )


def maybe_tokens(ledger: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """List the tokens of imports that may have been submitted, as far as the ledger knows."""
    return frozenset(
        json.loads(item["request"]["S"])["clientToken"]
        for item in ledger
        if item.get("status", {}).get("S") == "submitted" and "buildArn" not in item
    )


def read_build_counts(
    ledger: Iterable[Mapping[str, Any]], at_once: int, per_day: int
) -> BuildCounts:
    """Read the counts of builds from the ledger's raw items."""
    items = list(ledger)
    tokens, days = {}, {}
    for item in items:
        if "request" in item and "day" in item:
            token = json.loads(item["request"]["S"])["clientToken"]
            import_key = item["pk"]["S"].removeprefix("ATTEMPTS#")
            number = int(item["sk"]["S"].removeprefix("ATTEMPT#"))
            tokens[f"{import_key}#{number}"] = token
            days[token] = item["day"]["S"]
    counts = {item["sk"]["S"]: item for item in items if item["pk"]["S"] == "BUILDS"}
    under_way = counts.get("UNDER-WAY", {}).get("attempts", {}).get("SS", [])
    return BuildCounts(
        at_once=at_once,
        per_day=per_day,
        days=days,
        today={
            name.removeprefix("DAY#"): int(item["builds"]["N"])
            for name, item in counts.items()
            if name.startswith("DAY#")
        },
        under_way=frozenset(tokens[name] for name in under_way),
    )


def versions_by_upload(ledger: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Read the object version of each upload from the ledger's raw items."""
    return {
        item["pk"]["S"].removeprefix("UPLOAD#"): json.loads(item["upload"]["S"])["version_id"]
        for item in ledger
        if item["pk"]["S"].startswith("UPLOAD#")
    }


def runs_by_version(ledger: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the runs of each object version in the ledger's raw items."""
    return Counter(
        json.loads(item["upload"]["S"])["version_id"]
        for item in ledger
        if item["pk"]["S"].startswith("UPLOAD#")
    )
