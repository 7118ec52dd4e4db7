"""``make contract``: generate schemas, registry and pages from the models, and capture the samples.

With ``--check`` nothing is written and no stack is started: it prints which files are out of date.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from isodrop.events import SCHEMA_VERSION
from tools.contract import pages, samples, schemas
from tools.contract.schemas import Json
from tools.contract.supported_isos_page import supported_isos_page

ROOT: Final = Path(__file__).resolve().parents[2]


def make_files(root: Path = ROOT) -> dict[str, str]:
    """Generate the files that depend only on models and codes, by their paths from the root."""
    found = schemas.all_schemas()
    files: dict[str, Json] = {schemas.path_of(kind): schema for kind, schema in found.items()}
    files["events/registry.json"] = schemas.registry(found)
    return {name: to_text(content) for name, content in files.items()} | {
        "docs/events.md": pages.events_page(found, samples.read(root / samples.SAMPLES), root),
        "docs/codes.md": pages.codes_page(),
        "docs/supported-isos.md": supported_isos_page(),
        "docs/aws-errors.md": pages.aws_errors_page(),
    }


def to_text(content: Json) -> str:
    """Format JSON as it is stored."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def find_breaking_changes(root: Path = ROOT) -> Iterator[str]:
    """List the breaking changes of the models since earlier schemas of this major version."""
    major = SCHEMA_VERSION.partition(".")[0]
    for kind, new in schemas.all_schemas().items():
        for path in sorted((root / schemas.path_of(kind)).parent.glob(f"{major}.*.json")):
            for change in schemas.breaking_changes(json.loads(path.read_text()), new):
                yield f"{kind} {path.stem}: {change}"


def find_drift(root: Path = ROOT) -> Iterator[str]:
    """List the files that are out of date, and the samples that violate the contract."""
    for name, content in make_files(root).items():
        path = root / name
        if not path.exists() or path.read_text() != content:
            yield f"{name} does not match the models; run: make contract"
    found = schemas.all_schemas()
    kept = samples.read(root / samples.SAMPLES)
    for kind in found.keys() - {sample["detail-type"] for sample in kept.values()}:
        yield f"there is no sample of {kind}; run: make contract"
    for name, sample in kept.items():
        for problem in samples.find_errors(sample, found[sample["detail-type"]]):
            yield f"{samples.SAMPLES}/{name}.json: {problem}"


def main() -> None:
    """Generate the contract, or check that it is up to date."""
    parser = argparse.ArgumentParser(prog="python -m tools.contract", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and start nothing")
    arguments = parser.parse_args()
    problems = list(find_breaking_changes())
    if problems:
        problems.append(
            "this requires a new major version, with its own schemas beside the old ones"
        )
    elif arguments.check:
        problems = list(find_drift())
    else:
        make()
    sys.exit("\n".join(problems) or None)


def make(root: Path = ROOT) -> None:
    """Regenerate everything: first what the stack uses, last what refers to the samples."""
    _write_all(root, make_files(root))
    with tempfile.TemporaryDirectory() as folder:
        captured = samples.capture(Path(folder))
    for old in (root / samples.SAMPLES).glob("*.json"):
        old.unlink()
    kept = {f"{samples.SAMPLES}/{name}.json": to_text(event) for name, event in captured.items()}
    _write_all(root, kept)
    _write_all(root, make_files(root))


def _write_all(root: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    main()
