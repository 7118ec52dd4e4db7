"""Which license a Python package is under, as an SPDX expression, and whether it is allowed."""

import re
import tomllib
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("licenses.toml")
_FIELDS: Final = {
    "Apache License 2.0": "Apache-2.0",
    "Apache-2.0": "Apache-2.0",
    "BSD-3-Clause": "BSD-3-Clause",
    "MIT": "MIT",
    "MPL-2.0": "MPL-2.0",
}
"""SPDX identifiers by what packages write into the metadata's field ``License``."""
_CLASSIFIERS: Final = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
}
"""Those that identify a license exactly; ``BSD License`` stands for several."""


class LicenseError(Exception):
    """A package's license cannot be determined from its metadata and licenses.toml."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The content of licenses.toml.

    Attributes
    ----------
    allowed : dict of str to frozenset of str
        SPDX identifiers, by what ships: ``layer`` and ``cli``.
    stated : dict of str to str
        An SPDX expression for each package whose metadata does not identify its license.
    """

    allowed: dict[str, frozenset[str]]
    stated: dict[str, str]


def read_policy(path: Path = _FILE) -> Policy:
    """Read licenses.toml.

    Raises
    ------
    LicenseError
        A license is stated without a reason.
    """
    read = tomllib.loads(path.read_text())
    for name, entry in read["stated"].items():
        if not entry.get("reason", "").strip():
            raise LicenseError(f"{path.name}: the license of {name} is stated without a reason")
    return Policy(
        {part: frozenset(licenses) for part, licenses in read["allowed"].items()},
        {name: entry["license"] for name, entry in read["stated"].items()},
    )


def declared_license(metadata: Message) -> str | None:
    """Return the license that a package declares, as an SPDX expression; ``None`` if unclear.

    https://packaging.python.org/en/latest/specifications/core-metadata/#license-expression
    """
    if expression := metadata.get("License-Expression"):
        return str(expression)
    if field := metadata.get("License"):
        return _FIELDS.get(str(field).strip())
    classifiers = {str(each) for each in metadata.get_all("Classifier", [])}
    named = {_CLASSIFIERS.get(each) for each in classifiers if each.startswith("License ::")}
    return named.pop() if len(named) == 1 else None


def license_of(name: str, metadata: Message, policy: Policy) -> str:
    """Get a package's license, as an SPDX expression.

    Raises
    ------
    LicenseError
        Neither the package nor licenses.toml states it, or both do.
    """
    declared = declared_license(metadata)
    stated = policy.stated.get(name)
    if declared and stated:
        raise LicenseError(f"{name} declares {declared} itself; remove it from {_FILE.name}")
    if expression := declared or stated:
        return expression
    raise LicenseError(
        f"the metadata of {name} does not state its license; state it in {_FILE.name}"
    )


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Whether an SPDX expression is satisfied by these licenses; parentheses are not supported."""
    return any(
        all(each.strip() in allowed for each in re.split(r"\s+AND\s+", choice))
        for choice in re.split(r"\s+OR\s+", expression)
    )
