"""Conditions of the template's policies: each is as narrow as AWS allows, and none is missing."""

import json
from typing import Any

import pytest

from tests.support.policies import listed
from tests.unit.test_policies import EVERYTHING, documents
from tools.resolved_template import resolve

ACCOUNT = "123456789012"
IN_THIS_ACCOUNT = {"StringEquals": {"s3:ResourceAccount": ACCOUNT}}
BELOW_THE_PREFIX = {
    "StringEquals": {"s3:ResourceAccount": ACCOUNT},
    "StringLike": {"s3:prefix": "isos/*"},
}
OF_THIS_STACK = {"StringEquals": {"aws:RequestTag/isodrop:stack": "isodrop"}}
TO_IMAGE_BUILDER = {"StringEquals": {"iam:PassedToService": "imagebuilder.amazonaws.com"}}
CONDITIONS = {
    **dict.fromkeys(
        [
            "ReadUploads",
            "StageCopies",
            "ListStagingBucket",
            "HeadObjects",
            "DeleteCopies",
            "TagObjects",
            "ListCopies",
            "UploadAndReadIsos",
            "ListMultipartUploads",
        ],
        IN_THIS_ACCOUNT,
    ),
    **dict.fromkeys(["ListUploadBucket", "ListUploads"], BELOW_THE_PREFIX),
    **dict.fromkeys(["ImportDiskImage", "DistributeImage", "TagAmis"], OF_THIS_STACK),
    "CancelBuilds": {"StringEquals": {"aws:ResourceTag/isodrop:stack": "isodrop"}},
    "RequestCancellations": {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": "CANCEL#*"},
        "Null": {"dynamodb:LeadingKeys": "false"},
    },
    "UseKmsKey": {
        "StringEquals": {
            "kms:ViaService": [
                "s3.eu-central-1.amazonaws.com",
                "dynamodb.eu-central-1.amazonaws.com",
            ]
        }
    },
    **dict.fromkeys(["PassExecutionRole", "PassDistributionRole"], TO_IMAGE_BUILDER),
}
"""By the statement's id, in any policy."""


def statements() -> list[tuple[str, dict[str, Any]]]:
    made = resolve(**EVERYTHING, ExistingBucketName="shared")
    return [
        (name, statement)
        for name, document in documents(made)
        for statement in listed(document["Statement"])
    ]


@pytest.mark.parametrize("sid", CONDITIONS)
def test_a_statement_has_its_condition_in_every_policy(sid: str) -> None:
    found = [each.get("Condition") for _, each in statements() if each.get("Sid") == sid]
    assert found
    assert all(each == CONDITIONS[sid] for each in found)


def test_without_a_prefix_no_condition_restricts_it() -> None:
    for role in ("ImportIsoRole", "ReportBuildRole", "SweepRole"):
        statement = resolve().statement(role, "ListUploadBucket")
        assert statement
        assert statement["Condition"] == IN_THIS_ACCOUNT


def test_only_a_bucket_that_may_keep_no_versions_is_read_without_them() -> None:
    own, theirs = (json.dumps(resolve(**each).resources) for each in ({}, SHARED))
    for action in ("s3:GetObjectTagging", "s3:PutObjectTagging"):
        roles = [
            resolve(**each).statement(role, "TagObjects")
            for each in ({}, SHARED)
            for role in ("ReportBuildRole", "SweepRole")
        ]
        assert [action in each["Action"] for each in roles if each] == [False, False, True, True]
    assert ('"HeadObjects"' in own, '"HeadObjects"' in theirs) == (False, True)


SHARED = {"ExistingBucketName": "shared"}


def test_only_this_account_s_events_start_an_execution() -> None:
    assert resolve().properties("UploadRule")["EventPattern"]["account"] == [ACCOUNT]


def test_only_the_rule_may_fill_the_dead_letter_queue() -> None:
    (statement,) = resolve().properties("DeadLetterQueuePolicy")["PolicyDocument"]["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnEquals": {"aws:SourceArn": "UploadRule.Arn"},
    }


def test_services_take_roles_for_this_account_only() -> None:
    made = resolve()
    trusts = {
        name: made.properties(name)["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]
        for name in ("UploadRuleRole", "ImportStateMachineRole")
    }
    machines = f"arn:aws:states:eu-central-1:{ACCOUNT}:stateMachine:*"
    assert trusts["UploadRuleRole"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert trusts["ImportStateMachineRole"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": machines},
    }


def test_policies_fit_with_the_longest_names() -> None:
    """IAM does not count whitespace: 6,144 for a managed policy, 10,240 for inline ones of a role.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    longest = {
        **EVERYTHING,
        "ExistingBucketName": "b" * 63,
        "KeyPrefix": "p" * 127 + "/",
        "AllowListUri": f"s3://{'l' * 63}/{'k' * 91}",
        "UefiDataUri": f"s3://{'u' * 63}/{'k' * 187}",
    }
    made = resolve(**longest)
    for name, document in documents(made):
        size = len(json.dumps(document, separators=(",", ":")))
        # References are not resolved: each is an ARN, at most 140 characters longer.
        limit = 6144 if made.resources[name]["Type"] == "AWS::IAM::ManagedPolicy" else 10240
        references = json.dumps(document).count(".Arn") + json.dumps(document).count(
            "ImportStateMachine"
        )
        assert size + 140 * references <= limit, (name, size, references)
