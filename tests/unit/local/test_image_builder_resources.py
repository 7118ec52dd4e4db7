"""The fake Image Builder stores configurations and lifecycle policies as documented."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from isodrop_local.image_builder import FakeImageBuilder, ServiceError, client, provisioners
from tests.support.fake_image_builder import refusal

if TYPE_CHECKING:
    from mypy_boto3_imagebuilder.client import ImagebuilderClient

NOW = 1_800_000_000.0
ROLE = "arn:aws:iam::123456789012:role/lifecycle"


@pytest.fixture
def api() -> "ImagebuilderClient":
    return client(FakeImageBuilder(clock=lambda: NOW))


def error_of(call: Callable[..., object], **parameters: Any) -> str:
    """Make a call that is refused; return the error's name."""
    return refusal(call, **parameters)[0]


def configuration(**changes: Any) -> dict[str, Any]:
    ami = {"name": "windows {{ imagebuilder:buildDate }}", "targetAccountIds": ["210987654321"]}
    distributions = [
        {"region": "us-east-1"},
        {"region": "eu-central-1", "amiDistributionConfiguration": ami},
    ]
    return {"name": "Far Away", "distributions": distributions, "clientToken": "1"} | changes


def rule(
    action: str = "DELETE", filter_type: str = "COUNT", *, unit: str | None = None, **included: bool
) -> dict[str, Any]:
    chosen = {"type": filter_type, "value": 5} | ({"unit": unit} if unit else {})
    return {"action": {"type": action, "includeResources": included}, "filter": chosen}


def policy(*rules: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "name": "Keep Five",
        "executionRole": ROLE,
        "resourceType": "AMI_IMAGE",
        "policyDetails": list(rules) or [rule(amis=True, snapshots=True)],
        "resourceSelection": {"tagMap": {"isodrop:stack": "isodrop"}},
        "clientToken": "1",
    } | changes


class TestDistributionConfigurations:
    def test_a_configuration_is_returned_as_it_was_created(self, api: "ImagebuilderClient") -> None:
        request = configuration(tags={"a": "b"})
        arn = api.create_distribution_configuration(**request)["distributionConfigurationArn"]
        assert arn.endswith(":distribution-configuration/far-away")
        found = api.get_distribution_configuration(distributionConfigurationArn=arn)
        response = found["distributionConfiguration"]
        assert response["distributions"] == request["distributions"]
        assert (response["name"], response["tags"]) == ("Far Away", {"a": "b"})
        assert response["dateCreated"] == "2027-01-15T08:00:00.000Z"

    def test_two_configurations_are_listed_with_their_regions(
        self, api: "ImagebuilderClient"
    ) -> None:
        api.create_distribution_configuration(**configuration())
        near = configuration(name="near", clientToken="2", distributions=[{"region": "us-east-1"}])
        api.create_distribution_configuration(**near)
        listed = api.list_distribution_configurations()["distributionConfigurationSummaryList"]
        assert [(each["name"], each["regions"]) for each in listed] == [
            ("Far Away", ["us-east-1", "eu-central-1"]),
            ("near", ["us-east-1"]),
        ]
        found = api.list_distribution_configurations(filters=[{"name": "name", "values": ["near"]}])
        assert len(found["distributionConfigurationSummaryList"]) == 1

    def test_a_deleted_configuration_is_not_found_and_its_name_is_free(
        self, api: "ImagebuilderClient"
    ) -> None:
        arn = api.create_distribution_configuration(**configuration())[
            "distributionConfigurationArn"
        ]
        api.delete_distribution_configuration(distributionConfigurationArn=arn)
        refused = error_of(api.get_distribution_configuration, distributionConfigurationArn=arn)
        assert refused == "ResourceNotFoundException"
        api.create_distribution_configuration(**configuration(clientToken="2"))

    def test_a_name_that_folds_the_same_already_exists(self, api: "ImagebuilderClient") -> None:
        api.create_distribution_configuration(**configuration())
        again = configuration(name="far_away", clientToken="2")
        refused = error_of(api.create_distribution_configuration, **again)
        assert refused == "ResourceAlreadyExistsException"

    @pytest.mark.parametrize(
        "distributions",
        [
            [{"region": "us-east-1"}, {"region": "us-east-1"}],
            [{"region": "us-east-1", "amiDistributionConfiguration": {"name": "always the same"}}],
        ],
        ids=["a Region twice", "a name without the date"],
    )
    def test_a_documented_refusal_is_an_invalid_request(
        self, api: "ImagebuilderClient", distributions: list[dict[str, Any]]
    ) -> None:
        request = configuration(distributions=distributions)
        refused = error_of(api.create_distribution_configuration, **request)
        assert refused == "InvalidRequestException"

    def test_the_tags_of_a_configuration_can_be_changed(self, api: "ImagebuilderClient") -> None:
        request = configuration(tags={"a": "b"})
        arn = api.create_distribution_configuration(**request)["distributionConfigurationArn"]
        api.tag_resource(resourceArn=arn, tags={"c": "d"})
        response = api.get_distribution_configuration(distributionConfigurationArn=arn)
        assert response["distributionConfiguration"]["tags"] == {"a": "b", "c": "d"}
        assert (
            api.create_distribution_configuration(**request)["distributionConfigurationArn"] == arn
        )


