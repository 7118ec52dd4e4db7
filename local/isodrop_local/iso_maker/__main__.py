"""Write a test ISO: ``python -m isodrop_local.iso_maker PATH [--layout NAME] [--size BYTES] …``."""

import argparse
import time

from isodrop_local.iso_maker import (
    LAYOUTS,
    MEASURED_WIM_SIZE,
    business_editions,
    consumer_editions,
    evaluation_editions,
    ltsc_editions,
    make_iso,
    make_wim,
    measured_files,
    server_editions,
)

_EDITIONS = {
    "business": business_editions,
    "consumer": consumer_editions,
    "evaluation": evaluation_editions,
    "ltsc": ltsc_editions,
    "server": server_editions,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m isodrop_local.iso_maker", description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--editions", choices=sorted(_EDITIONS), default="business")
    parser.add_argument("--architecture", default="x64")
    parser.add_argument("--build", type=int, default=26100)
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="grouped")
    parser.add_argument("--size", type=int, help="in bytes; the file is sparse")
    parser.add_argument("--wim-name", default="install.wim")
    parser.add_argument(
        "--measured",
        action="store_true",
        help="with as many files, and as large an install.wim, as Microsoft's",
    )
    options = parser.parse_args()
    began = time.perf_counter()
    editions = _EDITIONS[options.editions](architecture=options.architecture, build=options.build)
    made = make_iso(
        options.path,
        editions=editions,
        layout=options.layout,
        size=options.size,
        wim_name=options.wim_name,
        files=measured_files() if options.measured else None,
        wim=make_wim(editions, size=MEASURED_WIM_SIZE) if options.measured else None,
    )
    seconds = time.perf_counter() - began
    size = f"{made.stat().st_size:,} bytes"
    print(f"{made}: {size}, {len(editions)} editions, {options.layout}, made in {seconds:.3f} s")


if __name__ == "__main__":
    main()
