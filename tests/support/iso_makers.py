"""ISOs made by other programs: WIMs by wimlib, ISOs by genisoimage and others."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pycdlib

from isodrop.iso.range_reader import RangeReader
from isodrop.iso.udf_volume import Volume, find_anchor, open_volume
from isodrop_local.iso_maker import EditionSpec, business_editions, server_editions, udf
from isodrop_local.iso_maker.image import SECTOR, sectors
from isodrop_local.iso_maker.mutate import sealed
from isodrop_local.iso_maker.wim import ARCHITECTURES
from tests.support.external_tools import run

LABEL = "CCCOMA_X64FRE_EN-US_DV9"
_LANGUAGES = ("de-DE", "en-US", "fr-FR", "zh-Hant-TW")
_NAMES = ("Windows 11 企业版", "Windows 11 Корпоративная", "Windows 11 🪟 <&> Entreprise")

WIMS: Mapping[str, tuple[Sequence[EditionSpec], Sequence[str]]] = MappingProxyType(
    {
        "eleven": (business_editions(), ("--compress=none",)),
        "one": (business_editions()[:1], ("--compress=none",)),
        "twenty-two": (business_editions(build=22621) * 2, ("--compress=none",)),
        "xpress": (business_editions(enterprise_index=1), ("--compress=XPRESS",)),
        "lzx": (business_editions(enterprise_index=11), ("--compress=LZX",)),
        "lzms": (business_editions(enterprise_index=3)[:3], ("--compress=LZMS",)),
        "solid": (business_editions(revision=4946), ("--solid",)),
        "checked": (business_editions()[2:6], ("--compress=LZX", "--check")),
        "arm64": (business_editions(architecture="arm64"), ("--compress=none",)),
        "server": (server_editions(), ("--compress=none",)),
        "languages": (business_editions(languages=_LANGUAGES)[:2], ("--compress=none",)),
        "scripts": (
            tuple(EditionSpec("Enterprise", name, languages=("zh-CN",)) for name in _NAMES),
            ("--compress=none",),
        ),
    }
)
"""By name: the images, and wimlib-imagex's options."""


def wimlib(target: Path, name: str, *options: str) -> Path:
    """Make a WIM with wimlib-imagex, as :data:`WIMS` says it."""
    specs, form = WIMS[name]
    content = target.with_suffix(".content")
    content.mkdir()
    (content / "license.txt").write_bytes(b"This is not Windows.\r\n")
    for number, spec in enumerate(specs):
        # An image's name must be unique in a WIM; the property is set to the required one
        # afterwards.
        verb = ("append", content, target) if number else ("capture", content, target)
        options_used = (*form, *options) if not number else tuple(o for o in form if o == "--check")
        properties = [f"--image-property={key}={value}" for key, value in _properties(spec)]
        run("wimlib-imagex", *verb, f"{spec.name} {number}", *options_used, *properties)
    return target


def _properties(spec: EditionSpec) -> list[tuple[str, str]]:
    pairs = [
        ("DISPLAYNAME", spec.name),
        ("WINDOWS/ARCH", str(ARCHITECTURES[spec.architecture])),
        ("WINDOWS/EDITIONID", spec.edition_id or ""),
        ("WINDOWS/INSTALLATIONTYPE", spec.installation_type or ""),
        ("WINDOWS/VERSION/MAJOR", str(spec.major)),
        ("WINDOWS/VERSION/MINOR", str(spec.minor)),
        ("WINDOWS/VERSION/BUILD", str(spec.build)),
        ("WINDOWS/VERSION/SPBUILD", str(spec.revision)),
        ("WINDOWS/VERSION/BRANCH", spec.branch or ""),
        ("WINDOWS/LANGUAGES/DEFAULT", spec.languages[0]),
    ]
    for number, language in enumerate(spec.languages, 1):
        pairs.append((f"WINDOWS/LANGUAGES/LANGUAGE[{number}]", language))
    return pairs


