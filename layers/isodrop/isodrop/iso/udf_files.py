"""Files and folders of a UDF volume (ECMA-167 part 4; OSTA UDF 1.02, 2.3).

Nothing here is recursive, and no length in the object is trusted: every one is compared with a
limit before it is used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from isodrop.iso.range_reader import SECTOR, RangeReader, damaged_error
from isodrop.iso.udf_volume import Address, Volume, check_tag, decode_compressed, parse_long_address

# Tag identifiers, ECMA-167 4/7.2.1.
FILE_IDENTIFIER, ALLOCATION_EXTENT, FILE_ENTRY, EXTENDED_FILE_ENTRY = 257, 258, 261, 266
FOLDER, FILE = 4, 5

MAX_FOLDER: Final = 1 << 20
MAX_ALLOCATIONS: Final = 512

_SHORT_FORM, _LONG_FORM, _INLINE_FORM = 0, 1, 3
_RECORDED, _ALLOCATED, _NEITHER, _CONTINUED = range(4)
_LENGTH_MASK: Final = (1 << 30) - 1
_ICB: Final = Struct("<LHHHxB6xH")  # an ICB tag, ECMA-167 4/14.6
_SHORT: Final = Struct("<LL")
_LENGTHS: Final = Struct("<LL")
_STRATEGY: Final = 4  # the only one of UDF 1.02, 2.3.5.1
_DELETED, _PARENT, _IS_FOLDER = 4, 8, 2  # a file identifier's characteristics, 4/14.4.3
_FIXED_SIZE: Final = 38  # of a file identifier


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A name in a folder."""

    name: str
    is_folder: bool
    address: Address


@dataclass(frozen=True, slots=True)
class File:
    """The location of the bytes of a file or folder.

    Attributes
    ----------
    what : str
        For messages.
    size : int
    extents : tuple of tuple of int
        Byte offset in the object and length, with adjacent extents merged. The offset is -1 if
        nothing is recorded.
    """

    what: str
    size: int
    extents: tuple[tuple[int, int], ...]

    @property
    def end(self) -> int:
        """The byte of the object where its last extent ends."""
        return max((at + length for at, length in self.extents if at >= 0), default=0)

    def spans(self, at: int, length: int) -> Iterator[tuple[int, int]]:
        """Convert a range of the file to ranges of the object."""
        for offset, size in self.extents:
            if at < size:
                part = min(length, size - at)
                if offset < 0:
                    raise damaged_error(f"a part of {self.what} has no recorded data")
                yield offset + at, part
                at, length = at + part, length - part
                if not length:
                    return
            at -= size

    def read(self, ranges: RangeReader, at: int, length: int) -> bytes:
        """Read a range, which must be inside the file."""
        if at + length > self.size:
            raise damaged_error(f"{self.what} ends before its contents do")
        spans = self.spans(at, length)
        return b"".join(ranges.read(offset, part, self.what) for offset, part in spans)


def open_file(
    ranges: RangeReader,
    volume: Volume,
    address: Address,
    *,
    folder: bool,
    what: str,
    read_ahead: int,
) -> File:
    """Read a file entry, extended or not, with all its allocation descriptors.

    Parameters
    ----------
    ranges : RangeReader
    volume : Volume
    address : Address
        The address of the file entry.
    folder : bool
        Whether it must be a folder; otherwise it must be a file.
    what : str
        The file's name, for messages.
    read_ahead : int
        The minimum number of bytes to read, from the entry on, if a request is needed.

    Raises
    ------
    RejectedError
        ``truncated`` or ``unreadable-iso``.
    """
    at = volume.offset(address, SECTOR, what)
    data = ranges.read(at, SECTOR, what, read_ahead=read_ahead)
    tag = check_tag(data, address.block, (FILE_ENTRY, EXTENDED_FILE_ENTRY), f"file entry of {what}")
    _, strategy, _, _, kind, flags = _ICB.unpack_from(data, 16)
    if strategy != _STRATEGY:
        raise damaged_error(f"{what} is recorded by strategy {strategy}")
    if kind != (FOLDER if folder else FILE):
        raise damaged_error(f"{what} is not a {'folder' if folder else 'file'}")
    size = int.from_bytes(data[56:64], "little")
    base = 216 if tag == EXTENDED_FILE_ENTRY else 176
    attributes, length = _LENGTHS.unpack_from(data, base - 8)
    base += attributes
    if base + length > SECTOR:
        raise damaged_error(f"the file entry of {what} is larger than a block")
    if flags & 7 == _INLINE_FORM:
        extents = [(at + base, length)]
    else:
        descriptors = data[base : base + length]
        reader = _AllocationReader(ranges, volume, address, what, long=flags & 7 == _LONG_FORM)
        if flags & 7 not in {_SHORT_FORM, _LONG_FORM}:
            raise damaged_error(f"{what} has allocation descriptors of an unknown form")
        extents = reader.extents(descriptors)
    if sum(part for _, part in extents) < size:
        raise damaged_error(f"{what} declares {size:,} bytes, but fewer are recorded")
    _check_no_overlap(extents, what)
    return File(what, size, tuple(_merge_adjacent(extents)))


