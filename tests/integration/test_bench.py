"""What ``make bench`` writes, from images of a few megabytes and without delay."""

from pathlib import Path

import pytest

from isodrop_local.iso_maker.image import Content
from tools.bench import __main__ as bench
from tools.bench.readers import READERS
from tools.bench.tables import BEGIN, END, LIMIT, OURS, figures, rows_of


def test_given_small_images_when_measured_then_the_page_has_every_reader_on_both_kinds(
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
        assert rows[LIMIT]["requests"] == "3"
        assert rows[LIMIT]["time ÷ limit"] == "1.00"
        assert rows[OURS]["time ÷ isodrop"] == rows[OURS]["bytes ÷ isodrop"] == "1.00"
        assert int(rows[OURS]["requests"]) <= 4
        assert rows["the whole object"]["requests"] == "1"
    quoted = readme.read_text(encoding="utf-8")
    assert quoted == f"before\n{BEGIN}\n{figures(rows)}\n{END}\nafter\n"
    assert f"asks **{rows[OURS]['requests']} times, " in quoted
