"""The rules of S3 for multipart uploads with SHA-256 checksums, independent of an emulator.

MiniStack and moto accept parts and completions without checksums, and know no conflict; both
are patched to follow these rules, so that a copy behaves the same in process and on the stack. The
sources are S3's API reference and user guide, and published observations where these say nothing.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final
from xml.etree import ElementTree
from xml.sax.saxutils import escape

MINIMUM_PART: Final = 5 << 20
MAXIMUM_PART: Final = 5 << 30
PARTS: Final = range(1, 10_001)
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

HttpResponse = tuple[int, dict[str, str], bytes]
"""HTTP status, headers, body."""


class S3ResponseError(Exception):
    """An error response of S3.

    Attributes
    ----------
    status : int
        The HTTP status.
    code, message : str
        S3's code and message.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message

    def to_response(self) -> HttpResponse:
        """Return it as an HTTP response."""
        code, message = escape(self.code), escape(self.message)
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return self.status, {"Content-Type": "application/xml"}, body.encode()


@dataclass(frozen=True, slots=True)
class Part:
    """A part as S3 stores it.

    Attributes
    ----------
    number : int
        From 1 to 10,000.
    etag : str
        Without quotes.
    size : int
        In bytes.
    checksums : Mapping[str, str]
        By algorithm (``SHA256``), in base64.
    """

    number: int
    etag: str
    size: int
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """The state of an upload that is to be completed.

    Attributes
    ----------
    parts : Mapping[int, Part]
        The uploaded parts.
    algorithm : str or None
        The checksum algorithm that the upload was created with.
    exists : bool
        Whether there is a current object under its key.
    deleted : bool
        Whether one was deleted there since the upload was created.
    minimum : int
        The minimum size of each part except the last.
    """

    parts: Mapping[int, Part]
    algorithm: str | None
    exists: bool
    deleted: bool
    minimum: int = MINIMUM_PART


@dataclass(slots=True)
class Behavior:
    """What S3 does in cases where documents and observations differ.

    Attributes
    ----------
    repeats_response : bool
        Whether a CompleteMultipartUpload that is repeated after it took effect gets the first
        response again. NoSuchUpload is documented; the first response was observed for some time
        (https://github.com/adobe/S3Mock/issues/2586), so a caller must handle both.
    small_ranges : bool
        Whether ranges of objects of 5 MB or less can be copied. Documented is InvalidRequest
        (https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html); observed is that
        S3 copies them (https://github.com/Zooz/aws-s3-multipart-copy/pull/45).
    minimum_part : int
        Smaller in tests with many small parts.
    """

    repeats_response: bool = False
    small_ranges: bool = True
    minimum_part: int = MINIMUM_PART


@dataclass(frozen=True, slots=True)
class Listed:
    """A part in the list of CompleteMultipartUpload."""

    number: int
    etag: str
    checksums: Mapping[str, str]


def no_such_upload() -> S3ResponseError:
    """Return the error for an upload that is unknown, aborted or completed."""
    return S3ResponseError(
        404,
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have"
        " been aborted or completed.",
    )


def _invalid(message: str) -> S3ResponseError:
    return S3ResponseError(400, "InvalidRequest", message)


def _argument(message: str) -> S3ResponseError:
    return S3ResponseError(400, "InvalidArgument", message)


def _precondition() -> S3ResponseError:
    message = "At least one of the pre-conditions you specified did not hold"
    return S3ResponseError(412, "PreconditionFailed", message)


def check_creation(headers: Mapping[str, str]) -> None:
    """Refuse a checksum type that does not go with the algorithm.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """
    algorithm = headers.get("x-amz-checksum-algorithm", "").lower()
    kind = headers.get("x-amz-checksum-type")
    if kind and not algorithm:
        raise _invalid(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm"
            " header."
        )
    if kind == "FULL_OBJECT" and algorithm in ("sha1", "sha256"):
        raise _invalid(
            f"The FULL_OBJECT checksum type cannot be used with the {algorithm} checksum algorithm."
        )


def check_part_number(number: str) -> int:
    """Parse a part's number.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
    """
    if not number.isdecimal() or int(number) not in PARTS:
        raise _argument("Part number must be an integer between 1 and 10000, inclusive")
    return int(number)


