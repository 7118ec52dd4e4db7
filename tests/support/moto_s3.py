"""moto's S3, with multipart uploads with SHA-256 checksums as in S3.

moto 5.2.5 ignores ``CopySourceIfMatch``, computes no checksums of parts, requires none at
completion, knows no conflict, pages parts by position instead of number, and returns 2010 as the
time of every upload. Completions of uploads without SHA-256 are left to moto.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, unquote

from moto.core.responses import ActionResult
from moto.s3 import models, responses

from isodrop_local.s3_multipart import (
    Behavior,
    Part,
    PendingUpload,
    S3ResponseError,
    check_completion,
    check_creation,
    check_part_number,
    check_source,
    check_upload_part,
    copied_range,
    delete_marker_error,
    lower_keys,
    no_such_upload,
    sha256,
)

HttpResponse = tuple[int, dict[str, Any], Any]

_S3 = responses.S3Response
_models: Any = models  # the names that moto imports are patched in its modules
_upload_part = _S3.upload_part
_abort_multipart_upload = _S3.abort_multipart_upload
_head_object = _S3.head_object
_key_response_post = _S3._key_response_post
_delete_object = models.S3Backend.delete_object


@contextmanager
def real_multipart() -> Iterator[Behavior]:
    """Patch moto within ``mock_aws()``, as the fixture ``session`` does.

    Yields
    ------
    Behavior
        What a test may change, except for the minimum size of parts, which is
        ``moto.s3.models.S3_UPLOAD_PART_MIN_SIZE``.
    """
    behavior = Behavior()

    def post(self: Any, *arguments: Any) -> HttpResponse:
        return _post(self, behavior, *arguments)

    def copy(self: Any) -> HttpResponse:
        return upload_part_copy(self, behavior)

    new = {
        "upload_part": _refusing(upload_part),
        "upload_part_copy": _refusing(copy),
        "list_parts": _refusing(list_parts),
        "list_multipart_uploads": list_multipart_uploads,
        "abort_multipart_upload": _refusing(abort_multipart_upload),
        "head_object": head_object,
        "_key_response_post": _refusing(post),
    }
    with ExitStack() as stack:
        for name, function in new.items():
            stack.enter_context(patch.object(_S3, name, function))
        stack.enter_context(patch.object(models.S3Backend, "delete_object", delete_object))
        yield behavior


def _refusing(function: Any) -> Any:
    def respond(*args: Any) -> HttpResponse:
        try:
            response: HttpResponse = function(*args)
        except S3ResponseError as refusal:
            return refusal.to_response()
        return response

    return respond


def _multipart(self: Any) -> Any:
    """Return the upload of a request."""
    bucket = self.backend.get_bucket(self.bucket_name)
    found = bucket.multiparts.get(self._get_param("uploadId"))
    if found is None or found.key_name != self.parse_key_name():
        raise no_such_upload()
    return found


def _algorithm(multipart: Any) -> str | None:
    named: str | None = multipart.metadata.get("x-amz-checksum-algorithm")
    return named


def _parts(multipart: Any) -> dict[int, Part]:
    return {
        number: Part(number, key.etag.strip('"'), key.contentsize, _checksums(key))
        for number, key in sorted(multipart.parts.items())
    }


def _checksums(key: Any) -> dict[str, str]:
    return {"SHA256": key.checksum_value} if key.checksum_value else {}


def upload_part(self: Any) -> HttpResponse:
    """Take a part only with the checksum that its upload was created for."""
    multipart, headers = _multipart(self), lower_keys(self.headers)
    number = check_part_number(self._get_param("partNumber"))
    algorithm = _algorithm(multipart)
    check_upload_part(algorithm, headers)
    made = sha256(self.body or b"") if algorithm == "SHA256" else None
    if made and headers.get("x-amz-checksum-sha256", made) != made:
        message = "The SHA256 you specified did not match the calculated checksum."
        raise S3ResponseError(400, "BadDigest", message)
    status, response_headers, body = _upload_part(self)
    if made:
        multipart.parts[number].checksum_value = made
        response_headers["x-amz-checksum-sha256"] = made
    return status, response_headers, body


def upload_part_copy(self: Any, behavior: Behavior) -> HttpResponse:
    """Copy a range of the requested version, and return the checksum of the copied bytes."""
    multipart, headers = _multipart(self), lower_keys(self.headers)
    number = check_part_number(self._get_param("partNumber"))
    path, _, query = headers["x-amz-copy-source"].partition("?")
    bucket, _, name = unquote(path).lstrip("/").partition("/")
    version = parse_qs(query).get("versionId", [None])[0]
    named = {"version_id": version, "return_delete_marker": True}
    source = self.backend.get_object(bucket, name, **named)
    if version and isinstance(source, models.FakeDeleteMarker):
        raise delete_marker_error()
    if source is None or isinstance(source, models.FakeDeleteMarker):
        kind = "Version" if version else "Key"
        message = f"The specified {kind.lower()} does not exist."
        raise S3ResponseError(404, f"NoSuch{kind}", message)
    check_source(headers, source.etag)
    span = headers.get("x-amz-copy-source-range")
    start, stop = copied_range(span, source.contentsize, behavior)
    data = source.value[start:stop]
    part = multipart.set_part(number, data)
    copied = {"ETag": part.etag, "LastModified": part.last_modified_ISO8601}
    if _algorithm(multipart) == "SHA256":
        part.checksum_value = sha256(data)
        copied["ChecksumSHA256"] = part.checksum_value
    result = {"CopyPartResult": copied}
    if source.version_id != "null":
        result["CopySourceVersionId"] = source.version_id
    return _response(self, "UploadPartCopy", result)


def list_parts(self: Any) -> HttpResponse:
    """List the parts after a number, with their checksums."""
    multipart = _multipart(self)
    after = self._get_int_param("part-number-marker", 0)
    most = min(self._get_int_param("max-parts", 1000), 1000)
    left = [part for number, part in _parts(multipart).items() if number > after]
    page = left[:most]
    result = {
        "Bucket": self.bucket_name,
        "Key": multipart.key_name,
        "UploadId": multipart.id,
        "PartNumberMarker": after,
        "NextPartNumberMarker": page[-1].number if page else 0,
        "MaxParts": most,
        "IsTruncated": len(left) > len(page),
        "StorageClass": "STANDARD",
        "ChecksumAlgorithm": _algorithm(multipart),
        "ChecksumType": "COMPOSITE" if _algorithm(multipart) == "SHA256" else None,
        "Parts": [
            {
                "PartNumber": part.number,
                "LastModified": multipart.parts[part.number].last_modified_ISO8601,
                "ETag": f'"{part.etag}"',
                "Size": part.size,
                **{f"Checksum{name}": text for name, text in part.checksums.items()},
            }
            for part in page
        ],
    }
    return _response(self, "ListParts", result)


def abort_multipart_upload(self: Any) -> HttpResponse:
    """Abort the upload only if it has this key."""
    _multipart(self)
    response: HttpResponse = _abort_multipart_upload(self)
    return response


def list_multipart_uploads(self: Any) -> HttpResponse:
    """List the uploads in progress with the time of their start; moto always returns 2010."""
    prefix = self.querystring.get("prefix", [""])[0]
    in_progress = self.backend.list_multipart_uploads(self.bucket_name).values()
    uploads = sorted(
        (each for each in in_progress if each.key_name.startswith(prefix)),
        key=lambda each: (each.key_name, each.initiated),
    )
    result = {
        "Bucket": self.bucket_name,
        "MaxUploads": 1000,
        "IsTruncated": False,
        "Uploads": [
            {
                "Key": each.key_name,
                "UploadId": each.id,
                "Initiated": each.initiated,
                "StorageClass": "STANDARD",
            }
            for each in uploads
        ],
    }
    return _response(self, "ListMultipartUploads", result)


def _post(self: Any, behavior: Behavior, *arguments: Any) -> HttpResponse:
    """Create an upload, or complete one."""
    request, body, bucket, query, key = arguments
    headers = lower_keys(request.headers)
    if "uploads" in query:
        check_creation(headers)
        created: HttpResponse = _key_response_post(self, *arguments)
        for multipart in self.backend.get_bucket(bucket).multiparts.values():
            if not hasattr(multipart, "initiated"):
                multipart.initiated = _models.utcnow()
        if headers.get("x-amz-checksum-algorithm") == "SHA256":
            created[1]["x-amz-checksum-type"] = "COMPOSITE"
        return created
    if "uploadId" in query:
        current = self.backend.get_object(bucket, key)
        is_completed = (
            current and current.multipart and current.multipart.id == query["uploadId"][0]
        )
        if is_completed and behavior.repeats_response:
            return _completed(self, current)
        multipart = _multipart(self)
        if _algorithm(multipart) == "SHA256":
            pending = PendingUpload(
                parts=_parts(multipart),
                algorithm="SHA256",
                exists=current is not None,
                deleted=getattr(multipart, "deleted_meanwhile", False),
                minimum=_models.S3_UPLOAD_PART_MIN_SIZE,
            )
            parts = check_completion(pending, body, headers)
            listed = iter([(part.number, part.etag) for part in parts])
            made = self.backend.complete_multipart_upload(bucket, multipart.id, listed)
            return _completed(self, made)
    other: HttpResponse = _key_response_post(self, *arguments)
    return other


def _completed(self: Any, key: Any) -> HttpResponse:
    result = {
        "Location": f"https://{key.bucket_name}.s3.amazonaws.com/{key.name}",
        "Bucket": key.bucket_name,
        "Key": key.name,
        "ETag": key.etag,
    }
    if key.checksum_algorithm == "SHA256":
        result |= {"ChecksumSHA256": _composite(key), "ChecksumType": "COMPOSITE"}
    if key.version_id != "null":
        result["VersionId"] = key.version_id
    return _response(self, "CompleteMultipartUpload", result)


def _composite(key: Any) -> str:
    """Return an object's checksum with the number of its parts; moto stores it without."""
    return f"{key.checksum_value}-{key.checksum_parts}"


