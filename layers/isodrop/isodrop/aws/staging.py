"""The staging bucket: S3 copies accepted uploads into it, part by part.

boto3's own ``copy`` is not used: it does not return the parts' checksums, cannot continue an
interrupted copy, and pins the ETag that it finds when it starts, not the one in S3's event.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from isodrop.aws.config import CONFIG
from isodrop.aws.errors import translate_errors
from isodrop.aws.s3 import to_rejection
from isodrop.codes import Code
from isodrop.domain.content import Content, Part, composite_checksum
from isodrop.domain.model import Upload
from isodrop.domain.s3_uri import S3Uri
from isodrop.errors import CredentialsError, PermanentError, TransientError

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PARALLEL: Final = 24
"""Parts that are copied at once. S3 does the work, so each one costs the function only a socket."""
_CONFIG: Final = CONFIG.merge(
    # S3 sends whitespace while it copies, so this limits the time without any data.
    Config(max_pool_connections=PARALLEL, read_timeout=60)
)
_READS: Final = 3
"""How many times a range is tried: one failure among hundreds must not stop a long hash."""
_NO_MULTIPART_UPLOAD: Final = "NoSuchUpload"
_NO_OBJECT: Final = frozenset({"404", "NoSuchKey"})
_HEAD_DENIED: Final = "403"
"""S3's only error for a denied HEAD, whether a permission is missing or the request is late."""
_ALREADY_EXISTS: Final = frozenset({"412", "PreconditionFailed"})
_CONFLICT: Final = frozenset({"409", "ConditionalRequestConflict"})
_INVALID_PART: Final = "InvalidPart"


class NoMultipartUploadError(Exception):
    """The multipart upload does not exist; it was completed or aborted."""


@dataclass(frozen=True, slots=True)
class CopiedPart:
    """A part that S3 has copied, with its ETag and checksum."""

    number: int
    size: int
    etag: str
    checksum: str


@dataclass(frozen=True, slots=True)
class StagedCopy:
    """A copy in the staging bucket; with a multipart id, an unfinished multipart upload."""

    key: str
    created_at: datetime
    multipart_id: str | None = None


