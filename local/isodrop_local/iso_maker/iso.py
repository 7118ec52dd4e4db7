"""Windows-like ISOs: a UDF 1.02 bridge as oscdimg writes it, and its variants."""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Concatenate, Final, ParamSpec

from isodrop_local.iso_maker import udf
from isodrop_local.iso_maker.editions import EditionSpec, business_editions
from isodrop_local.iso_maker.image import SECTOR, Content, Image, sectors, sorted_pieces
from isodrop_local.iso_maker.wim import make_wim

P = ParamSpec("P")
LABEL: Final = "CCCOMA_X64FRE_EN-US_DV9"
_MAIN, _INTEGRITY, _RESERVE = 257, 273, 275
FIRST_PARTITION_SECTOR: Final = 291
_README: Final = (
    b'This disc contains a "UDF" file system and requires an operating system\r\n'
    b'that supports the ISO-13346 "UDF" file system specification.\r\n'
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the file system is laid out.

    Attributes
    ----------
    interleaved : bool
        Whether each file entry precedes its file's data, instead of all entries at the beginning.
    long : bool
        Whether allocation descriptors are long.
    inline : bool
        Whether directories are stored inside their file entries.
    extended : bool
        Whether file entries are extended.
    extent : int
        The maximum size of an extent in bytes, a multiple of 2048.
    chain : int
        How many descriptors an allocation extent contains; 0 for no chain.
    bridge : bool
        Whether there is an ISO 9660 file system.
    udf : bool
        Whether there is a UDF file system.
    extras : bool
        Whether file entries have extended attributes, and folders have names with implementation
        use and deleted names.
    narrow : bool
        Whether names have 8 bits per character, as most programs write them, not Microsoft's 16.
    tail : bool
        Whether an allocated, unrecorded block follows a file's last bytes.
    anchors : tuple of str
        Any of ``first``, ``last`` and ``before-last`` (256 sectors before the last).
    """

    interleaved: bool = False
    long: bool = False
    inline: bool = False
    extended: bool = False
    extent: int = udf.MAX_EXTENT
    chain: int = 0
    bridge: bool = True
    udf: bool = True
    extras: bool = False
    narrow: bool = False
    tail: bool = False
    anchors: tuple[str, ...] = ("first", "last")


LAYOUTS: Final = MappingProxyType(
    {
        "grouped": Layout(),
        "narrow": Layout(narrow=True),
        "interleaved": Layout(interleaved=True),
        "short": Layout(extent=SECTOR * 8),
        "long": Layout(long=True),
        "inline": Layout(inline=True),
        "extended": Layout(extended=True),
        "chained": Layout(extent=SECTOR * 2, chain=3),
        "chained-long": Layout(extent=SECTOR * 2, chain=3, long=True, extended=True),
        "extras": Layout(extras=True),
        "extras-inline": Layout(extras=True, inline=True, extended=True),
        "tail": Layout(tail=True, extended=True),
        "udf-only": Layout(bridge=False),
        "last-anchor": Layout(anchors=("last",)),
        "before-last-anchor": Layout(anchors=("before-last",)),
        "iso9660-only": Layout(udf=False),
    }
)


@dataclass(slots=True, eq=False)
class _Node:
    """A file or a directory that is laid out; blocks are counted from the partition."""

    name: str
    content: Content | None = None
    children: "list[_Node]" = field(default_factory=list)
    entry: int = 0
    data: int = 0
    chain: int = 0

    @property
    def is_directory(self) -> bool:
        return self.content is None

    def names(self, layout: Layout, *, up: int = 0, start: int = 0, inline: bool = False) -> bytes:
        """Write a directory's names at ``start``; the entry of its parent is at ``up``."""
        use = udf.entity(b"*isodrop test image") if layout.extras else b""
        made = udf.file_identifier("", up, start, directory=True, parent=True)
        for child in self.children:
            for deleted in (True, False) if layout.extras else (False,):
                made += udf.file_identifier(
                    child.name,
                    child.entry,
                    start if inline else start + len(made) // SECTOR,
                    directory=child.is_directory,
                    deleted=deleted,
                    use=use,
                    wide=not layout.narrow,
                )
        return made

    def walk(self, path: str = "") -> "Iterator[tuple[str, _Node]]":
        yield path or "/", self
        for child in self.children:
            yield from child.walk(f"{path}/{child.name}")


def _tree(files: Mapping[str, Content]) -> _Node:
    root = _Node("")
    for path, content in files.items():
        at = root
        for part in PurePosixPath(path).parts[:-1]:
            found = next((n for n in at.children if n.name == part and n.is_directory), None)
            if found is None:
                found = _Node(part)
                at.children.append(found)
            at = found
        at.children.append(_Node(PurePosixPath(path).name, content))
    return root


def windows_files(sources: str = "sources") -> dict[str, bytes | Content]:
    """Return stubs of the files beside install.wim on Microsoft's ISOs."""
    stub = EditionSpec("WindowsPE", "Microsoft Windows Setup (x64)", installation_type="WindowsPE")
    return {
        "autorun.inf": b"[AutoRun.Amd64]\r\nopen=setup.exe\r\nicon=setup.exe,0\r\n",
        "bootmgr": b"MZ" + bytes(4094),
        "bootmgr.efi": b"MZ" + bytes(8190),
        "setup.exe": b"MZ" + bytes(4094),
        "boot/bcd": b"regf" + bytes(4092),
        "boot/boot.sdi": Content.of(b"$SDI0001" + bytes(2040)),
        "boot/etfsboot.com": bytes(4096),
        "efi/boot/bootx64.efi": b"MZ" + bytes(8190),
        "efi/microsoft/boot/efisys.bin": bytes(8192),
        f"{sources}/boot.wim": make_wim([stub, stub]),
        f"{sources}/idwbinfo.txt": b"[BUILDINFO]\r\nBuildArch=amd64\r\n",
        f"{sources}/lang.ini": b"[Available UI Languages]\r\nen-us = 3\r\n",
        f"{sources}/setup.exe": b"MZ" + bytes(2046),
        "support/logging/readme.txt": b"",
    }


MEASURED_WIM_SIZE: Final = 7_578_075_168
"""The size of install.wim on Microsoft's Win11_25H2 x64 v2. The numbers of files and folders were
measured on 23H2, too."""

_MEASURED_FOLDERS, _MEASURED_FILES = 85, 946
_IN_SOURCES: Final = 250
_FOLDERS: Final = (
    *("boot", "boot/fonts", "boot/resources", "efi", "efi/boot", "efi/microsoft"),
    *("efi/microsoft/boot", "efi/microsoft/boot/fonts", "efi/microsoft/boot/resources"),
    *("sources", "sources/dlmanifests", "sources/etwproviders", "sources/migration"),
    *("sources/replacementmanifests", "sources/sxs", "support", "support/logging"),
)


def measured_files() -> dict[str, bytes | Content]:
    """Return files: with install.wim, as many files and folders as on Microsoft's ISOs.

    How many files each folder has is not measured: here more than a quarter of them are in
    ``sources`` itself, by far the largest folder.
    """
    made = windows_files()
    folders = list(_FOLDERS)
    existing_folders = {"/".join(path.split("/")[:-1]) for path in made} | {*_FOLDERS}
    for number in range(
        _MEASURED_FOLDERS - len(existing_folders - {""}) - 1
    ):  # the root is one, too
        folders.append(f"sources/replacementmanifests/microsoft-windows-component-{number:02}")
    count = _MEASURED_FILES - 1 - len(made)
    for number in range(count):
        folder = "sources" if number < _IN_SOURCES else folders[number % len(folders)]
        made[f"{folder}/component-{number:03}.dll"] = Content(9000, ((0, b"MZ"),))
    return made


class _ImageWriter:
    """Lays out the tree and writes it as pieces."""

    def __init__(self, root: _Node, layout: Layout, label: str) -> None:
        self.root, self.layout, self.label = root, layout, label
        self.pieces: list[tuple[int, bytes]] = []
        self.places: dict[str, int] = {}
        self.next = 2  # the file set descriptor and its terminator come first
        order = self._order()
        for node in order:
            self._allocate_entry(node)
            if node.is_directory or layout.interleaved:
                self._allocate_data(node)
        if not layout.interleaved:
            for node in order:
                if not node.is_directory:
                    self._allocate_data(node)

    def _order(self) -> list[_Node]:
        """Return the nodes in the order of their blocks."""
        nodes = [node for _, node in self.root.walk()]
        if self.layout.interleaved:
            return nodes
        nodes.sort(key=lambda node: not node.is_directory)
        return nodes

    def _size(self, node: _Node) -> int:
        return len(node.names(self.layout)) if node.content is None else node.content.size

    def _inline(self, node: _Node) -> bool:
        return self.layout.inline and node.is_directory and self._size(node) <= 1700

    def _allocate_entry(self, node: _Node) -> None:
        node.entry, self.next = self.next, self.next + 1
        count = len(udf.extents(0, self._size(node), self.layout.extent))
        if self.layout.chain and count > self.layout.chain:
            node.chain, self.next = self.next, self.next + -(-count // self.layout.chain) - 1

    def _allocate_data(self, node: _Node) -> None:
        if not self._inline(node):
            count = sectors(self._size(node)) + self._has_tail(node)
            node.data, self.next = self.next, self.next + count

    def _has_tail(self, node: _Node) -> bool:
        return self.layout.tail and not node.is_directory

    def put(self, sector: int, data: bytes, place: str = "") -> None:
        self.pieces.append((sector * SECTOR, data))
        if place:
            self.places[place] = sector * SECTOR

    def write_tree(self) -> None:
        for unique, (path, node) in enumerate(self.root.walk()):
            data = node.content or Content.of(self._directory(node))
            form, descriptors = self._descriptors(node, data)
            entry = udf.file_entry(
                node.entry,
                kind=udf.DIRECTORY if node.is_directory else udf.FILE,
                size=data.size,
                descriptors=descriptors,
                form=form,
                extended=self.layout.extended,
                unique=unique + 16 if unique else 0,
                blocks=0 if form == udf.INLINE else sectors(data.size),
                attributes=udf.free_space_attribute(node.entry) if self.layout.extras else b"",
            )
            self.put(FIRST_PARTITION_SECTOR + node.entry, entry, f"{path}#")
            if form != udf.INLINE:
                start = (FIRST_PARTITION_SECTOR + node.data) * SECTOR
                self.places[path] = start
                self.pieces += [(start + at, piece) for at, piece in data.pieces]

    def _directory(self, node: _Node) -> bytes:
        up = next((n.entry for _, n in self.root.walk() if node in n.children), node.entry)
        if self._inline(node):
            return node.names(self.layout, up=up, start=node.entry, inline=True)
        return node.names(self.layout, up=up, start=node.data)

    def _descriptors(self, node: _Node, data: Content) -> tuple[int, bytes]:
        """Return the form of a node's allocation, and the descriptors in its entry."""
        if self._inline(node):
            return udf.INLINE, data.read(0, data.size)
        write = udf.long_ad if self.layout.long else udf.short_ad
        form = udf.LONG if self.layout.long else udf.SHORT
        ads = [write(*one) for one in udf.extents(node.data, data.size, self.layout.extent)]
        if self._has_tail(node):
            ads.append(write(SECTOR, node.data + sectors(data.size), 1))
        if not node.chain:
            return form, b"".join(ads)
        size = self.layout.chain
        groups = [b"".join(ads[at : at + size]) for at in range(0, len(ads), size)]
        for number in range(len(groups) - 1):
            groups[number] += write(SECTOR, node.chain + number, 3)
        for number, group in enumerate(groups[1:]):
            where = node.chain + number
            self.put(FIRST_PARTITION_SECTOR + where, udf.allocation_extent(where, group))
            self.places.setdefault(
                f"chain of {node.name}", (FIRST_PARTITION_SECTOR + where) * SECTOR
            )
        return form, groups[0]

    def write_volume(self, total: int) -> None:
        """Write the structures outside the partition, for an image of ``total`` sectors."""
        blocks = total - 1 - FIRST_PARTITION_SECTOR
        anchors = {"first": 256, "last": total - 1, "before-last": total - 257}
        for name in self.layout.anchors:
            at = anchors[name]
            self.put(at, udf.anchor(at, _MAIN, _RESERVE), f"anchor {name}")
        for place, first in (("main", _MAIN), ("reserve", _RESERVE)):
            made = udf.volume_descriptors(self.label, first, FIRST_PARTITION_SECTOR, blocks)
            for at, descriptor in enumerate(made):
                self.put(first + at, descriptor, f"{place} {at}")
        nodes = [node for _, node in self.root.walk()]
        folders = sum(node.is_directory for node in nodes)
        self.put(_INTEGRITY, udf.integrity(_INTEGRITY, blocks, len(nodes) - folders, folders))
        self.put(_INTEGRITY + 1, udf.tag(8, bytes(496), _INTEGRITY + 1))
        self.put(FIRST_PARTITION_SECTOR, udf.file_set(self.label, self.root.entry, 0), "fsd")
        self.put(FIRST_PARTITION_SECTOR + 1, udf.tag(8, bytes(496), 1))

    def write_recognition(self, total: int) -> None:
        """Write the sectors from 16 on: ISO 9660 if required, and the mark of UDF."""
        at = 16
        if self.layout.bridge:
            self.put(16, udf.iso9660(self.label, total * SECTOR, path_table=22, root=24))
            self.put(17, b"\xffCD001\x01".ljust(SECTOR, b"\0"))
            self.put(22, struct.pack("<BBLH2x", 1, 0, 24, 1))
            self.put(23, struct.pack(">BBLH2x", 1, 0, 24, 1))
            records = udf.iso9660_record(b"\0", 24, SECTOR, True)
            records += udf.iso9660_record(b"\1", 24, SECTOR, True)
            records += udf.iso9660_record(b"README.TXT;1", 25, len(_README))
            self.put(24, records)
            self.put(25, _README)
            at = 18
        if self.layout.udf:
            for name in (b"BEA01", b"NSR02", b"TEA01"):
                self.put(at, b"\0" + name + b"\x01", name.decode())
                at += 1


def make_image(
    *,
    editions: Sequence[EditionSpec] | None = None,
    label: str = LABEL,
    layout: Layout | str = "grouped",
    sources: str = "sources",
    wim_name: str = "install.wim",
    wim: Content | bytes | None = None,
    files: Mapping[str, bytes | Content] | None = None,
    size: int | None = None,
    pipable: bool = False,
    integrity: bool = False,
) -> Image:
    """Make an ISO in memory, without its holes.

    Parameters
    ----------
    editions : sequence of EditionSpec, optional
        The images in install.wim; by default the eleven business editions.
    label : str
    layout : Layout or str
        A layout, or the name of one in :data:`LAYOUTS`.
    sources, wim_name : str
        The path of the Windows image file. A name that ends in ``.swm`` makes a set of two parts.
    wim : Content or bytes, optional
        A Windows image file instead of ``editions``; empty bytes for none at all.
    files : mapping of str to bytes or Content, optional
        Other files by path, before those of Windows.
    size : int, optional
        The image's size in bytes: a hole in install.wim fills it up.
    pipable, integrity : bool
        Whether install.wim has the magic number of a pipable WIM, and an integrity table.
    """
    form = LAYOUTS[layout] if isinstance(layout, str) else layout
    split = wim_name.lower().endswith(".swm")
    specs = business_editions() if editions is None else tuple(editions)

    def contents(grown: int) -> dict[str, Content]:
        all_files = {**(files or {}), **windows_files(sources)}
        if wim is None:
            all_files[f"{sources}/{wim_name}"] = make_wim(
                specs,
                size=grown,
                solid=wim_name.lower().endswith(".esd"),
                part=(1, 2) if split else (1, 1),
                pipable=pipable,
                integrity=integrity,
            )
            if split:
                all_files[f"{sources}/{wim_name[:-4]}2.swm"] = make_wim([], part=(2, 2))
        elif wim:
            all_files[f"{sources}/{wim_name}"] = wim
        return {path: Content.of(data) for path, data in all_files.items()}

    anchor_gap = 256 if "before-last" in form.anchors else 0
    iso = _ImageWriter(_tree(contents(0)), form, label)
    least = FIRST_PARTITION_SECTOR + iso.next + 1 + anchor_gap
    if size is not None and wim is None:
        # A chain of allocation extents grows with the file, so reserve space for it.
        room = size // SECTOR - least - (size // SECTOR // 64 if form.chain else 0)
        grown = contents(0)[f"{sources}/{wim_name}"].size + max(0, room) * SECTOR
        iso = _ImageWriter(_tree(contents(grown)), form, label)
        least = FIRST_PARTITION_SECTOR + iso.next + 1 + anchor_gap
    total = max(least, 0 if size is None else size // SECTOR)
    iso.write_recognition(total)
    if form.udf:
        iso.write_volume(total)
        iso.write_tree()
    content = Content(total * SECTOR, sorted_pieces(iso.pieces))
    return Image(content, MappingProxyType(iso.places), FIRST_PARTITION_SECTOR)


def _to_file(make: Callable[P, Image]) -> Callable[Concatenate[Path | str, P], Path]:
    def make_iso(path: Path | str, /, *arguments: P.args, **how: P.kwargs) -> Path:
        """Write the result of :func:`make_image` as a sparse file."""
        return make(*arguments, **how).write(path)

    return make_iso


make_iso = _to_file(make_image)
"""The same as a file: a path, followed by the arguments of :func:`make_image`."""
