"""Multipart uploads, and above all multipart copies: patches of the emulator's S3.

The emulator ignores checksums of copied parts, requires none at completion, accepts parts of any
size in any order, never reports a conflict, and reads the whole source for each part that is
copied. The rules are those of :mod:`isodrop_local.s3_multipart`; bodies in files stay there.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.etree.ElementTree import Element, SubElement

from ministack.services import s3

from isodrop_local.patches.bodies import Body, LinkedBody, join
from isodrop_local.s3_multipart import (
    Behavior,
    HttpResponse,
    Part,
    PendingUpload,
    S3ResponseError,
    check_completion,
    check_creation,
    check_part_number,
    check_upload_part,
    copied_range,
    delete_marker_error,
    no_such_upload,
    sha256,
    whole_etag,
)

_behavior = Behavior()
_XML = {"Content-Type": "application/xml"}

_create_multipart_upload = s3._create_multipart_upload
_delete_object = s3._delete_object
_delete_objects = s3._delete_objects
_get_object_attributes = s3._get_object_attributes
_handle_request = s3.handle_request
_list_parts = s3._list_parts
_object_record_from_version = s3._object_record_from_version
_upload_part = s3._upload_part
_version_entry_from_record = s3._version_entry_from_record


def set_behavior(**what: Any) -> None:
    """Choose what S3 does where its behavior is not certain."""
    new = replace(_behavior, **what)
    for name in what:
        setattr(_behavior, name, getattr(new, name))


def _report_refusals(function: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    def response(*args: Any) -> HttpResponse:
        try:
            return function(*args)
        except S3ResponseError as refusal:
            return refusal.to_response()

    return response


def _upload(bucket: str, key: str, query: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] | None = s3._multipart_uploads.get(s3._qp(query, "uploadId"))
    if found is None or (found["bucket"], found["key"]) != (bucket, key):
        raise no_such_upload()
    return found


def create_multipart_upload(bucket: str, key: str, headers: dict[str, str]) -> HttpResponse:
    """Refuse a checksum type that the algorithm does not support."""
    check_creation(headers)
    response: HttpResponse = _create_multipart_upload(bucket, key, headers)
    return response


def upload_part(
    bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str]
) -> HttpResponse:
    """Accept a part only with the checksum that its upload was created for."""
    upload = _upload(bucket, key, query)
    check_part_number(s3._qp(query, "partNumber"))
    check_upload_part(upload["checksum_algorithm"], headers)
    response: HttpResponse = _upload_part(bucket, key, body, query, headers)
    return response


def _source(headers: dict[str, str]) -> tuple[dict[str, Any], Body]:
    """Return the source of a copy: the entry of an object or version, and its body."""
    path, _, query = headers.get("x-amz-copy-source", "").lstrip("/").partition("?")
    name, _, key = unquote(path).partition("/")
    bucket = s3._ensure_bucket(name)
    if bucket is None:
        raise S3ResponseError(404, "NoSuchBucket", "The specified bucket does not exist")
    version = parse_qs(query).get("versionId", [None])[0]
    current = bucket["objects"].get(key)
    if version is None:
        if current is None:
            raise S3ResponseError(404, "NoSuchKey", "The specified key does not exist.")
        return current, s3._read_body(name, key, current)
    for each in s3._object_versions.get((name, key), []):
        if each["version_id"] == version:
            if each.get("is_delete_marker"):
                raise delete_marker_error()
            return each, s3._version_body(bucket, name, key, each)
    raise S3ResponseError(404, "NoSuchVersion", "The specified version does not exist.")


def _copy_range(headers: dict[str, str]) -> tuple[dict[str, Any], Body]:
    """Return the range that is copied."""
    entry, body = _source(headers)
    start, stop = copied_range(headers.get("x-amz-copy-source-range"), len(body), _behavior)
    return entry, body[start:stop]


async def handle_request(
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    query: dict[str, Any],
    **more: Any,
) -> Any:
    """Hash copied files outside the event loop, so that other requests are served."""
    if "uploadId" in query and "x-amz-copy-source" in headers:
        try:
            _, piece = _copy_range(headers)
        except S3ResponseError:
            pass  # it is refused below
        else:
            if isinstance(piece, LinkedBody):
                # If the caller gave up, its retry uses the hash.
                await asyncio.shield(asyncio.wrap_future(piece.sha256()))
    return await _handle_request(method, path, headers, body, query, **more)


def upload_part_copy(
    bucket: str, key: str, query: dict[str, Any], headers: dict[str, str]
) -> HttpResponse:
    """Return the checksum of the copied bytes, and leave bytes of a file in the file.

    The ETag of a part from a file is derived from its SHA-256, so that it is read only once. S3
    does not guarantee an MD5 either: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    upload = _upload(bucket, key, query)
    number = check_part_number(s3._qp(query, "partNumber"))
    entry, _ = _source(headers)
    for refused in (
        s3._check_sse_c_part(headers, upload),
        s3._check_sse_c_copy_source(headers, entry),
        s3._check_copy_source_preconditions(headers, entry),
    ):
        if refused is not None:
            response: HttpResponse = refused
            return response
    _, piece = _copy_range(headers)
    if isinstance(piece, LinkedBody):
        digest = piece.sha256().result()
        etag, checksum = digest.hex()[:32], base64.b64encode(digest).decode()
    else:
        etag, checksum = hashlib.md5(piece, usedforsecurity=False).hexdigest(), sha256(piece)
    checksums = {"SHA256": checksum} if upload["checksum_algorithm"] == "SHA256" else {}
    part = {
        "body": piece,
        "etag": f'"{etag}"',
        "size": len(piece),
        "last_modified": s3.now_iso(),
        "checksums": checksums,
    }
    upload["parts"][number] = part
    copied = Element("CopyPartResult", xmlns=s3.S3_NS)
    SubElement(copied, "ETag").text = part["etag"]
    SubElement(copied, "LastModified").text = part["last_modified"]
    _write_checksums(copied, checksums)
    response_headers = _XML | s3._stored_sse_headers(upload)
    if entry.get("version_id"):
        response_headers["x-amz-copy-source-version-id"] = entry["version_id"]
    return 200, response_headers, s3._xml_body(copied)


