"""ISOs as large as Microsoft's on the stack: read in ranges, with little memory. Linux only."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isodrop_local.iso_maker import business_editions, make_iso
from isodrop_local.stack import EmulatedStack
from tests.stack.conftest import MakeIso

ROOT = Path(__file__).resolve().parents[2]
BIG = 5_600_000_000
MOST_MEMORY = 2 << 30


@pytest.mark.parametrize("layout", ["grouped", "interleaved"])
def test_an_iso_of_five_gigabytes_is_read_by_a_few_ranges(
    stack: EmulatedStack, iso: MakeIso, layout: str
) -> None:
    big_iso = iso(layout=layout, size=BIG)
    stack.link(big_iso)

    answer = stack.wait_for_answer(big_iso.name)

    assert answer["detail-type"] == "ISO Import Succeeded"
    assert answer["detail"]["data"]["source"]["size"] == BIG // 2048 * 2048
    ranges = stack.list_reads(big_iso.name)
    assert 0 < len(ranges) <= 4
    assert sum(length for _, length in ranges) <= 512 * 1024


def test_inspect_of_an_object_agrees_with_what_the_stack_imports(
    stack: EmulatedStack, iso: MakeIso
) -> None:
    # Given an uploaded ISO, and a shell with the environment of `make local`
    big_iso = iso(size=BIG)
    stack.link(big_iso, metadata={"edition": "EnterpriseN"})
    environ = {**stack.environment, "PATH": os.environ["PATH"]}
    command = Path(sys.executable).with_name("isodrop")
    address = f"s3://{stack.bucket}/{big_iso.name}"

    # When it is inspected there
    done = subprocess.run(
        [command, "inspect", address, "--json", "--trace"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    # Then the plan is the imported one, and few ranges were read
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)["plan"]
    answer = stack.wait_for_answer(big_iso.name)["detail"]["data"]["plan"]
    assert plan["edition"] == "EnterpriseN"
    assert {key: plan[key] for key in answer} == answer
    assert len(done.stderr.splitlines()) <= 4


def test_the_demo_imports_an_iso_of_5_gb_in_2_gb_of_memory(
    tmp_path: Path,
) -> None:
    # Given a user's ISO, on a machine with less memory than the ISO
    big_iso = make_iso(tmp_path / "big.iso", size=BIG, editions=business_editions(revision=1999))
    command = [sys.executable, "-m", "isodrop_local.demo", "--iso", str(big_iso)]

    # When the demo runs, and the memory of it and its children is sampled
    with (tmp_path / "out").open("w+b") as out:
        demo = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        most, samples = 0, 0
        while demo.poll() is None:
            most, samples = max(most, sum(map(resident, family(demo.pid)))), samples + 1
            time.sleep(0.1)
        out.seek(0)
        output = out.read().decode()

    # Then it succeeds, with far less memory than the ISO's size
    assert demo.returncode == 0, output
    assert "big.iso, 5.2 GiB" in output
    assert "linked to s3://" in output
    assert samples > 10
    assert 50 << 20 < most < MOST_MEMORY


def family(root: int) -> list[int]:
    """List a process and its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (text := _read(folder / "stat")):
            parent = int(text.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def resident(process: int) -> int:
    """Return the proportional set size of a process, in bytes."""
    lines = _read(Path(f"/proc/{process}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def _read(path: Path) -> str:
    """Read a file of a process that may have ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
