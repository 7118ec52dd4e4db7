"""The plain template and its artifacts, without SAM's transform."""

import hashlib
import json
import re
import subprocess
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from isodrop_local.template import ROOT, definition, read_template, transform
from tools import package as packaging
from tools.inlined_stacks import STACK
from tools.package import TEMPLATE, package
from tools.resolved_template import resolve, resolve_plain
from tools.sbom import locked


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Path]:
    """A template and the folder with its artifacts; of the layer's wheels only the metadata."""

    def make_layer(_folder: Path, _target: str, artifacts: Path, *_settings: str) -> str:
        (artifacts / "python").mkdir()
        for name in locked():
            installed = artifacts / "python" / f"{name}.dist-info"
            installed.mkdir()
            installed.joinpath("METADATA").write_text(
                distribution(name).read_text("METADATA") or ""
            )
        return "the layer has no bytecode"

    monkeypatch.setattr(packaging, "make_layer", make_layer)
    package(tmp_path / "package")
    return json.loads((tmp_path / "package" / TEMPLATE).read_text()), tmp_path / "package"


def unhashed(value: Any) -> Any:
    """Remove from the layer's name the hash that SAM derives from its location."""
    return json.loads(re.sub(r"IsodropLayer[0-9a-f]{10}", "IsodropLayer", json.dumps(value)))


def located(value: Any) -> list[dict[str, Any]]:
    """Return everything in a template that is in a bucket."""
    if isinstance(value, list):
        return [found for each in value for found in located(each)]
    if not isinstance(value, dict):
        return []
    return [value] if "S3Key" in value else [f for each in value.values() for f in located(each)]


def test_the_package_equals_what_sam_would_build(
    made: tuple[dict[str, Any], Path],
) -> None:
    template, _ = made
    plain = transform()
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert "Transform" not in template
    assert not [kind for kind in kinds if kind.startswith("AWS::Serverless::")]
    assert kinds > {resource["Type"] for resource in plain["Resources"].values()} - {STACK}
    for part in ("Rules", "Conditions", "Outputs"):
        common = template[part].keys() & plain[part].keys() - {"DashboardName"}
        assert common >= plain[part].keys() - {"DashboardName"}
        for name in common:
            assert unhashed(template[part][name]) == unhashed(plain[part][name])
    assert template["Parameters"].keys() == plain["Parameters"].keys() | {
        *("ArtifactBucket", "ArtifactPrefix")
    }


def test_every_artifact_is_at_the_path_in_the_parameters(
    made: tuple[dict[str, Any], Path],
) -> None:
    template, folder = made
    found = located(template["Resources"])
    prefix = "${ArtifactPrefix}"
    assert {str(each["S3Bucket"]) for each in found} == {str({"Ref": "ArtifactBucket"})}
    assert {each["S3Key"]["Fn::Sub"] for each in found} == {
        f"{prefix}{path.name}" for path in folder.glob("*.zip")
    }


def test_the_inlined_template_has_all_resources_and_no_nested_stack(
    made: tuple[dict[str, Any], Path],
) -> None:
    # Service-managed StackSets support neither nested stacks nor transforms.
    template, folder = made
    resources = template["Resources"]
    assert "AWS::CloudFormation::Stack" not in {each["Type"] for each in resources.values()}
    assert "TemplateURL" not in json.dumps(template)
    for name, path in (
        ("EventSchemas", "events/registry.json"),
        ("MonitoringStack", "monitoring.yaml"),
    ):
        for inner, resource in read_template(ROOT / path)["Resources"].items():
            assert resources[f"{name}{inner}"]["Type"] == resource["Type"]
    assert {path.suffix for path in folder.iterdir()} == {".json", ".zip", ""}


