"""A UDF volume: from the anchor to the file set (ECMA-167 part 3; OSTA UDF 1.02, 2.2)."""

from binascii import crc_hqx
from collections.abc import Collection
from dataclasses import dataclass
from struct import Struct
from typing import Final

from isodrop.errors import RejectedError
from isodrop.iso.range_reader import (
    ANCHOR_SECTOR,
    SECTOR,
    RangeReader,
    damaged_error,
    only_zeros_error,
)

PRIMARY, ANCHOR, POINTER, PARTITION, LOGICAL, TERMINATOR = 1, 2, 3, 5, 6, 8
FILE_SET: Final = 256

MAX_DESCRIPTORS: Final = 64
MAX_PARTITIONS: Final = 4

_TAG: Final = Struct("<HHBxHHHL")
_TWO_UINT32: Final = Struct("<LL")
_LONG: Final = Struct("<LLH")
_PARTITION_MAPS: Final = {
    b"*UDF Virtual Partition": "a virtual partition",
    b"*UDF Sparable Partition": "a sparable partition",
    b"*UDF Metadata Partition": "a metadata partition",
}
# OSTA UDF 1.02, 2.2.3 requires extents of sixteen sectors, but writers fill six; eight are read.
_SEQUENCE_BYTES: Final = 8 * SECTOR


@dataclass(frozen=True, slots=True)
class Address:
    """A logical block: its number within a partition, and which partition (ECMA-167 4/7.1)."""

    block: int
    partition: int


