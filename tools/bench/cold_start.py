"""Measures how long functions take to start: ``python -m tools.bench cold-start``.

Each is wired on the runtime's Python with the shipped layer, and compared with a bare function that
imports boto3 and creates the same clients, alternately and repeatedly. Processor time is
compared, and if a control group can be created, the time with the processor share of 512 MB.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from isodrop_local.interpreter import MACHINE, VARIABLE
from isodrop_local.packaging import ROOT, find_files, make_layer
from tools.bench.pages import PAGE, put_section

HEADING: Final = "## Cold start"
RELEASE: Final = "3.13"
"""The template's runtime."""
SHARE: Final = 512 / 1769
"""Of a processor: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html."""
FUNCTIONS: Final = {"import_iso": "intake", "report_build": "services", "sweep": "sweeper"}
"""The functions that have clients, and what wires each."""
_ARN: Final = "arn:aws:{}:eu-central-1:123456789012:{}"
ENVIRON: Final = {
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nobody",
    "STACK_NAME": "isodrop",
    "LEDGER_TABLE": "ledger",
    "STAGING_BUCKET": "staging",
    "UPLOAD_BUCKET": "uploads",
    "EVENT_BUS": "default",
    "MAX_CONSECUTIVE_FAILURES": "3",
    "TRACKING_HOURS": "20",
    "SUPPORTED_WINDOWS_BUILDS": "22621,22631,26100,26200",
    "STATE_MACHINE_ARN": _ARN.format("states", "stateMachine:isodrop"),
    "INFRASTRUCTURE_CONFIGURATION_ARN": _ARN.format(
        "imagebuilder", "infrastructure-configuration/isodrop"
    ),
}
_OURS: Final = """\
import os, sys
sys.path.insert(0, sys.argv[1])
import app
from isodrop.aws import clients
names, made = ["table"], []
defer = clients._DeferringSession.client
def client(self, service, **settings):
    names.append(service)
    made.append(defer(self, service, **settings))
    return made[-1]
clients._DeferringSession.client = client
getattr(app, sys.argv[2])()
if sys.argv[3] == "every":
    for each in made:
        each.meta
    print(*names, flush=True)
os._exit(0)
"""
_BARE: Final = """\
import os, sys
import boto3
from botocore.config import Config
config = Config(
    connect_timeout=3, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3}
)
session = boto3.Session()
for name in sys.argv[1:]:
    if name == "table":
        session.resource("dynamodb", config=config).Table("ledger")
    else:
        session.client(name, config=config)
os._exit(0)
"""


class SkippedError(Exception):
    """The start cannot be measured on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Start:
    """The time of one process in seconds: of the processor, and of the wall clock."""

    processor: float
    clock: float


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table."""

    function: str
    clients: str
    ours: Start
    bare: Start


def runtime() -> str:
    """Find the runtime's Python: the one that ``RUNTIME_PYTHON`` names, ours, or on the path."""
    for name in (os.environ.get(VARIABLE), sys.executable, f"python{RELEASE}"):
        path = name and shutil.which(name)
        if path:
            version_command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            output = subprocess.run(
                version_command, capture_output=True, text=True, check=False
            ).stdout
            if output.strip() == RELEASE:
                return path
    raise SkippedError(f"there is no Python {RELEASE} here; set {VARIABLE}=… to one")


@contextmanager
def limited(share: float) -> Iterator[Path | None]:
    """Create a control group with a share of one processor; return the file for its processes.

    ``None`` if none can be created: it requires root, and Linux.
    """
    first = Path("/sys/fs/cgroup/cpu")  # version 1
    parent = first if first.is_dir() else first.parent
    group = parent / f"isodrop-bench-{os.getpid()}"
    period = 20_000  # microseconds
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        if parent == first:
            (group / "cpu.cfs_period_us").write_text(str(period))
            (group / "cpu.cfs_quota_us").write_text(str(int(period * share)))
        else:
            (group / "cpu.max").write_text(f"{int(period * share)} {period}")
    except OSError:
        group.rmdir()
        yield None
        return
    try:
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def start(command: Sequence[str], environ: Mapping[str, str], group: Path | None) -> Start:
    """Run a command to its end in a control group."""
    enter_group = ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group)) if group else ()
    began = time.perf_counter()
    process = subprocess.Popen((*enter_group, *command), env=environ, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    ended = time.perf_counter()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)[-200:]} failed")
    return Start(used.ru_utime + used.ru_stime, ended - began)


