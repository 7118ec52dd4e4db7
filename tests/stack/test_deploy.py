"""The template is packaged and deployed as by sam, and failures have a reason."""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from isodrop_local.deploy import DeployError, deploy
from isodrop_local.packaging import ROOT, PackageError, built_layer, find_files, make_zip, package
from isodrop_local.stack import EmulatedStack

LAYER = ROOT / "layers" / "isodrop"
PATHS = ("CodeUri", "ContentUri", "DefinitionUri", "TemplateURL")


def test_the_template_deploys_with_all_its_outputs(stack: EmulatedStack) -> None:
    declared = yaml_parse((ROOT / "template.yaml").read_text())["Outputs"]
    always = {name for name, output in declared.items() if "Condition" not in output}
    assert always <= stack.outputs.keys() <= declared.keys()


def test_only_properties_that_name_a_path_are_changed() -> None:
    kept: dict[str, bytes] = {}

    def upload(content: bytes, suffix: str) -> str:
        kept[f"s3://artifacts/{len(kept)}{suffix}"] = content
        return list(kept)[-1]

    packaged = package(ROOT / "template.yaml", upload)
    for resource in packaged["Resources"].values():
        for name in PATHS:
            value = resource.get("Properties", {}).pop(name, "s3://")
            assert value.startswith(("s3://", "https://s3.amazonaws.com/"))
    template = yaml_parse((ROOT / "template.yaml").read_text())
    for resource in template["Resources"].values():
        for name in PATHS:
            resource.get("Properties", {}).pop(name, None)
    assert packaged == template
    assert len(kept) == 8, "four functions, the layer, the state machine and two nested templates"


def test_the_layer_has_the_package_and_its_dependencies() -> None:
    with zipfile.ZipFile(io.BytesIO(built_layer(LAYER, "build-IsodropLayer"))) as layer:
        names = layer.namelist()
    assert "python/isodrop/codes.py" in names
    assert len(names) == len(set(names)), "nothing is in it twice"
    for library in ("boto3", "botocore", "pydantic", "aws_lambda_powertools"):
        assert f"python/{library}/__init__.py" in names
    ours = [name for name in names if name.startswith("python/isodrop/")]
    assert not [name for name in ours if name.endswith(".pyc")], "compiled is what never changes"


def test_the_layer_has_the_models_of_all_services_in_use() -> None:
    # Given the services of clients in handlers and package; the command has all of botocore
    package = LAYER / "isodrop"
    modules = [*(ROOT / "functions").rglob("*.py"), *package.rglob("*.py")]
    source = "\n".join(each.read_text() for each in modules if each.parent != package / "cli")
    services = set(re.findall(r"\b(?:client|resource)\(\s*\"([a-z0-9-]+)\"", source))
    # When
    with zipfile.ZipFile(io.BytesIO(built_layer(LAYER, "build-IsodropLayer"))) as layer:
        found = [re.match(r"python/botocore/data/([^/]+)/", name) for name in layer.namelist()]
    # Then
    assert services
    assert services <= {each[1] for each in found if each}


def test_the_same_files_make_the_same_zip() -> None:
    folder = ROOT / "functions" / "import_iso"
    assert make_zip(find_files(folder)) == make_zip(find_files(folder))


def test_a_layer_that_cannot_be_built_fails_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isodrop_local.packaging.BUILD", tmp_path / "build")
    (tmp_path / "Makefile").write_text("build-Layer:\n\t@echo 'no such wheel' >&2; exit 1\n")
    with pytest.raises(PackageError, match="no such wheel"):
        built_layer(tmp_path, "build-Layer")
    assert list((tmp_path / "build").iterdir()) == []


def test_a_stack_that_does_not_start_fails_with_a_reason(
    deployed: EmulatedStack, tmp_path: Path
) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(
        "Transform: AWS::Serverless-2016-10-31\n"
        "Resources:\n"
        "  Infrastructure:\n"
        "    Type: AWS::ImageBuilder::InfrastructureConfiguration\n"
        "    Properties: {Name: x, InstanceProfileName: any}\n"
    )
    with pytest.raises(DeployError, match="Infrastructure CREATE_FAILED"):
        deploy(
            deployed.client("cloudformation"),
            deployed.client("s3"),
            "broken",
            {},
            template=template,
        )


def test_a_stack_that_was_deleted_can_be_deployed_and_deleted_again(
    deployed: EmulatedStack, tmp_path: Path
) -> None:
    # Given a stack with resources that Image Builder creates once for each token
    template = tmp_path / "template.yaml"
    template.write_text(
        "Resources:\n"
        "  Infrastructure:\n"
        "    Type: AWS::ImageBuilder::InfrastructureConfiguration\n"
        f"    Properties: {{Name: again, InstanceProfileName: {profile(deployed)}}}\n"
        "  Distribution:\n"
        "    Type: AWS::ImageBuilder::DistributionConfiguration\n"
        "    Properties: {Name: again, Distributions: [{Region: eu-central-1}]}\n"
        "  Policy:\n"
        "    Type: AWS::ImageBuilder::LifecyclePolicy\n"
        "    Properties:\n"
        "      Name: again\n"
        "      ExecutionRole: any\n"
        "      ResourceType: AMI_IMAGE\n"
        "      ResourceSelection: {TagMap: {a: b}}\n"
        "      PolicyDetails:\n"
        "        - {Action: {Type: DELETE}, Filter: {Type: COUNT, Value: 5}}\n"
        "Outputs:\n"
        "  Distribution: {Value: !GetAtt Distribution.Arn}\n"
        "  Policy: {Value: !Ref Policy}\n"
    )
    cloudformation, s3 = deployed.client("cloudformation"), deployed.client("s3")
    builder = deployed.client("imagebuilder")
    for _ in range(2):
        # When
        made = deploy(cloudformation, s3, "again", {}, template=template)
        builder.get_distribution_configuration(distributionConfigurationArn=made["Distribution"])
        builder.get_lifecycle_policy(lifecyclePolicyArn=made["Policy"])
        cloudformation.delete_stack(StackName="again")
        # Then
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName="again", WaiterConfig={"Delay": 1}
        )


def test_deleting_a_stack_deletes_its_copies(deployed: EmulatedStack) -> None:
    cloudformation, s3 = deployed.client("cloudformation"), deployed.client("s3")
    bucket = deploy(cloudformation, s3, "short", {})["StagingBucketName"]
    s3.put_object(Bucket=bucket, Key="left.iso", Body=b"left")
    s3.create_multipart_upload(Bucket=bucket, Key="incomplete.iso")

    cloudformation.delete_stack(StackName="short")

    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="short", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert bucket not in {each["Name"] for each in s3.list_buckets()["Buckets"]}


def profile(stack: EmulatedStack) -> str:
    """Return the name of the existing instance profile."""
    found: str = stack.client("iam").list_instance_profiles()["InstanceProfiles"][0][
        "InstanceProfileName"
    ]
    return found


def test_a_second_deployment_updates_the_first(
    deployed: EmulatedStack, make_unique_iso: Callable[..., Path]
) -> None:
    before = deployed.parameters
    try:
        deployed.deploy(before | {"Edition": "Education"})
        deployed.upload(make_unique_iso("education.iso"))
        plan = deployed.wait_for_answer("education.iso")["detail"]["data"]["plan"]
        assert plan["edition"] == "Education"
    finally:
        deployed.deploy(before)