@dataclass(frozen=True, slots=True)
class Volume:
    """A UDF volume, whose partitions may extend beyond the object's end.

    Attributes
    ----------
    label : str
        The logical volume identifier.
    partitions : tuple of tuple of int
        First sector and number of sectors, by partition reference number.
    root : Address
        The address of the root folder's file entry.
    """

    label: str
    partitions: tuple[tuple[int, int], ...]
    root: Address

    @property
    def end(self) -> int:
        """The byte where the last partition ends, according to its descriptor."""
        return max(start + count for start, count in self.partitions) * SECTOR

    def offset(self, address: Address, length: int, what: str) -> int:
        """Convert a logical block to a byte offset, and check that ``length`` bytes fit.

        Raises
        ------
        RejectedError
            ``unreadable-iso``: they are not inside the partition.
        """
        if address.partition >= len(self.partitions):
            raise damaged_error(f"{what} is in partition {address.partition}, which does not exist")
        start, count = self.partitions[address.partition]
        if address.block + -(-length // SECTOR) > count:
            raise damaged_error(f"{what} lies outside the file system, at block {address.block:,}")
        return (start + address.block) * SECTOR


def check_tag(data: bytes, location: int | None, wanted: Collection[int], what: str) -> int:
    """Check the tag at the beginning of a descriptor, and return its identifier.

    Checksum, CRC and location (unless it is ``None``) must be correct: ECMA-167 3/7.2 and 4/7.2.
    The CRC is CRC-16/XMODEM.

    Raises
    ------
    RejectedError
        ``unreadable-iso``.
    """
    identifier, _, checksum, _, crc, length, block = _TAG.unpack_from(data)
    at = "" if location is None else f" at block {location:,}"
    if identifier not in wanted:
        if not any(data):
            raise only_zeros_error(f"the {what}{at}")
        raise damaged_error(f"there is no {what}{at} where one should be")
    if (sum(data[:16]) - checksum) & 0xFF != checksum:
        raise damaged_error(f"the {what}{at} has a wrong checksum")
    if length > len(data) - 16 or crc_hqx(data[16 : 16 + length], 0) != crc:
        raise damaged_error(f"the {what}{at} has a wrong CRC")
    if location not in {None, block}:
        raise damaged_error(f"the {what}{at} claims to be at block {block:,}")
    return int(identifier)


def parse_long_address(data: bytes, at: int) -> tuple[int, Address]:
    """Parse a long allocation descriptor: raw length and address (ECMA-167 4/14.14.2)."""
    length, block, partition = _LONG.unpack_from(data, at)
    return length, Address(block, partition)


def find_anchor(ranges: RangeReader) -> bytes | None:
    """Return the anchor, or ``None`` if there is none.

    It is in sector 256; otherwise in the last sector, or 256 sectors before the last
    (OSTA UDF 1.02, 2.2.3: two of the three are required).
    """
    last = ranges.size // SECTOR - 1
    for sector in (ANCHOR_SECTOR, last, last - ANCHOR_SECTOR):
        if not 0 <= sector <= last:
            continue
        data = _read_anchor(ranges, sector)
        if data is not None:
            return data
    return None


def _read_anchor(ranges: RangeReader, sector: int) -> bytes | None:
    data = ranges.read(sector * SECTOR, SECTOR, "the anchor")
    try:
        check_tag(data, sector, (ANCHOR,), "anchor")
    except RejectedError:
        return None
    return data


def ends_with_anchor(ranges: RangeReader) -> bool:
    """Whether an anchor is at the end of the object: in its last sector, or 256 before it.

    The only other place for an anchor is sector 256 (OSTA UDF 1.02, 2.2.3). So an object that ends
    with one is complete, whatever length its file system claims.
    """
    last = ranges.size // SECTOR - 1
    return any(_read_anchor(ranges, at) for at in (last, last - ANCHOR_SECTOR) if at >= 0)


def open_volume(ranges: RangeReader, anchor: bytes) -> Volume:
    """Read an anchor's volume, from the reserve descriptors if the main ones are damaged.

    Raises
    ------
    RejectedError
        ``unreadable-iso``, or ``truncated`` where the object ends before its descriptors do.
    """
    try:
        return _read_volume(ranges, *_TWO_UINT32.unpack_from(anchor, 16))
    except RejectedError as first:
        reserve = _TWO_UINT32.unpack_from(anchor, 24)
        if not reserve[0] or reserve == _TWO_UINT32.unpack_from(anchor, 16):
            raise
        try:
            return _read_volume(ranges, *reserve)
        except RejectedError:
            raise first from None


def _read_volume(ranges: RangeReader, length: int, sector: int) -> Volume:
    found = _read_sequence(ranges, length, sector)
    primary, logical = found.get((PRIMARY, 0), b""), found.get((LOGICAL, 0))
    if not found:
        raise only_zeros_error("its volume descriptors")
    if logical is None:
        raise damaged_error("it has no logical volume descriptor")
    if int.from_bytes(logical[212:216], "little") != SECTOR:
        raise damaged_error("its logical blocks are not 2,048 bytes")
    if not logical[217:].startswith(b"*OSTA UDF Compliant"):
        raise damaged_error("its logical volume is not a UDF volume")
    partitions = tuple(
        _parse_partition(found.get((PARTITION, number))) for number in _read_partition_map(logical)
    )
    volume = Volume(
        label=decode_dstring(logical[84:212]) or decode_dstring(primary[24:56]),
        partitions=partitions,
        root=Address(0, 0),
    )
    _, address = parse_long_address(logical, 248)
    at = volume.offset(address, SECTOR, "the file set")
    data = ranges.read(at, SECTOR, "the file set")
    check_tag(data, address.block, (FILE_SET,), "file set descriptor")
    _, root = parse_long_address(data, 400)
    return Volume(volume.label, partitions, root)


def _read_sequence(ranges: RangeReader, length: int, sector: int) -> dict[tuple[int, int], bytes]:
    """Read a volume descriptor sequence.

    Returns the descriptors, keyed by tag and, for partitions, partition number. Of several with the
    same key, the one with the highest sequence number takes precedence (ECMA-167 3/8.4.2, 3/8.4.3).
    """
    found: dict[tuple[int, int], bytes] = {}
    end = sector + length // SECTOR
    for _ in range(MAX_DESCRIPTORS):
        if sector >= end:
            return found
        data = ranges.read(
            sector * SECTOR, SECTOR, "the volume descriptors", read_ahead=_SEQUENCE_BYTES
        )
        if not any(data[:16]):
            return found
        tag = check_tag(data, sector, range(1, 10), "volume descriptor")
        sector += 1
        if tag == TERMINATOR:
            return found
        if tag == POINTER:
            length, sector = _TWO_UINT32.unpack_from(data, 20)
            end = sector + length // SECTOR
            continue
        key = (tag, int.from_bytes(data[22:24], "little") if tag == PARTITION else 0)
        # The sequence number follows the tag, except in the anchor and the terminator.
        if key not in found or data[16:20][::-1] > found[key][16:20][::-1]:
            found[key] = data
    raise damaged_error(f"it has more than {MAX_DESCRIPTORS} volume descriptors")


def _read_partition_map(logical: bytes) -> list[int]:
    """Return the partition numbers by reference number (ECMA-167 3/10.7.2)."""
    length, count = _TWO_UINT32.unpack_from(logical, 264)
    if not 1 <= count <= MAX_PARTITIONS:
        raise damaged_error(f"it consists of {count:,} partitions")
    numbers = []
    for at in range(440, 440 + 6 * count, 6):
        if length < 6 * count or logical[at : at + 2] != b"\x01\x06":
            kind = _describe_partition_map(logical, at)
            raise damaged_error(f"its UDF file system has {kind}, which Windows ISOs never have")
        numbers.append(int.from_bytes(logical[at + 4 : at + 6], "little"))
    return numbers


def _describe_partition_map(logical: bytes, at: int) -> str:
    """Describe a partition map that is not of type 1 (OSTA UDF 2.60, 2.2.8 to 2.2.10)."""
    name = logical[at + 5 : at + 28].rstrip(b"\0")
    return _PARTITION_MAPS.get(name, "a partition map of an unknown kind")


def _parse_partition(data: bytes | None) -> tuple[int, int]:
    if data is None:
        raise damaged_error("its partition has no descriptor")
    if not data[25:].startswith(b"+NSR0"):
        raise damaged_error("its partition is not a UDF partition")
    start, count = _TWO_UINT32.unpack_from(data, 188)
    return start, count


def decode_dstring(data: bytes) -> str:
    """Decode a dstring (ECMA-167 1/7.2.12), valid or not."""
    return decode_compressed(data[: min(data[-1], len(data) - 1)]) if data else ""


def decode_compressed(data: bytes) -> str:
    """Decode OSTA compressed Unicode (UDF 1.02, 2.1.1), valid or not."""
    if data[:1] == b"\x10":
        return data[1:].decode("utf-16-be", "replace")
    return data[1:].decode("latin-1")
