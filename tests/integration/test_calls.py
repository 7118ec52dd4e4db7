"""The number of AWS calls of an upload, by operation, and that the page has them."""

from collections import Counter

import pytest

from tools.bench import calls
from tools.bench.pages import PAGE


@pytest.fixture(scope="module")
def counted() -> dict[str, Counter[str]]:
    return calls.measure()


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (calls.ACCEPTED, 28),
        ("joins a build", 25),
        ("shares an image", 26),
        ("rejected", 10),
        ("repeated event", 1),
        (calls.PROGRESS, 2),
    ],
)
def test_an_upload_makes_no_more_calls_than_documented(
    counted: dict[str, Counter[str]], kind: str, most: int
) -> None:
    assert 0 < counted[kind].total() <= most


def test_only_an_accepted_upload_starts_a_build(counted: dict[str, Counter[str]]) -> None:
    starting = [kind for kind, found in counted.items() if found["ImportDiskImage"]]

    assert starting == [calls.ACCEPTED]


def test_the_page_has_these_figures(counted: dict[str, Counter[str]]) -> None:
    assert calls.section(counted).rstrip() in PAGE.read_text(encoding="utf-8")
