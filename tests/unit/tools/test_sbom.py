"""The layer's bill of materials, and the licenses in it."""

import json
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from tools import sbom
from tools.audit.layer import check_licenses, cli_libraries
from tools.licenses import LicenseError, Policy, declared_license, is_allowed, read_policy
from tools.sbom import SbomError, make_sbom, shipped

POLICY = Policy({"layer": frozenset({"MIT"})}, {})


def metadata(name: str, *needs: str, version: str = "1.0", **fields: str) -> Message:
    made = Message()
    for field, value in {"Name": name, "Version": version, **fields}.items():
        made[field.replace("_", "-")] = value
    for need in needs:
        made["Requires-Dist"] = need
    return made


def mit(name: str, *needs: str) -> Message:
    return metadata(name, *needs, License_Expression="MIT")


def bill(*libraries: Message) -> dict[str, Any]:
    made = make_sbom({str(each["Name"]): each for each in libraries}, b"layer", POLICY)
    read: dict[str, Any] = json.loads(made)
    return read


# The bill of materials


def test_the_sbom_lists_the_layers_packages_with_version_and_license() -> None:
    (component,) = bill(mit("six"))["components"]
    assert component["purl"] == "pkg:pypi/six@1.0"
    assert component["licenses"] == [{"expression": "MIT"}]


def test_the_sbom_lists_the_dependencies() -> None:
    made = bill(
        mit("a", "b>=1", "c; extra == 'all'", "c; sys_platform == 'win32'", "elsewhere"),
        mit("b"),
        mit("c"),
    )
    graph = {each["ref"]: each["dependsOn"] for each in made["dependencies"]}
    assert graph["pkg:pypi/a@1.0"] == ["pkg:pypi/b@1.0"]
    (own,) = graph.keys() - {each["purl"] for each in made["components"]}
    assert own == made["metadata"]["component"]["bom-ref"]


def test_the_same_layer_makes_the_same_bytes() -> None:
    libraries = {"six": mit("six")}
    made = make_sbom(libraries, b"layer", POLICY)
    assert made == make_sbom(libraries, b"layer", POLICY)
    assert made != make_sbom(libraries, b"another", POLICY)
    assert not {"serialNumber", "timestamp"} & {*json.loads(made), *json.loads(made)["metadata"]}


@pytest.mark.parametrize(
    ("installed", "differing"),
    [
        ({"six": "1.0"}, None),
        ({"six": "1.1"}, "six"),
        ({"six": "1.0", "rich": "1.0"}, "rich"),
        ({}, "six"),
    ],
)
def test_a_layer_that_differs_from_the_lock_file_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    installed: dict[str, str],
    differing: str | None,
) -> None:
    monkeypatch.setattr(sbom, "locked", lambda: {"six": "1.0"})
    for name, version in installed.items():
        folder = tmp_path / "python" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        folder.joinpath("METADATA").write_text(metadata(name, version=version).as_string())
    if differing:
        with pytest.raises(SbomError, match=f"differs from the lock file: {differing}"):
            shipped(tmp_path)
    else:
        assert shipped(tmp_path).keys() == {"six"}


# Licenses


@pytest.mark.parametrize(
    ("fields", "spdx"),
    [
        ({"License_Expression": "PSF-2.0", "License": "MIT"}, "PSF-2.0"),
        ({"License": "Apache License 2.0"}, "Apache-2.0"),
        ({"License": "Dual License", "Classifier": "License :: OSI Approved :: MIT License"}, None),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, None),
        ({}, None),
    ],
)
def test_a_license_is_what_a_package_declares(fields: dict[str, str], spdx: str | None) -> None:
    assert declared_license(metadata("six", **fields)) == spdx


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT AND (GPL-3.0-only OR MIT)", False),
    ],
)
def test_one_of_a_choice_and_all_of_a_list_must_be_allowed(expression: str, allowed: bool) -> None:
    assert is_allowed(expression, frozenset({"MIT"})) is allowed


@pytest.mark.parametrize(
    ("library", "policy", "problem"),
    [
        (mit("six"), POLICY, None),
        (
            metadata("six", License_Expression="GPL-3.0-only"),
            Policy({"layer": frozenset()}, {}),
            "six is under GPL-3.0-only, which is not allowed for layer",
        ),
        (metadata("six"), Policy({"layer": frozenset()}, {}), "does not state its license"),
        (metadata("six"), Policy({"layer": frozenset({"MIT"})}, {"six": "MIT"}), None),
        (mit("six"), Policy({"layer": frozenset()}, {"six": "MIT"}), "declares MIT itself"),
        (
            mit("six"),
            Policy(POLICY.allowed, {"rich": "MIT"}),
            "rich: its license is stated, but it is not shipped",
        ),
        (
            mit("six"),
            Policy({"layer": frozenset({"MIT", "ISC"})}, {}),
            "ISC: no package of layer has this license",
        ),
    ],
)
def test_licenses_and_the_list_of_them_are_compared(
    library: Message, policy: Policy, problem: str | None
) -> None:
    problems = check_licenses({"layer": {"six": library}}, policy).problems
    assert len(problems) == (problem is not None)
    assert problem is None or problem in problems[0]


def test_a_license_that_is_stated_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "licenses.toml"
    path.write_text('[allowed]\n[stated.six]\nlicense = "MIT"\n')
    with pytest.raises(LicenseError, match="without a reason"):
        read_policy(path)


def test_the_command_s_libraries_are_found() -> None:
    names = cli_libraries().keys()
    assert {"boto3", "rich", "shtab", "pygments"} <= names
    assert not names & {"isodrop", "pytest", "ruff"}
