"""The checks of the functions and their layer."""

from pathlib import Path
from typing import Any

import pytest

from isodrop_cli.doctor.functions import BOTO3
from isodrop_cli.doctor.results import Level
from isodrop_local.template import ROOT, read_template
from tests.support.doctor_responses import FUNCTION, context, refusal, run_check


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"LastUpdateStatus": "InProgress"}, Level.WARNING, "LastUpdateStatus is InProgress"),
        (
            {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "no key"},
            Level.ERROR,
            "LastUpdateStatus is Failed (no key)",
        ),
        ({"State": "Failed"}, Level.ERROR, "State is Failed"),
        ({"Runtime": "python3.9"}, Level.ERROR, "runs on python3.9"),
    ],
)
def test_the_state_of_a_function_is_checked(changes: Any, level: Level, words: str) -> None:
    result = run_check("sweep", context(GetFunctionConfiguration={**FUNCTION, **changes}))
    assert result.level is level
    assert words in result.message


def test_the_remedy_for_a_missing_function_is_to_deploy() -> None:
    gone = refusal("ResourceNotFoundException", 404)
    assert run_check("sweep", context(GetFunctionConfiguration=gone)).level is Level.ERROR


def test_an_environment_with_an_unusable_key_is_reported() -> None:
    undecryptable = {**FUNCTION, "Environment": {"Error": {"Message": "KMS denied access"}}}
    result = run_check("import-iso-settings", context(GetFunctionConfiguration=undecryptable))
    assert result.level is Level.ERROR
    assert "KMS denied access" in result.message


@pytest.mark.parametrize(
    ("description", "level"),
    [
        ("with boto3 1.44.5 in it", Level.OK),
        ("with boto3 2.0.0 in it", Level.OK),
        ("with boto3 1.43.99 in it", Level.ERROR),
        ("with libraries in it", Level.WARNING),
    ],
)
def test_the_boto3_version_of_a_layer_is_checked(description: str, level: Level) -> None:
    at = context(GetLayerVersionByArn={"Description": description})
    assert run_check("layer", at).level is level


def test_the_locked_boto3_of_the_layer_is_recent_enough() -> None:
    locked = Path(ROOT, "layers/isodrop/requirements.txt").read_text()
    version = locked.partition("\nboto3==")[2].split()[0]
    described = read_template()["Resources"]["IsodropLayer"]["Properties"]["Description"]
    assert f"boto3 {version}" in described
    assert tuple(map(int, version.split(".")))[:2] >= BOTO3
    assert (
        run_check("layer", context(GetLayerVersionByArn={"Description": described})).level
        is Level.OK
    )