class TestLifecyclePolicies:
    def test_a_policy_is_returned_as_it_was_created_and_enabled(
        self, api: "ImagebuilderClient"
    ) -> None:
        arn = api.create_lifecycle_policy(**policy())["lifecyclePolicyArn"]
        assert arn.endswith(":lifecycle-policy/keep-five")
        response = api.get_lifecycle_policy(lifecyclePolicyArn=arn)["lifecyclePolicy"]
        assert (response["status"], response["executionRole"]) == ("ENABLED", ROLE)
        assert response["policyDetails"] == [rule(amis=True, snapshots=True)]
        assert response["dateCreated"].timestamp() == NOW

    def test_policies_are_listed_by_their_status(self, api: "ImagebuilderClient") -> None:
        api.create_lifecycle_policy(**policy())
        api.create_lifecycle_policy(**policy(name="off", status="DISABLED", clientToken="2"))
        found = api.list_lifecycle_policies(filters=[{"name": "status", "values": ["DISABLED"]}])
        assert [each["name"] for each in found["lifecyclePolicySummaryList"]] == ["off"]

    def test_a_deleted_policy_is_not_found(self, api: "ImagebuilderClient") -> None:
        arn = api.create_lifecycle_policy(**policy())["lifecyclePolicyArn"]
        api.delete_lifecycle_policy(lifecyclePolicyArn=arn)
        refused = error_of(api.get_lifecycle_policy, lifecyclePolicyArn=arn)
        assert refused == "ResourceNotFoundException"

    @pytest.mark.parametrize(
        "policy",
        [
            policy(rule(filter_type="AGE")),
            policy(rule("DEPRECATE")),
            policy(rule("DISABLE", "AGE", unit="DAYS", amis=True, snapshots=True)),
            policy(rule(snapshots=True)),
            policy(rule(), rule(filter_type="AGE", unit="DAYS")),
            policy(rule("DISABLE", "AGE", unit="DAYS"), resourceType="CONTAINER_IMAGE"),
            policy(resourceSelection={}),
            policy(
                resourceSelection={
                    "tagMap": {"a": "b"},
                    "recipes": [{"name": "any", "semanticVersion": "x.x.x"}],
                }
            ),
        ],
        ids=[
            "an age without a unit",
            "a count that deprecates",
            "snapshots that are disabled",
            "snapshots without AMIs",
            "two rules that delete",
            "containers that are disabled",
            "no selection",
            "two selections",
        ],
    )
    def test_a_documented_refusal_is_an_invalid_request(
        self, api: "ImagebuilderClient", policy: dict[str, Any]
    ) -> None:
        assert error_of(api.create_lifecycle_policy, **policy) == "InvalidRequestException"
        assert api.list_lifecycle_policies()["lifecyclePolicySummaryList"] == []


