"""Validates a file against CycloneDX's JSON schema; a program that runs in the audit's venv."""

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main(path: str) -> int:
    """Print the errors; return 1 if there are any, otherwise 0."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(Path(path).read_text())
    if error is not None:
        print(str(error.data.message)[:400])
    return int(error is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
