"""Resumable multipart upload of one file to S3. Does not print anything.

s3transfer, which boto3 uploads with, cannot resume an upload.

S3 keeps the parts of an interrupted multipart upload and lists their sizes and checksums, but not
the metadata that it was created with, which cannot be changed later. So the part size encodes the
metadata: if the parts have the size that this upload needs, its metadata is the same, whichever
machine created it.
Whether a part belongs to this file is decided by its SHA-256, which S3 verifies and lists, and
which unlike an ETag has the same meaning under every kind of encryption.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from email.header import Header
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from isodrop.aws import config
from isodrop.aws.errors import translate_errors
from isodrop.domain.s3_uri import S3Uri
from isodrop.errors import IsodropError, PermanentError, TransientError
from isodrop_cli.aws_errors import needs_operator

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

MIN_PART_SIZE: Final = 8 << 20
"""Minimum bytes of a part, except the last; S3 requires 5 MiB."""
MAX_PARTS: Final = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
THREADS: Final = 8
"""Parts in flight at once; each is held in memory."""
RETRY_DELAYS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before a part is retried, after the SDK's own quick retries."""
CONFIG: Final = config.CONFIG.merge(Config(max_pool_connections=THREADS, read_timeout=60))
"""For the client: a connection per thread, and time for S3 to complete an upload of 6 GB."""

_PROGRESS_SECONDS: Final = 0.1
_BLOCK: Final = 1 << 20
_NOT_FOUND: Final = frozenset({"NoSuchUpload", "404"})
# Another command has completed the upload, or replaced its parts, since they were listed.
_SUPERSEDED: Final = frozenset({"NoSuchUpload", "InvalidPart"})


class UploadError(IsodropError):
    """The file cannot be uploaded; the message says why."""


class SupersededError(UploadError):
    """The multipart upload no longer exists: another command completed it first, or it expired."""