def check_upload_part(algorithm: str | None, headers: Mapping[str, str]) -> None:
    """Refuse a part without the checksum that the upload was created for.

    S3 computes no SHA-256 of uploaded parts; it only checks one (but it computes those of copies).
    Measured on AWS: https://github.com/floci-io/floci/pull/3093.
    """
    if algorithm != "SHA256":
        return
    pattern = r"x-amz-checksum-(crc32|crc32c|crc64nvme|sha1|sha256)"
    names = [*headers, headers.get("x-amz-trailer", "")]
    sent = [match[1] for name in names if (match := re.fullmatch(pattern, name.lower()))]
    if "sha256" not in sent:
        raise _invalid(
            "Checksum Type mismatch occurred, expected checksum Type: sha256,"
            f" actual checksum Type: {sent[0] if sent else 'null'}"
        )


def check_source(headers: Mapping[str, str], etag: str) -> None:
    """Check the conditions on the source of a copy.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
    """
    wanted = headers.get("x-amz-copy-source-if-match")
    unwanted = headers.get("x-amz-copy-source-if-none-match")
    known = etag.strip('"')
    if (wanted and wanted.strip('"') != known) or (unwanted and unwanted.strip('"') == known):
        raise _precondition()


def delete_marker_error() -> S3ResponseError:
    """Return the error for a copy of a version that is a delete marker.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
    """
    return _invalid(
        "The source of a copy request may not specifically refer to a delete marker by version id."
    )


def copied_range(text: str | None, size: int, behavior: Behavior) -> tuple[int, int]:
    """Return the range of an object that UploadPartCopy copies.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
    """
    start, stop = 0, size
    if text:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", text)
        if not match:
            raise _argument(
                "The x-amz-copy-source-range value must be of the form bytes=first-last where"
                " first and last are the zero-based offsets of the first and last bytes to copy"
            )
        if size <= MINIMUM_PART and not behavior.small_ranges:
            raise _invalid("The specified copy source is not supported as a byte-range copy source")
        start, stop = int(match[1]), int(match[2]) + 1
        if not start < stop <= size:
            raise _argument(f"Range specified is not valid for source object of size: {size}")
    if stop - start > MAXIMUM_PART:
        raise _invalid(
            "The specified copy source is larger than the maximum allowable size for a copy"
            f" source: {MAXIMUM_PART}"
        )
    return start, stop


