"""A short, fixed run of what ``make soak`` does at length."""

from isodrop_local.iso_maker.meter import MAX_REQUESTS
from tests.soak.reader import damaged_image, soak

SEED = 11


def test_damaged_images_are_read_or_rejected_within_the_limits() -> None:
    outcome = soak(SEED, range(1500))

    assert outcome.wrong == []
    assert outcome.memory < 4 << 20
    # The limit is reached, so the test shows that it holds.
    assert outcome.requests == MAX_REQUESTS
    assert outcome.bytes > 1 << 20
    # Both outcomes occur; otherwise the damage would be too little or too much.
    assert outcome.ends["read"] > 100
    assert outcome.ends["unreadable-iso"] > 100
    assert outcome.ends["truncated"] > 10


def test_a_number_names_the_same_image_every_time() -> None:
    for number in (0, 7, 311):
        assert damaged_image(SEED, number) == damaged_image(SEED, number)
