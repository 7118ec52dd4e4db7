"""The checks of the stack itself, and what all checks have in common."""

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from isodrop_cli.doctor import CHECKS, run_checks
from isodrop_cli.doctor.results import Level
from tests.support.doctor_responses import (
    DISTRIBUTION,
    HEALTHY,
    KEY,
    STACK,
    context,
    refusal,
    run_check,
    with_parameters,
)


def test_a_healthy_stack_passes_every_check() -> None:
    levels = {each.check: each.result.level for each in run_checks(context())}
    assert set(levels.values()) == {Level.OK}
    assert len(levels) == len(CHECKS)


@pytest.mark.parametrize(
    "policy", [{"Policy": '{"Statement": []}'}, refusal("NoSuchBucketPolicy", 404)], ids=str
)
def test_a_staging_bucket_with_other_writers_is_reported(policy: Any) -> None:
    found = run_check("staging", context(GetBucketPolicy=policy))
    assert found.level is Level.ERROR
    assert "the-copies" in found.message


def test_a_directory_bucket_is_reported() -> None:
    stack = {
        **STACK,
        "Outputs": [{"OutputKey": "UploadBucketName", "OutputValue": "iso--euc1-az1--x-s3"}],
    }
    assert "directory bucket" in run_check("bucket", context(stack)).message


def test_without_permissions_every_check_warns_and_names_one() -> None:
    denied = dict.fromkeys(HEALTHY, refusal("AccessDenied", 403))
    kept = {"ListStackResources": HEALTHY["ListStackResources"]}
    elsewise = ("DescribeKey", "GetDistributionConfiguration", "GetObject")
    unasked = dict.fromkeys(elsewise, refusal("AccessDenied"))
    stack = with_parameters(
        KmsKeyArn=KEY,
        DistributionConfigurationArn=DISTRIBUTION,
        AllowListMode="enforce",
        AllowListUri="s3://lists/isos.txt",
    )

    found = list(run_checks(context(stack, **denied | unasked | kept)))

    unseen = {each.check: each.result for each in found if each.check not in ("stack", "local-sdk")}
    assert {each.level for each in unseen.values()} == {Level.WARNING}
    assert all(
        each.message.startswith("could not be checked: you lack the permission ")
        for each in unseen.values()
    )
    assert unseen["build-quota"].remedy == "request the permission servicequotas:ListServiceQuotas"
    assert unseen["event-notifications"].remedy == "request the permission s3:GetBucketNotification"
    assert unseen["state-machine"].remedy == "request the permission states:DescribeStateMachine"


def test_checks_that_need_the_resource_list_report_that_it_failed() -> None:
    at = context(ListStackResources=refusal("AccessDenied", 403))
    assert (
        run_check("upload-rule", at).remedy
        == "request the permission cloudformation:ListStackResources"
    )
    assert run_check("bucket", at).level is Level.OK


def test_a_service_that_cannot_be_reached_is_a_warning() -> None:
    lost = EndpointConnectionError(endpoint_url="https://nowhere")
    result = run_check("build-quota", context(ListServiceQuotas=lost))
    assert (result.level, result.remedy) == (Level.WARNING, None)
    assert "could not be checked: ListServiceQuotas: Could not connect" in result.message


@pytest.mark.parametrize(
    ("status", "level"),
    [
        ("UPDATE_COMPLETE", Level.OK),
        ("UPDATE_ROLLBACK_COMPLETE", Level.WARNING),
        ("UPDATE_IN_PROGRESS", Level.WARNING),
        ("UPDATE_ROLLBACK_FAILED", Level.ERROR),
        ("ROLLBACK_COMPLETE", Level.ERROR),
        ("DELETE_FAILED", Level.ERROR),
    ],
)
def test_the_status_of_the_stack_is_checked(status: str, level: Level) -> None:
    assert run_check("stack", context({**STACK, "StackStatus": status})).level is level
