"""What is in the layer: a software bill of materials in CycloneDX's JSON.

It is generated from the metadata that pip installs with each package, so it lists what is really
shipped; it must agree with the locked requirements. The same layer results in the same bytes: it
contains no time and no serial number.
https://cyclonedx.org/docs/1.6/json/
"""

import hashlib
import json
import re
from collections.abc import Mapping
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from isodrop import __version__
from isodrop_local.template import ROOT
from tools.licenses import Policy, license_of, read_policy

LOCK: Final = ROOT / "layers/isodrop/requirements.txt"
_LAMBDA: Final = {
    "extra": "",
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.13.0",
    "python_version": "3.13",
    "sys_platform": "linux",
}
"""The environment in which markers of dependencies are evaluated, whichever machine is used."""


class SbomError(Exception):
    """The layer and the locked requirements differ."""


def locked(path: Path = LOCK) -> dict[str, str]:
    """Read the locked versions, by canonical name."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def shipped(layer: Path) -> dict[str, Message]:
    """Read the metadata of all libraries in a built layer, by canonical name.

    Parameters
    ----------
    layer : pathlib.Path
        The folder with ``python`` in it.

    Raises
    ------
    SbomError
        They are not the locked ones.
    """
    read = [
        message_from_string(path.read_text(encoding="utf-8"))
        for path in sorted(layer.glob("python/*.dist-info/METADATA"))
    ]
    found = {canonicalize_name(metadata["Name"]): metadata for metadata in read}
    versions = {name: str(metadata["Version"]) for name, metadata in found.items()}
    expected = locked()
    if len(found) != len(read) or versions != expected:
        differing = sorted(str(name) for name, _ in versions.items() ^ expected.items())
        problem = ", ".join(differing) or "a package occurs twice"
        raise SbomError(f"the layer differs from the lock file: {problem}")
    return dict(sorted(found.items()))


def make_sbom(
    libraries: Mapping[str, Message], archive: bytes, policy: Policy | None = None
) -> bytes:
    """Make the bill of materials of a layer.

    Parameters
    ----------
    libraries : mapping of str to email.message.Message
        The metadata of its libraries; see :func:`shipped`.
    archive : bytes
        The layer's zip, which the bill names by its hash.
    policy : Policy, optional
        Where licenses are stated; licenses.toml by default.

    Raises
    ------
    LicenseError
        The license of a library is not known.
    """
    policy = policy or read_policy()
    refs = {name: f"pkg:pypi/{name}@{data['Version']}" for name, data in libraries.items()}
    own = f"pkg:generic/isodrop-layer@{__version__}"
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "isodrop-layer",
                "version": __version__,
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(archive).hexdigest()}],
                "licenses": [{"expression": "Apache-2.0"}],
                "purl": own,
            }
        },
        "components": [
            {
                "type": "library",
                "bom-ref": refs[name],
                "name": name,
                "version": str(data["Version"]),
                "licenses": [{"expression": license_of(name, data, policy)}],
                "purl": refs[name],
            }
            for name, data in libraries.items()
        ],
        "dependencies": [
            {"ref": own, "dependsOn": sorted(refs.values())},
            *(_dependencies(refs, name, data) for name, data in libraries.items()),
        ],
    }
    return (json.dumps(bill, indent=2) + "\n").encode()


def _dependencies(refs: Mapping[str, str], name: str, metadata: Message) -> dict[str, Any]:
    """List the libraries in the layer that a library depends on."""
    needed = {
        refs[canonicalize_name(requirement.name)]
        for requirement in map(Requirement, metadata.get_all("Requires-Dist", []))
        if canonicalize_name(requirement.name) in refs
        and (requirement.marker is None or requirement.marker.evaluate(_LAMBDA))
    }
    return {"ref": refs[name], "dependsOn": sorted(needed)}
