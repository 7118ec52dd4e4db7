"""S3: reads uploaded objects, their metadata and tags, and small objects of other kinds."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import TYPE_CHECKING, Any, Final

from isodrop.aws.errors import translate_errors
from isodrop.codes import Code
from isodrop.domain.model import Upload
from isodrop.domain.s3_uri import S3Uri
from isodrop.errors import (
    AccessDeniedError,
    IsodropError,
    PermanentError,
    RejectedError,
    TransientError,
)
from isodrop.iso.range_reader import FIRST_READ
from isodrop.text import single_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_HEADERS: Final = frozenset({"ETag", "ContentLength", "LastModified"})
_REPLACED: Final = frozenset({"PreconditionFailed", "412"})
_DELETED: Final = frozenset({"NoSuchKey", "404", "NoSuchVersion"})
_ARCHIVED: Final = "InvalidObjectState"
_SSE_C_DENIAL: Final = "InvalidRequest"
"""The error of a GetObject request without the encryption key of an object with SSE-C."""
_KMS: Final = "KMS."
_INVALID_RANGE: Final = frozenset({"InvalidRange", "416"})
_SCAN_TAG: Final = "GuardDutyMalwareScanStatus"
_TOTAL: Final = re.compile(r"bytes \d+-\d+/(\d+)")


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """Reads one version of an object. Without versioning, reads fail if the object has changed.

    Attributes
    ----------
    bucket, key, etag, size, version_id
        The opened object; ``etag`` without quotes, ``size`` in bytes.
    metadata : mapping of str to str
        The user metadata, keys in lowercase.
    """

    client: "S3Client"
    bucket: str
    key: str
    etag: str
    size: int
    version_id: str | None
    metadata: Mapping[str, str]
    _first: tuple[int, bytes]
    _requested_version: str | None = None

    def read(self, offset: int, length: int, /) -> bytes:
        """Read a range; one within the range that was read on opening needs no request.

        Raises
        ------
        RejectedError
            ``object-gone``: it was replaced or deleted in the meantime; ``archived-object`` or
            ``unreadable-object``.
        TransientError, PermanentError
            Any other error from S3.
        """
        start, data = self._first
        if start <= offset and offset + length <= start + len(data):
            return data[offset - start : offset - start + length]
        target = _target(self.bucket, self.key, self._requested_version)
        with _translate_to_rejections(self.bucket, self.key):
            response = _get(self.client, target, self.etag, offset, length)
        return _body(response, length)


def open_object(
    client: "S3Client",
    bucket: str,
    key: str,
    *,
    etag: str | None = None,
    size: int | None = None,
    version: str | None = None,
) -> ObjectReader:
    """Open an object by reading the first range that the ISO reader needs.

    The response of this GET also contains size, ETag, version and user metadata, so no HEAD is
    needed.

    Parameters
    ----------
    client : S3Client
    bucket, key : str
        The raw key, not URL-encoded.
    etag, size : str and int, optional
        The expected ETag and size, from S3's event.
    version : str, optional
        The version; the current one if not given.

    Returns
    -------
    ObjectReader

    Raises
    ------
    RejectedError
        ``object-gone``: it does not exist, or was replaced or deleted; ``archived-object`` or
        ``unreadable-object``.
    TransientError, PermanentError
        Any other error from S3.

    See Also
    --------
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    with _translate_to_rejections(bucket, key):
        return _open(client, (bucket, key), etag, size, version)


def open_any_object(client: "S3Client", location: S3Uri) -> ObjectReader:
    """Open an object that is not necessarily an upload; only later reads raise rejections.

    Raises
    ------
    TransientError, PermanentError
        The error from S3; :func:`is_missing` recognizes that there is no such object.
    """
    return _open(client, (location.bucket, location.key), None, None, None)


def is_missing(error: IsodropError) -> bool:
    """Whether S3 reported that the object or its version does not exist."""
    return error.aws_code in _DELETED


