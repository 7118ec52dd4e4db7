"""Images for the comparison with other readers: ours in every layout, and other programs'."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from isodrop_local.iso_maker import (
    LAYOUTS,
    EditionSpec,
    business_editions,
    consumer_editions,
    ltsc_editions,
    make_image,
    server_editions,
)
from tests.support import iso_makers

Maker = Callable[[Path], Path]


@dataclass(frozen=True, slots=True)
class Case:
    """How to make an image in a folder, the path of its WIM, and the WIM's contents."""

    make: Maker
    path: str = "sources/install.wim"
    editions: Sequence[EditionSpec] = business_editions()


def _ours(path: str = "sources/install.wim", **arguments: object) -> Case:
    def make(work: Path) -> Path:
        image = make_image(**arguments)  # type: ignore[arg-type] # each case names its own
        return image.write(work / "image.iso")

    editions = arguments.get("editions", business_editions())
    return Case(make, path, editions)  # type: ignore[arg-type] # it is one of them


def _geniso(wim: str, path: str = "sources/install.wim", fillers: int = 0) -> Case:
    def make(work: Path) -> Path:
        made = iso_makers.wimlib(work / "made.wim", wim)
        source = iso_makers.folder(work / "files", made, path, fillers)
        return iso_makers.genisoimage(work / "image.iso", source)

    return Case(make, path, iso_makers.WIMS[wim][0])


def _pycdlib(wim: str, path: str = "sources/install.wim") -> Case:
    def make(work: Path) -> Path:
        made = iso_makers.wimlib(work / "made.wim", wim)
        return iso_makers.by_pycdlib(work / "image.iso", made, f"/{path}")

    return Case(make, path, iso_makers.WIMS[wim][0])


def _edited(wim: str) -> Case:
    """Make a padded image with genisoimage, from which pycdlib removes a file."""

    def make(work: Path) -> Path:
        base = _geniso(wim).make(work)
        return iso_makers.without(work / "edited.iso", base)

    return Case(make, editions=iso_makers.WIMS[wim][0])


def _mkudffs(*options: str, contents: str = "hd") -> Case:
    def make(work: Path) -> Path:
        made = iso_makers.wimlib(work / "made.wim", "eleven")
        form = ("--blocksize=2048", *options) if contents == "hd" else options
        return iso_makers.filled(
            iso_makers.mkudffs(work / "image.iso", *form, contents=contents), made
        )

    return Case(make)


_GERMAN = business_editions(languages=("de-DE", "en-US"), default_language="de-DE")

OURS: Mapping[str, Case] = MappingProxyType(
    {
        **{
            f"ours, {layout}": _ours(layout=layout)
            for layout in LAYOUTS
            if layout != "iso9660-only"
        },
        "ours, esd": _ours("sources/install.esd", wim_name="install.esd"),
        "ours, integrity table": _ours(integrity=True),
        "ours, other case": _ours("SOURCES/Install.WIM", sources="SOURCES", wim_name="Install.WIM"),
        "ours, consumer": _ours(editions=consumer_editions(build=26200, revision=6584)),
        "ours, server": _ours(editions=server_editions()),
        "ours, ltsc": _ours(editions=ltsc_editions()),
        "ours, arm64": _ours(editions=business_editions(architecture="arm64")),
        "ours, languages": _ours(editions=_GERMAN),
        "ours, 256 images": _ours(editions=(business_editions() * 24)[:256]),
        "ours, many files": _ours(files={f"f{n}/file{n}": b"MZ" for n in range(300)}),
    }
)

OTHER_PROGRAMS: Mapping[str, Case] = MappingProxyType(
    {
        **{
            f"genisoimage, {wim}": _geniso(wim)
            for wim in iso_makers.WIMS
            if wim not in {"solid", "eleven"}
        },
        "genisoimage, esd": _geniso("solid", "sources/install.esd"),
        "genisoimage, other case": _geniso("eleven", "Sources/INSTALL.wim"),
        "genisoimage, many files": _geniso("eleven", fillers=1200),
        "genisoimage, edited by pycdlib": _edited("checked"),
        "pycdlib, eleven": _pycdlib("eleven"),
        "pycdlib, scripts": _pycdlib("scripts"),
        "pycdlib, esd": _pycdlib("solid", "sources/install.esd"),
        **{
            f"mkudffs, {revision} {form}": _mkudffs(f"--udfrev={revision}", f"--ad={form}")
            for revision in ("1.02", "2.01")
            for form in ("inicb", "short", "long")
        },
        "mkudffs, dvd": _mkudffs(contents="dvd"),
        "mkudffs, no extended entries": _mkudffs("--udfrev=2.01", "--noefe"),
    }
)
