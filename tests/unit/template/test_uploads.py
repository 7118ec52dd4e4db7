"""The upload bucket: which objects are imported, and how long they stay."""

import re
import shlex
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import jmespath
import pytest

from tests.support.template_arguments import isos_below
from tools.resolved_template import Resolved, resolve

UPLOAD_RULE = "UploadRule"  # the rule


def swept(made: Resolved) -> tuple[str, str]:
    """The bucket and prefix of the sweep."""
    variables = made.properties("Sweep")["Environment"]["Variables"]
    return variables["UPLOAD_BUCKET"], variables["KEY_PREFIX"]


def test_by_default_the_stack_creates_its_bucket_and_imports_every_iso() -> None:
    made = resolve()
    rule = made.properties(UPLOAD_RULE)
    assert made.of_type("AWS::S3::Bucket").keys() == {"UploadBucket", "StagingBucket"}
    assert rule["EventPattern"]["detail"] == {
        "bucket": {"name": ["UploadBucket"]},
        "object": {"key": [{"suffix": {"equals-ignore-case": ".iso"}}]},
    }
    assert made.outputs["UploadCommand"] == "aws s3 cp Win11.iso s3://UploadBucket/"
    assert "EnableEventBridgeCommand" not in made.outputs


def test_an_existing_bucket_is_used_and_not_changed() -> None:
    made = resolve(ExistingBucketName="our-isos")
    rule = made.properties(UPLOAD_RULE)
    assert made.of_type("AWS::S3::Bucket").keys() == {"StagingBucket"}
    assert rule["EventPattern"]["detail"]["bucket"] == {"name": ["our-isos"]}
    for role in ("ImportIsoRole", "ReportBuildRole", "SweepRole"):
        allowed = made.statement(role, "ListUploadBucket")
        assert allowed
        assert allowed["Resource"] == "arn:aws:s3:::our-isos"
    assert made.outputs["UploadBucketName"] == "our-isos"
    assert swept(made) == ("our-isos", "")


@pytest.mark.parametrize(
    "there", [{}, {"TopicConfigurations": [{"TopicArn": "t", "Events": ["s3:*"]}]}]
)
def test_an_existing_bucket_has_an_output_with_the_setup_command(
    there: dict[str, Any],
) -> None:
    # Given existing notifications of the bucket
    command = resolve(ExistingBucketName="our-isos").outputs["EnableEventBridgeCommand"]
    outer, inner = re.fullmatch(r'(.*) --notification-configuration "\$\((.*)\)"', command).groups()  # type: ignore[union-attr] # it is of that form
    # When the command merges
    asks = shlex.split(inner)
    merged = jmespath.search(asks[asks.index("--query") + 1], there)
    # Then
    # Otherwise S3 sends a test message to each destination, and fails if one of them fails.
    assert outer == (
        "aws s3api put-bucket-notification-configuration --bucket our-isos"
        " --skip-destination-validation"
    )
    assert inner.startswith(
        "aws s3api get-bucket-notification-configuration --bucket our-isos --output json "
    )
    assert merged == {**there, "EventBridgeConfiguration": {}}


def test_only_isos_below_the_prefix_are_announced_and_read() -> None:
    made = resolve(KeyPrefix="isos/windows/")
    rule = made.properties(UPLOAD_RULE)
    wildcards = [each["wildcard"] for each in rule["EventPattern"]["detail"]["object"]["key"]]
    assert len(wildcards) <= 3

    def published(key: str) -> bool:
        return any(fnmatchcase(key, each) for each in wildcards)

    for letters in product("iI", "sS", "oO"):
        name = f"Win 11.{''.join(letters)}"
        assert published(f"isos/windows/{name}")
        assert published(f"isos/windows/deep/{name}")
        assert not published(f"isos/{name}")
    assert not published("isos/windows/Win11.iso.sha256")
    for role, sid in (
        ("ImportIsoRole", "ReadUploads"),
        ("ReportBuildRole", "TagObjects"),
        ("SweepRole", "TagObjects"),
    ):
        read = made.statement(role, sid)
        assert read
        assert set(read["Resource"]) == isos_below("isos/windows/")
    assert made.outputs["UploadCommand"].endswith("s3://UploadBucket/isos/windows/")
    assert swept(made) == ("UploadBucket", "isos/windows/")


def test_replaced_versions_are_kept_for_the_given_days() -> None:
    rules = resolve(NoncurrentVersionExpirationDays=7).properties("UploadBucket")[
        "LifecycleConfiguration"
    ]
    assert {"NoncurrentDays": "7"} in [
        rule.get("NoncurrentVersionExpiration") for rule in rules["Rules"]
    ]


def test_imported_isos_are_deleted_after_the_given_days_if_any() -> None:
    def by_tag(**parameters: object) -> list[dict[str, Any]]:
        rules = resolve(**parameters).properties("UploadBucket")["LifecycleConfiguration"]["Rules"]
        return [rule for rule in rules if "TagFilters" in rule]

    (rule,) = by_tag(ImportedIsoExpirationDays=7)
    assert rule["TagFilters"] == [{"Key": "isodrop:state", "Value": "succeeded"}]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", "7")
    assert by_tag() == []
    existing = resolve(ExistingBucketName="our-isos", ImportedIsoExpirationDays=7)
    assert "UploadBucket" not in existing.of_type("AWS::S3::Bucket")
