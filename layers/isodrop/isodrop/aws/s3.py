"""S3: the object that was uploaded, read in ranges and checked to be still the same."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from isodrop.aws.errors import error_code, translated
from isodrop.codes import Code
from isodrop.domain.model import Upload
from isodrop.errors import RefusedError, RejectedError, TransientError
from isodrop.iso import FIRST_READ
from isodrop.text import one_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_CHANGED: Final = frozenset({"PreconditionFailed", "412", "NoSuchKey", "404", "NoSuchVersion"})
_HEADERS: Final = frozenset({"ETag", "ContentLength", "LastModified"})
_EMPTY: Final = frozenset({"InvalidRange", "416"})
_SCAN_TAG: Final = "GuardDutyMalwareScanStatus"
_TOTAL: Final = re.compile(r"bytes \d+-\d+/(\d+)")
_S3_URI: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", re.DOTALL)


def parse_uri(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key`` into bucket and key.

    Raises
    ------
    ValueError
        When it is not of that form.
    """
    found = _S3_URI.fullmatch(uri)
    if found is None:
        raise ValueError(f"not of the form s3://bucket/key: {uri!r}")
    return found[1], found[2]


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """One object as it was when it was opened; reading it later fails if it has changed.

    Attributes
    ----------
    bucket, key, etag, size, version_id
        Of the object that was opened; ``etag`` without quotes, ``size`` in bytes.
    metadata : mapping of str to str
        The user metadata, keys in lower case.
    """

    client: "S3Client"
    bucket: str
    key: str
    etag: str
    size: int
    version_id: str | None
    metadata: Mapping[str, str]
    _first: tuple[int, bytes]

    def read(self, offset: int, length: int, /) -> bytes:
        """Read a range; the one that opening has brought along costs no request.

        Raises
        ------
        RejectedError
            ``object-changed``: replaced or deleted since.
        TransientError, RefusedError
            What else S3 said.
        """
        at, data = self._first
        if at <= offset and offset + length <= at + len(data):
            return data[offset - at : offset - at + length]
        answer = _get(self.client, self.bucket, self.key, self.etag, (offset, length))
        return _body(answer, length)


def open_object(
    client: "S3Client", bucket: str, key: str, *, etag: str | None = None, size: int | None = None
) -> ObjectReader:
    """Open an object by the first range that its reader will want.

    That one GET also answers with size, ETag, version and user metadata, so no HEAD is
    needed. It asks for the *current* object, as the import will: the import's URI carries
    no version id.

    Parameters
    ----------
    client : S3Client
    bucket, key : str
        The key raw, not URL-encoded.
    etag, size : str and int, optional
        What the object must be, as S3's event told it.

    Returns
    -------
    ObjectReader

    Raises
    ------
    RejectedError
        ``object-changed``: there is no such object, or not any more.
    TransientError, RefusedError
        What else S3 said.

    See Also
    --------
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    offset, length = FIRST_READ
    if size is not None and size <= offset:
        offset = 0
    try:
        answer = _get(client, bucket, key, etag, (offset, length))
    except _BeyondTheEndError:
        # Smaller than any Windows ISO: one more request, so that it can be said what it is.
        head = _head(client, bucket, key, etag)
        small = int(head["ContentLength"])
        if small == 0:
            return _reader(client, (bucket, key), head, 0, (0, b""))
        offset, length = 0, min(length, small)
        answer = _get(client, bucket, key, etag, (offset, length))
    told = answer.get("ContentRange", "")
    total = _TOTAL.fullmatch(told)
    if total is None or "ETag" not in answer:
        raise TransientError(f"GetObject: no answer of S3's: Content-Range {one_line(told)!r}")
    data = _body(answer, min(length, int(total[1]) - offset))
    return _reader(client, (bucket, key), answer, int(total[1]), (offset, data))


def decode_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Read user metadata as they were meant: S3 gives what is not ASCII as RFC 2047 has it.

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
        return value  # it only looks so


def _reader(
    client: "S3Client",
    where: tuple[str, str],
    answer: Mapping[str, Any],
    size: int,
    first: tuple[int, bytes],
) -> ObjectReader:
    return ObjectReader(
        client=client,
        bucket=where[0],
        key=where[1],
        etag=answer["ETag"].strip('"'),
        size=size,
        version_id=answer.get("VersionId"),
        metadata=decode_metadata(answer.get("Metadata", {})),
        _first=first,
    )


@dataclass(frozen=True, slots=True)
class Found:
    """The current version of an object, as an upload, and when it was last modified."""

    upload: Upload
    last_modified: datetime


def find_upload(client: "S3Client", bucket: str, key: str) -> Found:
    """Find the upload that is an object's current version.

    Raises
    ------
    RejectedError
        ``object-changed``: there is no such object, or not any more.
    TransientError, RefusedError
        What else S3 said.
    """
    head = _head(client, bucket, key, None)
    upload = Upload(
        bucket=bucket,
        key=key,
        etag=head["ETag"].strip('"'),
        size=int(head["ContentLength"]),
        sequencer="",
        version_id=head.get("VersionId"),
    )
    return Found(upload, head["LastModified"])


def size_of(client: "S3Client", upload: Upload) -> int:
    """Ask how large an upload is whose event did not say so.

    Returns
    -------
    int
        In bytes; 0 where the object may not be read or is not there any more, which whoever reads
        it will find out.

    Raises
    ------
    TransientError
        Not now.
    """
    where = {"Bucket": upload.bucket, "Key": upload.key}
    if upload.version is not None:
        where["VersionId"] = upload.version
    try:
        with translated():
            return int(client.head_object(**where)["ContentLength"])  # type: ignore[arg-type] # the stubs see every keyword in the mapping
    except RefusedError:
        return 0


def read_scan_tag(client: "S3Client", upload: Upload) -> str | None:
    """Read how GuardDuty has tagged an upload; ``None`` while its scan has not ended.

    Raises
    ------
    TransientError, RefusedError
        When S3 does not say.

    See Also
    --------
    https://docs.aws.amazon.com/guardduty/latest/ug/monitor-enable-s3-object-tagging-malware-protection.html
    """
    where = {"Bucket": upload.bucket, "Key": upload.key}
    if upload.version is not None:
        where["VersionId"] = upload.version
    with translated():
        tags = client.get_object_tagging(**where)["TagSet"]  # type: ignore[arg-type] # the stubs see every keyword in the mapping
    return next((tag["Value"] for tag in tags if tag["Key"] == _SCAN_TAG), None)


def is_unchanged(client: "S3Client", upload: Upload) -> bool:
    """Whether what lay under the upload's key was the upload's bytes, all the time until now.

    That they lie there now is not enough: Image Builder may have read what lay there between.

    Raises
    ------
    TransientError, RefusedError
        When S3 does not say.
    """
    try:
        found = _head(client, upload.bucket, upload.key, upload.etag)
    except RejectedError:
        return False
    return upload.version in {None, found.get("VersionId")} or _bytes_since(client, upload)


def _bytes_since(client: "S3Client", upload: Upload) -> bool:
    """Whether whatever was written under the key since the upload were the upload's bytes."""
    versions = client.get_paginator("list_object_versions")
    with translated():
        pages = [*versions.paginate(Bucket=upload.bucket, Prefix=upload.key)]
    written = [each for page in pages for each in page.get("Versions", [])]
    deleted = [each for page in pages for each in page.get("DeleteMarkers", [])]
    since: list[str] = []
    for version in written:  # the newest first
        if version["Key"] != upload.key:
            continue
        if version["VersionId"] == upload.version:
            return set(since) <= {upload.etag} and not any(
                marker["Key"] == upload.key and marker["LastModified"] >= version["LastModified"]
                for marker in deleted
            )
        since.append(version["ETag"].strip('"'))
    return False


