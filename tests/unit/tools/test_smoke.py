"""How make smoke evaluates what only AWS might return."""

import json
from typing import Any

import pytest

from isodrop.domain.model import ImportPlan
from tools.smoke import __main__ as smoke
from tools.smoke import points

BUILD = "arn:aws:imagebuilder:eu-central-1:123456789012:image/windows-11/11.26200.1/1"
PLAN = ImportPlan(
    name="windows-11",
    semantic_version="11.26200.1",
    image_index=3,
    description="",
    edition="Enterprise",
    release="25H2",
    architecture="x64",
    windows_build=26200,
    revision=1,
    languages=("en-us",),
    rebuild=None,
    tags={},
)


def build_state(**state: Any) -> dict[str, Any]:
    details = {"resourceType": "aws-sdk:imagebuilder", "resource": "getImage"}
    output = json.dumps({"Image": {"State": state}})
    return {"taskSucceededEventDetails": {**details, "output": output}}


AMI = {"id": "ami-1", "region": "eu-central-1", "name": "windows-11 11.26200.1-1"}
AT_HOME = {"region": "us-east-1"}
SHORT_OF_QUOTA = {"lambdaFunctionFailedEventDetails": {"error": "QuotaError", "cause": "full"}}


@pytest.mark.parametrize(
    ("point", "result"),
    [
        (points.token("at once", BUILD, BUILD), points.MATCHES),
        (points.token("at once", BUILD, f"{BUILD[:-1]}2"), points.DIFFERS),
        (points.token("at once", BUILD, None, "you may not"), points.NOT_OBSERVED),
        (points.lag(12.0), points.MATCHES),
        (points.lag(None), points.DIFFERS),
        (points.tags({"a": "x+y"}, {"a": "x+y", "more": ""}), points.MATCHES),
        (points.tags({"a": "x+y"}, {"a": "x_y"}), points.DIFFERS),
        (points.release(PLAN), points.MATCHES),
        (points.kms_key("AES256", "Succeeded"), points.NOT_OBSERVED),
        (points.kms_key("aws:kms", "Succeeded"), points.MATCHES),
        (points.kms_key("aws:kms", "Failed"), points.DIFFERS),
        (points.steps([]), points.NOT_OBSERVED),
        (points.failure([], "Succeeded"), points.NOT_OBSERVED),
        (points.failure([build_state(Status="FAILED")], "Failed"), points.DIFFERS),
        (
            points.failure([build_state(Status="FAILED", FailureContext={})], "Failed"),
            points.MATCHES,
        ),
        (points.quota([{"type": "Any", "id": 1}]), points.NOT_OBSERVED),
        (points.quota([SHORT_OF_QUOTA]), points.MATCHES),
        (points.ami_tags({"a": "1"}, {"a": "1", "b": "2"}), points.MATCHES),
        (points.ami_tags({"a": "1"}, {"a": "2"}), points.DIFFERS),
        (points.ami_tags({"a": "1"}, None), points.NOT_OBSERVED),
        (points.distributed_names("eu-central-1", [AMI]), points.NOT_OBSERVED),
        (points.distributed_names("us-east-1", [AMI]), points.DIFFERS),
        (points.distributed_names("us-east-1", [AMI, AMI | AT_HOME]), points.MATCHES),
        (points.log_writers(["ImageBuilder-role"]), points.MATCHES),
        (points.log_writers([], "CloudTrail knows of none yet"), points.NOT_OBSERVED),
        (points.missing_object("ClientException: no object", None), points.MATCHES),
        (points.missing_object(None, BUILD), points.MATCHES),
        (points.missing_object(None, None, "you may not"), points.NOT_OBSERVED),
    ],
)
def test_each_point_is_checked_against_what_was_seen(point: points.Point, result: str) -> None:
    assert point.result == result


def test_without_an_iso_the_message_names_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        smoke.main([""], {})
    assert leaving.value.code == 2
    assert "name one: make smoke ISO=Win11.iso" in capsys.readouterr().err
