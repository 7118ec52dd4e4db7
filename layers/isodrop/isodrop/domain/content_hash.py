"""Computes both hashes of a file in one pass: the SHA-256, and S3's composite checksum. Pure."""

import hashlib
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from isodrop.domain.content import PART_SIZE, Content, composite_checksum

CHUNK_SIZE: Final = 8 * 1024**2
PARALLEL: Final = 8
"""Chunks that are read at the same time; together with ``CHUNK_SIZE`` this bounds the memory."""

Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class ContentHashes:
    """The hashes of a file.

    Attributes
    ----------
    sha256 : str
        The SHA-256 of all bytes in hexadecimal, as Microsoft publishes it for its downloads.
    content : Content
        The content that a copy in S3 would have.
    """

    sha256: str
    content: Content


def read_in_order(
    read: Read, size: int, *, chunk_size: int = CHUNK_SIZE, parallel: int = PARALLEL
) -> Iterator[bytes]:
    """Read chunks in parallel, and yield them in order.

    At most ``parallel`` chunks are being read or waiting, in addition to the one yielded.

    Parameters
    ----------
    read : callable
        Called with offset and length, by several threads.
    size : int
        The total number of bytes.
    chunk_size, parallel : int
        The bytes per chunk, and the number of chunks to read at once.
    """
    starts = iter(range(0, size, chunk_size))
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        pending: deque[Future[bytes]] = deque()

        def submit(count: int) -> None:
            for start in islice(starts, count):
                pending.append(pool.submit(read, start, min(chunk_size, size - start)))

        try:
            submit(parallel)
            while pending:
                data = pending.popleft().result()
                submit(1)
                yield data
        finally:
            for each in pending:
                each.cancel()


def compute_sha256(
    read: Read, size: int, *, chunk_size: int = CHUNK_SIZE, parallel: int = PARALLEL
) -> str:
    """Compute the SHA-256 of all bytes."""
    file_hash = hashlib.sha256()
    for data in read_in_order(read, size, chunk_size=chunk_size, parallel=parallel):
        file_hash.update(data)
    return file_hash.hexdigest()


def compute_hashes(
    read: Read,
    size: int,
    *,
    part_size: int = PART_SIZE,
    chunk_size: int = CHUNK_SIZE,
    parallel: int = PARALLEL,
) -> ContentHashes:
    """Compute both hashes in one pass.

    Examples
    --------
    >>> compute_hashes(lambda offset, length: b"abc"[offset : offset + length], 3).sha256[:16]
    'ba7816bf8f01cfea'
    """
    file_hash = hashlib.sha256()
    checksums = []
    part_hash, remaining = hashlib.sha256(), part_size
    for data in read_in_order(read, size, chunk_size=chunk_size, parallel=parallel):
        file_hash.update(data)
        view = memoryview(data)
        while len(view) >= remaining:
            part_hash.update(view[:remaining])
            checksums.append(b64encode(part_hash.digest()).decode())
            view, part_hash, remaining = view[remaining:], hashlib.sha256(), part_size
        part_hash.update(view)
        remaining -= len(view)
    if remaining < part_size:
        checksums.append(b64encode(part_hash.digest()).decode())
    return ContentHashes(
        file_hash.hexdigest(), Content(size, part_size, composite_checksum(checksums))
    )
