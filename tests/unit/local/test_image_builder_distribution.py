"""The fake Image Builder distributes images as documented, and fails on demand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from isodrop_local.image_builder import control
from tests.support.fake_image_builder import FakeSetup, refusal

if TYPE_CHECKING:
    pass

ACCOUNT, OTHER = "123456789012", "210987654321"
REGION = "us-east-1"
TIMINGS = {"PENDING": 10.0, "BUILDING": 60.0, "TESTING": 30.0, "DISTRIBUTING": 20.0}
WHOLE = sum(TIMINGS.values())
ROLE = "arn:aws:iam::123456789012:role/distribution"


@dataclass
class Service(FakeSetup):
    """The fake with an AVAILABLE image and a distribution configuration."""

    timings: Mapping[str, float] | None = field(default_factory=lambda: TIMINGS)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.configuration = self.configured(
            {"region": REGION},
            {
                "region": "eu-central-1",
                "amiDistributionConfiguration": {
                    "name": "win11 {{ imagebuilder:buildDate }}",
                    "description": "From far away",
                    "targetAccountIds": [ACCOUNT, OTHER],
                },
            },
        )
        self.source = self.made()

    def configured(self, *distributions: dict[str, Any]) -> str:
        token = f"configuration-{len(self.controls.calls)}"
        return self.api.create_distribution_configuration(
            name=token,
            distributions=distributions,  # type: ignore[arg-type]  # plain dicts
            clientToken=token,
        )["distributionConfigurationArn"]

    def made(self, **changes: Any) -> str:
        """Import, and wait for the image."""
        arn = self.imported(**changes)
        self.now += WHOLE
        assert self.state(arn)["status"] == "AVAILABLE"
        return arn

    def request(self, **changes: Any) -> dict[str, Any]:
        return {
            "sourceImage": self.source,
            "distributionConfigurationArn": self.configuration,
            "executionRole": ROLE,
            "clientToken": f"distribute-{len(self.controls.calls)}",
        } | changes

    def start(self, **changes: Any) -> str:
        return self.api.distribute_image(**self.request(**changes))["imageBuildVersionArn"]

    def distributed(self, **changes: Any) -> Any:
        """Distribute, and return the image at the end."""
        arn = self.start(**changes)
        self.now += WHOLE
        return self.image(arn)


@pytest.fixture
def service() -> Service:
    return Service()


class TestDistribution:
    def test_a_sent_request_is_pending_as_the_next_build_of_the_source(
        self, service: Service
    ) -> None:
        response = service.api.distribute_image(**service.request(clientToken="mine"))
        assert response["clientToken"] == "mine"
        assert response["imageBuildVersionArn"] == service.source.removesuffix("/1") + "/2"
        assert service.state(response["imageBuildVersionArn"]) == {"status": "PENDING"}

    def test_a_distribution_runs_only_its_phase(self, service: Service) -> None:
        service.environment.events.clear()
        arn = service.start()
        began = service.now
        service.now += WHOLE
        assert service.state(arn)["status"] == "AVAILABLE"
        (record,) = service.builder.history("distribution")
        assert [(each["status"], each["at"] - began) for each in record["history"]] == [
            ("PENDING", 0),
            ("DISTRIBUTING", 10),
            ("AVAILABLE", 30),
        ]
        published = [
            (each["resources"], each["detail"]["state"]) for each in service.environment.events
        ]
        assert published == [([arn], {"status": "DISTRIBUTING"}), ([arn], {"status": "AVAILABLE"})]

    def test_a_distribution_names_its_parameters(self, service: Service) -> None:
        image = service.image(service.start(tags={"isodrop:upload": "1"}))
        assert (image["name"], image["version"]) == ("Windows-11", "11.26100.1742/2")
        assert image["distributionConfiguration"]["arn"] == service.configuration
        assert (image["executionRole"], image["tags"]) == (ROLE, {"isodrop:upload": "1"})
        assert "infrastructureConfiguration" not in image
        (workflow,) = image["workflows"]
        assert ":workflow/distribution/" in workflow["workflowArn"]

    def test_an_available_distribution_has_an_ami_in_each_region_and_account(
        self, service: Service
    ) -> None:
        amis = service.distributed()["outputResources"]["amis"]
        assert [(ami["region"], ami["accountId"]) for ami in amis] == [
            (REGION, ACCOUNT),
            ("eu-central-1", ACCOUNT),
            ("eu-central-1", OTHER),
        ]
        assert [ami["name"] for ami in amis] == [
            "Windows-11 2027-01-15T08-02-30.000001Z",
            *["win11 2027-01-15T08-02-30.000001Z"] * 2,
        ]
        assert [ami.get("description") for ami in amis] == [None, *["From far away"] * 2]
        assert len({ami["image"] for ami in amis}) == 3
        # EC2 has the source's AMI and the one of this Region and account.
        assert [ami["image"] for ami in amis if ami["image"] in service.environment.amis] == [
            amis[0]["image"]
        ]

    def test_two_concurrent_distributions_name_their_amis_differently(
        self, service: Service
    ) -> None:
        first, second = service.start(), service.start()
        service.now += WHOLE
        names = [
            {ami["name"] for ami in service.image(arn)["outputResources"]["amis"]}
            for arn in (first, second)
        ]
        assert names[0].isdisjoint(names[1])

    def test_a_running_distribution_has_no_amis(self, service: Service) -> None:
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        image = service.image(arn)
        assert image["state"] == {"status": "DISTRIBUTING"}
        assert image["outputResources"]["amis"] == []

    def test_a_distribution_keeps_a_configuration_deleted_meanwhile(self, service: Service) -> None:
        arn = service.start()
        service.api.delete_distribution_configuration(
            distributionConfigurationArn=service.configuration
        )
        service.now += WHOLE
        assert len(service.image(arn)["outputResources"]["amis"]) == 3


class TestSource:
    @pytest.mark.parametrize("version", ["11.26100.1742", "11.26100.x", "x.x.x"])
    def test_the_newest_available_build_of_a_version_is_distributed(
        self, service: Service, version: str
    ) -> None:
        newest = service.made()
        service.imported()
        base = newest.rsplit("/", 2)[0]
        service.start(sourceImage=f"{base}/{version}")
        (record,) = service.builder.history("distribution")
        assert record["source"] == newest

    def test_an_ami_as_the_source_distributes_its_build(self, service: Service) -> None:
        service.start(sourceImage=service.environment.amis[0])
        (record,) = service.builder.history("distribution")
        assert (record["source"], record["request"]["sourceImage"]) == (
            service.source,
            service.environment.amis[0],
        )

    @pytest.mark.parametrize("source", ["ami-0123456789abcdef0", "ssm:/isodrop/latest", "windows"])
    def test_a_source_that_was_never_built_is_not_found(
        self, service: Service, source: str
    ) -> None:
        refused = refusal(service.api.distribute_image, **service.request(sourceImage=source))
        assert refused == ("ResourceNotFoundException", 404)

    def test_a_deleted_source_is_not_found(self, service: Service) -> None:
        service.api.delete_image(imageBuildVersionArn=service.source)
        refused = refusal(service.api.distribute_image, **service.request())
        assert refused == ("ResourceNotFoundException", 404)

    def test_a_source_that_is_still_building_is_an_invalid_request(self, service: Service) -> None:
        asked = service.request(sourceImage=service.imported())
        refused = refusal(service.api.distribute_image, **asked)
        assert refused == ("InvalidRequestException", 400)

    def test_a_source_without_a_local_ami_is_an_invalid_request(self, service: Service) -> None:
        elsewhere = service.configured({"region": "eu-central-1"})
        gone = service.distributed(distributionConfigurationArn=elsewhere)["arn"]
        refused = refusal(service.api.distribute_image, **service.request(sourceImage=gone))
        assert refused == ("InvalidRequestException", 400)

    @pytest.mark.parametrize("there", [f"{REGION}:{ACCOUNT}", f"eu-central-1:{ACCOUNT}"])
    def test_a_configuration_of_another_region_is_not_found(
        self, service: Service, there: str
    ) -> None:
        arn = f"arn:aws:imagebuilder:{there}:distribution-configuration/nowhere"
        asked = service.request(distributionConfigurationArn=arn)
        refused = refusal(service.api.distribute_image, **asked)
        assert refused == ("ResourceNotFoundException", 404)
        assert service.builder.history("distribution") == []


class TestTokens:
    def test_a_known_token_returns_the_same_response_and_starts_no_build(
        self, service: Service
    ) -> None:
        request = service.request()
        first = service.api.distribute_image(**request)["imageBuildVersionArn"]
        service.now += WHOLE
        assert service.api.distribute_image(**request)["imageBuildVersionArn"] == first
        assert len(service.builder.history("distribution")) == 1
        assert service.controls.violations == []

    def test_a_known_token_with_other_parameters_is_a_recorded_mismatch(
        self, service: Service
    ) -> None:
        request = service.request()
        service.api.distribute_image(**request)
        other = request | {"executionRole": "another"}
        refused = refusal(service.api.distribute_image, **other)
        assert refused == ("IdempotentParameterMismatchException", 400)
        (violation,) = service.controls.violations
        assert violation.startswith("DistributeImage: clientToken")

    def test_the_token_of_an_import_can_be_used_for_a_distribution(self, service: Service) -> None:
        arn = service.start(clientToken=service.builder.builds[service.source].token)
        assert arn != service.source

    def test_the_token_of_a_lost_response_returns_the_distribution(self, service: Service) -> None:
        service.controls.fail_next("DistributeImage", committed=True)
        request = service.request()
        assert refusal(service.api.distribute_image, **request) == ("ServiceException", 500)
        (record,) = service.builder.history("distribution")
        again = service.api.distribute_image(**request)["imageBuildVersionArn"]
        assert again == record["arn"]

    def test_a_forgotten_token_starts_another_distribution(self, service: Service) -> None:
        request = service.request()
        service.api.distribute_image(**request)
        service.builder.forget_tokens()
        service.api.distribute_image(**request)
        assert len(service.builder.history("distribution")) == 2

    @pytest.mark.parametrize(
        "changes",
        [{"executionRole": "ä"}, {"tags": {}}, {"distributionConfigurationArn": "mine"}],
        ids=str,
    )
    def test_a_request_outside_the_model_is_refused_and_recorded(
        self, service: Service, changes: dict[str, Any]
    ) -> None:
        refused = refusal(service.api.distribute_image, **service.request(**changes))
        assert refused == ("InvalidRequestException", 400)
        assert len(service.controls.violations) == 1

    def test_a_throttled_call_has_the_status_of_the_model(self, service: Service) -> None:
        service.controls.fail_next("DistributeImage", "ServiceQuotaExceededException")
        refused = refusal(service.api.distribute_image, **service.request())
        assert refused == ("ServiceQuotaExceededException", 402)


class TestPlannedFaults:
    def test_a_planned_failure_of_a_distribution_names_its_state(self, service: Service) -> None:
        service.controls.fail_next_build(kind="distribution", message="No quota.")
        image = service.distributed()
        state = image["state"]
        assert (state["status"], state["reason"]) == ("FAILED", "No quota.")
        context = state["failureContext"]
        assert (context["imageStatus"], context["failedStep"]) == (
            "DISTRIBUTING",
            "DistributeImage",
        )
        failure = context["distributionFailure"]
        assert failure["errorMessage"] == "No quota."
        assert [each["region"] for each in failure["regionFailures"]] == [
            REGION,
            *["eu-central-1"] * 2,
        ]
        assert image["outputResources"]["amis"] == []

    def test_planned_failures_of_imports_and_distributions_are_separate(
        self, service: Service
    ) -> None:
        service.controls.fail_next_build()
        assert service.distributed()["state"]["status"] == "AVAILABLE"
        service.controls.fail_next_build(kind="distribution")
        arn = service.imported()
        service.now += WHOLE
        assert service.state(arn)["status"] == "FAILED"
        assert service.distributed()["state"]["status"] == "FAILED"

    def test_a_planned_failure_of_another_name_has_no_effect(self, service: Service) -> None:
        service.controls.fail_next_build(kind="distribution", name="another")
        assert service.distributed()["state"]["status"] == "AVAILABLE"
        service.controls.fail_next_build(kind="distribution", name="windows_11")
        assert service.distributed()["state"]["status"] == "FAILED"

    def test_a_state_that_no_distribution_has_is_an_invalid_order(self, service: Service) -> None:
        with pytest.raises(ValueError, match="BUILDING"):
            service.controls.fail_next_build(status="BUILDING", kind="distribution")
        with pytest.raises(ValueError, match="CREATING"):
            service.controls.pass_through("WARMING", kind="distribution")
        with pytest.raises(ValueError, match="dream"):
            control(service.builder, "fail_next_build", {"kind": "dream"})

    def test_imports_and_distributions_are_held_separately(self, service: Service) -> None:
        service.controls.hold("DISTRIBUTING")
        assert service.distributed()["state"]["status"] == "AVAILABLE"
        service.controls.release()
        service.controls.hold("DISTRIBUTING", kind="distribution")
        held = service.start()
        service.made()
        assert service.state(held)["status"] == "DISTRIBUTING"
        service.controls.release(kind="import")
        assert service.state(held)["status"] == "DISTRIBUTING"
        service.controls.release()
        service.now += WHOLE
        assert service.state(held)["status"] == "AVAILABLE"

    def test_only_distributions_pass_through_their_future_state(self, service: Service) -> None:
        service.controls.pass_through("COPYING", after="PENDING", seconds=50, kind="distribution")
        service.made()
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        assert service.state(arn)["status"] == "COPYING"

    def test_a_running_distribution_can_be_cancelled(self, service: Service) -> None:
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        service.api.cancel_image_creation(imageBuildVersionArn=arn, clientToken="c")
        assert service.state(arn)["status"] == "CANCELLED"
        assert service.state(service.source)["status"] == "AVAILABLE"

    def test_a_retried_distribution_continues_the_same_build(self, service: Service) -> None:
        service.controls.fail_next_build(kind="distribution")
        arn = service.distributed()["arn"]
        service.api.retry_image(imageBuildVersionArn=arn, clientToken="r")
        assert service.state(arn)["status"] == "DISTRIBUTING"
        service.now += WHOLE
        assert len(service.image(arn)["outputResources"]["amis"]) == 3

    def test_a_deleted_distribution_is_still_recorded(self, service: Service) -> None:
        arn = service.distributed()["arn"]
        service.api.delete_image(imageBuildVersionArn=arn)
        refused = refusal(service.api.get_image, imageBuildVersionArn=arn)
        assert refused == ("ResourceNotFoundException", 404)
        (record,) = service.builder.history("distribution")
        assert [each["status"] for each in record["history"]][-1] == "DELETED"
        assert service.start().endswith("/3")

    def test_a_distribution_beyond_the_quota_waits_as_a_build_does(self, service: Service) -> None:
        service.builder.set_quota(1)
        service.imported()
        service.now += TIMINGS["PENDING"]
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        assert service.state(arn)["status"] == "PENDING"
        service.now += WHOLE
        assert service.state(arn)["status"] == "AVAILABLE"


class TestListed:
    def test_a_distribution_is_listed_among_builds_with_its_tags(self, service: Service) -> None:
        arn = service.start(tags={"isodrop:upload": "1"})
        version = arn.rsplit("/", 1)[0]
        listed = service.api.list_image_build_versions(imageVersionArn=version)
        assert [
            (each["arn"], each["buildType"], each.get("tags"))
            for each in listed["imageSummaryList"]
        ] == [
            (arn, "IMPORT_ISO", {"isodrop:upload": "1"}),
            (service.source, "IMPORT_ISO", None),
        ]

    def test_an_available_distribution_is_the_newest_of_its_version(self, service: Service) -> None:
        arn = service.distributed()["arn"]
        assert service.image(arn.rsplit("/", 1)[0])["arn"] == arn

    def test_a_distribution_has_one_workflow(self, service: Service) -> None:
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        (run,) = service.api.list_workflow_executions(imageBuildVersionArn=arn)[
            "workflowExecutions"
        ]
        assert (run["type"], run["status"], run["totalStepCount"]) == ("DISTRIBUTION", "RUNNING", 1)

    def test_an_import_after_a_distribution_has_the_next_number(self, service: Service) -> None:
        service.start()
        assert service.imported().endswith("/3")


class TestRecords:
    def test_an_oracle_of_imports_sees_imports_only(self, service: Service) -> None:
        arn = service.start(clientToken="mine")
        (imported,) = service.builder.history()
        assert (imported["kind"], imported["source"]) == ("import", None)
        assert (imported["arn"], imported["uri"], imported["etagRead"]) == (
            service.source,
            "s3://isodrop-upload/windows.iso",
            "etag",
        )
        (record,) = service.builder.history("distribution")
        assert (record["arn"], record["token"]) == (arn, "mine")
        assert (record["kind"], record["source"]) == ("distribution", service.source)
        assert record["request"]["distributionConfigurationArn"] == service.configuration

    def test_an_order_through_the_control_api_is_executed(self, service: Service) -> None:
        control(service.builder, "fail_next_build", {"kind": "distribution"})
        arn = service.start()
        service.now += WHOLE
        (record,) = control(service.builder, "builds", {"kind": "distribution"})
        assert (record["arn"], record["state"]["status"]) == (arn, "FAILED")
        assert [each["arn"] for each in control(service.builder, "builds", {})] == [service.source]
        (call,) = control(service.builder, "calls", {"operation": "DistributeImage"})
        assert call["build"] == arn
