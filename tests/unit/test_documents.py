"""What the README quotes is what was measured."""

from pathlib import Path

import pytest

from tests.bench.readers import READERS
from tests.bench.tables import OURS, rows_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
GROUPED, INTERLEAVED = (rows_of(part) for part in BENCHMARKS.split("\n## ")[1:])


def test_given_the_readme_when_it_quotes_the_benchmark_then_by_its_own_figures() -> None:
    quoted = rows_of(README.partition("## How little it reads")[2].partition("\n## ")[0])
    assert list(quoted) == list(READERS)
    for reader, figures in quoted.items():
        assert figures.items() <= INTERLEAVED[reader].items()


@pytest.mark.parametrize("rows", [GROUPED, INTERLEAVED], ids=["grouped", "interleaved"])
def test_given_the_benchmark_when_last_run_then_the_reader_kept_its_promise(
    rows: dict[str, dict[str, str]],
) -> None:
    assert list(rows) == list(READERS)
    ours = rows[OURS]
    assert int(ours["requests"]) <= 4
    assert int(ours["bytes"].removesuffix(" KiB")) <= 512
    assert int(ours["memory"].removesuffix(" KiB")) < 4096
