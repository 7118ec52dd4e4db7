"""The parameters for organizations: keys, boundaries, retention and architecture."""

import re

import pytest

from isodrop_local.template import ROOT
from tools.resolved_template import resolve

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1b2c3d4e-0000-1111-2222-333344445555"
BOUNDARY = "arn:aws:iam::123456789012:policy/ours/boundary"


def test_everything_stored_is_encrypted_with_the_given_key() -> None:
    made = resolve(KmsKeyArn=KEY)
    (bucket,) = made.properties("UploadBucket")["BucketEncryption"][
        "ServerSideEncryptionConfiguration"
    ]
    assert bucket["ServerSideEncryptionByDefault"]["KMSMasterKeyID"] == KEY
    assert bucket["BucketKeyEnabled"] is True
    for table in made.of_type("AWS::DynamoDB::Table").values():
        assert table["SSESpecification"]["KMSMasterKeyId"] == KEY
    for queue in made.of_type("AWS::SQS::Queue").values():
        assert (queue["KmsMasterKeyId"], "SqsManagedSseEnabled" in queue) == (KEY, False)
    for logs in made.of_type("AWS::Logs::LogGroup").values():
        assert logs["KmsKeyId"] == KEY


def test_only_roles_that_use_data_may_use_the_given_key() -> None:
    made, plain = resolve(KmsKeyArn=KEY), resolve()
    for role in ("ImportIsoRole", "ReportBuildRole", "SweepRole"):
        used = made.statement(role, "UseKmsKey")
        assert used
        assert used["Resource"] == KEY
    for role in ("BuildInstanceRole", "BuildExecutionRole"):
        assert made.properties(role) == plain.properties(
            role
        )  # copies are not encrypted with the key
    assert "kms:" not in str(plain.resources)


def test_every_role_has_the_given_boundary_and_path() -> None:
    made = resolve(PermissionsBoundaryArn=BOUNDARY, RolePath="/ours/")
    roles = made.of_type("AWS::IAM::Role")
    assert len(roles) >= 6
    for name, role in roles.items():
        assert (role.get("PermissionsBoundary"), role.get("Path")) == (BOUNDARY, "/ours/"), name
    for profile in made.of_type("AWS::IAM::InstanceProfile").values():
        assert profile["Path"] == "/ours/"
    for role in resolve().of_type("AWS::IAM::Role").values():
        assert (role["Path"], "PermissionsBoundary" in role) == ("/", False)


def test_every_log_group_has_the_given_retention() -> None:
    logs = resolve(LogRetentionDays=14).of_type("AWS::Logs::LogGroup")
    assert {each["RetentionInDays"] for each in logs.values()} == {"14"}


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_functions_and_layer_have_the_given_architecture(
    architecture: str,
) -> None:
    made = resolve(Architecture=architecture)
    for function in made.of_type("AWS::Lambda::Function").values():
        assert function["Architectures"] == [architecture]
    (layer,) = made.of_type("AWS::Lambda::LayerVersion").values()
    assert architecture in layer["CompatibleArchitectures"]


def test_the_layer_is_built_for_the_python_that_the_functions_run_on() -> None:
    made = resolve()
    makefile = (ROOT / "layers/isodrop/Makefile").read_text()
    runtimes = {each["Runtime"] for each in made.of_type("AWS::Lambda::Function").values()}
    (layer,) = made.of_type("AWS::Lambda::LayerVersion").values()
    built_for = re.search(r"^LAYER_PYTHON \?= (\S+)$", makefile, re.MULTILINE)
    assert built_for
    assert runtimes == {*layer["CompatibleRuntimes"]} == {f"python{built_for[1]}"}