class _AllocationReader:
    """Reads allocation descriptors, and those in the blocks that continue them."""

    def __init__(
        self, ranges: RangeReader, volume: Volume, address: Address, what: str, *, long: bool
    ) -> None:
        self.ranges, self.volume, self.what, self.long = ranges, volume, what, long
        self.partition = address.partition
        self.count = 0
        self.seen_partial_block = False

    def extents(self, descriptors: bytes) -> list[tuple[int, int]]:
        """Return byte offset and length of each extent, in order."""
        extents: list[tuple[int, int]] = []
        seen: set[Address] = set()
        while True:
            next_address = self._parse_descriptors(descriptors, extents)
            if next_address is None:
                return extents
            if next_address in seen:
                raise damaged_error(f"the allocation of {self.what} is circular")
            seen.add(next_address)
            descriptors = self._read_continuation(next_address)

    def _parse_descriptors(
        self, descriptors: bytes, extents: list[tuple[int, int]]
    ) -> Address | None:
        """Parse the descriptors of one block; returns the address where they continue, if any."""
        width = 16 if self.long else 8
        for at in range(0, len(descriptors) - width + 1, width):
            self.count += 1
            if self.count > MAX_ALLOCATIONS:
                raise damaged_error(f"{self.what} is in more than {MAX_ALLOCATIONS} extents")
            if self.long:
                raw, address = parse_long_address(descriptors, at)
            else:
                raw, block = _SHORT.unpack_from(descriptors, at)
                address = Address(block, self.partition)
            kind, length = raw >> 30, raw & _LENGTH_MASK
            if not length:
                return None  # the first descriptor with length 0 ends them: ECMA-167 4/12
            if kind == _CONTINUED:
                return address
            # An extent that ends within a block is the last recorded one; only allocated extents
            # may follow: 4/12.1.
            if self.seen_partial_block and kind != _ALLOCATED:
                raise damaged_error(
                    f"an extent of {self.what}, but not the last one, ends within a block"
                )
            self.seen_partial_block |= bool(length % SECTOR)
            at_byte = -1 if kind == _NEITHER else self.volume.offset(address, length, self.what)
            extents.append((at_byte if kind == _RECORDED else -1, length))
        return None

    def _read_continuation(self, address: Address) -> bytes:
        """Read the descriptors of an allocation extent (ECMA-167 4/14.5)."""
        what = f"allocation extent of {self.what}"
        at = self.volume.offset(address, SECTOR, f"the {what}")
        data = self.ranges.read(at, SECTOR, f"the {what}")
        check_tag(data, address.block, (ALLOCATION_EXTENT,), what)
        length = int.from_bytes(data[20:24], "little")
        if 24 + length > SECTOR:
            raise damaged_error(f"the {what} is larger than a block")
        return data[24 : 24 + length]


def _check_no_overlap(extents: list[tuple[int, int]], what: str) -> None:
    """Reject extents that share blocks; only malicious files have them."""
    end = 0
    for offset, length in sorted(extents):
        if offset < 0:
            continue
        if offset < end:
            raise damaged_error(f"extents of {what} overlap")
        end = offset + -(-length // SECTOR) * SECTOR


def _merge_adjacent(extents: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Merge adjacent extents, so that reading across their boundary takes one request."""
    previous: tuple[int, int] | None = None
    for offset, length in extents:
        if previous is not None and 0 <= previous[0] == offset - previous[1]:
            previous = (previous[0], previous[1] + length)
            continue
        if previous is not None:
            yield previous
        previous = (offset, length)
    if previous is not None:
        yield previous


def list_entries(ranges: RangeReader, folder: File) -> Iterator[FolderEntry]:
    """Yield the entries of a folder, except deleted ones and the parent, after checking each.

    Raises
    ------
    RejectedError
        ``truncated`` or ``unreadable-iso``.
    """
    if folder.size > MAX_FOLDER:
        raise damaged_error(f"{folder.what} is {folder.size:,} bytes, more than {MAX_FOLDER:,}")
    data = folder.read(ranges, 0, folder.size)
    at = 0
    while at < len(data):
        if at + _FIXED_SIZE > len(data):
            raise damaged_error(f"{folder.what} ends within a name")
        flags, length = data[at + 18], data[at + 19]
        name_at = at + _FIXED_SIZE + int.from_bytes(data[at + 36 : at + 38], "little")
        end = at + (name_at + length - at + 3) // 4 * 4
        if end > len(data):
            raise damaged_error(f"{folder.what} ends within a name")
        # The location in the tag is not checked: a name is found through its folder, and no other
        # reader checks it, so ISOs with a wrong location work everywhere else.
        check_tag(data[at:end], None, (FILE_IDENTIFIER,), f"name in {folder.what}")
        if not flags & (_DELETED | _PARENT):
            _, address = parse_long_address(data, at + 20)
            encoded = data[name_at : name_at + length]
            yield FolderEntry(decode_compressed(encoded), bool(flags & _IS_FOLDER), address)
        at = end
