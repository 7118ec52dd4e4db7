"""Errors of an operator's commands: each is one sentence with a remedy."""

from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from tests.integration.cli.conftest import ADDRESS, Run


@pytest.mark.parametrize(
    "wrong",
    [
        ("retry", "https://bucket/a.iso"),
        ("retry", "s3://bucket"),
        ("retry", ADDRESS, "--set", "edition"),
        ("retry", ADDRESS, "--set", "role=admin"),
        ("retry", ADDRESS, "--set", "image-index=first"),
        ("list", "--limit", "0"),
        ("list", "--limit", "many"),
        ("status",),
    ],
)
def test_wrong_usage_is_reported_before_any_call_to_aws(run: Run, wrong: tuple[str, ...]) -> None:
    status, out, err = run(*wrong)

    assert (status, out) == (2, "")
    assert err.startswith("usage: isodrop")


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("command", ["list", "doctor"])
def test_no_remedy_is_suggested_for_a_stack_of_another_kind(
    run: Run, stacks: dict[str, dict[str, str]], command: str
) -> None:
    stacks["queues"] = {"QueueUrl": "https://sqs"}

    status, out, err = run(command, "--stack", "queues")

    assert (status, out) == (1, "")
    assert "the stack queues is CREATE_COMPLETE and has none of isodrop's outputs" in err
    assert "--stack or ISODROP_STACK" in err


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("arguments", "case"),
    [
        (("--stack", "nobodys"), ({}, "no stack nobodys in eu-central-1; choose yours")),
        ((), ({"ISODROP_STACK": "nobodys"}, "there is no stack nobodys")),
        (("--stack", "other"), ({}, "has no output LedgerTableName: it is not an isodrop stack")),
        (("--profile", "nobodys"), ({}, "aws configure list-profiles")),
        ((), ({"AWS_DEFAULT_REGION": None}, "set the stack's Region with --region")),
        ((), ({"AWS_ACCESS_KEY_ID": None}, "credentials; sign in (aws sso login, aws configure)")),
        ((), ({"AWS_ENDPOINT_URL": "moon"}, "Invalid endpoint: moon; check the network")),
    ],
)
def test_a_stack_that_cannot_be_reached_is_reported_with_a_remedy(
    run: Run,
    stacks: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    case: tuple[dict[str, str | None], str],
) -> None:
    environment, shown = case
    outputs = {"UploadBucketName": "b", "ImportStateMachineArn": "arn:a:states:r:1:stateMachine:m"}
    stacks |= {"other": outputs, "isodrop": {**outputs, "LedgerTableName": "ledger"}}
    # Without this machine's configuration and its metadata service.
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in environment.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    if "AWS_ACCESS_KEY_ID" in environment:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    status, out, err = run("list", *arguments)

    assert (status, out) == (1, "")
    assert shown in err


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("ExpiredToken", "DescribeStacks: ExpiredToken: No; sign in"),
        ("InvalidClientTokenId", "sign in (aws sso login, aws configure) or choose a profile"),
        ("AccessDenied", "DescribeStacks: AccessDenied: No; request that permission"),
        ("Throttling", "try again in a minute"),
    ],
)
def test_an_error_of_aws_is_reported_in_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, code: str, shown: str
) -> None:
    def refuse(self: Any, operation: str, arguments: Any) -> Any:
        del self, arguments
        raise ClientError({"Error": {"Code": code, "Message": "No."}}, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)

    status, out, err = run("list")

    assert (status, out) == (1, "")
    assert shown in err
