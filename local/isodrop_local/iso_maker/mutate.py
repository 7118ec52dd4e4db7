"""Damage that an image's checksums do not reveal; seeded, so that it can be repeated."""

import struct
from binascii import crc_hqx
from collections.abc import Callable
from dataclasses import replace
from random import Random
from types import MappingProxyType

from isodrop_local.iso_maker import udf
from isodrop_local.iso_maker.image import SECTOR, Image, sectors
from isodrop_local.iso_maker.wim import HEADER_SIZE

_FULL_SIZE = 1 << 30  # an image of this size has room for every kind of damage
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
# Parts of an image's description; a few are malformed on purpose.
_XML_PARTS = (
    "<NAME>x</NAME>",
    "<NAME/><NAME/>",
    "<WINDOWS><EDITIONID>Enterprise</EDITIONID></WINDOWS>",
    "<WINDOWS><ARCH>9</ARCH><VERSION><BUILD>26100</BUILD></VERSION></WINDOWS>",
    "<WINDOWS><ARCH>\uff19</ARCH><VERSION><MAJOR>-1</MAJOR></VERSION></WINDOWS>",
    f"<WINDOWS><LANGUAGES>{'<LANGUAGE>en-US</LANGUAGE>' * 300}</LANGUAGES></WINDOWS>",
    f"<NAME>{'x' * 1025}</NAME>",
    '<IMAGE INDEX="1"/>',
    "<a>" * 40 + "</a>" * 40,
    '<a b=""/>' * 4200,
    "<a/>" * 33_000,
    "&amp;&#x41;",
    "<?p?>",
    "&b;",
    "<a>",
)


def sealed(data: bytes, location: int | None = None) -> bytes:
    """Return a descriptor with a correct CRC and checksum in its tag, and its location if given."""
    made = bytearray(data)
    if location is not None:
        made[12:16] = location.to_bytes(4, "little")
    length = int.from_bytes(made[10:12], "little")
    made[8:10] = crc_hqx(bytes(made[16 : 16 + length]), 0).to_bytes(2, "little")
    made[4] = (sum(made[:16]) - made[4]) & 0xFF
    return bytes(made)


def location_of(image: Image, place: str) -> int:
    """Return the location that the descriptor tag at a place must have."""
    sector = image.places[place] // SECTOR
    outside = sector < image.partition or place.startswith("anchor")
    return sector if outside else sector - image.partition


def resealed(image: Image, place: str, change: Callable[[bytearray], object]) -> Image:
    """Change the descriptor at a place with a function, and correct its checksums."""
    offset = image.places[place]
    data = bytearray(image.content.read(offset, SECTOR))
    change(data)
    return image.with_bytes(offset, sealed(bytes(data)))


def put(form: str, at: int, *values: int) -> Callable[[bytearray], None]:
    """Return a change that packs values at an offset."""
    return lambda data: struct.pack_into(f"<{form}", data, at, *values)