@dataclass(frozen=True, slots=True)
class StagingBucket:
    """The functions' access to the bucket.

    Attributes
    ----------
    client : S3Client
    name : str
    """

    client: "S3Client"
    name: str

    @classmethod
    def connect(cls, session: "Session", bucket: str) -> "StagingBucket":
        """Make an adapter for the bucket with that name."""
        return cls(session.client("s3", config=_CONFIG), bucket)

    def uri(self, key: str) -> str:
        """Return the URI of a copy for ImportDiskImage."""
        return str(S3Uri(self.name, key))

    def create_multipart_upload(self, key: str) -> str:
        """Begin a multipart upload; returns its id.

        See Also
        --------
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html
        """
        with translate_errors():
            return self.client.create_multipart_upload(
                Bucket=self.name, Key=key, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE"
            )["UploadId"]

    def copy_parts(
        self,
        source: Upload,
        key: str,
        multipart_id: str,
        parts: tuple[Part, ...],
        *,
        is_new: bool = False,
    ) -> tuple[CopiedPart, ...]:
        """Copy all parts that have not been copied yet.

        Parameters
        ----------
        source : Upload
            The version to copy.
        key, multipart_id : str
            The key and the multipart upload of the copy.
        parts : tuple of Part
        is_new : bool
            Whether the multipart upload has just been started, so that it has no parts.

        Returns
        -------
        tuple of CopiedPart
            All parts, in order.

        Raises
        ------
        NoMultipartUploadError
            The multipart upload was completed or aborted.
        RejectedError
            The source cannot be copied; for example ``object-gone``: it was replaced or deleted.
        TransientError, PermanentError
            The call to S3 failed; ``checksum-missing`` if the response has no checksum.
        """
        listed = () if is_new else self._list_parts(key, multipart_id)
        existing = {part.number: part for part in listed}
        copied = {
            part.number: existing[part.number]
            for part in parts
            if part.number in existing and existing[part.number].size == part.length
        }
        is_single_part = len(parts) == 1
        with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
            futures = [
                pool.submit(self._copy_part, source, key, multipart_id, part, is_single_part)
                for part in parts
                if part.number not in copied
            ]
            try:
                for future in as_completed(futures):
                    part = future.result()
                    copied[part.number] = part
            except BaseException:
                for each in futures:
                    each.cancel()
                raise
        return tuple(copied[part.number] for part in parts)

    def _copy_part(
        self, source: Upload, key: str, multipart_id: str, part: Part, is_single_part: bool
    ) -> CopiedPart:
        """Copy one part.

        See Also
        --------
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
        """
        copy_source: Any = {"Bucket": source.bucket, "Key": source.key}
        if source.unique_version_id is not None:
            copy_source["VersionId"] = source.unique_version_id
        # S3 cannot copy a range of an object of 5 MB or less; a single part needs no range.
        copy_range: Any = {} if is_single_part else {"CopySourceRange": part.range}
        try:
            with translate_errors():
                response = self.client.upload_part_copy(
                    Bucket=self.name,
                    Key=key,
                    UploadId=multipart_id,
                    PartNumber=part.number,
                    CopySource=copy_source,
                    CopySourceIfMatch=f'"{source.etag}"',
                    **copy_range,
                )
        except (PermanentError, TransientError) as error:
            if error.aws_code == _NO_MULTIPART_UPLOAD:
                raise NoMultipartUploadError from error
            if rejection := to_rejection(error, source.bucket, source.key):
                raise rejection from error
            raise
        result = response["CopyPartResult"]
        return CopiedPart(part.number, part.length, result["ETag"], _checksum(result))

    def _list_parts(self, key: str, multipart_id: str) -> Iterator[CopiedPart]:
        """List the parts that were copied before, for example by an interrupted function.

        See Also
        --------
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html
        """
        pages = self.client.get_paginator("list_parts")
        try:
            with translate_errors():
                for page in pages.paginate(Bucket=self.name, Key=key, UploadId=multipart_id):
                    for part in page.get("Parts", []):
                        yield CopiedPart(
                            part["PartNumber"], part["Size"], part["ETag"], _checksum(part)
                        )
        except PermanentError as error:
            if error.aws_code == _NO_MULTIPART_UPLOAD:
                raise NoMultipartUploadError from error
            raise

    def complete_multipart_upload(
        self, key: str, multipart_id: str, parts: tuple[CopiedPart, ...], content: Content
    ) -> None:
        """Complete the multipart upload, unless another invocation has completed it.

        Raises
        ------
        NoMultipartUploadError
            There is no copy, and it must be made again.
        TransientError, PermanentError
            Any other error from S3.

        See Also
        --------
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        completed: list[CompletedPartTypeDef] = [
            {"PartNumber": part.number, "ETag": part.etag, "ChecksumSHA256": part.checksum}
            for part in parts
        ]
        try:
            with translate_errors():
                self.client.complete_multipart_upload(
                    Bucket=self.name,
                    Key=key,
                    UploadId=multipart_id,
                    MultipartUpload={"Parts": completed},
                    IfNoneMatch="*",
                    MpuObjectSize=content.size,
                    ChecksumType="COMPOSITE",
                )
        except (PermanentError, TransientError) as error:
            code = error.aws_code
            if code == _INVALID_PART:
                # Another invocation is copying the same parts; the retry lists them again.
                raise TransientError(str(error), aws_code=error.aws_code) from error
            if code not in {_NO_MULTIPART_UPLOAD, *_ALREADY_EXISTS, *_CONFLICT}:
                raise
            # A lost response, another invocation, or a copy that was deleted in the meantime.
            if code in _CONFLICT or not self.has_copy(key, content):
                self.abort_multipart_upload(key, multipart_id)
                if code in _ALREADY_EXISTS:
                    self.delete_copy(key)  # an object with other content
                raise NoMultipartUploadError from error
            if code in _ALREADY_EXISTS:
                self.abort_multipart_upload(key, multipart_id)

    def has_copy(self, key: str, content: Content) -> bool:
        """Whether the copy exists, complete and with this content.

        Raises
        ------
        TransientError, PermanentError
            The call to S3 failed; ``checksum-missing`` if the response has no checksum.
        """
        try:
            with translate_errors():
                head = self.client.head_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED")
        except PermanentError as error:
            if error.aws_code in _NO_OBJECT:
                return False
            if error.aws_code == _HEAD_DENIED:
                # The role has the permission, so this is a late request or an incorrect clock.
                raise CredentialsError(str(error), aws_code=error.aws_code) from error
            raise
        return head["ContentLength"] == content.size and _checksum(head) == content.checksum

    def get_etag(self, key: str) -> str:
        """Return the ETag of a copy, so that all ranges are read from the same object."""
        with translate_errors():
            return self.client.head_object(Bucket=self.name, Key=key)["ETag"]

    def read(self, key: str, etag: str, start: int, length: int) -> bytes:
        """Read a range of a copy; temporary errors are retried.

        Raises
        ------
        TransientError, PermanentError
            It cannot be read, or was replaced by another copy.
        """
        for remaining in reversed(range(_READS)):
            try:
                with translate_errors():
                    response = self.client.get_object(
                        Bucket=self.name,
                        Key=key,
                        IfMatch=etag,
                        Range=f"bytes={start}-{start + length - 1}",
                    )
                    data = response["Body"].read()
                if len(data) == length:
                    return data
                raise TransientError(f"GetObject: {len(data)} bytes received instead of {length}")
            except TransientError:
                if not remaining:
                    raise
        raise AssertionError

    def delete_copy(self, key: str) -> None:
        """Delete a copy; it is not an error if it does not exist."""
        with translate_errors():
            self.client.delete_object(Bucket=self.name, Key=key)

    def abort_multipart_upload(self, key: str, multipart_id: str) -> None:
        """Abort a multipart upload; it is not an error if it does not exist."""
        try:
            with translate_errors():
                self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=multipart_id)
        except PermanentError as error:
            if error.aws_code != _NO_MULTIPART_UPLOAD:
                raise

    def list_copies(self) -> Iterator[StagedCopy]:
        """List all copies and unfinished multipart uploads."""
        objects = self.client.get_paginator("list_objects_v2")
        multipart_uploads = self.client.get_paginator("list_multipart_uploads")
        with translate_errors():
            for page in objects.paginate(Bucket=self.name):
                for each in page.get("Contents", []):
                    yield StagedCopy(each["Key"], each["LastModified"])
            for listing in multipart_uploads.paginate(Bucket=self.name):
                for item in listing.get("Uploads", []):
                    yield StagedCopy(item["Key"], item["Initiated"], item["UploadId"])

    def remove(self, staged: StagedCopy) -> None:
        """Delete a copy, or abort its multipart upload."""
        if staged.multipart_id is None:
            self.delete_copy(staged.key)
        else:
            self.abort_multipart_upload(staged.key, staged.multipart_id)

    def empty(self) -> int:
        """Remove everything from the bucket; returns the number of copies."""
        staged = list(self.list_copies())
        for each in staged:
            self.remove(each)
        return len(staged)


def make_content(parts: tuple[CopiedPart, ...], size: int, part_size: int) -> Content:
    """Return the content of a copy, from its parts."""
    return Content(size, part_size, composite_checksum([part.checksum for part in parts]))


def _checksum(response: Mapping[str, Any]) -> str:
    """Read the checksum that S3 computed, which is required."""
    checksum = response.get("ChecksumSHA256")
    if not checksum:
        raise PermanentError(
            "the response from S3 does not contain the checksum that it must have computed",
            code=Code.CHECKSUM_MISSING,
        )
    return str(checksum)
