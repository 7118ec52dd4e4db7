"""The permissions that an operator's commands need: those of OperatorPolicy."""

from fnmatch import fnmatchcase
from typing import Any

import pytest

from isodrop_cli import resumable_upload
from tests.integration.cli.conftest import KEY, Call, Run
from tests.integration.conftest import BUCKET
from tests.support.harness import ImportHarness
from tools.resolved_template import resolve

# The IAM actions with another name than the operation:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
ACTIONS = {
    "HeadObject": "s3:GetObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
}
ARN = "arn:aws:{}:eu-central-1:123456789012:{}"


def right(call: Call) -> tuple[str, str]:
    """The action and the resource of a call, named as in the resolved template."""
    service, operation, arguments = call
    prefix = {"stepfunctions": "states"}.get(service, service)
    return ACTIONS.get(operation, f"{prefix}:{operation}"), _resource(service, arguments)


def _resource(service: str, arguments: dict[str, Any]) -> str:
    match service:
        case "cloudformation":
            return ARN.format(service, f"stack/{arguments['StackName']}/1b2c")
        case "dynamodb":
            return "/index/".join(filter(None, ("LedgerTable.Arn", arguments.get("IndexName"))))
        case "imagebuilder":
            return str(arguments["imageBuildVersionArn"])
        case "lambda":
            names = {"import-iso": "ImportIso", "report-build": "ReportBuild", "sweep": "Sweep"}
            return f"{names[arguments['FunctionName']]}.Arn"
        case "s3":
            return "/".join(filter(None, ("arn:aws:s3:::UploadBucket", arguments.get("Key"))))
        case "stepfunctions":
            execution = str(arguments.get("executionArn", "ImportStateMachine"))
            return execution.replace(":ImportStateMachine:", ":ImportStateMachine.Name:")
    raise NotImplementedError(service)


def allowed(policy: list[dict[str, Any]], action: str, on: str) -> bool:
    return any(
        action in _listed(statement["Action"])
        and any(fnmatchcase(on, resource) for resource in _listed(statement["Resource"]))
        for statement in policy
    )


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def operator_policy(**parameters: str) -> list[dict[str, Any]]:
    document = resolve(**parameters).properties("OperatorPolicy")["PolicyDocument"]
    statements: list[dict[str, Any]] = document["Statement"]
    assert {each["Effect"] for each in statements} == {"Allow"}
    return statements


@pytest.fixture
def everything(
    harness: ImportHarness,
    run: Run,
    calls: list[Call],
    refused: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> list[Call]:
    """The calls of AWS when an operator runs every command."""
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1024)
    monkeypatch.setattr(resumable_upload.plan_parts, "__defaults__", (256 << 10,))
    path = harness.folder / KEY
    path.write_bytes(harness.iso())
    address = f"s3://{BUCKET}/{KEY}"
    refused |= {"GetFunctionConfiguration": "AccessDenied", "UploadPart": "ExpiredToken"}
    assert run("upload", str(path), "--no-wait")[0] == 1  # it is interrupted and resumed
    del refused["UploadPart"]
    assert run("upload", str(path), "--no-wait")[0] == 0
    assert run("upload", str(path), "--no-wait")[0] == 0  # it exists already
    assert run("upload", str(path), "--no-wait", "--tag", "team=desktop", "--force")[0] == 0
    assert run("status", address)[0] == 1  # not claimed yet
    assert run("retry", address, "--set", "edition=Ghost", "--wait")[0] == 3
    assert run("retry", address, "--set", "edition=Ghost")[0] == 0
    assert run("watch", address)[0] == 3
    assert run("list")[0] == run("status", address)[0] == 0
    assert run("status", address, "--version-id", "of-one-that-is-gone")[0] == 1
    seen = calls.copy()
    harness.image_builder.controls.hold("BUILDING")
    harness.intake.process(harness.upload("runs.iso", harness.iso(label="RUNS")), "execution-runs")
    harness.claim_run(harness.upload("waits.iso"), "execution-waits")
    calls[:] = seen
    assert run("watch")[0] == 130
    assert run("cancel", f"s3://{BUCKET}/runs.iso")[0] == 0
    assert run("cancel", f"s3://{BUCKET}/waits.iso")[0] == 0
    del refused["GetFunctionConfiguration"]
    assert run("env")[0] == 0
    return calls


def test_the_operator_policy_allows_every_command_and_no_more(
    everything: list[Call],
) -> None:
    policy = operator_policy()
    rights = {right(call) for call in everything}
    rights |= {
        ("s3:PutObjectTagging", right(call)[1]) for call in everything if "Tagging" in call[2]
    }

    assert [each for each in sorted(rights) if not allowed(policy, *each)] == []
    named = {action for statement in policy for action in _listed(statement["Action"])}
    # If the bucket may be listed, a deleted object is 404 and not 403.
    assert named - {action for action, _ in rights} == {"s3:ListBucket"}


def test_the_operators_key_may_be_used_through_s3_and_dynamodb_only() -> None:
    key = ARN.format("kms", "key/1b2c3d4e")
    (statement,) = [each for each in operator_policy(KmsKeyArn=key) if each["Resource"] == key]
    of_the_stack = resolve(KmsKeyArn=key).statement("ImportIsoRole", "UseKmsKey")

    through = {f"{service}.eu-central-1.amazonaws.com" for service in ("s3", "dynamodb")}
    assert of_the_stack is not None
    assert statement["Action"] == of_the_stack["Action"]
    assert set(statement["Condition"]["StringEquals"]["kms:ViaService"]) == through