@dataclass(frozen=True, slots=True)
class PartPlan:
    """How a file is split: ``size`` bytes in parts of ``part_size`` bytes, the last one shorter."""

    size: int
    part_size: int

    @property
    def count(self) -> int:
        """The number of parts; an empty file is one empty part."""
        return max(1, -(-self.size // self.part_size))

    def byte_range(self, number: int) -> tuple[int, int]:
        """Return offset and length of a part; numbers begin with 1, as in S3."""
        offset = (number - 1) * self.part_size
        return offset, min(self.part_size, self.size - offset)


def plan_parts(size: int, metadata: Mapping[str, str], smallest: int = MIN_PART_SIZE) -> PartPlan:
    """Choose a part size that S3 accepts, and that encodes the metadata.

    Parameters
    ----------
    size : int
        The file's, in bytes.
    metadata : mapping of str to str
        The object's metadata and settings.
    smallest : int
        The starting point of the part size: doubled until ``MAX_PARTS`` parts suffice, then
        increased by up to an eighth, which encodes the metadata.

    Examples
    --------
    >>> plan_parts(6 << 30, {}).count, plan_parts(200 << 30, {}).count <= MAX_PARTS
    (693, True)
    >>> plan_parts(6 << 30, {}) == plan_parts(6 << 30, {"edition": "EnterpriseN"})
    False
    """
    while smallest * MAX_PARTS < size:
        smallest *= 2
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode()).digest()
    return PartPlan(size, smallest + 1 + int.from_bytes(digest[:8]) % (smallest // 8))


def encode_word(value: str) -> str:
    """Encode a value of user metadata for S3: by RFC 2047 if it is not ASCII.

    Examples
    --------
    >>> encode_word("for Berlin"), encode_word("für Büros")
    ('for Berlin', '=?utf-8?b?ZsO8ciBCw7xyb3M=?=')

    See Also
    --------
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    """
    return value if value.isascii() else Header(value, "utf-8").encode(linesep="")


@dataclass(slots=True)
class Progress:
    """The progress of an upload; each thread writes only the entries of its own parts."""

    size: int
    _resumed: dict[int, int] = field(default_factory=dict)
    _sent: dict[int, int] = field(default_factory=dict)
    _finished: dict[int, int] = field(default_factory=dict)

    @property
    def resumed(self) -> int:
        """Bytes that S3 had before."""
        return sum(tuple(self._resumed.values()))

    @property
    def sent(self) -> int:
        """Bytes sent now."""
        return sum(tuple(self._sent.values()))

    @property
    def parts_done(self) -> int:
        """The number of parts that S3 has."""
        return len(self._resumed) + len(self._finished)

    def finish_part(self, number: int, length: int) -> None:
        """Record a part that has been uploaded."""
        self.update_part(number, length)
        self._finished[number] = length

    def resume_part(self, number: int, length: int) -> None:
        """Record a part that S3 had before."""
        self._resumed[number] = length

    def update_part(self, number: int, position: int) -> None:
        """Record the progress of a part."""
        self._sent[number] = position


@dataclass(frozen=True, slots=True)
class UploadResult:
    """A completed upload.

    Attributes
    ----------
    etag : str
        Without quotes.
    version_id : str or None
    part_count, parts_sent : int
        All parts, and those that were sent now.
    """

    etag: str
    version_id: str | None
    part_count: int
    parts_sent: int


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """An incomplete multipart upload: its id, and the parts that S3 has, by number."""

    multipart_id: str
    listed_parts: Mapping[int, "ListedPart"]


@dataclass(frozen=True, slots=True)
class ListedPart:
    """A part as S3 lists it."""

    etag: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class ResumableUpload:
    """The upload of one file to one key.

    Attributes
    ----------
    s3 : S3Client
    path : Path
    bucket, key : str
    metadata : mapping of str to str
        User metadata of the object; values that are not ASCII are encoded by :func:`encode_word`.
    plan : PartPlan
    object_options : mapping
        The object's encryption and tags.
    retry_delays : tuple of float
        Seconds before a part is retried.
    """

    s3: "S3Client"
    path: Path
    bucket: str
    key: str
    metadata: Mapping[str, str]
    plan: PartPlan
    object_options: Mapping[str, str] = field(default_factory=dict)
    retry_delays: tuple[float, ...] = RETRY_DELAYS

    def find_pending(self) -> PendingUpload | None:
        """Find the incomplete upload of this file and metadata that has the most parts.

        Raises
        ------
        TransientError, PermanentError
            A request to S3 fails.

        See Also
        --------
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
        """
        pending = [
            PendingUpload(each, self._list_parts(each)) for each in self._list_multipart_ids()
        ]
        matching = [each for each in pending if self._matches(each.listed_parts)]
        return max(matching, key=lambda each: len(each.listed_parts), default=None)

    def send(
        self, pending: PendingUpload | None, on_progress: Callable[[Progress], None]
    ) -> UploadResult:
        """Upload the missing parts, and complete the upload.

        Whatever ends it early, Ctrl-C included, leaves the uploaded parts for
        :meth:`find_pending`.

        Parameters
        ----------
        pending : PendingUpload or None
            The upload to resume.
        on_progress : callable
            Called in this thread, about ten times a second.

        Raises
        ------
        UploadError
            The file has changed meanwhile, or S3 received something different.
        SupersededError
            The multipart upload no longer exists; the object may exist.
        TransientError, PermanentError
            A request to S3 fails.
        """
        initial_state = self._file_state()
        multipart_id = self._create_multipart_upload() if pending is None else pending.multipart_id
        listed = {} if pending is None else pending.listed_parts
        progress = Progress(self.plan.size)
        stop = threading.Event()
        pool = ThreadPoolExecutor(THREADS)
        try:
            jobs = [
                pool.submit(
                    self._upload_part, multipart_id, number, listed.get(number), progress, stop
                )
                for number in range(1, self.plan.count + 1)
            ]
            _wait_for(jobs, lambda: on_progress(progress))
        except PermanentError as error:
            if error.aws_code in _SUPERSEDED:
                raise self._superseded_error() from error
            raise
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
        if self._file_state() != initial_state:
            raise UploadError(f"{self.path}: the file changed during the upload; upload it again")
        done = [job.result() for job in jobs]
        sent = sum(1 for part in done if part.is_sent)
        try:
            return self._complete_multipart_upload(
                multipart_id, [part.completed for part in done], sent
            )
        except PermanentError as error:
            if error.aws_code in _SUPERSEDED:
                raise self._superseded_error() from error
            raise

    def _superseded_error(self) -> SupersededError:
        return SupersededError(
            f"{S3Uri(self.bucket, self.key)}: the multipart upload no longer exists; make"
            " sure that nothing else uploads to this key, then try again"
        )

    def head_object(self) -> Mapping[str, Any] | None:
        """Read the properties of the object under the key; ``None`` if there is none.

        Raises
        ------
        TransientError, PermanentError
            A request to S3 fails.
        """
        try:
            with translate_errors():
                return self.s3.head_object(Bucket=self.bucket, Key=self.key, ChecksumMode="ENABLED")
        except PermanentError as error:
            if error.aws_code in _NOT_FOUND:
                return None
            raise

    def has_same_bytes(self, head: Mapping[str, Any]) -> bool:
        """Whether an object has the file's bytes, by its checksum or ETag.

        Parameters
        ----------
        head : mapping
            The object's properties, from :meth:`head_object`.

        Raises
        ------
        TransientError, PermanentError
            A request to S3 fails.
        """
        if head["ContentLength"] != self.plan.size:
            return False
        checksum: str | None = head.get("ChecksumSHA256")
        name = "sha256"
        if checksum is None:
            if head.get("ServerSideEncryption", "AES256") != "AES256":
                return False  # then the ETag is not a digest of the bytes
            checksum, name = head["ETag"].strip('"'), "md5"
        _, dash, count = checksum.partition("-")
        digests = list(self._digests(name, self._part_size() if dash else self.plan.size))
        digest = digests[0]
        if dash:
            digest = hashlib.new(name, b"".join(digests), usedforsecurity=False).digest()
        expected = digest.hex() if name == "md5" else _base64(digest)
        return f"{expected}{dash}{count}" == checksum

    def _list_multipart_ids(self) -> Iterator[str]:
        markers: dict[str, str] = {}
        while True:
            with translate_errors():
                page = self.s3.list_multipart_uploads(
                    Bucket=self.bucket,
                    Prefix=self.key,
                    **markers,  # type: ignore[arg-type] # mypy checks the mapping's values against every parameter
                )
            for each in page.get("Uploads", []):
                if each["Key"] == self.key:
                    yield each["UploadId"]
            if not page.get("IsTruncated"):
                return
            markers = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def _list_parts(self, multipart_id: str) -> dict[int, ListedPart]:
        paginator = self.s3.get_paginator("list_parts")
        try:
            with translate_errors():
                return {
                    part["PartNumber"]: ListedPart(
                        part["ETag"], part["Size"], part.get("ChecksumSHA256")
                    )
                    for page in paginator.paginate(
                        Bucket=self.bucket, Key=self.key, UploadId=multipart_id
                    )
                    for part in page.get("Parts", [])
                }
        except PermanentError as error:
            if error.aws_code in _NOT_FOUND:
                return {}  # completed or aborted since it was listed
            raise

    def _matches(self, listed: Mapping[int, ListedPart]) -> bool:
        # The size of the last part does not encode the metadata; alone, it proves nothing.
        return any(number < self.plan.count for number in listed) and all(
            number <= self.plan.count and part.size == self.plan.byte_range(number)[1]
            for number, part in listed.items()
        )

    def _create_multipart_upload(self) -> str:
        with translate_errors():
            return self.s3.create_multipart_upload(
                Bucket=self.bucket,
                Key=self.key,
                Metadata={name: encode_word(value) for name, value in self.metadata.items()},
                ChecksumAlgorithm="SHA256",
                **self.object_options,  # type: ignore[arg-type] # mypy checks the mapping's values against every parameter
            )["UploadId"]

    def _upload_part(
        self,
        multipart_id: str,
        number: int,
        listed: ListedPart | None,
        progress: Progress,
        stop: threading.Event,
    ) -> "_UploadedPart":
        """Upload one part unless S3 has it."""
        data = self._read(*self.plan.byte_range(number))
        sha256 = _base64(hashlib.sha256(data).digest())
        if listed is not None and _is_same_part(listed, data, sha256):
            progress.resume_part(number, len(data))
            return _UploadedPart(_completed_part(number, listed.etag, sha256), is_sent=False)
        make_body = partial(
            _PartBody, data, stop, lambda position: progress.update_part(number, position)
        )
        delays = iter(self.retry_delays)
        while True:
            try:
                with translate_errors():
                    response = self.s3.upload_part(
                        Bucket=self.bucket,
                        Key=self.key,
                        UploadId=multipart_id,
                        PartNumber=number,
                        Body=make_body(),
                        ChecksumSHA256=sha256,
                    )
            except (TransientError, PermanentError) as error:
                is_temporary = isinstance(error, TransientError) and not needs_operator(error)
                pause = next(delays, None) if is_temporary else None
                if pause is None:
                    raise
                progress.update_part(number, 0)
                stop.wait(pause)
            else:
                progress.finish_part(number, len(data))
                return _UploadedPart(
                    _completed_part(number, response["ETag"], sha256), is_sent=True
                )

    def _complete_multipart_upload(
        self, multipart_id: str, done: list["CompletedPartTypeDef"], sent: int
    ) -> UploadResult:
        with translate_errors():
            response = self.s3.complete_multipart_upload(
                Bucket=self.bucket,
                Key=self.key,
                UploadId=multipart_id,
                MultipartUpload={"Parts": done},
            )
        digests = b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in done)
        expected = f"{_base64(hashlib.sha256(digests).digest())}-{len(done)}"
        if response.get("ChecksumSHA256", expected) != expected:
            raise UploadError(
                f"{S3Uri(self.bucket, self.key)}: what S3 received differs from the file"
            )
        return UploadResult(response["ETag"].strip('"'), response.get("VersionId"), len(done), sent)

    def _file_state(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def _read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise UploadError(f"{self.path}: the file became shorter while it was being read")
        return data

    def _digests(self, name: str, part_size: int) -> Iterator[bytes]:
        """Hash the file in parts of that size."""
        parts = PartPlan(self.plan.size, max(1, part_size))
        with self.path.open("rb") as file:
            for number in range(1, parts.count + 1):
                remaining = parts.byte_range(number)[1]
                digest = hashlib.new(name, usedforsecurity=False)
                while remaining and (data := file.read(min(remaining, _BLOCK))):
                    digest.update(data)
                    remaining -= len(data)
                yield digest.digest()

    def _part_size(self) -> int:
        with translate_errors():
            first = self.s3.head_object(Bucket=self.bucket, Key=self.key, PartNumber=1)
        return first["ContentLength"]


@dataclass(frozen=True, slots=True)
class _UploadedPart:
    """A part that S3 has."""

    completed: "CompletedPartTypeDef"
    is_sent: bool


class _StoppedError(BaseException):
    """The upload is being stopped. Not an Exception: the SDK would retry those."""


class _PartBody(BytesIO):
    """The bytes of a part; reports how far they are read, and raises when it must stop."""

    def __init__(
        self, data: bytes, stop: threading.Event, on_progress: Callable[[int], None]
    ) -> None:
        super().__init__(data)
        self._stop = stop
        self._on_progress = on_progress

    def read(self, size: int | None = -1, /) -> bytes:
        if self._stop.is_set():
            raise _StoppedError
        data = super().read(size)
        self._on_progress(self.tell())
        return data


def _wait_for(jobs: "list[Future[_UploadedPart]]", on_progress: Callable[[], None]) -> None:
    """Wait for all jobs; raise the error of the first that fails."""
    waiting = set(jobs)
    while waiting:
        done, waiting = wait(waiting, _PROGRESS_SECONDS, FIRST_EXCEPTION)
        on_progress()
        for job in done:
            job.result()


def _is_same_part(listed: ListedPart, data: bytes, sha256: str) -> bool:
    if listed.sha256 is not None:
        return listed.sha256 == sha256
    # An S3-compatible store without checksums: its ETag is the part's MD5.
    return listed.etag.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()


def _completed_part(number: int, etag: str, sha256: str) -> "CompletedPartTypeDef":
    return {"PartNumber": number, "ETag": etag, "ChecksumSHA256": sha256}


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