def folder(target: Path, wim: Path, path: str = "sources/install.wim", fillers: int = 0) -> Path:
    """Create the folder from which an ISO is made."""
    for number in range(fillers):
        filler = target / f"fill{number % 60:02}" / f"file{number:04}.dll"
        filler.parent.mkdir(parents=True, exist_ok=True)
        filler.write_bytes(b"MZ")
    for name, data in (("setup.exe", b"MZ"), ("boot/bcd", b"regf"), ("efi/boot/x.efi", b"MZ")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    (target / path).parent.mkdir(parents=True, exist_ok=True)
    (target / path).hardlink_to(wim)
    return target


def genisoimage(target: Path, source: Path, *options: str) -> Path:
    """Make an ISO with genisoimage, with ISO 9660 and UDF."""
    form = options or ("-udf", "-allow-limited-size")
    run("genisoimage", "-quiet", "-iso-level", "3", *form, "-V", LABEL, "-o", target, source)
    return target


def by_pycdlib(target: Path, wim: Path, path: str = "/sources/install.wim") -> Path:
    """Make an ISO with pycdlib, with ISO 9660 and UDF."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, udf="2.60", vol_ident=LABEL)
    iso.add_directory("/SOURCES", udf_path="/sources")
    name = path.rpartition("/")[2]
    with wim.open("rb") as file:
        iso_path = f"/SOURCES/{name.upper()};1"
        iso.add_fp(file, wim.stat().st_size, iso_path, udf_path=path)
        iso.write(str(target))
    iso.close()
    return target


def without(target: Path, source: Path, path: str = "/setup.exe") -> Path:
    """Remove a file from genisoimage's ISO with pycdlib, which leaves the partition too long."""
    iso = pycdlib.PyCdlib()
    iso.open(str(source))
    iso.rm_hard_link(udf_path=path)
    iso.write(str(target))
    iso.close()
    return target


def mkudffs(target: Path, *options: str, contents: str = "hd") -> Path:
    """Make an empty file system with mkudffs, without ISO 9660."""
    with target.open("wb") as file:
        file.truncate(16 << 20)
    run("mkudffs", f"--media-type={contents}", f"--label={LABEL}", *options, target)
    return target


def filled(target: Path, wim: Path) -> Path:
    """Add ``/sources/install.wim`` to the empty file system that mkudffs made.

    mkudffs adds no files, and a test has no permission to mount an image. The
    volume and the root folder stay as mkudffs wrote them; a name is added to the
    root folder, and its contents are written into free space.
    """
    iso = bytearray(target.read_bytes())
    ranges = RangeReader(lambda at, length: bytes(iso[at : at + length]), len(iso))
    anchor = find_anchor(ranges)
    assert anchor is not None
    volume = open_volume(ranges, anchor)
    start, blocks = volume.partitions[0]
    free, content = blocks // 2, wim.read_bytes()
    names = udf.file_identifier(
        "", volume.root.block, free + 1, directory=True, parent=True
    ) + udf.file_identifier("install.wim", free + 2, free + 1, directory=False)
    for block, data in (
        (free, _entry(free, udf.DIRECTORY, names)),
        (free + 1, names),
        (free + 2, _entry(free + 2, udf.FILE, content)),
        (free + 3, content),
    ):
        iso[(start + block) * SECTOR : (start + block) * SECTOR + len(data)] = data
    _add_to_root(iso, volume, free)
    target.write_bytes(iso)
    return target


def _entry(block: int, kind: int, data: bytes) -> bytes:
    """Write the file entry of the blocks after it."""
    return udf.file_entry(
        block,
        kind=kind,
        size=len(data),
        descriptors=udf.short_ad(len(data), block + 1),
        form=udf.SHORT,
        extended=False,
        unique=block,
        blocks=sectors(len(data)),
    )


def _add_to_root(iso: bytearray, volume: Volume, block: int) -> None:
    """Add the name ``sources`` to the root folder, in either of mkudffs's forms."""
    start, root = volume.partitions[0][0], volume.root.block
    entry = bytearray(iso[(start + root) * SECTOR : (start + root + 1) * SECTOR])
    base = 216 if entry[:2] == b"\x0a\x01" else 176
    attributes, length = struct.unpack_from("<LL", entry, base - 8)
    size = int.from_bytes(entry[56:64], "little")
    at = base + attributes
    if entry[34] & 7 == udf.INLINE:
        name = udf.file_identifier("sources", block, root, directory=True)
        entry[at + size : at + size + len(name)] = name
        struct.pack_into("<L", entry, base - 4, length + len(name))
        entry[10:12] = (int.from_bytes(entry[10:12], "little") + len(name)).to_bytes(2, "little")
    else:
        where = int.from_bytes(entry[at + 4 : at + 8], "little")
        name = udf.file_identifier("sources", block, where, directory=True)
        offset = (start + where) * SECTOR + size
        iso[offset : offset + len(name)] = name
        struct.pack_into("<L", entry, at, size + len(name))
    for place in (56, 64) if base == 216 else (56,):
        struct.pack_into("<Q", entry, place, size + len(name))
    iso[(start + root) * SECTOR : (start + root + 1) * SECTOR] = sealed(bytes(entry))
