"""S3 URIs are parsed strictly, and written as they were."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isodrop.domain.s3_uri import S3Uri

uris = st.builds(
    S3Uri,
    st.from_regex(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", fullmatch=True),
    st.text(min_size=1),
)


@given(uris)
def test_a_written_uri_is_parsed_to_the_same_value(uri: S3Uri) -> None:
    assert S3Uri.parse(str(uri)) == uri


@given(st.text() | st.text().map("s3://".__add__))
def test_any_text_is_parsed_as_it_is_or_reported(text: str) -> None:
    with suppress(ValueError):
        assert str(S3Uri.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "s3://bucket", "s3://bucket/", "s3:///key", "https://bucket/key", "s3:/bucket/key"),
        *("s3://B/key", "s3://ab/key", "s3://-bucket/key", "S3://bucket/key", " s3://bucket/key"),
    ],
)
def test_an_invalid_uri_is_reported(text: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/key"):
        S3Uri.parse(text)


def test_nothing_in_a_key_is_decoded() -> None:
    assert S3Uri.parse("s3://isos/a%20b//ü.iso?x#y").key == "a%20b//ü.iso?x#y"
