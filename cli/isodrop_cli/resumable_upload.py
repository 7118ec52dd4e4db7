"""One file into S3 in parts; taken up where it was left off. Knows no terminal.

s3transfer, which boto3 uploads with, cannot take up what it began; nothing else is done here.

S3 keeps the parts of an upload that was broken off and lists their sizes and checksums, but tells
nobody with which metadata it was begun, and these are for good. So the part size carries a mark
of the metadata: an upload whose parts have our size is ours, whichever machine began it. Whether a
part is this file's is decided by its SHA-256, which S3 has checked and lists, and which unlike an
ETag means the same under every kind of encryption.
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
from isodrop.errors import IsodropError, PermanentError, TransientError
from isodrop_cli.aws_errors import is_for_people

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART: Final = 8 << 20
"""Bytes of a part at the least, unless it is the last; S3 wants 5 MiB."""
MOST_PARTS: Final = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
THREADS: Final = 8
"""Parts on their way at once; each is held in memory."""
PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before a part is tried again, after the SDK's own quick retries."""
CONFIG: Final = config.CONFIG.merge(Config(max_pool_connections=THREADS, read_timeout=60))
"""For the client: a connection for each thread, and time for S3 to put 6 GB together."""

_TICK: Final = 0.1
_BLOCK: Final = 1 << 20
_GONE: Final = frozenset({"NoSuchUpload", "404"})
# Somebody else has put the parts together, or sent them anew, since they were listed.
_OVERTAKEN: Final = frozenset({"NoSuchUpload", "InvalidPart"})


class UploadError(IsodropError):
    """The file cannot be sent as it is; the message says why."""


class OvertakenError(UploadError):
    """The upload that was being sent is gone: another drop of the file was first, or it expired."""