@pytest.mark.parametrize("topic", ["", "arn:aws:sns:eu-central-1:123456789012:called-at-night"])
def test_nested_resources_equal_those_of_the_nested_stack(
    made: tuple[dict[str, Any], Path], topic: str
) -> None:
    template, _ = made
    parameters = {"AlarmTopicArn": topic, "RegisterSchemas": "true", "ArtifactBucket": "ours"}
    whole = resolve_plain(template, parameters).resources
    parent = resolve(AlarmTopicArn=topic, RegisterSchemas="true")
    for name, path in (
        ("EventSchemas", "events/registry.json"),
        ("MonitoringStack", "monitoring.yaml"),
    ):
        asked = parent.properties(name)["Parameters"]
        for inner, resource in resolve_plain(read_template(ROOT / path), asked).resources.items():
            found = whole[f"{name}{inner}"].get("Properties", {})
            assert unnamed(found, name) == unnamed(resource.get("Properties", {}), name), inner


def unnamed(value: Any, stack: str) -> Any:
    """Remove the nested stack's name before references to its resources."""
    words = json.dumps(value).replace("IsodropLayer", "")
    return json.loads(re.sub(rf'"{stack}(?=[A-Z])', '"', words))


def test_the_registry_is_created_on_request_only(made: tuple[dict[str, Any], Path]) -> None:
    template, _ = made
    made_by_default = resolve_plain(template, {"ArtifactBucket": "ours"})
    assert not [name for name in made_by_default.resources if name.startswith("EventSchemas")]
    assert "MonitoringStackDashboard" not in made_by_default.resources
    assert "DashboardName" not in made_by_default.outputs


def test_lambda_may_read_the_files_in_the_archives(made: tuple[dict[str, Any], Path]) -> None:
    _, folder = made
    for path in folder.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            modes = {entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
        assert modes == {0o644}, path


def test_the_state_machine_is_at_the_path_in_the_parameters(
    made: tuple[dict[str, Any], Path],
) -> None:
    template, folder = made
    machine = template["Resources"]["ImportStateMachine"]["Properties"]
    (words,) = folder.glob("ImportStateMachine-*.json")
    same = dict.fromkeys(machine["DefinitionSubstitutions"], 7)
    assert machine["DefinitionS3Location"] == {
        "Bucket": {"Ref": "ArtifactBucket"},
        "Key": {"Fn::Sub": f"${{ArtifactPrefix}}{words.name}"},
    }
    filled = words.read_text()
    for name in same:
        filled = filled.replace(f"${{{name}}}", "7")
    assert json.loads(filled) == definition(**same)


def test_the_template_is_small_enough_to_be_loaded_by_url(
    made: tuple[dict[str, Any], Path],
) -> None:
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
    template, folder = made
    assert (folder / TEMPLATE).stat().st_size < 1_000_000
    assert len(template["Resources"]) < 500
    assert len(template["Outputs"]) < 200
    assert len(template["Parameters"]) < 200


def test_the_same_sources_make_the_same_package(
    made: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    _, folder = made
    package(tmp_path / "again")
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_the_license_is_in_the_package(made: tuple[dict[str, Any], Path]) -> None:
    _, folder = made
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_license_is_in_the_layer(tmp_path: Path) -> None:
    # Without wheels, so the recipe finds no folders to remove.
    for library in ("botocore", "boto3"):
        (tmp_path / "python" / library / "data").mkdir(parents=True)
    settings = [f"ARTIFACTS_DIR={tmp_path}", "LAYER_PLATFORMS="]
    command = ["make", "-C", str(ROOT / "layers/isodrop"), "build-IsodropLayer", *settings]
    subprocess.run(command, check=True, capture_output=True)
    shipped = tmp_path / "python/isodrop/LICENSE"
    assert shipped.read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_bill_of_materials_describes_the_layer_beside_it(
    made: tuple[dict[str, Any], Path],
) -> None:
    _, folder = made
    (archive,) = folder.glob("IsodropLayer-*.zip")
    bill = json.loads(archive.with_suffix(".cdx.json").read_text())
    (own,) = bill["metadata"]["component"]["hashes"]
    assert own["content"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert {each["name"]: each["version"] for each in bill["components"]} == locked()
