"""The layer's bill of materials, and the licenses of everything that is shipped."""

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from email.message import Message
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from isodrop_local.packaging import make_layer
from isodrop_local.template import ROOT
from tools.audit.findings import AuditError, Outcome
from tools.audit.programs import last_line, run
from tools.licenses import LicenseError, Policy, is_allowed, license_of, read_policy
from tools.sbom import SbomError, make_sbom, shipped

_VALIDATOR = Path(__file__).with_name("validate_sbom.py")


def built_libraries() -> dict[str, Message]:
    """Build the layer for Lambda, and read its libraries.

    Raises
    ------
    AuditError
        It differs from the locked versions.
    isodrop_local.packaging.PackageError
        The layer could not be built.
    """
    with tempfile.TemporaryDirectory() as folder:
        make_layer(
            ROOT / "layers/isodrop", "build-IsodropLayer", Path(folder), f"PYTHON={sys.executable}"
        )
        try:
            return shipped(Path(folder))
        except SbomError as error:
            raise AuditError(str(error)) from error


def cli_libraries() -> dict[str, Message]:
    """Read the metadata of the libraries with which the command is installed.

    Raises
    ------
    AuditError
        A library is missing.
    """
    found: dict[str, Message] = {}
    pending = [Requirement("isodrop[cli]")]
    while pending:
        requirement = pending.pop()
        try:
            metadata: Message = distribution(requirement.name).metadata  # type: ignore[assignment]  # it is one
        except PackageNotFoundError as error:
            raise AuditError(f"{requirement.name} is not installed; run: make venv") from error
        name = canonicalize_name(requirement.name)
        if name not in found or requirement.extras:
            found[name] = metadata
            pending += _needed(metadata, requirement.extras)
    del found["isodrop"]
    return dict(sorted(found.items()))


def _needed(metadata: Message, extras: set[str]) -> Iterator[Requirement]:
    for line in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": each}) for each in {"", *extras}):
            yield requirement


def check_sbom(libraries: Mapping[str, Message]) -> Outcome:
    """Validate the bill of materials against CycloneDX's schema.

    Raises
    ------
    AuditError
        The validation could not be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sbom.cdx.json")
        try:
            path.write_bytes(make_sbom(libraries, b""))
        except LicenseError as error:
            return Outcome("no bill of materials", (str(error),))
        done = run("python", _VALIDATOR, path)
    if done.returncode not in (0, 1):
        raise AuditError(f"the schema could not be applied: {last_line(done.stderr)}")
    problems = tuple(re.findall(r"^.+$", done.stdout, re.MULTILINE)) if done.returncode else ()
    return Outcome(f"{len(libraries)} components, CycloneDX 1.6", problems)


def check_licenses(
    parts: Mapping[str, Mapping[str, Message]], policy: Policy | None = None
) -> Outcome:
    """Check the licenses of the shipped libraries.

    Parameters
    ----------
    parts : mapping
        The metadata of libraries by name, by ``layer`` and ``cli``.
    policy : Policy, optional
        licenses.toml by default.
    """
    policy = policy or read_policy()
    problems = []
    unused = {(part, spdx) for part in parts for spdx in policy.allowed[part]}
    for part, libraries in parts.items():
        for name, metadata in libraries.items():
            try:
                spdx = license_of(name, metadata, policy)
            except LicenseError as error:
                problems.append(str(error))
                continue
            unused -= {(part, each) for each in re.split(r"\s+(?:AND|OR)\s+", spdx)}
            if not is_allowed(spdx, policy.allowed[part]):
                problems.append(f"{name} is under {spdx}, which is not allowed for {part}")
    names = {name for libraries in parts.values() for name in libraries}
    problems += [f"{each}: no package of {part} has this license" for part, each in sorted(unused)]
    problems += [
        f"{each}: its license is stated, but it is not shipped"
        for each in sorted(policy.stated.keys() - names)
    ]
    counts = ", ".join(f"{len(libraries)} of {part}" for part, libraries in parts.items())
    return Outcome(f"packages: {counts}", tuple(dict.fromkeys(problems)))
