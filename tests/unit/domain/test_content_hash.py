"""The two hashes of an ISO's bytes are correct at any length, and need bounded memory."""

import hashlib
import random
import threading
from base64 import b64encode

import pytest

from isodrop.domain.content import Content, composite_checksum
from isodrop.domain.content_hash import compute_hashes, compute_sha256, read_in_order


def reader(data: bytes):  # type: ignore[no-untyped-def] # a closure of a test
    return lambda start, length: data[start : start + length]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 99, 100, 101, 199, 200, 201, 1000, 1024])
@pytest.mark.parametrize("part_size", [64, 100, 256, 4096])
def test_both_hashes_are_those_of_the_bytes(size: int, part_size: int) -> None:
    data = random.Random(size).randbytes(size)  # noqa: S311 - repeatable, not secret
    parts = [data[at : at + part_size] for at in range(0, size, part_size)]
    checksums = [b64encode(hashlib.sha256(part).digest()).decode() for part in parts]

    found = compute_hashes(reader(data), size, part_size=part_size, chunk_size=100, parallel=3)

    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.content == Content(size, part_size, composite_checksum(checksums))
    assert compute_sha256(reader(data), size, chunk_size=100, parallel=3) == found.sha256


def test_a_limited_number_of_pieces_is_read_in_parallel() -> None:
    at_once = threading.Barrier(4, timeout=10)
    lock, waiting = threading.Lock(), []
    most = 0

    def read(start: int, length: int) -> bytes:
        nonlocal most
        at_once.wait()  # passes only if four are read at the same time
        with lock:
            waiting.append(start)
            most = max(most, len(waiting))
        return bytes([start]) * length

    found = b""
    for data in read_in_order(read, 40, chunk_size=1, parallel=4):
        with lock:
            waiting.remove(data[0])
        found += data

    assert found == bytes(range(40))
    assert most <= 5


def test_an_error_of_a_read_ends_the_hashing() -> None:
    count = 0

    def read(start: int, length: int) -> bytes:
        nonlocal count
        count += 1
        if start == 3:
            raise ConnectionError
        return bytes(length)

    with pytest.raises(ConnectionError):
        compute_sha256(read, 1000, chunk_size=1, parallel=2)
    assert count < 10
