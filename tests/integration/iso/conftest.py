"""A folder for big files, deleted after the test: pytest's own is kept for some runs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="isodrop-iso-") as name:
        yield Path(name)
