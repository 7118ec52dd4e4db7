"""How S3 copies an object in parts: the same tests for moto and for the stack.

Each test says what S3 does, and where that is documented. They run against the patched moto
(``tests/integration/test_moto_s3.py``) and against the emulator, with the source in its memory and
with a file linked by reference (``tests/stack/test_s3_copy.py``).
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

PART = 5 << 20
SOURCE = b"".join(bytes([number]) * (1 << 20) for number in range(11)) + b"the end"
"""Two parts of the minimum size, and a small one."""
PIECES = [SOURCE[start : start + PART] for start in range(0, len(SOURCE), PART)]
KEY = "copy.iso"


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


COMPOSITE = sha256(b"".join(hashlib.sha256(piece).digest() for piece in PIECES)) + f"-{len(PIECES)}"


@dataclass(frozen=True)
class S3Setup:
    """An S3 with a versioned bucket for the source, and a bucket for the copy.

    Attributes
    ----------
    s3 : client
        A client.
    source, target : str
        The buckets' names; the target has no versions.
    put : callable
        Puts bytes under a key of the source bucket; returns version id and ETag.
    set_behavior : callable
        Changes fields of ``Behavior``.
    """

    s3: Any
    source: str
    target: str
    put: Callable[[str, bytes], tuple[str, str]]
    set_behavior: Callable[..., None]


@dataclass
class Copy:
    """A copy of one version of an object, call by call."""

    s3_setup: S3Setup
    version: str
    etag: str
    key: str = KEY
    upload: str = ""

    def begin(self, **how: Any) -> Any:
        how = {"ChecksumAlgorithm": "SHA256", "ChecksumType": "COMPOSITE"} | how
        made = self.s3_setup.s3.create_multipart_upload(
            Bucket=self.s3_setup.target, Key=self.key, **how
        )
        self.upload = made["UploadId"]
        return made

    @property
    def where(self) -> dict[str, str]:
        return {"Bucket": self.s3_setup.target, "Key": self.key, "UploadId": self.upload}

    @property
    def source(self) -> dict[str, str]:
        return {
            "Bucket": self.s3_setup.source,
            "Key": "a folder/src.iso",
            "VersionId": self.version,
        }

    def part(self, number: int, **how: Any) -> Any:
        start = (number - 1) * PART
        stop = min(start + PART, len(SOURCE))
        arguments = {
            "CopySource": self.source,
            "CopySourceRange": f"bytes={start}-{stop - 1}",
            "CopySourceIfMatch": self.etag,
            "PartNumber": number,
        }
        return self.s3_setup.s3.upload_part_copy(**self.where, **(arguments | how))

    def parts(self) -> list[dict[str, Any]]:
        """Copy all of it; return the parts for the completion."""
        copied = [(n, self.part(n)["CopyPartResult"]) for n in range(1, len(PIECES) + 1)]
        return [
            {"PartNumber": n, "ETag": each["ETag"], "ChecksumSHA256": each["ChecksumSHA256"]}
            for n, each in copied
        ]

    def complete(self, parts: list[dict[str, Any]], **how: Any) -> Any:
        arguments = {"IfNoneMatch": "*", "MpuObjectSize": len(SOURCE)} | how
        arguments = {name: value for name, value in arguments.items() if value is not None}
        return self.s3_setup.s3.complete_multipart_upload(
            **self.where, MultipartUpload={"Parts": parts}, **arguments
        )


def refused(call: Callable[[], Any]) -> tuple[int, str]:
    """Return the status and code of the error of a call."""
    with pytest.raises(ClientError) as refusal:
        call()
    response = refusal.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


Parts = list[dict[str, Any]]
Change = Callable[[Parts], Parts]


def _with(number: int, **change: Any) -> Change:
    return lambda parts: [each | change if each["PartNumber"] == number else each for each in parts]


def _without(number: int, name: str) -> Change:
    return lambda parts: [
        {field: value for field, value in each.items() if field != name}
        if each["PartNumber"] == number
        else each
        for each in parts
    ]


WRONG = sha256(b"something else")
API = "https://docs.aws.amazon.com/AmazonS3/latest/API/"
COMPLETE = API + "API_CompleteMultipartUpload.html"
REFUSALS: list[tuple[str, Change, dict[str, Any], tuple[int, str], str]] = [
    (
        "a part without its checksum",
        _without(2, "ChecksumSHA256"),
        {},
        (400, "InvalidRequest"),
        "https://github.com/boto/boto3/issues/3288",
    ),
    (
        "a part with a wrong checksum",
        _with(2, ChecksumSHA256=WRONG),
        {},
        (400, "InvalidPart"),
        "https://github.com/floci-io/floci/pull/3093",
    ),
    (
        "a part with a wrong etag",
        _with(1, ETag='"' + "0" * 32 + '"'),
        {},
        (400, "InvalidPart"),
        COMPLETE,
    ),
    (
        "a missing part",
        lambda parts: [*parts, parts[0] | {"PartNumber": 4}],
        {},
        (400, "InvalidPart"),
        COMPLETE,
    ),
    ("parts in another order", lambda parts: parts[::-1], {}, (400, "InvalidPartOrder"), COMPLETE),
    (
        "parts that do not begin at 1",
        lambda parts: parts[1:],
        {},
        (400, "InvalidPartOrder"),
        API + "API_CompletedPart.html",
    ),
    ("no parts", lambda _: [], {}, (400, "MalformedXML"), COMPLETE),
    ("another size", list, {"MpuObjectSize": 1}, (400, "InvalidRequest"), COMPLETE),
    (
        "another composite checksum",
        list,
        {"ChecksumSHA256": f"{WRONG}-3"},
        (400, "BadDigest"),
        COMPLETE,
    ),
    ("another checksum type", list, {"ChecksumType": "FULL_OBJECT"}, (400, "BadDigest"), COMPLETE),
]


class S3CopyTests:
    """The tests; a subclass provides the fixture ``s3_setup``."""

    @pytest.fixture
    def copy(self, s3_setup: S3Setup) -> Copy:
        """A started copy of a version that is no longer the current one."""
        version, etag = s3_setup.put("a folder/src.iso", SOURCE)
        s3_setup.put("a folder/src.iso", b"another")
        copy = Copy(s3_setup, version, etag)
        copy.begin()
        return copy

    def test_an_upload_reports_its_checksum_settings(self, s3_setup: S3Setup) -> None:
        """API_CreateMultipartUpload.html: SHA-256 of an upload is always of the type COMPOSITE."""
        copy = Copy(s3_setup, "", "")
        made = copy.begin()
        assert (made["ChecksumAlgorithm"], made["ChecksumType"]) == ("SHA256", "COMPOSITE")
        whole = refused(lambda: copy.begin(ChecksumType="FULL_OBJECT"))
        assert whole == (400, "InvalidRequest")

    def test_a_copied_part_has_the_checksum_of_its_bytes(
        self, s3_setup: S3Setup, copy: Copy
    ) -> None:
        """API_CopyPartResult.html: S3 computes it, so the part need not be read."""
        copied = copy.part(2)
        assert copied["CopyPartResult"]["ChecksumSHA256"] == sha256(PIECES[1])
        assert copied["CopySourceVersionId"] == copy.version
        (listed,) = s3_setup.s3.list_parts(**copy.where)["Parts"]
        assert listed["ChecksumSHA256"] == sha256(PIECES[1])

    def test_a_part_without_a_range_is_the_whole_object(
        self, s3_setup: S3Setup, copy: Copy
    ) -> None:
        """API_UploadPartCopy.html."""
        copied = s3_setup.s3.upload_part_copy(**copy.where, PartNumber=1, CopySource=copy.source)
        assert copied["CopyPartResult"]["ChecksumSHA256"] == sha256(SOURCE)

    def test_an_upload_without_an_algorithm_has_no_checksums(self, s3_setup: S3Setup) -> None:
        """API_CopyPartResult.html: only an upload created with SHA-256 has them."""
        version, etag = s3_setup.put("a folder/src.iso", SOURCE)
        copy = Copy(s3_setup, version, etag, key="plain.iso")
        made = s3_setup.s3.create_multipart_upload(Bucket=s3_setup.target, Key=copy.key)
        copy.upload = made["UploadId"]
        assert "ChecksumSHA256" not in copy.part(1)["CopyPartResult"]

    def test_an_object_with_another_etag_is_not_copied(self, copy: Copy) -> None:
        """API_UploadPartCopy.html: 412 if CopySourceIfMatch does not match."""
        assert refused(lambda: copy.part(1, CopySourceIfMatch='"other"'))[0] == 412
        unversioned = {name: copy.source[name] for name in ("Bucket", "Key")}
        changed = refused(lambda: copy.part(1, CopySource=unversioned))
        assert changed == (412, "PreconditionFailed")

    def test_a_missing_source_is_reported(self, s3_setup: S3Setup, copy: Copy) -> None:
        """API_UploadPartCopy.html: versions are copied as long as they exist."""
        s3_setup.s3.delete_object(Bucket=s3_setup.source, Key="a folder/src.iso")
        unversioned = {name: copy.source[name] for name in ("Bucket", "Key")}
        gone = refused(lambda: copy.part(1, CopySource=unversioned))
        assert gone == (404, "NoSuchKey")
        assert copy.part(1)["CopyPartResult"]["ChecksumSHA256"] == sha256(PIECES[0])
        s3_setup.s3.delete_object(**copy.source)
        assert refused(lambda: copy.part(1)) == (404, "NoSuchVersion")

    @pytest.mark.parametrize("wrong", ["bytes=0-", "0-5", "bytes=5-1", f"bytes=0-{len(SOURCE)}"])
    def test_a_range_is_within_the_object(self, copy: Copy, wrong: str) -> None:
        """API_UploadPartCopy.html: first and last byte are required, and inside the object."""
        assert refused(lambda: copy.part(1, CopySourceRange=wrong)) == (400, "InvalidArgument")

    @pytest.mark.parametrize("number", [0, 10_001])
    def test_part_numbers_are_from_1_to_10_000(self, copy: Copy, number: int) -> None:
        """userguide/qfacts.html."""
        arguments = {
            "CopySource": copy.source,
            "CopySourceRange": "bytes=0-9",
            "PartNumber": number,
        }
        refusal = refused(lambda: copy.s3_setup.s3.upload_part_copy(**copy.where, **arguments))
        assert refusal == (400, "InvalidArgument")
        last = copy.s3_setup.s3.upload_part_copy(
            **copy.where, **(arguments | {"PartNumber": 10_000})
        )
        assert last["CopyPartResult"]["ChecksumSHA256"] == sha256(SOURCE[:10])

    def test_ranges_of_small_objects_may_be_refused(self, s3_setup: S3Setup) -> None:
        """API_UploadPartCopy.html says so; S3 was observed to accept them."""
        version, etag = s3_setup.put("a folder/src.iso", b"small")
        copy = Copy(s3_setup, version, etag)
        copy.begin()
        arguments = {"CopySourceRange": "bytes=0-4"}
        copied = copy.part(1, **arguments)["CopyPartResult"]
        assert copied["ChecksumSHA256"] == sha256(b"small")
        s3_setup.set_behavior(small_ranges=False)
        assert refused(lambda: copy.part(1, **arguments)) == (400, "InvalidRequest")
        whole = s3_setup.s3.upload_part_copy(**copy.where, PartNumber=1, CopySource=copy.source)
        assert whole["CopyPartResult"]["ChecksumSHA256"] == sha256(b"small")

    def test_a_delete_marker_is_not_copied(self, s3_setup: S3Setup, copy: Copy) -> None:
        """API_UploadPartCopy.html: 400 if the version is a delete marker."""
        which = {name: copy.source[name] for name in ("Bucket", "Key")}
        marker = s3_setup.s3.delete_object(**which)["VersionId"]
        named = refused(lambda: copy.part(1, CopySource=which | {"VersionId": marker}))
        assert named == (400, "InvalidRequest")

    def test_parts_are_listed_in_pages(self, s3_setup: S3Setup, copy: Copy) -> None:
        """API_ListParts.html: a page continues after a part number, whether or not it exists."""
        for number in (7, 2, 30):
            copy.part(1, PartNumber=number)
        first = s3_setup.s3.list_parts(**copy.where, MaxParts=2)
        assert [each["PartNumber"] for each in first["Parts"]] == [2, 7]
        assert (first["IsTruncated"], first["NextPartNumberMarker"]) == (True, 7)
        assert (first["ChecksumAlgorithm"], first["ChecksumType"]) == ("SHA256", "COMPOSITE")
        second = s3_setup.s3.list_parts(**copy.where, PartNumberMarker=7)
        assert [each["PartNumber"] for each in second["Parts"]] == [30]
        assert second["IsTruncated"] is False
        assert s3_setup.s3.list_parts(**copy.where, PartNumberMarker=30).get("Parts", []) == []

    def test_a_part_copied_again_replaces_the_earlier_one(
        self, s3_setup: S3Setup, copy: Copy
    ) -> None:
        """API_UploadPart.html: a part with a used number is overwritten."""
        for number in (1, 2):
            copy.part(number, PartNumber=1)
        (listed,) = s3_setup.s3.list_parts(**copy.where)["Parts"]
        assert (listed["ChecksumSHA256"], listed["Size"]) == (sha256(PIECES[1]), PART)

    def test_a_copy_has_the_composite_checksum(self, s3_setup: S3Setup, copy: Copy) -> None:
        """userguide/checking-object-integrity-upload.html: the hash of the parts' hashes, -N."""
        done = copy.complete(copy.parts(), ChecksumSHA256=COMPOSITE, ChecksumType="COMPOSITE")
        assert (done["ChecksumSHA256"], done["ChecksumType"]) == (COMPOSITE, "COMPOSITE")
        which = {"Bucket": s3_setup.target, "Key": KEY}
        head = s3_setup.s3.head_object(**which, ChecksumMode="ENABLED")
        assert (head["ChecksumSHA256"], head["ChecksumType"]) == (COMPOSITE, "COMPOSITE")
        assert (head["ETag"], head["ContentLength"]) == (done["ETag"], len(SOURCE))
        assert head["ETag"].endswith('-3"')
        assert "ChecksumSHA256" not in s3_setup.s3.head_object(**which)
        got = s3_setup.s3.get_object(**which, ChecksumMode="ENABLED")
        assert (got["ChecksumSHA256"], got["Body"].read() == SOURCE) == (COMPOSITE, True)

    def test_a_range_of_a_copy_is_read(self, s3_setup: S3Setup, copy: Copy) -> None:
        """API_GetObject.html: across parts, and without the checksum of the whole object."""
        copy.complete(copy.parts())
        span = f"bytes={PART - 2}-{PART + 1}"
        got = s3_setup.s3.get_object(
            Bucket=s3_setup.target, Key=KEY, Range=span, ChecksumMode="ENABLED"
        )
        assert got["Body"].read() == SOURCE[PART - 2 : PART + 2]
        assert got["ContentRange"] == f"bytes {PART - 2}-{PART + 1}/{len(SOURCE)}"
        assert "ChecksumSHA256" not in got

    def test_a_range_of_a_version_is_read(self, s3_setup: S3Setup) -> None:
        """API_GetObject.html: the requested range of the requested version."""
        version, etag = s3_setup.put("ranged.iso", SOURCE)
        s3_setup.put("ranged.iso", b"another")
        got = s3_setup.s3.get_object(
            Bucket=s3_setup.source,
            Key="ranged.iso",
            VersionId=version,
            Range=f"bytes=0-{PART}",
            IfMatch=etag,
        )
        assert got["Body"].read() == SOURCE[: PART + 1]
        assert (got["VersionId"], got["ETag"].strip('"')) == (version, etag.strip('"'))
        assert got["ContentRange"] == f"bytes 0-{PART}/{len(SOURCE)}"
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206

    def test_attributes_have_the_checksum_without_a_number(
        self, s3_setup: S3Setup, copy: Copy
    ) -> None:
        """Observed: https://github.com/floci-io/floci/issues/3083."""
        copy.complete(copy.parts())
        attributes = s3_setup.s3.get_object_attributes(
            Bucket=s3_setup.target, Key=KEY, ObjectAttributes=["Checksum", "ObjectSize"]
        )
        assert attributes["Checksum"]["ChecksumSHA256"] == COMPOSITE.partition("-")[0]
        assert attributes["ObjectSize"] == len(SOURCE)

    @pytest.mark.parametrize(
        ("change", "how", "expected"),
        [each[1:4] for each in REFUSALS],
        ids=[each[0] for each in REFUSALS],
    )
    def test_a_completion_with_wrong_parts_is_refused(
        self,
        s3_setup: S3Setup,
        copy: Copy,
        change: Change,
        how: dict[str, Any],
        expected: tuple[int, str],
    ) -> None:
        """The table has the source of each. The upload continues."""
        parts = copy.parts()
        assert refused(lambda: copy.complete(change(parts), **how)) == expected
        assert "Contents" not in s3_setup.s3.list_objects_v2(Bucket=s3_setup.target)
        assert copy.complete(parts)["ChecksumSHA256"] == COMPOSITE

    def test_all_parts_except_the_last_have_five_mebibytes(self, copy: Copy) -> None:
        """API_CompleteMultipartUpload.html: EntityTooSmall."""
        parts = [
            {"PartNumber": number, "ETag": made["ETag"], "ChecksumSHA256": made["ChecksumSHA256"]}
            for number, span in ((1, f"bytes=0-{PART - 2}"), (2, "bytes=0-0"))
            for made in [copy.part(1, PartNumber=number, CopySourceRange=span)["CopyPartResult"]]
        ]
        refusal = refused(lambda: copy.complete(parts, MpuObjectSize=PART))
        assert refusal == (400, "EntityTooSmall")
        assert "ETag" in copy.complete(parts[:1], MpuObjectSize=PART - 1)

    def test_an_existing_object_is_not_overwritten(self, s3_setup: S3Setup, copy: Copy) -> None:
        """userguide/conditional-writes.html: 412 for If-None-Match, and the upload continues."""
        s3_setup.s3.put_object(Bucket=s3_setup.target, Key=KEY, Body=b"mine")
        parts = copy.parts()
        assert refused(lambda: copy.complete(parts)) == (412, "PreconditionFailed")
        assert len(s3_setup.s3.list_parts(**copy.where)["Parts"]) == 3
        assert copy.complete(parts, IfNoneMatch=None)["ChecksumSHA256"] == COMPOSITE

    @pytest.mark.parametrize("several", [False, True])
    def test_a_deletion_during_the_upload_is_a_conflict(
        self, s3_setup: S3Setup, copy: Copy, several: bool
    ) -> None:
        """userguide/conditional-writes.html: 409, and a new upload is required."""
        which = {"Bucket": s3_setup.target, "Key": KEY}
        s3_setup.s3.put_object(**which, Body=b"theirs")
        if several:
            s3_setup.s3.delete_objects(Bucket=s3_setup.target, Delete={"Objects": [{"Key": KEY}]})
        else:
            s3_setup.s3.delete_object(**which)
        parts = copy.parts()
        for _ in range(2):
            refusal = refused(lambda: copy.complete(parts))
            assert refusal == (409, "ConditionalRequestConflict")
        copy.begin()
        assert copy.complete(copy.parts())["ChecksumSHA256"] == COMPOSITE

    def test_a_completed_upload_no_longer_exists(self, s3_setup: S3Setup, copy: Copy) -> None:
        """API_CompleteMultipartUpload.html: NoSuchUpload, also for a second completion."""
        parts = copy.parts()
        copy.complete(parts)
        _assert_gone(copy, parts)
        assert s3_setup.s3.list_multipart_uploads(Bucket=s3_setup.target).get("Uploads", []) == []

    def test_a_repeated_completion_may_return_the_same_response(
        self, s3_setup: S3Setup, copy: Copy
    ) -> None:
        """For some time: https://github.com/adobe/S3Mock/issues/2586; no second object."""
        s3_setup.set_behavior(repeats_response=True)
        parts = copy.parts()
        first = copy.complete(parts)
        again = copy.complete(parts)
        assert (again["ETag"], again["ChecksumSHA256"]) == (first["ETag"], COMPOSITE)

    def test_an_aborted_upload_no_longer_exists(self, s3_setup: S3Setup, copy: Copy) -> None:
        """API_AbortMultipartUpload.html."""
        parts = copy.parts()
        s3_setup.s3.abort_multipart_upload(**copy.where)
        _assert_gone(copy, parts)
        assert "Contents" not in s3_setup.s3.list_objects_v2(Bucket=s3_setup.target)

    def test_uploads_in_progress_are_listed_with_their_start(
        self, s3_setup: S3Setup, copy: Copy
    ) -> None:
        """API_ListMultipartUploads.html, so that abandoned uploads can be aborted."""
        (upload,) = s3_setup.s3.list_multipart_uploads(Bucket=s3_setup.target, Prefix=KEY)[
            "Uploads"
        ]
        assert (upload["Key"], upload["UploadId"]) == (KEY, copy.upload)
        assert abs(datetime.now(UTC) - upload["Initiated"]) < timedelta(minutes=5)

    def test_an_upload_belongs_to_its_key(self, s3_setup: S3Setup, copy: Copy) -> None:
        """API_UploadPartCopy.html: NoSuchUpload."""
        parts = copy.parts()
        _assert_gone(
            Copy(s3_setup, copy.version, copy.etag, key="other.iso", upload=copy.upload), parts
        )

    def test_two_uploads_of_one_key_are_independent(self, s3_setup: S3Setup, copy: Copy) -> None:
        """userguide/conditional-writes.html: the first to be completed wins."""
        other = Copy(s3_setup, copy.version, copy.etag)
        other.begin()
        mine, theirs = copy.parts(), other.parts()
        other.complete(theirs)
        assert refused(lambda: copy.complete(mine)) == (412, "PreconditionFailed")

    def test_a_copy_outlives_its_source(self, s3_setup: S3Setup, copy: Copy) -> None:
        """The copy is an independent object."""
        copy.complete(copy.parts())
        s3_setup.s3.delete_object(**copy.source)
        s3_setup.s3.delete_object(Bucket=s3_setup.source, Key="a folder/src.iso")
        got = s3_setup.s3.get_object(Bucket=s3_setup.target, Key=KEY)
        assert got["Body"].read() == SOURCE

    def test_a_deleted_copy_no_longer_exists(self, s3_setup: S3Setup, copy: Copy) -> None:
        """API_DeleteObject.html; deleting a missing object is no error."""
        copy.complete(copy.parts())
        for _ in range(2):
            s3_setup.s3.delete_object(Bucket=s3_setup.target, Key=KEY)
            assert "Contents" not in s3_setup.s3.list_objects_v2(Bucket=s3_setup.target)
        which = {"Bucket": s3_setup.target, "Key": KEY}
        assert refused(lambda: s3_setup.s3.head_object(**which)) == (404, "404")

    def test_an_uploaded_part_must_have_its_checksum(self, s3_setup: S3Setup, copy: Copy) -> None:
        """https://github.com/floci-io/floci/pull/3093: S3 computes only those of copies."""
        sent = {**copy.where, "PartNumber": 1, "Body": b"sent"}
        assert refused(lambda: s3_setup.s3.upload_part(**sent)) == (400, "InvalidRequest")
        wrong = refused(lambda: s3_setup.s3.upload_part(**sent, ChecksumSHA256=WRONG))
        assert wrong == (400, "BadDigest")
        right = s3_setup.s3.upload_part(**sent, ChecksumSHA256=sha256(b"sent"))
        assert right["ChecksumSHA256"] == sha256(b"sent")
        parts = [{"PartNumber": 1, "ETag": right["ETag"], "ChecksumSHA256": sha256(b"sent")}]
        done = copy.complete(parts, MpuObjectSize=4)
        assert done["ChecksumSHA256"] == sha256(hashlib.sha256(b"sent").digest()) + "-1"


def _assert_gone(copy: Copy, parts: Parts) -> None:
    """Assert that an upload is unknown to every operation."""
    s3, gone = copy.s3_setup.s3, (404, "NoSuchUpload")
    assert refused(lambda: copy.part(1)) == gone
    assert refused(lambda: s3.list_parts(**copy.where)) == gone
    assert refused(lambda: copy.complete(parts)) == gone
    assert refused(lambda: s3.abort_multipart_upload(**copy.where)) == gone
