"""The descriptors of UDF 1.02 as bytes: ECMA-167 3rd edition with OSTA UDF 1.02's choices."""

import struct
from binascii import crc_hqx

from isodrop_local.iso_maker.image import SECTOR

MAX_EXTENT = 0x3FF00000
_CHARSET = b"\0" + b"OSTA Compressed Unicode".ljust(63, b"\0")
_NOW = struct.pack("<HHBBBBBBBB", 0x1000, 2024, 9, 6, 12, 0, 0, 0, 0, 0)
DIRECTORY, FILE = 4, 5
SHORT, LONG, INLINE = 0, 1, 3


def tag(identifier: int, body: bytes, location: int, *, version: int = 2) -> bytes:
    """Add the tag to a descriptor's body (ECMA-167 3/7.2)."""
    head = struct.pack(
        "<HHBBHHHL", identifier, version, 0, 0, 0, crc_hqx(body, 0), len(body), location
    )
    return head[:4] + bytes((sum(head) & 0xFF,)) + head[5:] + body


def entity(name: bytes, suffix: bytes = b"") -> bytes:
    """Write an entity identifier (ECMA-167 1/7.4)."""
    return b"\0" + name.ljust(23, b"\0") + suffix.ljust(8, b"\0")


DOMAIN = entity(b"*OSTA UDF Compliant", b"\x02\x01\x00")
MAKER = entity(b"*Microsoft CDIMAGE UDF")


def dstring(text: str, length: int) -> bytes:
    """Write a dstring (ECMA-167 1/7.2.12), in 8 bits if possible."""
    if not text:
        return bytes(length)
    data = compressed(text)[: length - 1]
    return data.ljust(length - 1, b"\0") + bytes((len(data),))


def compressed(text: str, *, wide: bool = False) -> bytes:
    """Write OSTA compressed Unicode (UDF 1.02, 2.1.1), in 8 bits if possible.

    ``wide`` writes 16 bits in any case, as Microsoft's ISOs do for file names.
    """
    if wide:
        return b"\x10" + text.encode("utf-16-be")
    try:
        return b"\x08" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"\x10" + text.encode("utf-16-be")


def short_ad(length: int, block: int, kind: int = 0) -> bytes:
    return struct.pack("<LL", length | kind << 30, block)


def long_ad(length: int, block: int, kind: int = 0) -> bytes:
    return struct.pack("<LLH6x", length | kind << 30, block, 0)


def anchor(location: int, main: int, reserve: int) -> bytes:
    extents = struct.pack("<LLLL", 16 * SECTOR, main, 16 * SECTOR, reserve)
    return tag(2, extents + bytes(480), location)


def volume_descriptors(label: str, first: int, start: int, blocks: int) -> list[bytes]:
    """Write a volume descriptor sequence of six, the first at sector ``first``."""
    primary = (
        struct.pack("<LL", 1, 0) + dstring(label, 32) + struct.pack("<HHHHLL", 1, 1, 2, 3, 1, 1)
    )
    primary += dstring(f"5EBD7D8C{label}", 128) + _CHARSET + _CHARSET + bytes(16)
    primary += entity(b"") + _NOW + MAKER + bytes(64 + 4 + 2 + 22)
    logical = struct.pack("<L", 2) + _CHARSET + dstring(label, 128) + struct.pack("<L", SECTOR)
    logical += DOMAIN + long_ad(SECTOR, 0) + struct.pack("<LL", 6, 1) + MAKER + bytes(128)
    logical += struct.pack("<LL", 2 * SECTOR, first + 16) + struct.pack("<BBHH", 1, 6, 1, 0)
    partition = struct.pack("<LHH", 3, 1, 0) + entity(b"+NSR02") + bytes(128)
    partition += struct.pack("<LLL", 1, start, blocks) + MAKER + bytes(128 + 156)
    use = struct.pack("<L", 5) + entity(b"*UDF LV Info", b"\x02\x01") + _CHARSET
    use += dstring(label, 128) + bytes(36 * 3) + MAKER + bytes(128)
    bodies = ((1, primary), (4, use), (5, partition), (6, logical), (7, bytes((4,)) + bytes(7)))
    made = [tag(number, body, first + at) for at, (number, body) in enumerate(bodies)]
    return [*made, tag(8, bytes(496), first + len(made))]


def integrity(location: int, blocks: int, files: int, directories: int) -> bytes:
    body = _NOW + struct.pack("<L8x", 1) + struct.pack("<Q24x", files + directories + 16)
    body += struct.pack("<LLLL", 1, 46, 0, blocks) + MAKER
    body += struct.pack("<LLHHH", files, directories, 0x102, 0x102, 0x102)
    return tag(9, body, location)


def file_set(label: str, root: int, location: int) -> bytes:
    body = _NOW + struct.pack("<HHLLLL", 3, 3, 1, 1, 0, 0) + _CHARSET + dstring(label, 128)
    body += _CHARSET + dstring(label, 32) + bytes(64) + long_ad(SECTOR, root) + DOMAIN + bytes(64)
    return tag(256, body, location)


