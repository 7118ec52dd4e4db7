"""The number of calls does not grow with the number of answered uploads."""

from collections import Counter
from pathlib import Path

import pytest

from isodrop.services import sweep
from tests.integration.conftest import BUCKET
from tests.support.harness import ImportHarness
from tools.bench import growth

FEW, MANY = 30, 1_500


@pytest.fixture(scope="module")
def calls() -> dict[int, dict[str, Counter[str]]]:
    return {
        size: {name: meter.calls for name, meter in growth.measure(size).items()}
        for size in (FEW, MANY)
    }


@pytest.mark.parametrize(
    ("operation", "most"),
    [
        (growth.INTAKE, 30),
        ("`isodrop list --limit 50`", 3),
        ("`isodrop status KEY`", 3),
        ("`isodrop watch`, its start", 3),
        ("updating `latest`", 6),
    ],
)
def test_many_answered_uploads_cost_no_more_calls_than_few(
    calls: dict[int, dict[str, Counter[str]]], operation: str, most: int
) -> None:
    assert calls[MANY][operation] == calls[FEW][operation]
    assert 0 < calls[MANY][operation].total() <= most


def test_a_sweep_lists_a_bounded_part_of_the_bucket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sweep, "MAX_PAGES", 1)
    with growth.stack(tmp_path) as harness:
        growth.fill(harness, MANY)
        sweeps = []
        for _ in range(3):
            with growth.metered() as meter:
                summary = harness.sweep()
            sweeps.append((summary.versions, summary.complete))
            assert meter.calls["ListObjectVersions"] == 1
    assert sweeps == [(1000, False), (500, True), (1000, False)]


def test_an_upload_that_was_lost_is_found_behind_the_first_sweep_s_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sweep, "MAX_PAGES", 1)
    with growth.stack(tmp_path) as harness:
        growth.fill(harness, MANY)
        harness.upload("z-lost.iso")
        harness.clock.now = lost_at(harness)
        started = [harness.sweep().started for _ in range(2)]
    assert started == [0, 1]


def lost_at(harness: ImportHarness) -> float:
    """A day after the upload was lost, by moto's own clock."""
    found = harness.clients["s3"].head_object(Bucket=BUCKET, Key="z-lost.iso")
    return float(found["LastModified"].timestamp()) + 24 * 3600


def test_the_section_has_each_operation_at_each_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n", encoding="utf-8")

    growth.main(["--sizes", "2", "3", f"--page={page}"])

    text = page.read_text(encoding="utf-8")
    assert "| operation | 2 | 3 | time, largest ÷ smallest |" in text
    assert all(f"| {name} | " in text for name in (growth.INTAKE, growth.SWEEP))
    assert "| one sweep | " in capsys.readouterr().out