def head_object(self: Any, bucket: str, query: Any, key: str, headers: Any) -> HttpResponse:
    """Return the object's checksum and its type only if requested."""
    response: HttpResponse = _head_object(self, bucket, query, key, headers)
    response_headers = response[1]
    response_headers.pop("x-amz-checksum-type", None)
    if "x-amz-checksum-sha256" in response_headers and "partNumber" not in query:
        version = query.get("versionId", [None])[0]
        found = self.backend.get_object(bucket, key, version_id=version)
        if found.checksum_type == "COMPOSITE":
            response_headers["x-amz-checksum-sha256"] = _composite(found)
        response_headers["x-amz-checksum-type"] = found.checksum_type or "FULL_OBJECT"
    return response


def delete_object(self: Any, bucket: str, key: str, *args: Any, **more: Any) -> Any:
    """Record in the uploads in progress under a key that an object was deleted there."""
    existed = self.get_object(bucket, key) is not None
    done = _delete_object(self, bucket, key, *args, **more)
    if existed and self.get_object(bucket, key) is None:
        for multipart in self.get_bucket(bucket).multiparts.values():
            if multipart.key_name == key:
                multipart.deleted_meanwhile = True
    return done


def _response(self: Any, action: str, result: Mapping[str, Any]) -> HttpResponse:
    self.data["Action"] = action
    response: HttpResponse = self.serialized(ActionResult(result))
    return response
