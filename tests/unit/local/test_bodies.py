"""Bodies in files: slicing, joining and hashing them reads no more than necessary."""

import hashlib
import os
from pathlib import Path

import pytest

from isodrop_local.patches.bodies import CHUNK, LinkedBody, join


def text(body: object) -> bytes:
    assert isinstance(body, LinkedBody)
    return b"".join(body.chunks())


@pytest.fixture
def body(tmp_path: Path) -> LinkedBody:
    (tmp_path / "file").write_bytes(b"0123456789")
    return LinkedBody.of_file(tmp_path / "file")


def test_a_slice_is_read_lazily(body: LinkedBody) -> None:
    piece = body[3:8][1:3]
    assert (len(piece), body.reads) == (2, [])
    assert text(piece) == b"45"
    assert body.reads == [(4, 2)]


@pytest.mark.parametrize(("start", "stop"), [(0, 99), (-3, None), (5, 5), (8, 2)])
def test_slices_are_those_of_bytes(body: LinkedBody, start: int, stop: int | None) -> None:
    assert text(body[start:stop]) == b"0123456789"[start:stop]


def test_adjacent_pieces_are_merged(body: LinkedBody) -> None:
    whole = join([body[:4], body[4:9], body[9:]])
    assert isinstance(whole, LinkedBody)
    assert whole.ranges == body.ranges


def test_pieces_in_another_order_stay_separate(body: LinkedBody) -> None:
    mixed = join([body[5:], b"between", body[:5]])
    assert isinstance(mixed, LinkedBody)
    assert text(mixed) == b"56789between01234"
    assert text(mixed[3:14]) == b"89between01"


def test_a_body_in_memory_stays_in_memory() -> None:
    assert join([b"ab", b"c"]) == b"abc"


def test_a_piece_is_hashed_once(body: LinkedBody) -> None:
    again = body[2:5]
    assert body[2:5].sha256().result() == hashlib.sha256(b"234").digest()
    assert again.sha256() is body[2:5].sha256()
    assert body.reads == []


def test_a_hole_is_hashed_as_zeros(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(4 * CHUNK)
        file.seek(2 * CHUNK)
        file.write(b"data")
    body = LinkedBody.of_file(path)

    for start, stop in [(0, CHUNK), (5, CHUNK + 9), (0, 3 * CHUNK), (3 * CHUNK, 4 * CHUNK)]:
        piece = body[start:stop]
        assert piece.sha256().result() == hashlib.sha256(text(piece)).digest()


def test_a_hole_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 2 * CHUNK)
    body = LinkedBody.of_file(path)
    os.truncate(path, CHUNK)

    with pytest.raises(OSError, match="has become shorter"):
        body[CHUNK // 2 :].sha256().result()


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    digests = []
    for content in (b"a" * CHUNK, b"b" * (CHUNK + 1)):
        path.write_bytes(content)
        digests.append(LinkedBody.of_file(path).sha256().result())
    assert digests[1] == hashlib.sha256(b"b" * (CHUNK + 1)).digest() != digests[0]


def test_a_file_that_became_shorter_cannot_be_a_body(body: LinkedBody, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"01")
    with pytest.raises(OSError, match="shorter"):
        text(body)