def measured(python: str, layer: Path, times: int, group: Path | None) -> list[Row]:
    """Start each function and its bare counterpart alternately; return the median of each."""
    program = (python, "-S", "-s", "-c")
    environ = {**ENVIRON, "PYTHONPATH": str(layer), "PATH": os.environ["PATH"]}
    rows = []
    for function, wires in FUNCTIONS.items():
        ours = (*program, _OURS, str(ROOT / "functions" / function), wires)
        every = subprocess.run(
            (*ours, "every"), env=environ, capture_output=True, text=True, check=True
        ).stdout.split()
        for names, which in ((every, "every"), (["table"], "wired")):
            commands = ((*ours, which), (*program, _BARE, *names))
            taken: tuple[list[Start], list[Start]] = ([], [])
            for _ in range(times):
                for command, starts in zip(commands, taken, strict=True):
                    starts.append(start(command, environ, group))
            medians = [
                Start(median(each.processor for each in all_), median(e.clock for e in all_))
                for all_ in taken
            ]
            which_calls = f"all {len(every)}" if which == "every" else "the ledger's"
            rows.append(Row(function, which_calls, *medians))
            print(f"{function}, {which_calls}: {medians[0].processor:.3f} s", file=sys.stderr)
    return rows


_SECTION: Final = """\
{heading}

Generated by `{variable}=python{release} python -m tools.bench cold-start`, which `make bench` runs.

The times are from the start of the process until the function is wired, on Python {version}
with the layer and its bytecode, compared with a bare function that imports boto3 and creates the
same clients from the same layer: the medians of {times} alternating runs. A function creates a
client when it first uses it: after wiring, it has only the client of the ledger. The rows with all
clients are for an event that needs all of them. The isodrop functions [pause garbage
collection](../layers/isodrop/isodrop/startup.py) while they start; the bare function does not.
Exiting is not part of the time.
{clock}
| function | clients | processor | bare | ratio | clock | bare | ratio |
| --- | --- | --: | --: | --: | --: | --: | --: |
{rows}

The layer for one architecture ({machine}) is {layer:.2f} MB zipped, with bytecode.
"""
_SKIPPED: Final = "{heading}\n\nSkipped: {reason}.\n"


def section(python: str, times: int) -> str:
    """Build the layer, measure, and write the page's section."""
    with tempfile.TemporaryDirectory(prefix="isodrop-bench-") as folder:
        settings = (f"PYTHON={sys.executable}", f"LAYER_PLATFORMS={MACHINE}")
        built = Path(folder)
        made = (f"LAYER_PYTHON={RELEASE}", f"LAYER_COMPILER={python}")
        make_layer(ROOT / "layers" / "isodrop", "build-IsodropLayer", built, *settings, *made)
        size = _zipped_size(built)
        with limited(SHARE) as group:
            rows = measured(python, built / "python", times, group)
    version_command = [python, "-c", "import platform; print(platform.python_version())"]
    version = subprocess.run(
        version_command, capture_output=True, text=True, check=True
    ).stdout.strip()
    clock = (
        f"The clock times are on {SHARE:.2f} of a processor, which Lambda assigns to 512 MB."
        if group
        else "The clock times are on a whole processor: no control group could be created here."
    )
    return _SECTION.format(
        heading=HEADING,
        variable=VARIABLE,
        release=RELEASE,
        version=version,
        times=times,
        clock=f"{clock} {platform.system()}, {os.cpu_count()} processors, shared with others.\n",
        rows="\n".join(_line(row) for row in rows),
        machine=MACHINE,
        layer=size / 1e6,
    )


def _line(row: Row) -> str:
    cells = [row.function, row.clients]
    for ours, bare in (
        (row.ours.processor, row.bare.processor),
        (row.ours.clock, row.bare.clock),
    ):
        cells += [f"{ours:.2f} s", f"{bare:.2f} s", f"{ours / bare:.2f}"]
    return f"| {' | '.join(cells)} |"


def _zipped_size(folder: Path) -> int:
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in find_files(folder, compiled=True).items():
                archive.write(path, name)
        return file.tell()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and put the section into the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench cold-start", description=__doc__)
    parser.add_argument("--times", type=int, default=15, help="runs of each")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    given = parser.parse_args(arguments)
    try:
        text = section(runtime(), given.times)
    except SkippedError as error:
        text = _SKIPPED.format(heading=HEADING, reason=error)
    put_section(given.page, HEADING, text)
    print(text)
