"""The content id of a copy, and its division into parts."""

import hashlib
from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isodrop.domain.content import (
    PART_SIZE,
    Content,
    composite_checksum,
    parse_staging_key,
    plan_parts,
    staging_key,
)

CONTENT = Content(5_901_000_000, PART_SIZE, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=-44")


def sha256(data: bytes) -> str:
    return b64encode(hashlib.sha256(data).digest()).decode()


@given(st.integers(1, 2000), st.integers(1, 300))
def test_parts_cover_all_bytes_once_and_in_order(size: int, part_size: int) -> None:
    parts = plan_parts(size, part_size)

    covered = [at for part in parts for at in range(part.start, part.start + part.length)]
    assert covered == [*range(size)]
    assert [part.number for part in parts] == [*range(1, len(parts) + 1)]
    assert {part.length for part in parts[:-1]} <= {part_size}


def test_an_iso_of_6_gb_is_copied_in_47_parts_of_128_mib() -> None:
    parts = plan_parts(6_200_000_000)

    assert (len(parts), parts[1].range) == (47, "bytes=134217728-268435455")
    assert parts[-1].range.endswith("-6199999999")


def test_the_checksum_of_the_whole_is_that_of_the_parts_digests() -> None:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    digests = hashlib.sha256(b"one").digest() + hashlib.sha256(b"two").digest()

    found = composite_checksum([sha256(b"one"), sha256(b"two")])

    assert found == f"{sha256(digests)}-2"


@pytest.mark.parametrize(
    "change", [{"size": 1}, {"part_size": 1}, {"checksum": CONTENT.checksum[:-1] + "5"}]
)
def test_other_bytes_have_another_id(change: dict[str, object]) -> None:
    assert replace(CONTENT, **change).id != CONTENT.id  # type: ignore[arg-type] # one field each


def test_the_id_of_known_bytes_never_changes() -> None:
    assert CONTENT.id == "f18850727fd1496f66ed643d067f2dbe4852bbe090f1edadbc4cb99480d8bc70"


def test_a_copy_is_named_after_its_run_and_found_by_its_name() -> None:
    upload_id = "0123456789abcdef" * 2

    assert parse_staging_key(staging_key(upload_id, 3)) == (upload_id, 3)


@pytest.mark.parametrize(
    "key", ["a.iso", f"{'0' * 32}-.iso", f"{'0' * 32}-01.iso", f"{'0' * 32}-1.iso\n", ""]
)
def test_a_key_of_another_form_names_no_copy(key: str) -> None:
    assert parse_staging_key(key) is None