class TestProvisioning:
    """The conversion of a template's properties."""

    @pytest.fixture
    def builder(self) -> FakeImageBuilder:
        return FakeImageBuilder(clock=lambda: NOW)

    def made(self, builder: FakeImageBuilder, name: str, **properties: Any) -> str:
        create = provisioners(builder)[f"AWS::ImageBuilder::{name}"]["create"]
        arn, attributes = create("Logical", properties, "stack")
        assert attributes == {"Arn": arn}
        return str(arn)

    def test_a_template_configuration_is_returned_in_the_words_of_the_api(
        self, builder: FakeImageBuilder
    ) -> None:
        ami = {
            "Name": "win {{ imagebuilder:buildDate }}",
            "AmiTags": {"Team": "Desktop"},
            "TargetAccountIds": ["210987654321"],
            "LaunchPermissionConfiguration": {"UserIds": ["210987654321"]},
        }
        arn = self.made(
            builder,
            "DistributionConfiguration",
            Name="far",
            Distributions=[{"Region": "eu-central-1", "AmiDistributionConfiguration": ami}],
            Tags={"Stack": "isodrop"},
        )
        response = client(builder).get_distribution_configuration(distributionConfigurationArn=arn)
        configuration = response["distributionConfiguration"]
        assert configuration["tags"] == {"Stack": "isodrop"}
        assert configuration["distributions"] == [
            {
                "region": "eu-central-1",
                "amiDistributionConfiguration": {
                    "name": "win {{ imagebuilder:buildDate }}",
                    "amiTags": {"Team": "Desktop"},
                    "targetAccountIds": ["210987654321"],
                    "launchPermission": {"userIds": ["210987654321"]},
                },
            }
        ]

    def test_string_parameters_of_a_policy_become_numbers_and_booleans(
        self, builder: FakeImageBuilder
    ) -> None:
        included = {"Amis": "true", "Snapshots": "false"}
        arn = self.made(
            builder,
            "LifecyclePolicy",
            Name="keep",
            ExecutionRole=ROLE,
            ResourceType="AMI_IMAGE",
            ResourceSelection={"TagMap": {"isodrop:stack": "true"}},
            PolicyDetails=[
                {
                    "Action": {"Type": "DELETE", "IncludeResources": included},
                    "Filter": {"Type": "AGE", "Value": "6", "Unit": "MONTHS"},
                }
            ],
        )
        response = client(builder).get_lifecycle_policy(lifecyclePolicyArn=arn)["lifecyclePolicy"]
        assert response["resourceSelection"] == {"tagMap": {"isodrop:stack": "true"}}
        assert response["policyDetails"] == [
            {
                "action": {
                    "type": "DELETE",
                    "includeResources": {"amis": True, "snapshots": False},
                },
                "filter": {"type": "AGE", "value": 6, "unit": "MONTHS"},
            }
        ]

    def test_a_deleted_resource_is_gone(self, builder: FakeImageBuilder) -> None:
        arn = self.made(
            builder, "InfrastructureConfiguration", Name="near", InstanceProfileName="any"
        )
        provisioners(builder)["AWS::ImageBuilder::InfrastructureConfiguration"]["delete"](arn, {})
        assert builder.infrastructure_configurations.stored == {}

    def test_an_unknown_property_creates_nothing(self, builder: FakeImageBuilder) -> None:
        with pytest.raises(ServiceError, match="regions is not documented"):
            self.made(builder, "DistributionConfiguration", Name="far", Regions=["eu-central-1"])
        assert builder.distribution_configurations.stored == {}
