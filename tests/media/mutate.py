"""Damage to an image that goes unnoticed by its checksums: seeded, so that it can be repeated."""

import struct
from binascii import crc_hqx
from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.media.image import SECTOR, Image
from tests.media.iso import FIRST_PARTITION_SECTOR
from tests.media.wim import HEADER_SIZE

_VALUES = (0, 1, 2, 3, 7, 8, 15, 16, 255, 256, 257, 2047, 2048, 2049, 0x7FFF, 0x8000, 0xFFFF)
_LARGE = (0x3FF00000, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xC0000000, 0xFFFFFFFF)
_XML = (
    "<!DOCTYPE a [<!ENTITY b 'c'>]>",
    "<!-- -->",
    "<![CDATA[x]]>",
    "&b;",
    "&#0;",
    "&#xD800;",
    "\0",
    "<a>" * 40,
    "</WIM>",
    "<?pi?>",
    '<IMAGE INDEX="1"></IMAGE>',
    '<IMAGE INDEX="99999999999999999999"/>',
    "<EDITIONID>Enterprise</EDITIONID>",
    "9" * 5000,
    "\u202e\u0660",
    " ",
)


def sealed(data: bytes, location: int | None = None) -> bytes:
    """Give a descriptor with its tag's CRC and checksum made right, and its location if given."""
    made = bytearray(data)
    if location is not None:
        made[12:16] = location.to_bytes(4, "little")
    length = int.from_bytes(made[10:12], "little")
    made[8:10] = crc_hqx(bytes(made[16 : 16 + length]), 0).to_bytes(2, "little")
    made[4] = (sum(made[:16]) - made[4]) & 0xFF
    return bytes(made)


def location_of(place: str, offset: int) -> int:
    """Tell the location that the tag of what lies at a place has to have."""
    sector = offset // SECTOR
    outside = sector < FIRST_PARTITION_SECTOR or place.startswith("anchor")
    return sector if outside else sector - FIRST_PARTITION_SECTOR


def resealed(image: Image, place: str, change: Callable[[bytearray], object]) -> Image:
    """Change the descriptor at a place by a function and make its checksums right again."""
    offset = image.places[place]
    data = bytearray(image.content.read(offset, SECTOR))
    change(data)
    return image.changed(offset, sealed(bytes(data)))


def put(form: str, at: int, *values: int) -> Callable[[bytearray], None]:
    """Give a change that packs values at an offset."""
    return lambda data: struct.pack_into(f"<{form}", data, at, *values)


