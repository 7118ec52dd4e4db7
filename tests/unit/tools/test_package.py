"""The plain template and its artifacts: all that SAM would have done is done."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from isodrop_local.template import ROOT, definition, transformed
from tools import package as packaging
from tools.package import TEMPLATE, package


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Path]:
    """A template and the folder with its artifacts; the layer's wheels are left out."""

    def make_layer(_folder: Path, _target: str, artifacts: Path, *_settings: str) -> None:
        (artifacts / "python").mkdir()
        (artifacts / "python" / "isodrop.py").write_text("")

    monkeypatch.setattr(packaging, "make_layer", make_layer)
    package(tmp_path / "package")
    return json.loads((tmp_path / "package" / TEMPLATE).read_text()), tmp_path / "package"


def unhashed(said: Any) -> Any:
    """Name the layer without the hash of where its content lies, which SAM puts to its name."""
    return json.loads(re.sub(r"IsodropLayer[0-9a-f]{10}", "IsodropLayer", json.dumps(said)))


def located(said: Any) -> list[dict[str, Any]]:
    """Find everything in a template that lies in a bucket."""
    if isinstance(said, list):
        return [found for each in said for found in located(each)]
    if not isinstance(said, dict):
        return []
    return [said] if "S3Key" in said else [f for each in said.values() for f in located(each)]


def test_nothing_is_left_for_sam_and_all_else_is_as_it_would_make_it(
    made: tuple[dict[str, Any], Path],
) -> None:
    template, _ = made
    plain = transformed()
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert "Transform" not in template
    assert not [kind for kind in kinds if kind.startswith("AWS::Serverless::")]
    assert kinds == {resource["Type"] for resource in plain["Resources"].values()}
    for part in ("Rules", "Conditions", "Outputs"):
        assert unhashed(template[part]) == unhashed(plain[part])
    assert template["Parameters"].keys() == plain["Parameters"].keys() | {
        *("ArtifactBucket", "ArtifactPrefix")
    }


def test_every_artifact_is_there_and_lies_where_the_parameters_say(
    made: tuple[dict[str, Any], Path],
) -> None:
    template, folder = made
    found = located(template["Resources"])
    prefix = "${ArtifactPrefix}"
    assert {str(each["S3Bucket"]) for each in found} == {str({"Ref": "ArtifactBucket"})}
    assert {each["S3Key"]["Fn::Sub"] for each in found} == {
        f"{prefix}{path.name}" for path in folder.glob("*.zip")
    }


@pytest.mark.parametrize(
    ("name", "made_of"), [("Contract", "events/registry.json"), ("Operations", "monitoring.yaml")]
)
def test_a_nested_template_lies_where_the_parameters_say(
    made: tuple[dict[str, Any], Path], name: str, made_of: str
) -> None:
    template, folder = made
    (nested,) = folder.glob(f"{name}-*{Path(made_of).suffix}")
    where = template["Resources"][name]["Properties"]["TemplateURL"]["Fn::Sub"]
    assert nested.read_bytes() == (ROOT / made_of).read_bytes()
    assert where.startswith("https://${ArtifactBucket}.s3.${AWS::Region}.${AWS::URLSuffix}/")
    assert where.endswith(f"/${{ArtifactPrefix}}{nested.name}")


def test_lambda_may_read_what_is_in_them(made: tuple[dict[str, Any], Path]) -> None:
    _, folder = made
    for path in folder.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            modes = {entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
        assert modes == {0o644}, path


def test_the_state_machine_lies_where_the_parameters_say(
    made: tuple[dict[str, Any], Path],
) -> None:
    template, folder = made
    machine = template["Resources"]["ImportMachine"]["Properties"]
    (words,) = folder.glob("ImportMachine-*.json")
    same = dict.fromkeys(machine["DefinitionSubstitutions"], 7)
    assert machine["DefinitionS3Location"] == {
        "Bucket": {"Ref": "ArtifactBucket"},
        "Key": {"Fn::Sub": f"${{ArtifactPrefix}}{words.name}"},
    }
    filled = words.read_text()
    for name in same:
        filled = filled.replace(f"${{{name}}}", "7")
    assert json.loads(filled) == definition(**same)


def test_it_is_small_enough_to_be_sent_as_it_is(made: tuple[dict[str, Any], Path]) -> None:
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
    _, folder = made
    assert (folder / TEMPLATE).stat().st_size < 51_200


def test_the_same_sources_make_the_same_package(
    made: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    _, folder = made
    package(tmp_path / "again")
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
