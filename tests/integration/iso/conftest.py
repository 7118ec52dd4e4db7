"""A folder for big files, gone when the test is over: pytest's own would stay a while."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="isodrop-iso-") as name:
        yield Path(name)
