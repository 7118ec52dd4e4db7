"""The page of ``make bench``, from images of a few megabytes and without delays."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from isodrop_local.iso_maker.image import Content
from isodrop_local.template import ROOT
from tools.bench import __main__ as bench
from tools.bench import cold_start
from tools.bench.readers import READERS
from tools.bench.tables import BEGIN, BOUND, END, OURS, figures, rows_of


def test_the_benchmark_page_covers_every_reader_on_both_layouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"sources/{n:03}.dll": Content(9000, ((0, b"MZ"),)) for n in range(60)}
    monkeypatch.setattr(bench, "filler", lambda: files)
    page, readme = tmp_path / "docs" / "benchmarks.md", tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    places = [f"--page={page}", f"--readme={readme}"]

    bench.main(["--size=8000000", "--delay=0", "--rate=1e10", "--times=1", *places])

    text = page.read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert "ISO of 8,000,000 bytes with 75 files" in " ".join(text.split())
    for heading in bench.KINDS.values():
        rows = rows_of(text.partition(f"## {heading}\n")[2].partition("\n## ")[0])
        assert list(rows) == list(READERS)
        assert rows[BOUND]["requests"] == "3"
        assert rows[BOUND]["time ÷ bound"] == "1.00"
        assert rows[OURS]["time ÷ isodrop"] == rows[OURS]["bytes ÷ isodrop"] == "1.00"
        assert int(rows[OURS]["requests"]) <= 4
        assert rows["the whole object"]["requests"] == "1"
    quoted = readme.read_text(encoding="utf-8")
    assert quoted == f"before\n{BEGIN}\n{figures(rows)}\n{END}\nafter\n"
    assert f"makes **{rows[OURS]['requests']} requests, " in quoted


def test_a_functions_start_is_compared_with_a_bare_one_with_its_clients() -> None:
    places = (str(ROOT / "layers" / "isodrop"), sysconfig.get_path("purelib"))

    rows = cold_start.measured(sys.executable, Path(os.pathsep.join(places)), 1, None)

    assert [row.function for row in rows] == [f for f in cold_start.FUNCTIONS for _ in range(2)]
    assert {row.clients for row in rows} == {"all 5", "all 9", "all 11", "the ledger's"}
    assert all(each.processor > 0 < each.clock for row in rows for each in (row.ours, row.bare))


def test_without_the_runtimes_python_the_page_skips_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cold_start, "RELEASE", "2.1")
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Benchmarks\n\n{cold_start.HEADING}\n\nold\n", encoding="utf-8")

    cold_start.main([f"--page={page}"])

    reason = "there is no Python 2.1 here; set RUNTIME_PYTHON=… to one"
    section = f"## Cold start\n\nSkipped: {reason}.\n"
    assert page.read_text(encoding="utf-8") == f"# Benchmarks\n\n{section}"
    assert section in capsys.readouterr().out
