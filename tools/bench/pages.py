"""The page of benchmarks, in which each measurement writes its own section."""

import re
from pathlib import Path
from typing import Final

from isodrop_local.packaging import ROOT

PAGE: Final = ROOT / "docs" / "benchmarks.md"


def put_section(page: Path, heading: str, text: str) -> None:
    """Replace the section with this heading, or append it; all others are kept."""
    parts = _parts(page.read_text(encoding="utf-8"))
    _write(page, parts | {heading: f"{text.rstrip()}\n"})


def put_head(page: Path, text: str) -> None:
    """Replace the page's beginning and the sections in ``text``; the others follow as they were."""
    kept = _parts(page.read_text(encoding="utf-8")) if page.exists() else {}
    parts = _parts(text)
    _write(page, parts | {name: each for name, each in kept.items() if name not in parts})


def _parts(text: str) -> dict[str, str]:
    """Split a page at its headings; the first part, without a heading, has an empty name."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return {
        (each.partition("\n")[0] if each.startswith("## ") else ""): f"{each.rstrip()}\n"
        for each in parts
    }


def _write(page: Path, parts: dict[str, str]) -> None:
    page.write_text("\n".join(parts.values()), encoding="utf-8")
