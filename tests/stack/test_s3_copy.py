"""The emulator copies an object in parts as S3 does, out of memory and out of files."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isodrop_local.stack import LocalStack
from tests.support.s3_copy import S3CopyTests, World

Put = Callable[[str, bytes], tuple[str, str]]

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def emulator() -> Iterator[LocalStack]:
    with LocalStack(wait_scale=0.01) as started:
        yield started


@pytest.fixture
def source(emulator: LocalStack) -> str:
    """An empty versioned bucket."""
    s3, name = emulator.client("s3"), f"source-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def target(emulator: LocalStack) -> str:
    """An empty bucket."""
    name = f"target-{next(_numbers)}"
    emulator.client("s3").create_bucket(Bucket=name)
    return name


def a_world(emulator: LocalStack, source: str, target: str, put: Put) -> Iterator[World]:
    def answer_again(whether: bool) -> None:
        emulator.s3_behaviour(answers_again=whether)

    yield World(emulator.client("s3"), source, target, put, answer_again)
    answer_again(False)


class TestInMemory(S3CopyTests):
    @pytest.fixture
    def world(self, emulator: LocalStack, source: str, target: str) -> Iterator[World]:
        def put(key: str, body: bytes) -> tuple[str, str]:
            made = emulator.client("s3").put_object(Bucket=source, Key=key, Body=body)
            return made["VersionId"], made["ETag"]

        yield from a_world(emulator, source, target, put)


class TestByReference(S3CopyTests):
    @pytest.fixture
    def world(
        self, emulator: LocalStack, source: str, target: str, tmp_path: Path
    ) -> Iterator[World]:
        def put(key: str, body: bytes) -> tuple[str, str]:
            path = tmp_path / f"{next(_numbers)}.iso"
            path.write_bytes(body)
            asked = {"bucket": source, "key": key, "path": str(path)}
            made = emulator.control("objects", asked)
            return made["versionId"], made["etag"]

        yield from a_world(emulator, source, target, put)
