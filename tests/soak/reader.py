"""Reads damaged images and counts the results: ``make soak``, ``python -m tests.soak.reader``."""

import argparse
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

from isodrop.codes import Code
from isodrop.errors import RejectedError
from isodrop.iso.reader import read_iso
from isodrop_local.iso_maker.image import Image
from isodrop_local.iso_maker.iso import LAYOUTS, make_image
from isodrop_local.iso_maker.meter import MAX_BYTES, MAX_REQUESTS, Meter
from isodrop_local.iso_maker.mutate import mutate

EXPECTED_CODES = frozenset(
    {
        Code.NOT_AN_ISO,
        Code.TRUNCATED,
        Code.UNREADABLE_ISO,
        Code.NOT_WINDOWS,
        Code.SPLIT_IMAGE,
    }
)
_MEMORY_INTERVAL = 100  # memory is measured for one of so many images, because that is slow
_LARGE = 5_400_000_000


@dataclass(slots=True)
class Outcome:
    """The results of the images read so far.

    Attributes
    ----------
    ends : Counter
        How often each code occurred, or ``read`` if the ISO could be read nevertheless.
    wrong : list of str
        Unexpected results, with the number of the image.
    requests, bytes, memory : int
        The maximum of all images; memory only of those for which it was measured.
    seconds : float
        The maximum of all images.
    """

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    requests: int = 0
    bytes: int = 0
    memory: int = 0
    seconds: float = 0.0


@cache
def _bases() -> tuple[Image, ...]:
    small = [make_image(layout=name) for name in LAYOUTS if name != "iso9660-only"]
    large = [make_image(layout=name, size=_LARGE) for name in ("grouped", "interleaved", "long")]
    esd = make_image(wim_name="install.esd", integrity=True)
    names = {f"{folder}f{n}": b"" for n in range(400) for folder in ("", "sources/")}
    return (*small, *large, esd, make_image(files=names), make_image(files=names, size=_LARGE))


def damaged_image(seed: int, number: int, bases: Sequence[Image] = ()) -> Image:
    """Make the image of that number, whatever others were made before."""
    random = Random(f"{seed}/{number}")  # noqa: S311 # repeatable, not secret
    return mutate(random.choice(bases or _bases()), random)


def soak(seed: int, numbers: Sequence[int], bases: Sequence[Image] = ()) -> Outcome:
    """Read the images of these numbers, and return the results.

    They are made from ``bases``, or from generated images in every layout.
    """
    outcome = Outcome()
    for number in numbers:
        image = damaged_image(seed, number, bases)
        meter = Meter(image)
        measures_memory = number % _MEMORY_INTERVAL == 0
        if measures_memory:
            tracemalloc.start()
        began = time.perf_counter()
        end = _end(meter)
        outcome.seconds = max(outcome.seconds, time.perf_counter() - began)
        if measures_memory:
            outcome.memory = max(outcome.memory, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        outcome.requests = max(outcome.requests, meter.requests)
        outcome.bytes = max(outcome.bytes, meter.total)
        outcome.ends[end] += 1
        if end not in EXPECTED_CODES and end != "read":
            outcome.wrong.append(f"{number}: {end}")
        if meter.requests > MAX_REQUESTS or meter.total > MAX_BYTES:
            outcome.wrong.append(f"{number}: {meter.requests} requests, {meter.total} bytes")
    return outcome


def _end(meter: Meter) -> str:
    try:
        read_iso(meter.read, meter.image.size)
    except RejectedError as error:
        if not error.rejection.message.isprintable():
            return f"unprintable message: {error.rejection.message!r}"
        return error.code.value
    except Exception as error:  # noqa: BLE001 # any exception is a result
        return f"{type(error).__name__}: {error}"
    return "read"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.reader", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="the number of images")
    parser.add_argument(
        "--seed", type=int, default=20240906, help="the same seed makes the same images"
    )
    options = parser.parse_args()
    began = time.perf_counter()
    outcome = soak(options.seed, range(options.count))
    print(
        f"{options.count:,} damaged images, seed {options.seed},"
        f" {time.perf_counter() - began:.0f} s"
    )
    for end, count in outcome.ends.most_common():
        print(f"{count:>9,}  {end}")
    print(
        f"at most {outcome.requests} requests, {outcome.bytes:,} bytes,"
        f" {outcome.memory:,} bytes of memory, {outcome.seconds:.3f} s"
    )
    print(f"{len(outcome.wrong)} unexpected results, or images that exceed a limit")
    for line in outcome.wrong[:20]:
        print(f"  {line}", file=sys.stderr)
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