def names_resealed(data: bytes) -> bytes:
    """Make the tags right of all the names in a folder, as far as they can be told apart."""
    made, at = bytearray(data), 0
    while at + 38 <= len(made):
        length = 38 + made[at + 19] + int.from_bytes(made[at + 36 : at + 38], "little")
        end = min(at + (length + 3) // 4 * 4, len(made))
        made[at:end] = sealed(bytes(made[at:end]))[: end - at]
        at = end
    return bytes(made)


def mutate(image: Image, random: Random) -> Image:
    """Give an image with one to four kinds of damage.

    Whatever ``random`` is, the same state of it gives the same damage.
    """
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        image = random.choices(_KINDS, _WEIGHTS)[0](image, random)
    return image


def _descriptors(image: Image) -> list[str]:
    """Give the places that a reader on its way to install.wim passes."""
    way = {"/#", "/sources#", f"{_wim(image)}#"}
    return [place for place in image.places if place in way or not place.startswith("/")]


def _wim(image: Image) -> str:
    return next(
        f"/sources/install.{kind}"
        for kind in ("wim", "esd", "swm")
        if f"/sources/install.{kind}" in image.places
    )


def _value(image: Image, random: Random) -> int:
    """Give a number that is likely to matter somewhere."""
    kind = random.randrange(5)
    if kind == 0:
        return random.choice(_VALUES)
    if kind == 1:
        return random.choice(_LARGE)
    if kind == 2:
        place = random.choice(list(image.places))
        return location_of(place, image.places[place])
    if kind == 3:
        return image.size // SECTOR + random.randint(-300, 2)
    return random.getrandbits(random.choice((8, 16, 32)))


def _stir(data: bytearray, image: Image, random: Random, start: int = 0) -> None:
    """Put a few numbers or bytes at places where there is something already, mostly."""
    for _ in range(random.choice((1, 1, 2, 4))):
        used = len(bytes(data).rstrip(b"\0"))
        at = random.randrange(start, max(start + 1, min(used + 16, len(data))))
        form = random.choice("BHLLL")
        size = struct.calcsize(f"<{form}")
        at = min(at // size * size, len(data) - size)
        value = _value(image, random) & ((1 << 8 * size) - 1)
        struct.pack_into(f"<{form}", data, at, value)


def _field(image: Image, random: Random) -> Image:
    place = random.choice(_descriptors(image))
    start = 0 if random.random() < 0.1 else 16
    return resealed(image, place, lambda data: _stir(data, image, random, start))


def _name(image: Image, random: Random) -> Image:
    place = random.choice([p for p in ("/", "/sources") if p in image.places] or ["/#"])
    offset = image.places[place]
    data = bytearray(image.content.read(offset, SECTOR))
    _stir(data, image, random)
    return image.changed(offset, names_resealed(bytes(data)))


def _allocation(image: Image, random: Random) -> Image:
    """Scatter a file or folder over the disc, in extents that mostly are where they may be."""
    place = random.choice(["/#", "/sources#", f"{_wim(image)}#"])
    blocks = max(1, image.size // SECTOR - FIRST_PARTITION_SECTOR - 1)
    long = random.random() < 0.5

    def change(data: bytearray) -> None:
        base = 216 if data[:2] == b"\x0a\x01" else 176
        count = random.choice(
            (1, 2, 8, 20, 23, 24, 25, 100, (SECTOR - base) // (16 if long else 8))
        )
        made, total = b"", 0
        for _ in range(count):
            length = random.choice((SECTOR, SECTOR, SECTOR * 2, SECTOR * 30, _value(image, random)))
            kind = random.choices((0, 1, 2, 3), (90, 3, 3, 4))[0]
            raw = (length & 0x3FFFFFFF) | kind << 30
            block = random.randrange(blocks)
            made += struct.pack("<LL", raw, block) + (bytes(8) if long else b"")
            total += raw & 0x3FFFFFFF
        made = made[: SECTOR - base]
        form = 1 if long else 0
        size = random.choice((total, total, 1 << 20, (1 << 20) + 1, _value(image, random)))
        struct.pack_into("<H", data, 34, form)
        struct.pack_into("<Q", data, 56, size)
        struct.pack_into("<LL", data, base - 8, 0, len(made))
        struct.pack_into("<H", data, 10, base - 16 + len(made))
        data[base : base + len(made)] = made

    return resealed(image, place, change)


def _copied(image: Image, random: Random) -> Image:
    source, target = (random.choice(_descriptors(image)) for _ in range(2))
    offset = image.places[target]
    data = image.content.read(image.places[source], SECTOR)
    return image.changed(offset, sealed(data, location_of(target, offset)))


def _cut(image: Image, random: Random) -> Image:
    edges = [*image.places.values(), image.size]
    size = random.choice(edges) + random.choice((-1, 0, 1, 16, 100, SECTOR))
    return image.cut(max(0, min(size, image.size)))


def _noise(image: Image, random: Random) -> Image:
    offset, data = random.choice(image.content.pieces)
    if not data:
        return image
    at = random.randrange(len(data))
    return image.changed(offset + at, bytes((data[at] ^ 1 << random.randrange(8),)))


def _shuffled(image: Image, random: Random) -> Image:
    """Swap two parts of the object, or double or leave out one, as a bad upload does."""
    part = random.choice((64, 128, 256)) * 1024
    first, second = (random.randrange(max(1, min(image.size, 1 << 20) // part)) for _ in range(2))
    one = image.content.read(first * part, part)
    other = image.content.read(second * part, part)
    image = image.changed(first * part, other[: image.size - first * part])
    if random.random() < 0.5:
        image = image.changed(second * part, one[: image.size - second * part])
    return image


def _header(image: Image, random: Random) -> Image:
    offset = image.places[_wim(image)]
    data = bytearray(image.content.read(offset, HEADER_SIZE))
    _stir(data, image, random, random.choice((8, 8, 44, 72)))
    return image.changed(offset, bytes(data))


def _xml(image: Image, random: Random) -> Image:
    """Put hostile text into the XML and correct the header's lengths."""
    start = image.places[_wim(image)]
    head = bytearray(image.content.read(start, HEADER_SIZE))
    length, at, _ = struct.unpack_from("<QQQ", head, 0x48)
    if length > 1 << 20 or start + at + length > image.size:
        return image
    data = bytearray(image.content.read(start + at, length))
    where = random.randrange(2, max(3, length)) // 2 * 2
    text = random.choice(_XML).encode("utf-16-le", "surrogatepass")
    if random.random() < 0.2:
        text = random.randbytes(2 * random.randint(1, 8))
    keep = random.choice((0, len(text)))
    data[where : where + keep] = text
    # What grows is cut at the end, so that it stays inside the file.
    size = min(len(data), length)
    struct.pack_into("<QQQ", head, 0x48, size, at, size)
    return image.changed(start, bytes(head)).changed(start + at, bytes(data[:size]))


def _places_kept(image: Image, random: Random) -> Image:
    """Move what lies at one place to where another does, leaving the pointers as they are."""
    one, other = (image.places[random.choice(list(image.places))] for _ in range(2))
    moved = image.changed(one, image.content.read(other, SECTOR))
    return replace(moved, places=image.places)


_KINDS = (_field, _name, _allocation, _copied, _cut, _noise, _shuffled, _header, _xml, _places_kept)
_WEIGHTS = (40, 14, 10, 6, 4, 5, 3, 12, 14, 2)
