"""What S3 stores and returns: patches of the emulator's S3."""

import json
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

from ministack.core.responses import StreamingResponse
from ministack.services import eventbridge, s3

from isodrop_local.patches.bodies import CHUNK, Body, LinkedBody
from isodrop_local.patches.multipart import put_record

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
    """Record the version of an event's object, for :func:`dispatch_event`."""
    token = _version.set(version_id)
    try:
        _fire_s3_event(*args, version_id=version_id, **more)
    finally:
        _version.reset(token)


def dispatch_event(event: dict[str, Any], *args: Any, **more: Any) -> None:
    """Add ``version-id`` to ``detail.object``, as S3 does in a versioned bucket.

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
    """URL-encode keys if the client requests it, as boto3 always does.

    A key may contain characters that XML 1.0 does not allow, and the emulator writes them raw.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
    """
    token = _encoding.set("url" in query.get("encoding-type", ""))
    try:
        return _list_object_versions(bucket, query)
    finally:
        _encoding.reset(token)


def xml_body(root: Element) -> Any:
    """Write a response; see :func:`list_object_versions`."""
    if _encoding.get():
        for element in root.iter():
            if element.tag.rpartition("}")[2] in _ENCODED and element.text:
                element.text = quote(element.text)
        SubElement(root, "EncodingType").text = "url"
    return _xml_body(root)


def get_object(
    bucket: str, key: str, headers: dict[str, str], query: dict[str, Any] | None = None
) -> tuple[int, dict[str, str], Any]:
    """Send a linked body in chunks, and support ranges of a version.

    The emulator supports ranges of the current version only.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    status, response_headers, body = _get_object(bucket, key, headers, query)
    if status == 200 and "range" in headers:
        status, response_headers, body = _range_of(
            bucket, key, headers["range"], response_headers, body
        )
    if not isinstance(body, LinkedBody):
        return status, response_headers, body
    if len(body) <= CHUNK:
        return status, response_headers, b"".join(body.chunks())

    async def send_pieces(send: Any, _receive: Any) -> None:
        for chunk in body.chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return status, response_headers, StreamingResponse(send_pieces)


def _range_of(
    bucket: str, key: str, requested: str, response_headers: dict[str, str], body: Body
) -> tuple[int, dict[str, str], Any]:
    span, size = s3._parse_range(requested, len(body)), len(body)
    if span is None:
        error = s3._xml_body(s3._range_error_xml(bucket, key))
        return 416, {"Content-Type": "application/xml", "Content-Range": f"bytes */{size}"}, error
    first, last = span
    kept = {name: text for name, text in response_headers.items() if "checksum" not in name.lower()}
    kept["Content-Length"] = str(last + 1 - first)
    kept["Content-Range"] = f"bytes {first}-{last}/{size}"
    return 206, kept, body[first : last + 1]


def head_object(
    bucket: str,
    key: str,
    headers: dict[str, str] | None = None,
    query: dict[str, Any] | None = None,
) -> tuple[int, dict[str, str], Any]:
    """Describe one part if requested; the emulator describes the whole object.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    if not query or "partNumber" not in query:
        response_headers: tuple[int, dict[str, str], Any] = _head_object(
            bucket, key, headers, query
        )
        return response_headers
    status, part_headers, _ = _get_object(bucket, key, headers or {}, query)
    return status, part_headers, b""


def link(bucket: str, key: str, path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Put a file into a bucket by reference, with the result of a completed multipart upload.

    S3 stores objects of up to 50 TB and serves any range of them. The emulator keeps every body in
    memory, twice while it is uploaded, and a real ISO is 6 GB: so the file stays where it is, and
    ranges are read from it. The ETag has the form of a multipart upload's but is derived from the
    file's identity, because nothing has read the bytes, and there are no checksums.
    """
    stat = path.stat()
    parts = max(1, -(-stat.st_size // (64 << 20)))
    mark = s3.md5_hash(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode())
    headers = {f"x-amz-meta-{name.lower()}": value for name, value in metadata.items()}
    record = s3._build_object_record(b"", headers, etag=f'"{mark}-{parts}"')
    record |= {"body": LinkedBody.of_file(path), "size": stat.st_size}
    version = put_record(bucket, key, record)
    return {"versionId": version, "etag": record["etag"].strip('"')}


def reads(bucket: str, key: str) -> list[tuple[int, int]]:
    """List the ranges that were read from a linked object: offset and length.

    Ranges that S3 itself reads for a copy are not included.
    """
    body: LinkedBody = s3._buckets[bucket]["objects"][key]["body"]
    return body.reads


def apply() -> None:
    """Apply the patches."""
    s3._fire_s3_event = fire_s3_event
    s3._get_object = get_object
    s3._head_object = head_object
    s3._list_object_versions = list_object_versions
    s3._xml_body = xml_body
    eventbridge._dispatch_event = dispatch_event
