"""What S3 keeps and tells: mends of the emulator's S3."""

import json
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

from ministack.core.responses import StreamingResponse
from ministack.services import eventbridge, s3

CHUNK = 1 << 20

_fire_s3_event = s3._fire_s3_event
_get_object = s3._get_object
_head_object = s3._head_object
_dispatch_event = eventbridge._dispatch_event
_list_object_versions = s3._list_object_versions
_xml_body = s3._xml_body
_version: ContextVar[str | None] = ContextVar("version", default=None)
_encoding: ContextVar[bool] = ContextVar("encoding", default=False)
_ENCODED = frozenset({"Delimiter", "KeyMarker", "Prefix", "NextKeyMarker", "Key"})


def fire_s3_event(*args: Any, version_id: str | None = None, **more: Any) -> None:
    """Remember the version that an event is about, for :func:`dispatch_event`."""
    token = _version.set(version_id)
    try:
        _fire_s3_event(*args, version_id=version_id, **more)
    finally:
        _version.reset(token)


def dispatch_event(event: dict[str, Any], *args: Any, **more: Any) -> None:
    """Name the version in ``detail.object`` as ``version-id``, as S3 does in a versioned bucket.

    The emulator leaves it out.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    """
    version = _version.get()
    if version and event.get("Source") == "aws.s3":
        detail = json.loads(event["Detail"])
        detail["object"]["version-id"] = version
        event = {**event, "Detail": json.dumps(detail)}
    _dispatch_event(event, *args, **more)


def list_object_versions(bucket: str, query: dict[str, Any]) -> Any:
    """Encode keys as URLs where a client asks for it, as boto3 always does.

    A key may hold what no XML 1.0 can, and the emulator writes it raw.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
    """
    token = _encoding.set("url" in query.get("encoding-type", ""))
    try:
        return _list_object_versions(bucket, query)
    finally:
        _encoding.reset(token)


def xml_body(root: Element) -> Any:
    """Write an answer; see :func:`list_object_versions`."""
    if _encoding.get():
        for element in root.iter():
            if element.tag.rpartition("}")[2] in _ENCODED and element.text:
                element.text = quote(element.text)
        SubElement(root, "EncodingType").text = "url"
    return _xml_body(root)


class FileBody:
    """The body of an object that lies in a file: as long as it is, read where it is sliced.

    It remembers what was read: offset and length of each slice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.reads: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, span: slice) -> bytes:
        start, stop, _ = span.indices(self.size)
        self.reads.append((start, stop - start))
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)


def get_object(*args: Any, **more: Any) -> tuple[int, dict[str, str], Any]:
    """Send an object that lies in a file piece by piece, if all of it is asked for."""
    status, headers, body = _get_object(*args, **more)
    if not isinstance(body, FileBody):
        return status, headers, body

    async def send_pieces(send: Any, _receive: Any) -> None:
        for begin in range(0, len(body), CHUNK):
            piece = body[begin : begin + CHUNK]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return status, headers, StreamingResponse(send_pieces)


def head_object(
    bucket: str,
    key: str,
    headers: dict[str, str] | None = None,
    query: dict[str, Any] | None = None,
) -> tuple[int, dict[str, str], Any]:
    """Describe one part where one is asked for; the emulator describes the whole object.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    if not query or "partNumber" not in query:
        described: tuple[int, dict[str, str], Any] = _head_object(bucket, key, headers, query)
        return described
    status, described_part, _ = _get_object(bucket, key, headers or {}, query)
    return status, described_part, b""


def link(bucket: str, key: str, path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Put a file into a bucket by reference, as a completed multipart upload of it would.

    S3 takes objects of up to 50 TB and serves any range of them. The emulator keeps every body in
    memory, twice while it is uploaded, and a real ISO has 6 GB: so the file stays where it is, and
    ranges are read from it. The ETag has the form of a multipart upload's but is made of the file's
    identity, since nothing has read the bytes, and there are no checksums.
    """
    stat = path.stat()
    parts = max(1, -(-stat.st_size // (64 << 20)))
    mark = s3.md5_hash(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode())
    headers = {f"x-amz-meta-{name.lower()}": value for name, value in metadata.items()}
    record = s3._build_object_record(b"", headers, etag=f'"{mark}-{parts}"')
    record |= {"body": FileBody(path), "size": stat.st_size}
    objects = s3._buckets[bucket]["objects"]
    prior, objects[key] = objects.get(key), record
    version = s3._record_object_version(bucket, key, prior, record, record["body"])
    s3._fire_s3_event_async(
        bucket,
        key,
        "s3:ObjectCreated:CompleteMultipartUpload",
        size=stat.st_size,
        etag=record["etag"],
        version_id=version,
    )
    return {"versionId": version, "etag": record["etag"].strip('"')}


def reads(bucket: str, key: str) -> list[tuple[int, int]]:
    """List what has been read of an object that was linked: offset and length."""
    body: FileBody = s3._buckets[bucket]["objects"][key]["body"]
    return body.reads


def mend() -> None:
    """Put the mends in place."""
    s3._fire_s3_event = fire_s3_event
    s3._get_object = get_object
    s3._head_object = head_object
    s3._list_object_versions = list_object_versions
    s3._xml_body = xml_body
    eventbridge._dispatch_event = dispatch_event
