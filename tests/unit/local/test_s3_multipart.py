"""The rules of multipart uploads, compared with values from S3."""

import pytest

from isodrop_local.s3_multipart import (
    Behavior,
    Part,
    S3ResponseError,
    composite,
    copied_range,
    whole_etag,
)

SEEN = (
    "lcKa6Boe7a167tUCN5C4OaFygGSYD8MBnBARTrdL+1w=",
    "gHjhbUT4oo2tSCtSZJdlKi+jeNXJT+VImqdPXsXvkOc=",
    "4l9PQ3zOPZ0oGFvknFX+J4zZwE4WMzO+l3r8XrbWOeM=",
)


def test_the_composite_checksum_equals_the_one_from_s3() -> None:
    """https://github.com/floci-io/floci/issues/3083, measured on AWS."""
    parts = [Part(number, "", 0, {"SHA256": each}) for number, each in enumerate(SEEN, 1)]
    assert composite(parts) == "rVWtNbadtsaKXJAcgWPWjifHzJaXde/iV4jaJAOdivc=-3"


def test_an_etag_is_made_of_the_parts_etags() -> None:
    """The MD5 of the parts' MD5s."""
    assert whole_etag([Part(1, "d41d8cd98f00b204e9800998ecf8427e", 0)]) == (
        "59adb24ef3cdbe0297f05b395827453f-1"
    )


def test_a_part_of_more_than_five_gibibytes_is_not_copied() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html."""
    size = 6 << 30
    with pytest.raises(S3ResponseError, match="InvalidRequest"):
        copied_range(None, size, Behavior())
    assert copied_range(f"bytes=0-{(5 << 30) - 1}", size, Behavior()) == (0, 5 << 30)


def test_a_refusal_is_written_as_s3_writes_it() -> None:
    status, _, body = S3ResponseError(400, "InvalidPart", "Not <this> one").to_response()
    assert (status, b"<Code>InvalidPart</Code>" in body, b"&lt;this&gt;" in body) == (
        400,
        True,
        True,
    )