def read_listing(body: bytes) -> list[Listed]:
    """Parse the list of parts of CompleteMultipartUpload.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompletedPart.html
    """
    malformed = S3ResponseError(
        400,
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
    listing = []
    try:
        for part in ElementTree.fromstring(body):  # noqa: S314  # sent by our own tests
            fields = {child.tag.rpartition("}")[2]: child.text or "" for child in part}
            listing.append(
                Listed(
                    number=int(fields["PartNumber"]),
                    etag=fields["ETag"].strip('"'),
                    checksums={
                        name.removeprefix("Checksum"): text
                        for name, text in fields.items()
                        if name.startswith("Checksum")
                    },
                )
            )
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise malformed from error
    if not listing:
        raise malformed
    return listing


def check_completion(pending: PendingUpload, body: bytes, headers: Mapping[str, str]) -> list[Part]:
    """Check whether an upload can be completed as requested; return its parts.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
    """
    listing = read_listing(body)
    _check_order(listing, pending.algorithm)
    parts = [_listed_part(listed, pending) for listed in listing]
    if any(part.size < pending.minimum for part in parts[:-1]):
        raise S3ResponseError(
            400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"
        )
    size, wanted = sum(part.size for part in parts), headers.get("x-amz-mp-object-size")
    if wanted and wanted != str(size):
        raise _invalid(
            f"The provided 'x-amz-mp-object-size' header value {wanted} does not match what was"
            f" computed: {size}"
        )
    _check_composite(parts, pending.algorithm, headers)
    if headers.get("if-none-match"):
        _check_absent(pending)
    return parts


def _check_order(listing: Sequence[Listed], algorithm: str | None) -> None:
    """Numbers must ascend; with part checksums, they must also be consecutive from 1.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompletedPart.html
    """
    numbers = [listed.number for listed in listing]
    ascending = all(one < next_one for one, next_one in pairwise(numbers))
    consecutive = numbers == list(range(1, len(numbers) + 1))
    if not ascending or (algorithm == "SHA256" and not consecutive):
        raise S3ResponseError(
            400,
            "InvalidPartOrder",
            "The list of parts was not in ascending order. The parts list must be specified in"
            " order by part number.",
        )


def _listed_part(listed: Listed, pending: PendingUpload) -> Part:
    """Return the part that is listed.

    Without its checksum the whole request is refused: https://github.com/boto/boto3/issues/3288.
    A wrong one is treated as another part: https://github.com/floci-io/floci/pull/3093.
    """
    part = pending.parts.get(listed.number)
    is_invalid = part is None or listed.etag != part.etag
    if part is not None and not is_invalid:
        if pending.algorithm == "SHA256" and "SHA256" not in listed.checksums:
            raise _invalid(
                "The upload was created using a sha256 checksum. The complete request must include"
                f" the checksum for each part. It was missing for part {listed.number} in the"
                " request."
            )
        is_invalid = any(
            part.checksums.get(name) != text for name, text in listed.checksums.items()
        )
    if part is None or is_invalid:
        raise S3ResponseError(
            400,
            "InvalidPart",
            "One or more of the specified parts could not be found.  The part may not have been"
            " uploaded, or the specified entity tag may not match the part's entity tag.",
        )
    return part


def _check_composite(
    parts: Sequence[Part], algorithm: str | None, headers: Mapping[str, str]
) -> None:
    """Refuse a checksum of the object, or a type of it, that is not the upload's.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
    """
    if algorithm != "SHA256":
        return
    wanted = headers.get("x-amz-checksum-sha256")
    if wanted and wanted != composite(parts):
        raise S3ResponseError(
            400, "BadDigest", "The SHA256 you specified did not match the calculated checksum."
        )
    if headers.get("x-amz-checksum-type", "COMPOSITE") != "COMPOSITE":
        raise S3ResponseError(
            400, "BadDigest", "The checksum type you specified is not the one of the upload."
        )


def _check_absent(pending: PendingUpload) -> None:
    """Check ``If-None-Match: *``.

    412 if there is an object; 409 if one was deleted during the upload, and then the
    upload can no longer be completed.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    if pending.exists:
        raise _precondition()
    if pending.deleted:
        raise S3ResponseError(
            409,
            "ConditionalRequestConflict",
            "The conditional request cannot succeed due to a conflicting operation against this"
            " resource.",
        )


def composite(parts: Sequence[Part]) -> str:
    """Hash the parts' SHA-256 digests, as S3 does for the whole object.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html

    Examples
    --------
    The parts and the result of a real upload, from https://github.com/floci-io/floci/issues/3083:

    >>> digests = (
    ...     "lcKa6Boe7a167tUCN5C4OaFygGSYD8MBnBARTrdL+1w=",
    ...     "gHjhbUT4oo2tSCtSZJdlKi+jeNXJT+VImqdPXsXvkOc=",
    ...     "4l9PQ3zOPZ0oGFvknFX+J4zZwE4WMzO+l3r8XrbWOeM=",
    ... )
    >>> composite([Part(n, "", 0, {"SHA256": each}) for n, each in enumerate(digests, 1)])
    'rVWtNbadtsaKXJAcgWPWjifHzJaXde/iV4jaJAOdivc=-3'
    """
    digests = b"".join(base64.b64decode(part.checksums["SHA256"]) for part in parts)
    return f"{base64.b64encode(hashlib.sha256(digests).digest()).decode()}-{len(parts)}"


def whole_etag(parts: Sequence[Part]) -> str:
    """Derive the ETag of a completed upload, without quotes, from the ETags of its parts.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    digests = b"".join(binascii.unhexlify(part.etag) for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in base64, as S3 writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def lower_keys(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with their names in lowercase."""
    return {name.lower(): text for name, text in headers.items()}