@dataclass(frozen=True, slots=True)
class PartPlan:
    """How a file is cut: ``size`` bytes, parts of ``each`` bytes, the last one shorter."""

    size: int
    each: int

    @property
    def count(self) -> int:
        """How many there are; an empty file is one empty part."""
        return max(1, -(-self.size // self.each))

    def span(self, number: int) -> tuple[int, int]:
        """Say where a part begins and how long it is; numbers begin with 1, as S3's do."""
        offset = (number - 1) * self.each
        return offset, min(self.each, self.size - offset)


def plan_parts(size: int, metadata: Mapping[str, str], smallest: int = PART) -> PartPlan:
    """Cut a file into parts that S3 takes, of a size that tells the metadata.

    Parameters
    ----------
    size : int
        Of the file, in bytes.
    metadata : mapping of str to str
        What the object is to have.
    smallest : int
        The part size is this, or twice, four times … as much where there would be too many
        parts, and up to an eighth more.

    Examples
    --------
    >>> plan_parts(6 << 30, {}).count, plan_parts(200 << 30, {}).count <= MOST_PARTS
    (693, True)
    >>> plan_parts(6 << 30, {}) == plan_parts(6 << 30, {"edition": "EnterpriseN"})
    False
    """
    while smallest * MOST_PARTS < size:
        smallest *= 2
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode()).digest()
    return PartPlan(size, smallest + 1 + int.from_bytes(digest[:8]) % (smallest // 8))


def encode_word(value: str) -> str:
    """Write a value of user metadata as S3 takes it: what is not ASCII as RFC 2047 has it.

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
    """How far it is; written by many threads, each in fields of its own part."""

    size: int
    _kept: dict[int, int] = field(default_factory=dict)
    _sent: dict[int, int] = field(default_factory=dict)
    _finished: dict[int, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Bytes that had been sent before."""
        return sum(tuple(self._kept.values()))

    @property
    def sent(self) -> int:
        """Bytes sent now."""
        return sum(tuple(self._sent.values()))

    @property
    def parts(self) -> int:
        """How many parts S3 has."""
        return len(self._kept) + len(self._finished)

    def finish(self, number: int, length: int) -> None:
        """Note a part that has arrived."""
        self.send(number, length)
        self._finished[number] = length

    def keep(self, number: int, length: int) -> None:
        """Note a part that is there already."""
        self._kept[number] = length

    def send(self, number: int, position: int) -> None:
        """Note how far a part is."""
        self._sent[number] = position


@dataclass(frozen=True, slots=True)
class UploadResult:
    """An object that is there now.

    Attributes
    ----------
    etag : str
        Without quotes.
    version_id : str or None
    parts, parts_sent : int
        In all, and how many of them were sent now.
    """

    etag: str
    version_id: str | None
    parts: int
    parts_sent: int


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """An upload that was begun: its id, and the parts that S3 has, by number."""

    upload_id: str
    listed: Mapping[int, "Listed"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A part as S3 lists it."""

    etag: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class ResumableUpload:
    """One file on its way to one key.

    Attributes
    ----------
    s3 : S3Client
    path : Path
    bucket, key : str
    metadata : mapping of str to str
        User metadata of the object; what is not ASCII is written as :func:`encode_word` does.
    parts : Parts
    how : mapping
        What else the object is made with: its encryption, its tags.
    pauses : tuple of float
        Seconds before a part is tried again.
    """

    s3: "S3Client"
    path: Path
    bucket: str
    key: str
    metadata: Mapping[str, str]
    parts: PartPlan
    how: Mapping[str, str] = field(default_factory=dict)
    pauses: tuple[float, ...] = PAUSES

    def unfinished(self) -> PendingUpload | None:
        """Find the upload of this file with these metadata that was begun, and came farthest.

        Raises
        ------
        TransientError, RefusedError
            When S3 does not say.

        See Also
        --------
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
        """
        begun = [PendingUpload(each, self._listed(each)) for each in self._uploads()]
        ours = [each for each in begun if self._is_ours(each.listed)]
        return max(ours, key=lambda each: len(each.listed), default=None)

    def send(self, begun: PendingUpload | None, tell: Callable[[Progress], None]) -> UploadResult:
        """Send what is missing, and put the parts together.

        Whatever ends it early, Ctrl-C included, leaves the parts that have arrived for
        :meth:`unfinished`.

        Parameters
        ----------
        begun : Unfinished or None
            What was sent before.
        tell : callable
            Called in this thread, about ten times a second.

        Raises
        ------
        TransferError
            When the file has changed meanwhile, or S3 got other bytes than it has.
        OvertakenError
            When the upload is gone; perhaps the object is there.
        TransientError, RefusedError
            When S3 does not take it.
        """
        before = self._stamp()
        upload_id = self._begin() if begun is None else begun.upload_id
        listed = {} if begun is None else begun.listed
        progress = Progress(self.parts.size)
        stop = threading.Event()
        pool = ThreadPoolExecutor(THREADS)
        try:
            jobs = [
                pool.submit(self._part, upload_id, number, listed.get(number), progress, stop)
                for number in range(1, self.parts.count + 1)
            ]
            _await(jobs, lambda: tell(progress))
        except PermanentError as error:
            if error.aws_code in _OVERTAKEN:
                raise self._overtaken() from error
            raise
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
        if self._stamp() != before:
            raise UploadError(f"{self.path}: it has changed while it was sent; drop it again")
        done = [job.result() for job in jobs]
        fresh = sum(1 for part in done if part.is_fresh)
        try:
            return self._complete(upload_id, [part.completed for part in done], fresh)
        except PermanentError as error:
            if error.aws_code in _OVERTAKEN:
                raise self._overtaken() from error
            raise

    def _overtaken(self) -> OvertakenError:
        return OvertakenError(
            f"s3://{self.bucket}/{self.key}: the upload is gone, again and again; see that only one"
            " drop of the file is going on, then try again"
        )

    def head(self) -> Mapping[str, Any] | None:
        """Ask what lies under the key now; ``None`` for nothing.

        Raises
        ------
        TransientError, RefusedError
            When S3 does not say.
        """
        try:
            with translate_errors():
                return self.s3.head_object(Bucket=self.bucket, Key=self.key, ChecksumMode="ENABLED")
        except PermanentError as error:
            if error.aws_code in _GONE:
                return None
            raise

    def is_there(self, head: Mapping[str, Any]) -> bool:
        """Whether an object has the file's very bytes, as far as its checksum or ETag can say.

        Parameters
        ----------
        head : mapping
            What :meth:`head` says of it.

        Raises
        ------
        TransientError, RefusedError
            When S3 does not say.
        """
        if head["ContentLength"] != self.parts.size:
            return False
        told: str | None = head.get("ChecksumSHA256")
        name = "sha256"
        if told is None:
            if head.get("ServerSideEncryption", "AES256") != "AES256":
                return False  # then an ETag says nothing of the bytes
            told, name = head["ETag"].strip('"'), "md5"
        _, dash, count = told.partition("-")
        digests = list(self._digests(name, self._part_size() if dash else self.parts.size))
        whole = digests[0]
        if dash:
            whole = hashlib.new(name, b"".join(digests), usedforsecurity=False).digest()
        ours = whole.hex() if name == "md5" else _base64(whole)
        return f"{ours}{dash}{count}" == told

    def _uploads(self) -> Iterator[str]:
        asked: dict[str, str] = {}
        while True:
            with translate_errors():
                page = self.s3.list_multipart_uploads(Bucket=self.bucket, Prefix=self.key, **asked)  # type: ignore[arg-type] # the stubs see every keyword in the mapping
            for each in page.get("Uploads", []):
                if each["Key"] == self.key:
                    yield each["UploadId"]
            if not page.get("IsTruncated"):
                return
            asked = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def _listed(self, upload_id: str) -> dict[int, Listed]:
        paginator = self.s3.get_paginator("list_parts")
        try:
            with translate_errors():
                return {
                    part["PartNumber"]: Listed(
                        part["ETag"], part["Size"], part.get("ChecksumSHA256")
                    )
                    for page in paginator.paginate(
                        Bucket=self.bucket, Key=self.key, UploadId=upload_id
                    )
                    for part in page.get("Parts", [])
                }
        except PermanentError as error:
            if error.aws_code in _GONE:
                return {}  # put together or given up since it was listed
            raise

    def _is_ours(self, listed: Mapping[int, Listed]) -> bool:
        # The last part has no size to know it by.
        return any(number < self.parts.count for number in listed) and all(
            number <= self.parts.count and part.size == self.parts.span(number)[1]
            for number, part in listed.items()
        )

    def _begin(self) -> str:
        with translate_errors():
            return self.s3.create_multipart_upload(
                Bucket=self.bucket,
                Key=self.key,
                Metadata={name: encode_word(value) for name, value in self.metadata.items()},
                ChecksumAlgorithm="SHA256",
                **self.how,  # type: ignore[arg-type] # the stubs see every keyword in the mapping
            )["UploadId"]

    def _part(
        self,
        upload_id: str,
        number: int,
        listed: Listed | None,
        progress: Progress,
        stop: threading.Event,
    ) -> "_Done":
        """See to it that S3 has one part."""
        data = self._read(*self.parts.span(number))
        sha256 = _base64(hashlib.sha256(data).digest())
        if listed is not None and _is_same(listed, data, sha256):
            progress.keep(number, len(data))
            return _Done(_completed(number, listed.etag, sha256), is_fresh=False)
        watched = partial(_Watched, data, stop, lambda position: progress.send(number, position))
        pauses = iter(self.pauses)
        while True:
            try:
                with translate_errors():
                    told = self.s3.upload_part(
                        Bucket=self.bucket,
                        Key=self.key,
                        UploadId=upload_id,
                        PartNumber=number,
                        Body=watched(),
                        ChecksumSHA256=sha256,
                    )
            except (TransientError, PermanentError) as error:
                may_pass = isinstance(error, TransientError) and not is_for_people(error)
                pause = next(pauses, None) if may_pass else None
                if pause is None:
                    raise
                progress.send(number, 0)
                stop.wait(pause)
            else:
                progress.finish(number, len(data))
                return _Done(_completed(number, told["ETag"], sha256), is_fresh=True)

    def _complete(
        self, upload_id: str, done: list["CompletedPartTypeDef"], fresh: int
    ) -> UploadResult:
        with translate_errors():
            told = self.s3.complete_multipart_upload(
                Bucket=self.bucket,
                Key=self.key,
                UploadId=upload_id,
                MultipartUpload={"Parts": done},
            )
        digests = b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in done)
        ours = f"{_base64(hashlib.sha256(digests).digest())}-{len(done)}"
        if told.get("ChecksumSHA256", ours) != ours:
            raise UploadError(f"s3://{self.bucket}/{self.key}: S3 has other bytes than the file")
        return UploadResult(told["ETag"].strip('"'), told.get("VersionId"), len(done), fresh)

    def _stamp(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def _read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise UploadError(f"{self.path}: it became shorter while it was read")
        return data

    def _digests(self, name: str, each: int) -> Iterator[bytes]:
        """Digest the file in parts of that size."""
        parts = PartPlan(self.parts.size, max(1, each))
        with self.path.open("rb") as file:
            for number in range(1, parts.count + 1):
                left = parts.span(number)[1]
                digest = hashlib.new(name, usedforsecurity=False)
                while left and (data := file.read(min(left, _BLOCK))):
                    digest.update(data)
                    left -= len(data)
                yield digest.digest()

    def _part_size(self) -> int:
        with translate_errors():
            first = self.s3.head_object(Bucket=self.bucket, Key=self.key, PartNumber=1)
        return first["ContentLength"]


@dataclass(frozen=True, slots=True)
class _Done:
    """A part that S3 has."""

    completed: "CompletedPartTypeDef"
    is_fresh: bool


class _StoppedError(BaseException):
    """The transfer is being stopped. Not an Exception: the SDK would try those again."""


class _Watched(BytesIO):
    """The bytes of a part, telling how far they are read, until it is to stop."""

    def __init__(self, data: bytes, stop: threading.Event, tell: Callable[[int], None]) -> None:
        super().__init__(data)
        self._stop = stop
        self._tell = tell

    def read(self, size: int | None = -1, /) -> bytes:
        if self._stop.is_set():
            raise _StoppedError
        data = super().read(size)
        self._tell(self.tell())
        return data


def _await(jobs: "list[Future[_Done]]", tell: Callable[[], None]) -> None:
    """Wait for all jobs, or for the first that fails, which is raised."""
    waiting = set(jobs)
    while waiting:
        done, waiting = wait(waiting, _TICK, FIRST_EXCEPTION)
        tell()
        for job in done:
            job.result()


def _is_same(listed: Listed, data: bytes, sha256: str) -> bool:
    if listed.sha256 is not None:
        return listed.sha256 == sha256
    # Something like S3 that keeps no checksums: its ETag is the part's MD5.
    return listed.etag.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()


def _completed(number: int, etag: str, sha256: str) -> "CompletedPartTypeDef":
    return {"PartNumber": number, "ETag": etag, "ChecksumSHA256": sha256}


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