def _write_checksums(element: Element, checksums: dict[str, str]) -> None:
    for name, text in checksums.items():
        SubElement(element, f"Checksum{name}").text = text


def list_parts(bucket: str, key: str, query: dict[str, Any]) -> HttpResponse:
    """List at most a thousand parts, with their checksums.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html
    """
    upload = _upload(bucket, key, query)
    most = min(int(s3._qp(query, "max-parts", "1000")), 1000)
    status, headers, body = _list_parts(bucket, key, {**query, "max-parts": [str(most)]})
    if upload["checksum_algorithm"] == "SHA256":
        kind = b"<ChecksumAlgorithm>SHA256</ChecksumAlgorithm><ChecksumType>COMPOSITE"
        end = b"</ListPartsResult>"
        body = body.replace(end, kind + b"</ChecksumType>" + end)
    return status, headers, body


def complete_multipart_upload(
    bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str]
) -> HttpResponse:
    """Check a completion as S3 does, and join the parts without reading them."""
    multipart_id = s3._qp(query, "uploadId")
    before = s3._completed_multipart_uploads.get(multipart_id)
    if _behavior.repeats_response and before and before["key"] == key:
        again: HttpResponse = before["response"]
        return again
    upload = _upload(bucket, key, query)
    refused = s3._check_sse_c_part(headers, upload)
    if refused is None and "if-match" in headers:
        refused = s3._check_put_preconditions(headers, s3._buckets[bucket]["objects"].get(key))
    if refused is not None:
        other: HttpResponse = refused
        return other
    pending = PendingUpload(
        parts={
            n: Part(n, part["etag"].strip('"'), part["size"], part["checksums"])
            for n, part in upload["parts"].items()
        },
        algorithm=upload["checksum_algorithm"],
        exists=key in s3._buckets[bucket]["objects"],
        deleted=upload.get("deleted_meanwhile", False),
        minimum=_behavior.minimum_part,
    )
    parts = check_completion(pending, body, headers)
    whole = s3._composite_checksum(
        pending.algorithm, [part.checksums.get(pending.algorithm or "") for part in parts]
    )
    checksums = {str(pending.algorithm): whole} if whole else {}
    response = _completed(bucket, key, upload, parts, checksums)
    del s3._multipart_uploads[multipart_id]
    s3._completed_multipart_uploads[multipart_id] = {"key": key, "response": response}
    return response


