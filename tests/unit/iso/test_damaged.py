"""Damaged uploads: truncated, with parts in a wrong order, or with missing parts."""

import pytest

from isodrop.codes import Code
from isodrop.errors import RejectedError, TransientError
from isodrop.iso.reader import read_iso
from isodrop_local.iso_maker import Image, make_image
from isodrop_local.iso_maker.image import SECTOR
from isodrop_local.iso_maker.meter import read_contents, read_rejection

LARGE = 5_400_000_000
SOUND_IMAGE = make_image()


def edges(image: Image) -> list[int]:
    made = {image.size - 1, image.size - SECTOR, 1, SECTOR * 16, SECTOR * 17, SECTOR * 256}
    for place in image.places.values():
        made |= {place - 1, place, place + 1, place + SECTOR}
    return sorted(at for at in made if 0 < at < image.size)


@pytest.mark.parametrize("layout", ["grouped", "interleaved", "udf-only"])
def test_an_object_cut_off_anywhere_is_reported_as_truncated(layout: str) -> None:
    image = make_image(layout=layout)
    end = (image.size // SECTOR - 1) * SECTOR  # after the partition: the last anchor

    for size in edges(image):
        if size < SECTOR * 17:
            # Too little remains for a decision.
            assert read_rejection(image.resized(size)).code in {Code.NOT_AN_ISO, Code.TRUNCATED}
        elif size < end:
            assert read_rejection(image.resized(size)).code is Code.TRUNCATED, size
        else:
            assert len(read_contents(image.resized(size)).images) == 11


@pytest.mark.parametrize("percent", [5, 50, 95, 99])
def test_a_large_object_cut_off_anywhere_is_reported_as_truncated(percent: int) -> None:
    image = make_image(size=LARGE)

    found = read_rejection(image.resized(LARGE // 100 * percent), requests=1)

    assert found.code is Code.TRUNCATED
    assert f"{image.size - SECTOR:,}" in found.message


PART = 8 << 20


def parts(image: Image, order: list[int]) -> Image:
    """Join parts of an object in the given order, with the rest after them."""
    count = 4
    pieces = []
    at = 0
    for number in [*order, -1]:
        start, end = (
            (number * PART, (number + 1) * PART) if number >= 0 else (count * PART, image.size)
        )
        for offset, data in image.content.pieces:
            low, high = max(offset, start), min(offset + len(data), end)
            if low < high:
                pieces.append((at + low - start, data[low - offset : high - offset]))
        at += end - start
    return Image(type(image.content)(at, tuple(sorted(pieces))), image.places)


@pytest.mark.parametrize(
    "order",
    [[1, 0, 2, 3], [1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 0, 1, 2, 3], [0, 1, 1, 2, 3], [3, 1, 2, 0]],
    ids=[
        "swapped",
        "no first",
        "no second",
        "no third",
        "first twice",
        "second twice",
        "last first",
    ],
)
def test_missing_repeated_or_swapped_parts_are_noticed(order: list[int]) -> None:
    # Given an upload whose parts were joined in a wrong order
    image = make_image(size=64 << 20)
    assert len(read_contents(parts(image, [0, 1, 2, 3])).images) == 11

    found = read_rejection(parts(image, order))

    assert found.code in {Code.TRUNCATED, Code.UNREADABLE_ISO, Code.NOT_AN_ISO}


# The callable


def test_errors_of_the_callable_pass_through() -> None:
    error = TransientError("connection lost")

    def read(_offset: int, _length: int, /) -> bytes:
        raise error

    with pytest.raises(TransientError) as caught:
        read_iso(read, LARGE)
    assert caught.value is error


@pytest.mark.parametrize("less", [1, 1000, 448 * 1024])
def test_a_callable_that_returns_too_few_bytes_is_an_error(less: int) -> None:
    with pytest.raises(RejectedError, match="could be read") as caught:
        read_iso(lambda at, length: SOUND_IMAGE.read(at, length)[:-less], SOUND_IMAGE.size)
    assert caught.value.code is Code.TRUNCATED
