"""Compares the reader with others and with a lower limit: ``make bench``."""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from random import Random

from isodrop.iso.reader import find_image
from isodrop.iso.window import Window
from isodrop_local.iso_maker import Image, make_image
from isodrop_local.iso_maker.image import SECTOR, Content
from isodrop_local.iso_maker.iso import windows_files
from isodrop_local.packaging import ROOT
from tools.bench import calls, cold_start, growth, polling
from tools.bench.pages import PAGE, put_head
from tools.bench.readers import READERS, Cost, Places
from tools.bench.tables import LIMIT, OURS, quoting, table

README = ROOT / "README.md"
KINDS = {
    "grouped": "File entries up front",
    "interleaved": "File entries among the data",
}
# Number of files, folder pattern, number of folders.
_FOLDERS = (
    (100, "boot/part{:02}", 20),
    (100, "efi/microsoft/boot/part{:02}", 20),
    (300, "sources", 1),
    (480, "sources/part{:02}", 60),
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a measurement."""

    size: int
    delay: float
    rate: float
    times: int


def filler() -> dict[str, bytes | Content]:
    """Return the other files of a Windows ISO: about the same number, sizes and folders."""
    random = Random("isodrop")  # noqa: S311 # repeatable, not secret
    made: dict[str, bytes | Content] = {}
    for count, folder, folders in _FOLDERS:
        for number in range(count):
            path = f"{folder.format(number % folders)}/component-{number:04}.dll"
            made[path] = Content(int(2 ** random.uniform(11, 21)), ((0, b"MZ"),))
    return made


def places(image: Image) -> tuple[Places, bytes]:
    """Return the ranges that every reader needs, and the XML."""
    ranges: list[tuple[int, int]] = []

    def read(offset: int, length: int, /) -> bytes:
        ranges.append((offset, length))
        return image.read(offset, length)

    found = find_image(Window(read, image.size))
    start = image.places["/sources/install.wim"]
    offset = int.from_bytes(found.image.header[0x50:0x58], "little")
    xml = (start + offset, len(found.image.xml))
    return [[256 * SECTOR, SECTOR], [start, len(found.image.header)], list(xml)], found.image.xml


@contextmanager
def serve_image(image: Path, delay: float, rate: float) -> Iterator[int]:
    """Serve an image in another process; return the port."""
    command = [sys.executable, "-m", "tools.bench.server", str(image), str(delay), str(rate)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.stdin.close()


def measure_layout(layout: str, conditions: Conditions) -> dict[str, Cost]:
    """Measure every reader on one image."""
    image = make_image(layout=layout, size=conditions.size, files=filler())
    known, xml = places(image)
    costs = {}
    with tempfile.TemporaryDirectory(prefix="isodrop-bench-") as folder:
        path = image.write(Path(folder) / "windows.iso")
        with (
            serve_image(path, conditions.delay, conditions.rate) as slow,
            serve_image(path, 0, math.inf) as fast,
        ):
            for name in READERS:
                times = conditions.times if name in {LIMIT, OURS} else 1
                ranges = {"ports": (slow, fast), "size": image.size, "times": times}
                request = json.dumps({**ranges, "places": known})
                command = [sys.executable, "-m", "tools.bench.readers", name, request]
                done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
                cost = costs[name] = Cost(**json.loads(done.stdout))
                if cost.xml != sha256(xml).hexdigest():
                    raise SystemExit(f"{layout}: {name}: read another XML")
                print(f"{layout}: {name}: {cost.seconds:.3f} s", file=sys.stderr)
    return costs


_PAGE = """\
# Benchmarks

Written by `make bench`, not by hand.

Each reader extracts the XML of `sources/install.wim` from an ISO of {size:,} bytes with {files:,}
files, through a range server on the loopback address that responds after {delay:g} ms and
then sends {rate:g} MB/s. Each runs in a process of its own, and all get the same XML. Memory is
the peak that Python allocates, in a separate run. The times of the first two are the medians
of {times} runs, those of the others are of one run. pycdlib {pycdlib} reads through a block cache
that evicts nothing.

The limit is three dependent reads at places known in advance: a block of metadata, the WIM's
header, its XML. Compare ratios, not times: this was Python {python}
on {system}, {processors} processors.
"""


def page(results: Mapping[str, Mapping[str, Cost]], conditions: Conditions) -> str:
    """Return the page: the conditions, then a table for each kind of image."""
    head = _PAGE.format(
        size=conditions.size,
        files=len(filler()) + len(windows_files()) + 1,
        delay=conditions.delay * 1000,
        rate=conditions.rate / 1e6,
        times=conditions.times,
        pycdlib=version("pycdlib"),
        python=platform.python_version(),
        system=platform.system(),
        processors=os.cpu_count(),
    )
    tables = (f"\n## {KINDS[layout]}\n\n{table(costs)}\n" for layout, costs in results.items())
    return head + "".join(tables)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--size", type=int, default=5_300_000_000, help="of the ISO, in bytes")
    parser.add_argument("--delay", type=float, default=0.025, help="seconds to the first byte")
    parser.add_argument("--rate", type=float, default=80e6, help="bytes a second")
    parser.add_argument("--times", type=int, default=9, help="runs of isodrop and of the limit")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    parser.add_argument(
        "--readme", type=Path, default=README, help="the file to put the figures into"
    )
    options = parser.parse_args(arguments)
    conditions = Conditions(options.size, options.delay, options.rate, options.times)
    results = {layout: measure_layout(layout, conditions) for layout in KINDS}
    text = page(results, conditions)
    options.page.parent.mkdir(exist_ok=True)
    put_head(options.page, text)
    quoted = quoting(options.readme.read_text(encoding="utf-8"), results["interleaved"])
    options.readme.write_text(quoted, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    parts = {
        "calls": calls.main,
        "cold-start": cold_start.main,
        "growth": growth.main,
        "polling": polling.main,
    }
    if sys.argv[1:2] and sys.argv[1] in parts:
        parts[sys.argv[1]](sys.argv[2:])
    else:
        main()
