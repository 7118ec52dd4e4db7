"""The private copies: who can write and read them."""

from fnmatch import fnmatchcase

import pytest

from tools.resolved_template import TemplateError, resolve


def test_a_directory_bucket_is_refused() -> None:
    with pytest.raises(TemplateError, match="ExistingBucketName"):
        resolve(ExistingBucketName="isos--euc1-az1--x-s3")


def test_copies_are_written_by_the_stacks_roles_only_and_last_eight_days() -> None:
    made = resolve()
    (only,) = [
        each
        for each in made.properties("StagingBucketPolicy")["PolicyDocument"]["Statement"]
        if each["Sid"] == "DenyOtherWriters"
    ]
    rules = made.properties("StagingBucket")["LifecycleConfiguration"]["Rules"]
    assert (only["Effect"], only["Principal"]) == ("Deny", "*")
    assert only["Condition"] == {
        "ArnNotEquals": {
            "aws:PrincipalArn": [
                f"{role}.Arn"
                for role in (
                    "ImportIsoRole",
                    "ReportBuildRole",
                    "SweepRole",
                    "EmptyStagingBucketRole",
                )
            ]
        }
    }
    assert [rule.get("ExpirationInDays") for rule in rules] == [8, None]
    assert rules[1]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert "NotificationConfiguration" not in made.properties("StagingBucket")


ACCOUNT = "123456789012"


def test_builds_read_only_copies_of_this_account() -> None:
    made = resolve()
    (policy,) = made.properties("BuildInstanceRole")["Policies"]
    allow, no_objects, no_parameters = policy["PolicyDocument"]["Statement"]
    assert (allow["Effect"], allow["Resource"]) == ("Allow", "StagingBucket.Arn/*")
    assert allow["Condition"] == {"StringEquals": {"s3:ResourceAccount": ACCOUNT}}
    assert (no_objects["Effect"], no_objects["Action"]) == ("Deny", "s3:GetObject*")
    assert no_objects["NotResource"] == "StagingBucket.Arn/*"
    assert no_objects["Condition"] == {"StringEquals": {"aws:ResourceAccount": ACCOUNT}}
    assert (no_parameters["Effect"], no_parameters["Action"]) == ("Deny", "ssm:GetParameter*")


@pytest.mark.parametrize(
    ("arn", "denied"),
    [
        (f"arn:aws:ssm:eu-central-1:{ACCOUNT}:parameter/prod/password", True),
        (f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/isodrop/a/26100/latest", True),
        # AWS's own buckets, which the SSM agent and Image Builder read.
        ("arn:aws:ssm:eu-central-1::parameter/aws/service/ami-windows-latest/any", False),
        ("arn:aws:ssm:eu-central-1:210987654321:parameter/theirs", False),
    ],
)
def test_builds_read_no_parameters_of_this_account_and_all_of_aws(
    arn: str, *, denied: bool
) -> None:
    (policy,) = resolve().properties("BuildInstanceRole")["Policies"]
    statements = policy["PolicyDocument"]["Statement"]
    (resource,) = (each["Resource"] for each in statements if each["Sid"] == "DenyParameters")
    assert fnmatchcase(arn, resource) is denied
