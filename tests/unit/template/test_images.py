"""Images: how they are distributed, and when they are deleted."""

import pytest

from isodrop.domain.model import DistributionSettings
from isodrop.settings import ReportSettings
from tests.support.template_arguments import ROLE
from tools.resolved_template import resolve

DISTRIBUTION = "arn:aws:imagebuilder:eu-central-1:123456789012:distribution-configuration/ours"


def test_the_answering_roles_may_distribute_by_the_configuration() -> None:
    made = resolve(
        DistributionConfigurationArn=DISTRIBUTION, ExecutionRoleArn=ROLE, BuildLogGroupName="/ours"
    )
    for function in ("ReportBuild", "Sweep"):
        settings = ReportSettings.read(made.properties(function)["Environment"]["Variables"])
        distribute, found, passed = (
            made.statement(f"{function}Role", sid)
            for sid in ("DistributeImage", "FindDistributions", "PassDistributionRole")
        )
        assert settings.distribution_settings() == DistributionSettings(DISTRIBUTION, ROLE, "/ours")
        assert distribute
        assert "imagebuilder:DistributeImage" in distribute["Action"]
        assert found
        assert found["Resource"][1:] == [DISTRIBUTION]
        assert passed
        assert (passed["Action"], passed["Resource"]) == ("iam:PassRole", ROLE)
        assert passed["Condition"] == {
            "StringEquals": {"iam:PassedToService": "imagebuilder.amazonaws.com"}
        }


def test_without_a_configuration_no_role_may_distribute() -> None:
    made = resolve()
    for function in ("ReportBuild", "Sweep"):
        settings = ReportSettings.read(made.properties(function)["Environment"]["Variables"])
        assert settings.distribution_settings() is None
        for sid in ("DistributeImage", "FindDistributions", "PassDistributionRole"):
            assert made.statement(f"{function}Role", sid) is None


@pytest.mark.parametrize("function", ["ReportBuild", "Sweep"])
def test_the_distributing_functions_know_the_number_of_attempts(function: str) -> None:
    variables = resolve(MaxConsecutiveFailures=3).properties(function)["Environment"]["Variables"]
    assert ReportSettings.read(variables).max_consecutive_failures == 3


def test_old_images_are_deleted_after_the_given_days_with_their_amis() -> None:
    made = resolve(ImageExpirationDays=90, ImagesToRetain=5)
    policy = made.properties("ImageLifecyclePolicy")
    assert policy["ResourceSelection"] == {"TagMap": {"isodrop:stack": "isodrop"}}
    assert policy["PolicyDetails"] == [
        {
            "Action": {"Type": "DELETE", "IncludeResources": {"Amis": True, "Snapshots": True}},
            "Filter": {"Type": "AGE", "Value": "90", "Unit": "DAYS", "RetainAtLeast": "5"},
        }
    ]
    (managed,) = made.properties("ImageLifecycleRole")["ManagedPolicyArns"]
    assert managed.endswith(":policy/service-role/EC2ImageBuilderLifecycleExecutionPolicy")


def test_without_days_no_image_is_deleted() -> None:
    made = resolve(ImagesToRetain=5)
    assert not made.of_type("AWS::ImageBuilder::LifecyclePolicy")
    assert "ImageLifecycleRole" not in made.resources
