"""Damaged ISOs of other programs are read or rejected within the limits."""

from pathlib import Path

from isodrop.iso.range_reader import RangeReader
from isodrop.iso.udf_files import list_entries, open_file
from isodrop.iso.udf_volume import Address, find_anchor, open_volume
from isodrop_local.iso_maker.image import SECTOR, Content, Image
from tests.soak.reader import soak
from tests.support.reference_images import OTHER_PROGRAMS

SEED = 11
BASES = (
    "genisoimage, many files",
    "genisoimage, esd",
    "pycdlib, eleven",
    "mkudffs, 1.02 short",
    "mkudffs, 2.01 inicb",
    "mkudffs, 2.01 long",
)


def adopted(path: Path, wim: str) -> Image:
    """Wrap a file as an image, with the offsets at which it can be damaged."""
    data = path.read_bytes()
    ranges = RangeReader(lambda at, length: data[at : at + length], len(data))
    anchor = find_anchor(ranges)
    assert anchor is not None
    volume = open_volume(ranges, anchor)
    places = {"anchor first": 256 * SECTOR}
    for name, at in (("main", 20), ("reserve", 28)):
        first = int.from_bytes(anchor[at : at + 4], "little")
        places |= {f"{name} {number}": (first + number) * SECTOR for number in range(6)}

    def add(path: str, where: Address, *, folder: bool) -> dict[str, Address]:
        places[f"{path}#"] = volume.offset(where, SECTOR, path)
        file = open_file(ranges, volume, where, folder=folder, what=path, read_ahead=0)
        places[path] = file.extents[0][0]
        found = list_entries(ranges, file) if folder else ()
        return {entry.name: entry.address for entry in found}

    root = add("/", volume.root, folder=True)
    folder = add("/sources", root["sources"], folder=True)
    add(f"/{wim}", folder[wim.rpartition("/")[2]], folder=False)
    return Image(Content.of(data), places, volume.partitions[0][0])


def test_damaged_foreign_images_raise_only_known_errors(work: Path) -> None:
    bases = []
    for number, name in enumerate(BASES):
        case = OTHER_PROGRAMS[name]
        (work / str(number)).mkdir()
        bases.append(adopted(case.make(work / str(number)), case.path))

    outcome = soak(SEED, range(600), bases)

    assert outcome.wrong == []
    assert outcome.memory < 4 << 20
    assert outcome.ends["read"] > 50
    assert outcome.ends["unreadable-iso"] > 50