def object_changed(bucket: str, key: str, how: str) -> RejectedError:
    """Make the error that says what became of an object: replaced, deleted, written again."""
    return RejectedError(
        Code.OBJECT_CHANGED,
        f"The object {one_line(f's3://{bucket}/{key}')} has been {how} since it was uploaded;"
        " an import needs it to stay as it is until its answer has come.",
    )


def unreadable_object(error: RefusedError, bucket: str, key: str) -> RejectedError | None:
    """Make the error that says why an object that is there cannot be read.

    Parameters
    ----------
    error : RefusedError
        Raised by :func:`open_object` or by its reader.
    bucket, key : str

    Returns
    -------
    RejectedError or None
        ``unreadable-object``; ``None`` where it was not S3 that said so.
    """
    if not isinstance(error.__cause__, ClientError):
        return None
    return RejectedError(
        Code.UNREADABLE_OBJECT,
        f"isodrop may not read the object {one_line(f's3://{bucket}/{key}')}. S3 says {error}",
    )


def read_text(client: "S3Client", uri: str, limit: int) -> str:
    """Read a small text object whole, such as the stack's UEFI data.

    Raises
    ------
    RefusedError
        When it is larger than ``limit`` bytes, or is no text.
    TransientError, RejectedError
        What else S3 said.
    """
    bucket, key = parse_uri(uri)
    answer = _get(client, bucket, key, None, (0, limit + 1))
    with translated():
        data = answer["Body"].read()
    try:
        text: str = data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise RefusedError(f"{uri} is not ASCII text") from None
    if len(data) > limit:
        raise RefusedError(f"{uri} is larger than {limit} bytes")
    return text


class _BeyondTheEndError(Exception):
    """The range asked for lies behind the object's end."""


def _conditions(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"IfMatch": f'"{etag}"'}


def _get(
    client: "S3Client", bucket: str, key: str, etag: str | None, span: tuple[int, int]
) -> Mapping[str, Any]:
    wanted = f"bytes={span[0]}-{span[0] + span[1] - 1}"
    try:
        with translated():
            return client.get_object(Bucket=bucket, Key=key, Range=wanted, **_conditions(etag))  # type: ignore[arg-type] # the stubs see every keyword in the mapping
    except (RefusedError, TransientError) as error:
        if isinstance(error.__cause__, ClientError) and error_code(error.__cause__) in _EMPTY:
            raise _BeyondTheEndError from error
        if changed := _changed(error, bucket, key):
            raise changed from error
        raise


def _head(client: "S3Client", bucket: str, key: str, etag: str | None) -> Mapping[str, Any]:
    try:
        with translated():
            head = client.head_object(Bucket=bucket, Key=key, **_conditions(etag))  # type: ignore[arg-type] # the stubs see every keyword in the mapping
    except (RefusedError, TransientError) as error:
        if changed := _changed(error, bucket, key):
            raise changed from error
        raise
    if not head.keys() >= _HEADERS:
        raise TransientError("HeadObject: no answer of S3's: it lacks ETag, size or date")
    return head


def _changed(error: RefusedError | TransientError, bucket: str, key: str) -> RejectedError | None:
    """Tell "it is not what it was" from whatever else S3 may say, which stays as it is."""
    cause = error.__cause__
    if not isinstance(cause, ClientError) or error_code(cause) not in _CHANGED:
        return None
    return object_changed(
        bucket, key, "replaced" if error_code(cause) in {"PreconditionFailed", "412"} else "deleted"
    )


def _body(answer: Mapping[str, Any], length: int) -> bytes:
    with translated():
        data: bytes = answer["Body"].read()
    if len(data) != length:
        raise TransientError(f"GetObject: {len(data)} bytes came where {length} were asked for")
    return data