def _completed(
    bucket: str,
    key: str,
    upload: dict[str, Any],
    parts: list[Part],
    checksums: dict[str, str],
) -> HttpResponse:
    """Create the object, publish its event, and respond."""
    body = join(upload["parts"][part.number]["body"] for part in parts)
    record = {
        "body": body,
        "size": len(body),
        "etag": f'"{whole_etag(parts)}"',
        "last_modified": s3.now_iso(),
        "content_type": upload["content_type"],
        "content_encoding": upload["content_encoding"],
        "metadata": upload["metadata"],
        "preserved_headers": upload["preserved_headers"],
        "storage_class": upload["storage_class"] or "STANDARD",
        "parts": [{"PartNumber": part.number, "Size": part.size} for part in parts],
        "checksums": checksums,
        "checksum_type": "COMPOSITE" if checksums else None,
    }
    version = put_record(bucket, key, record)
    done = Element("CompleteMultipartUploadResult", xmlns=s3.S3_NS)
    fields = {"Location": f"/{bucket}/{key}", "Bucket": bucket, "Key": key, "ETag": record["etag"]}
    for name, text in fields.items():
        SubElement(done, name).text = str(text)
    _write_checksums(done, checksums)
    if checksums:
        SubElement(done, "ChecksumType").text = "COMPOSITE"
    response_headers = _XML | s3._stored_sse_headers(record)
    if version:
        response_headers["x-amz-version-id"] = version
    return 200, response_headers, s3._xml_body(done)


def put_record(bucket: str, key: str, record: dict[str, Any]) -> str | None:
    """Store an object under a key, as a completed upload does; return its version."""
    objects = s3._buckets[bucket]["objects"]
    prior, objects[key] = objects.get(key), record
    s3._maybe_replicate(bucket, key, record, record["body"])
    version: str | None = s3._record_object_version(bucket, key, prior, record, record["body"])
    s3._fire_s3_event_async(
        bucket,
        key,
        "s3:ObjectCreated:CompleteMultipartUpload",
        size=record["size"],
        etag=record["etag"],
        version_id=version,
    )
    return version


def get_object_attributes(*arguments: Any) -> HttpResponse:
    """Return a composite checksum without its number of parts; only HEAD includes the number.

    Observed in https://github.com/floci-io/floci/issues/3083
    """
    status, headers, body = _get_object_attributes(*arguments)
    return status, headers, re.sub(rb"(<Checksum\w+>[^<]*)-\d+<", rb"\1<", body)


def version_entry_from_record(record: dict[str, Any], version: str, data: Any) -> dict[str, Any]:
    """Store the type of the checksum with a version."""
    entry: dict[str, Any] = _version_entry_from_record(record, version, data)
    return entry | {"checksum_type": record.get("checksum_type")}


def object_record_from_version(entry: dict[str, Any]) -> dict[str, Any]:
    """See :func:`version_entry_from_record`."""
    record: dict[str, Any] = _object_record_from_version(entry)
    return record | {name: entry.get(name) for name in ("checksum_type", "parts")}


def _mark_uploads_after(function: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Record in the uploads in progress under a key that an object was deleted there.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """

    def delete(bucket: str, *arguments: Any) -> HttpResponse:
        objects = s3._buckets.get(bucket, {"objects": {}})["objects"]
        uploads = s3._multipart_uploads.values()
        under = [each for each in uploads if each["bucket"] == bucket and each["key"] in objects]
        response = function(bucket, *arguments)
        for each in under:
            if each["key"] not in objects:
                each["deleted_meanwhile"] = True
        return response

    return delete


def apply() -> None:
    """Apply the patches."""
    s3.handle_request = handle_request
    s3._create_multipart_upload = _report_refusals(create_multipart_upload)
    s3._upload_part = _report_refusals(upload_part)
    s3._upload_part_copy = _report_refusals(upload_part_copy)
    s3._list_parts = _report_refusals(list_parts)
    s3._complete_multipart_upload = _report_refusals(complete_multipart_upload)
    s3._get_object_attributes = get_object_attributes
    s3._version_entry_from_record = version_entry_from_record
    s3._object_record_from_version = object_record_from_version
    s3._delete_object = _mark_uploads_after(_delete_object)
    s3._delete_objects = _mark_uploads_after(_delete_objects)