def names_resealed(data: bytes) -> bytes:
    """Recompute the tags of all file identifiers in a folder, as far as they are valid."""
    made, at = bytearray(data), 0
    while at + 38 <= len(made):
        length = 38 + made[at + 19] + int.from_bytes(made[at + 36 : at + 38], "little")
        end = min(at + (length + 3) // 4 * 4, len(made))
        made[at:end] = sealed(bytes(made[at:end]))[: end - at]
        at = end
    return bytes(made)


def mutate(image: Image, random: Random) -> Image:
    """Return an image with one to four kinds of damage.

    The same state of ``random`` results in the same damage.
    """
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        image = random.choices(tuple(_KINDS), tuple(_KINDS.values()))[0](image, random)
    return image


def _descriptors(image: Image) -> list[str]:
    """Return the places that a reader visits on the way to install.wim."""
    visited = {"/#", "/sources#", f"{_wim(image)}#"}
    return [place for place in image.places if place in visited or not place.startswith("/")]


def _wim(image: Image) -> str:
    return next(
        f"/sources/install.{kind}"
        for kind in ("wim", "esd", "swm")
        if f"/sources/install.{kind}" in image.places
    )


def _value(image: Image, random: Random) -> int:
    """Return a number that is likely to have an effect somewhere."""
    kind = random.randrange(5)
    if kind == 0:
        return random.choice(_VALUES)
    if kind == 1:
        return random.choice(_LARGE)
    if kind == 2:
        place = random.choice(list(image.places))
        return location_of(image, place)
    if kind == 3:
        return max(0, image.size // SECTOR + random.randint(-300, 2))
    return random.getrandbits(random.choice((8, 16, 32)))


def _corrupt(data: bytearray, image: Image, random: Random, start: int = 0) -> None:
    """Change a few numbers or bytes, mostly at places that are not empty."""
    for _ in range(random.choice((1, 1, 2, 4))):
        used = len(bytes(data).rstrip(b"\0"))
        at = random.randrange(start, max(start + 1, min(used + 16, len(data))))
        form = random.choice("BHLLL")
        size = struct.calcsize(f"<{form}")
        at = min(at // size * size, len(data) - size)
        value = _value(image, random) & ((1 << 8 * size) - 1)
        struct.pack_into(f"<{form}", data, at, value)


def _corrupt_descriptor(image: Image, random: Random) -> Image:
    place = random.choice(_descriptors(image))
    start = 0 if random.random() < 0.1 else 16
    return resealed(image, place, lambda data: _corrupt(data, image, random, start))


def _corrupt_name(image: Image, random: Random) -> Image:
    place = random.choice([p for p in ("/", "/sources") if p in image.places] or ["/#"])
    offset = image.places[place]
    data = bytearray(image.content.read(offset, SECTOR))
    _corrupt(data, image, random)
    return image.with_bytes(offset, names_resealed(bytes(data)))


def _scatter_extents(image: Image, random: Random) -> Image:
    """Scatter a file or folder over the image, mostly with valid extents."""
    place = random.choice(["/#", "/sources#", f"{_wim(image)}#"])
    blocks = max(1, image.size // SECTOR - image.partition - 1)
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


def _copy_range(image: Image, random: Random) -> Image:
    source, target = (random.choice(_descriptors(image)) for _ in range(2))
    offset = image.places[target]
    data = image.content.read(image.places[source], SECTOR)
    return image.with_bytes(offset, sealed(data, location_of(image, target)))


def _truncate(image: Image, random: Random) -> Image:
    edges = [*image.places.values(), image.size]
    size = random.choice(edges) + random.choice((-1, 0, 1, 16, 100, SECTOR))
    return image.resized(max(0, min(size, image.size)))


def _overwrite_range(image: Image, random: Random) -> Image:
    offset, data = random.choice(image.content.pieces)
    if not data:
        return image
    at = random.randrange(len(data))
    return image.with_bytes(offset + at, bytes((data[at] ^ 1 << random.randrange(8),)))


def _shuffle_parts(image: Image, random: Random) -> Image:
    """Swap two parts of the object, or repeat or omit one, as a faulty upload does."""
    part = random.choice((64, 128, 256)) * 1024
    first, second = (random.randrange(max(1, min(image.size, 1 << 20) // part)) for _ in range(2))
    one = image.content.read(first * part, part)
    other = image.content.read(second * part, part)
    image = image.with_bytes(first * part, other[: image.size - first * part])
    if random.random() < 0.5:
        image = image.with_bytes(second * part, one[: image.size - second * part])
    return image


def _corrupt_wim_header(image: Image, random: Random) -> Image:
    offset = image.places[_wim(image)]
    data = bytearray(image.content.read(offset, HEADER_SIZE))
    _corrupt(data, image, random, random.choice((8, 8, 44, 72)))
    return image.with_bytes(offset, bytes(data))


def _insert_xml(image: Image, random: Random) -> Image:
    """Insert hostile text into the XML, and correct the header's lengths."""
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
    # Longer XML is truncated, so that it stays inside the file.
    size = min(len(data), length)
    struct.pack_into("<QQQ", head, 0x48, size, at, size)
    return image.with_bytes(start, bytes(head)).with_bytes(start + at, bytes(data[:size]))


def _replace_xml(image: Image, random: Random) -> Image:
    """Replace the WIM's XML, mostly by well-formed XML, up to the maximum size."""
    start = image.places[_wim(image)]
    head = bytearray(image.content.read(start, HEADER_SIZE))
    length, at, _ = struct.unpack_from("<QQQ", head, 0x48)
    count = random.choice((1, 1, 2, 11, 255, 256, 257))
    few = random.choice((0, 1, 2)) if count < 20 else 0
    images = (
        f'<IMAGE INDEX="{number}">{"".join(random.choices(_XML_PARTS, k=few))}</IMAGE>'
        for number in range(1, count + 1)
    )
    text = f"\ufeff<WIM>{''.join(images)}</WIM>".encode("utf-16-le")
    if image.size > _FULL_SIZE:
        at, length = 1 << 20, random.choice((length, 1 << 20, (1 << 20) + 2))
    if at > image.size or length > 2 << 20:
        return image
    text = text[:length] + b" \0" * ((length - len(text)) // 2)
    struct.pack_into("<L", head, 44, random.choice((count, count, count, 11)))
    struct.pack_into("<QQQ", head, 0x48, len(text), at, len(text))
    return image.with_bytes(start, bytes(head)).with_bytes(start + at, text)


def _chain_extents(image: Image, random: Random) -> Image:
    """Chain allocation extents from block to block, for a while or forever."""
    place = random.choice(("/#", "/sources#", f"{_wim(image)}#"))
    content = "/" if place == "/#" else place[:-1]
    if content not in image.places:  # a folder inside its entry
        return image
    start = image.places[content] // SECTOR - image.partition
    size = int.from_bytes(image.content.read(image.places[place] + 56, 8), "little")
    size = min(size, image.size)
    most = max(SECTOR, sectors(size) // random.randint(1, 8) * SECTOR)
    every = udf.extents(start, size, min(most, udf.MAX_EXTENT))
    ads = [udf.short_ad(*one) for one in every[:64]]
    if random.random() < 0.2:
        ads += [udf.short_ad(SECTOR, 0, 1)] * random.choice((400, 511, 512, 600))
    blocks = max(1, image.size // SECTOR - image.partition - 1)
    links = [random.randrange(blocks) for _ in range(random.choice((1, 2, 5, 18, 19, 20, 21, 30)))]
    each = -(-len(ads) // (len(links) + 1))
    groups = [b"".join(ads[at * each : (at + 1) * each]) for at in range(len(links) + 1)]
    last = random.choice(links) if random.random() < 0.2 else None
    targets = [*links, last]
    for number, block in enumerate(links, 1):
        data = groups[number] + _link_to(targets[number])
        if len(data) <= SECTOR - 24:
            where = (image.partition + block) * SECTOR
            image = image.with_bytes(where, udf.allocation_extent(block, data))

    def change(entry: bytearray) -> None:
        base = 216 if entry[:2] == b"\x0a\x01" else 176
        made = (groups[0] + _link_to(links[0]))[: SECTOR - base]
        struct.pack_into("<H", entry, 34, udf.SHORT)
        struct.pack_into("<LL", entry, base - 8, 0, len(made))
        struct.pack_into("<H", entry, 10, base - 16 + len(made))
        entry[base : base + len(made)] = made

    return resealed(image, place, change)


def _link_to(block: int | None) -> bytes:
    return b"" if block is None else udf.short_ad(SECTOR, block, 3)


def _enlarge_folder(image: Image, random: Random) -> Image:
    """Make a folder as large as is allowed, or larger, with all of it recorded."""
    size = (1 << 20) + random.choice((-4, 0, 4, 1 << 20))
    block = random.randrange(max(1, image.size // SECTOR - image.partition))

    def change(entry: bytearray) -> None:
        base = 216 if entry[:2] == b"\x0a\x01" else 176
        struct.pack_into("<H", entry, 34, udf.SHORT)
        struct.pack_into("<Q", entry, 56, size)
        struct.pack_into("<LLLL", entry, base - 8, 0, 8, size, block)

    return resealed(image, random.choice(("/#", "/sources#")), change)


def _redirect_descriptors(image: Image, random: Random) -> Image:
    """Continue the volume descriptors elsewhere: ECMA-167 3/10.3."""
    for side in random.choice((("main",), ("main", "reserve"))):
        offset = image.places[f"{side} {random.randrange(6)}"]
        target = image.places[random.choice([p for p in image.places if p.startswith(side)])]
        length = random.choice((16 * SECTOR, 16 * SECTOR, _value(image, random) & 0xFFFFFFFF))
        body = struct.pack("<LLL", 9, length, target // SECTOR) + bytes(484)
        image = image.with_bytes(offset, udf.tag(3, body, offset // SECTOR))
    return image


def _copy_place(image: Image, random: Random) -> Image:
    """Copy the bytes of one place to another, without changing the pointers."""
    one, other = (image.places[random.choice(list(image.places))] for _ in range(2))
    moved = image.with_bytes(one, image.content.read(other, SECTOR))
    return replace(moved, places=image.places)


_KINDS = MappingProxyType(
    {
        _corrupt_descriptor: 40,
        _corrupt_name: 14,
        _scatter_extents: 10,
        _chain_extents: 8,
        _enlarge_folder: 2,
        _redirect_descriptors: 3,
        _copy_range: 6,
        _truncate: 4,
        _overwrite_range: 5,
        _shuffle_parts: 3,
        _corrupt_wim_header: 12,
        _insert_xml: 9,
        _replace_xml: 8,
        _copy_place: 2,
    }
)