def _open(
    client: "S3Client",
    location: tuple[str, str],
    etag: str | None,
    size: int | None,
    version: str | None,
) -> ObjectReader:
    target = _target(*location, version)
    offset, length = FIRST_READ
    if size is not None and size <= offset:
        offset = 0
    try:
        response = _get(client, target, etag, offset, length)
    except _BeyondTheEndError:
        # Smaller than any Windows ISO: get its size and read it from the start, to identify it.
        head = _head(client, target, etag)
        small = int(head["ContentLength"])
        if small == 0:
            return _make_reader(client, location, head, 0, (0, b""))
        offset, length = 0, min(length, small)
        response = _get(client, target, etag, offset, length)
    content_range = response.get("ContentRange", "")
    total = _TOTAL.fullmatch(content_range)
    if total is None or "ETag" not in response:
        raise TransientError(
            f"GetObject: the response is not from S3: Content-Range {single_line(content_range)!r}"
        )
    data = _body(response, min(length, int(total[1]) - offset))
    return replace(
        _make_reader(client, location, response, int(total[1]), (offset, data)),
        _requested_version=version,
    )


def decode_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Decode user metadata; S3 returns non-ASCII values encoded as in RFC 2047.

    Examples
    --------
    >>> decode_metadata({"Description": "=?UTF-8?B?QsO8cm8=?="})
    {'description': 'Büro'}

    See Also
    --------
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    """
    return {name.lower(): _decode_word(value) for name, value in metadata.items()}


def _decode_word(value: str) -> str:
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeDecodeError):
        return value  # not an encoded word


def _make_reader(
    client: "S3Client",
    location: tuple[str, str],
    response: Mapping[str, Any],
    size: int,
    first: tuple[int, bytes],
) -> ObjectReader:
    return ObjectReader(
        client=client,
        bucket=location[0],
        key=location[1],
        etag=response["ETag"].strip('"'),
        size=size,
        version_id=response.get("VersionId"),
        metadata=decode_metadata(response.get("Metadata", {})),
        _first=first,
    )


@dataclass(frozen=True, slots=True)
class CurrentObject:
    """The current version of an object, as an upload, and when it was last modified."""

    upload: Upload
    last_modified: datetime


def get_current_upload(client: "S3Client", bucket: str, key: str) -> CurrentObject:
    """Get the current version of an object, as an upload.

    Raises
    ------
    RejectedError
        ``object-gone``: the object does not exist or was deleted; ``unreadable-object``: access to
        it was denied.
    TransientError, PermanentError
        Any other error from S3.
    """
    with _translate_to_rejections(bucket, key):
        head = _head(client, _target(bucket, key, None), None)
    upload = Upload(
        bucket=bucket,
        key=key,
        etag=head["ETag"].strip('"'),
        size=int(head["ContentLength"]),
        sequencer="",
        version_id=head.get("VersionId"),
    )
    return CurrentObject(upload, head["LastModified"])


def get_size(client: "S3Client", upload: Upload) -> int:
    """Get the size of an upload whose event did not contain it.

    Returns
    -------
    int
        The size in bytes; 0 if the object cannot be read or no longer exists, which the next read
        reports as an error.

    Raises
    ------
    TransientError
        Temporary; try again later.
    """
    target = {"Bucket": upload.bucket, "Key": upload.key}
    if upload.unique_version_id is not None:
        target["VersionId"] = upload.unique_version_id
    try:
        with translate_errors():
            return int(client.head_object(**target)["ContentLength"])  # type: ignore[arg-type] # mypy checks the mapping's values against every parameter
    except PermanentError:
        return 0


def read_scan_tag(client: "S3Client", upload: Upload) -> str | None:
    """Read the scan result from GuardDuty's tag; ``None`` until the scan has ended.

    Raises
    ------
    TransientError, PermanentError
        The call to S3 failed.

    See Also
    --------
    https://docs.aws.amazon.com/guardduty/latest/ug/monitor-enable-s3-object-tagging-malware-protection.html
    """
    target = {"Bucket": upload.bucket, "Key": upload.key}
    if upload.unique_version_id is not None:
        target["VersionId"] = upload.unique_version_id
    with translate_errors():
        tags = client.get_object_tagging(**target)["TagSet"]  # type: ignore[arg-type] # mypy checks the mapping's values against every parameter
    return next((tag["Value"] for tag in tags if tag["Key"] == _SCAN_TAG), None)


def is_current(client: "S3Client", upload: Upload) -> bool:
    """Whether the upload is the current object of its key, in a bucket without versioning.

    Raises
    ------
    TransientError, PermanentError
        The call to S3 failed.
    """
    try:
        _head(client, _target(upload.bucket, upload.key, None), upload.etag)
    except PermanentError as error:
        if error.aws_code in _REPLACED | _DELETED:
            return False
        raise
    return True


def object_gone_error(bucket: str, key: str, change: str) -> RejectedError:
    """Make the error for an object that was replaced or deleted before it was copied."""
    address = single_line(str(S3Uri(bucket, key)))
    return RejectedError(
        Code.OBJECT_GONE,
        f"The object {address} was {change} before its copy was made, so there is nothing to import"
        " anymore.",
    )


def to_rejection(error: IsodropError, bucket: str, key: str) -> RejectedError | None:
    """Translate an S3 error that is caused by the uploaded object; ``None`` for any other error.

    Missing permissions are left to the caller: only when an object is read is it certain that the
    error refers to the object.

    References
    ----------
    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
    """
    code = error.aws_code
    if code in _REPLACED | _DELETED:
        return object_gone_error(bucket, key, "replaced" if code in _REPLACED else "deleted")
    address = single_line(str(S3Uri(bucket, key)))
    if code == _ARCHIVED:
        return RejectedError(
            Code.ARCHIVED_OBJECT,
            f"The object {address} is in an S3 archive storage class, from which it cannot be read"
            " immediately.",
        )
    if code.startswith(_KMS):
        return RejectedError(
            Code.UNREADABLE_OBJECT,
            f"isodrop cannot read the object {address}. S3 says: {error}",
        )
    return None


@contextmanager
def _translate_to_rejections(bucket: str, key: str) -> Iterator[None]:
    """Translate errors that are caused by the uploaded object; others are not changed."""
    try:
        yield
    except (PermanentError, TransientError) as error:
        if rejection := to_rejection(error, bucket, key):
            raise rejection from error
        if isinstance(error, AccessDeniedError) or error.aws_code == _SSE_C_DENIAL:
            address = single_line(str(S3Uri(bucket, key)))
            message = f"isodrop cannot read the object {address}. S3 says: {error}"
            raise RejectedError(Code.UNREADABLE_OBJECT, message) from error
        raise


def read_text(client: "S3Client", uri: str, limit: int) -> str:
    """Read a small ASCII object, such as the stack's UEFI data.

    Raises
    ------
    PermanentError
        It is larger than ``limit`` bytes, or is not ASCII.
    TransientError, PermanentError
        Any other error from S3.
    """
    location = S3Uri.parse(uri)
    response = _get(client, _target(location.bucket, location.key, None), None, 0, limit + 1)
    with translate_errors():
        data = response["Body"].read()
    try:
        text: str = data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise PermanentError(f"{uri} is not ASCII text") from None
    if len(data) > limit:
        raise PermanentError(f"{uri} is larger than {limit} bytes")
    return text


class _BeyondTheEndError(Exception):
    """The requested range is beyond the end of the object."""


def _target(bucket: str, key: str, version: str | None) -> dict[str, str]:
    target = {} if version is None else {"VersionId": version}
    return {"Bucket": bucket, "Key": key, **target}


def _conditions(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"IfMatch": f'"{etag}"'}


def _get(
    client: "S3Client", target: Mapping[str, str], etag: str | None, offset: int, length: int
) -> Mapping[str, Any]:
    byte_range = f"bytes={offset}-{offset + length - 1}"
    try:
        with translate_errors():
            return client.get_object(**target, Range=byte_range, **_conditions(etag))  # type: ignore[arg-type] # mypy checks the mapping's values against every parameter
    except (PermanentError, TransientError) as error:
        if error.aws_code in _INVALID_RANGE:
            raise _BeyondTheEndError from error
        raise


def _head(client: "S3Client", target: Mapping[str, str], etag: str | None) -> Mapping[str, Any]:
    with translate_errors():
        head = client.head_object(**target, **_conditions(etag))  # type: ignore[arg-type] # mypy checks the mapping's values against every parameter
    if not head.keys() >= _HEADERS:
        raise TransientError(
            "HeadObject: the response is not from S3: ETag, size or date is missing"
        )
    return head


def _body(response: Mapping[str, Any], length: int) -> bytes:
    with translate_errors():
        data: bytes = response["Body"].read()
    if len(data) != length:
        raise TransientError(f"GetObject: {len(data)} bytes received instead of {length}")
    return data