def file_entry(
    location: int,
    *,
    kind: int,
    size: int,
    descriptors: bytes,
    form: int,
    extended: bool,
    unique: int,
    blocks: int,
    attributes: bytes = b"",
) -> bytes:
    """Write a file entry (ECMA-167 4/14.9) or an extended one (4/14.17)."""
    lengths = struct.pack("<QLL", unique, len(attributes), len(descriptors))
    behind = lengths + attributes + descriptors
    body = struct.pack("<LHHHBB", 0, 4, 0, 1, 0, kind) + bytes(6) + struct.pack("<H", form)
    body += struct.pack("<LLLHBBLQ", 0xFFFFFFFF, 0xFFFFFFFF, 0x14A5, 1, 0, 0, 0, size)
    if extended:
        body += struct.pack("<QQ", size, blocks) + _NOW * 4 + struct.pack("<LL", 1, 0)
        body += long_ad(0, 0) * 2 + MAKER + behind
        return tag(266, body, location, version=3)
    body += struct.pack("<Q", blocks) + _NOW * 3 + struct.pack("<L", 1) + long_ad(0, 0) + MAKER
    return tag(261, body + behind, location)


def free_space_attribute(location: int) -> bytes:
    """Write the extended attributes that a file entry has on a mastered ISO: reserved space only.

    The header (ECMA-167 4/14.10.1) and "FreeEASpace" (OSTA UDF 1.02, 3.3.4.5.1.1).
    """
    room = 4
    name = entity(b"*UDF FreeEASpace", b"\x02\x01")
    head = struct.pack("<LB3xLL", 2048, 1, 48 + room, room) + name
    data = head + (sum(head) & 0xFFFF).to_bytes(room, "little")
    return tag(262, struct.pack("<LL", 24, 24 + len(data)), location) + data


def allocation_extent(location: int, descriptors: bytes) -> bytes:
    """Write an allocation extent descriptor (ECMA-167 4/14.5) and its descriptors."""
    # Its CRC covers only the descriptor: OSTA UDF 1.02, 2.3.7.
    head = tag(258, struct.pack("<LL", 0, len(descriptors)), location)
    return head + descriptors


def file_identifier(
    name: str,
    block: int,
    location: int,
    *,
    directory: bool,
    parent: bool = False,
    deleted: bool = False,
    use: bytes = b"",
    wide: bool = False,
) -> bytes:
    """Write a file identifier (ECMA-167 4/14.4), padded to four bytes.

    ``use`` is the implementation use before the name, a multiple of four bytes. A deleted
    identifier has no target.
    """
    flags = (2 if directory else 0) | (8 if parent else 0) | (4 if deleted else 0)
    encoded = b"" if parent else compressed(name, wide=wide)
    body = struct.pack("<HBB", 1, flags, len(encoded))
    where = (0, 0) if deleted else (SECTOR, block)
    body += struct.pack("<LLHHLH", *where, 0, 0, 0, len(use)) + use + encoded
    body += bytes(-(16 + len(body)) % 4)
    return tag(257, body, location)


def extents(block: int, size: int, most: int = MAX_EXTENT) -> list[tuple[int, int]]:
    """Split a file's bytes into extents (length, block) of at most ``most`` bytes."""
    made = []
    while size > 0:
        length = min(size, most)
        made.append((length, block))
        block += -(-length // SECTOR)
        size -= length
    return made


def iso9660(label: str, size: int, *, path_table: int, root: int) -> bytes:
    """Write the primary volume descriptor of ISO 9660 (ECMA-119 8.4)."""

    def both(number: int, short: bool = False) -> bytes:
        code = "H" if short else "L"
        return struct.pack(f"<{code}", number) + struct.pack(f">{code}", number)

    body = b"\x01CD001\x01\0" + b"".ljust(32) + label.encode("ascii", "replace")[:32].ljust(32)
    body += bytes(8) + both(size // SECTOR) + bytes(32) + both(1, True) + both(1, True)
    body += both(SECTOR, True) + both(10) + struct.pack("<LL", path_table, 0)
    body += struct.pack(">LL", path_table + 1, 0) + iso9660_record(b"\0", root, SECTOR, True)
    body += b" " * (128 * 4 + 37 * 3) + (b"0" * 16 + b"\0") * 4 + b"\x01\0"
    return body.ljust(SECTOR, b"\0")


def iso9660_record(name: bytes, block: int, size: int, directory: bool = False) -> bytes:
    """Write a directory record (ECMA-119 9.1)."""
    length = 33 + len(name) + (1 - len(name) % 2)
    head = struct.pack("<BB", length, 0) + struct.pack("<L", block) + struct.pack(">L", block)
    head += struct.pack("<L", size) + struct.pack(">L", size) + bytes((124, 9, 6, 12, 0, 0, 0))
    head += bytes((2 if directory else 0, 0, 0)) + struct.pack("<H", 1) + struct.pack(">H", 1)
    return (head + bytes((len(name),)) + name).ljust(length, b"\0")
