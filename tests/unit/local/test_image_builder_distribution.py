"""The fake Image Builder distributes images as documented, and goes wrong there when told to."""

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
        """Distribute, and get the image when it is over."""
        arn = self.start(**changes)
        self.now += WHOLE
        return self.image(arn)


@pytest.fixture
def service() -> Service:
    return Service()


class TestDistribution:
    def test_given_a_request_when_sent_then_it_is_pending_as_the_source_s_next_build(
        self, service: Service
    ) -> None:
        answer = service.api.distribute_image(**service.request(clientToken="mine"))
        assert answer["clientToken"] == "mine"
        assert answer["imageBuildVersionArn"] == service.source.removesuffix("/1") + "/2"
        assert service.state(answer["imageBuildVersionArn"]) == {"status": "PENDING"}

    def test_given_a_distribution_when_time_passes_then_only_that_phase_is_run(
        self, service: Service
    ) -> None:
        service.world.events.clear()
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
        told = [(each["resources"], each["detail"]["state"]) for each in service.world.events]
        assert told == [([arn], {"status": "DISTRIBUTING"}), ([arn], {"status": "AVAILABLE"})]

    def test_given_a_distribution_then_it_says_what_it_is_made_with(self, service: Service) -> None:
        image = service.image(service.start(tags={"isodrop:drop": "1"}))
        assert (image["name"], image["version"]) == ("Windows-11", "11.26100.1742/2")
        assert image["distributionConfiguration"]["arn"] == service.configuration
        assert (image["executionRole"], image["tags"]) == (ROLE, {"isodrop:drop": "1"})
        assert "infrastructureConfiguration" not in image
        (workflow,) = image["workflows"]
        assert ":workflow/distribution/" in workflow["workflowArn"]

    def test_given_an_available_distribution_then_each_region_and_account_has_its_ami(
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
        # EC2 here knows the source's AMI and the one of this Region and account.
        assert [ami["image"] for ami in amis if ami["image"] in service.world.amis] == [
            amis[0]["image"]
        ]

    def test_given_two_distributions_of_one_moment_then_their_amis_have_other_names(
        self, service: Service
    ) -> None:
        first, second = service.start(), service.start()
        service.now += WHOLE
        names = [
            {ami["name"] for ami in service.image(arn)["outputResources"]["amis"]}
            for arn in (first, second)
        ]
        assert names[0].isdisjoint(names[1])

    def test_given_a_distribution_that_runs_then_it_has_no_amis_yet(self, service: Service) -> None:
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        image = service.image(arn)
        assert image["state"] == {"status": "DISTRIBUTING"}
        assert image["outputResources"]["amis"] == []

    def test_given_a_configuration_deleted_meanwhile_then_the_distribution_still_knows_it(
        self, service: Service
    ) -> None:
        arn = service.start()
        service.api.delete_distribution_configuration(
            distributionConfigurationArn=service.configuration
        )
        service.now += WHOLE
        assert len(service.image(arn)["outputResources"]["amis"]) == 3


class TestSource:
    @pytest.mark.parametrize("version", ["11.26100.1742", "11.26100.x", "x.x.x"])
    def test_given_a_version_then_its_newest_available_build_is_distributed(
        self, service: Service, version: str
    ) -> None:
        newest = service.made()
        service.imported()
        base = newest.rsplit("/", 2)[0]
        service.start(sourceImage=f"{base}/{version}")
        (record,) = service.builder.history("distribution")
        assert record["source"] == newest

    def test_given_the_ami_of_a_build_then_that_build_is_distributed(
        self, service: Service
    ) -> None:
        service.start(sourceImage=service.world.amis[0])
        (record,) = service.builder.history("distribution")
        assert (record["source"], record["request"]["sourceImage"]) == (
            service.source,
            service.world.amis[0],
        )

    @pytest.mark.parametrize("source", ["ami-0123456789abcdef0", "ssm:/isodrop/latest", "windows"])
    def test_given_a_source_that_nobody_built_then_it_is_not_found(
        self, service: Service, source: str
    ) -> None:
        refused = refusal(service.api.distribute_image, **service.request(sourceImage=source))
        assert refused == ("ResourceNotFoundException", 404)

    def test_given_a_deleted_source_then_it_is_not_found(self, service: Service) -> None:
        service.api.delete_image(imageBuildVersionArn=service.source)
        refused = refusal(service.api.distribute_image, **service.request())
        assert refused == ("ResourceNotFoundException", 404)

    def test_given_a_source_that_is_still_built_then_the_request_is_invalid(
        self, service: Service
    ) -> None:
        asked = service.request(sourceImage=service.imported())
        refused = refusal(service.api.distribute_image, **asked)
        assert refused == ("InvalidRequestException", 400)

    def test_given_a_source_without_an_ami_here_then_the_request_is_invalid(
        self, service: Service
    ) -> None:
        elsewhere = service.configured({"region": "eu-central-1"})
        gone = service.distributed(distributionConfigurationArn=elsewhere)["arn"]
        refused = refusal(service.api.distribute_image, **service.request(sourceImage=gone))
        assert refused == ("InvalidRequestException", 400)

    @pytest.mark.parametrize("there", [f"{REGION}:{ACCOUNT}", f"eu-central-1:{ACCOUNT}"])
    def test_given_a_configuration_that_is_not_here_then_it_is_not_found(
        self, service: Service, there: str
    ) -> None:
        arn = f"arn:aws:imagebuilder:{there}:distribution-configuration/nowhere"
        asked = service.request(distributionConfigurationArn=arn)
        refused = refusal(service.api.distribute_image, **asked)
        assert refused == ("ResourceNotFoundException", 404)
        assert service.builder.history("distribution") == []


class TestTokens:
    def test_given_a_known_token_when_sent_again_then_nothing_runs_and_the_answer_is_the_same(
        self, service: Service
    ) -> None:
        request = service.request()
        first = service.api.distribute_image(**request)["imageBuildVersionArn"]
        service.now += WHOLE
        assert service.api.distribute_image(**request)["imageBuildVersionArn"] == first
        assert len(service.builder.history("distribution")) == 1
        assert service.controls.violations == []

    def test_given_a_known_token_when_other_parameters_come_then_it_is_a_mismatch_and_accused(
        self, service: Service
    ) -> None:
        request = service.request()
        service.api.distribute_image(**request)
        other = request | {"executionRole": "another"}
        refused = refusal(service.api.distribute_image, **other)
        assert refused == ("IdempotentParameterMismatchException", 400)
        (violation,) = service.controls.violations
        assert violation.startswith("DistributeImage: clientToken")

    def test_given_the_token_of_the_import_then_it_is_another_operation_s(
        self, service: Service
    ) -> None:
        arn = service.start(clientToken=service.builder.builds[service.source].token)
        assert arn != service.source

    def test_given_an_answer_that_was_lost_then_the_token_leads_to_the_distribution(
        self, service: Service
    ) -> None:
        service.controls.fail_next("DistributeImage", committed=True)
        request = service.request()
        assert refusal(service.api.distribute_image, **request) == ("ServiceException", 500)
        (record,) = service.builder.history("distribution")
        again = service.api.distribute_image(**request)["imageBuildVersionArn"]
        assert again == record["arn"]

    def test_given_forgotten_tokens_when_sent_again_then_another_distribution_runs(
        self, service: Service
    ) -> None:
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
    def test_given_what_the_model_does_not_allow_then_it_is_refused_and_accused(
        self, service: Service, changes: dict[str, Any]
    ) -> None:
        refused = refusal(service.api.distribute_image, **service.request(**changes))
        assert refused == ("InvalidRequestException", 400)
        assert len(service.controls.violations) == 1

    def test_given_a_full_quota_of_calls_then_it_comes_with_the_models_status(
        self, service: Service
    ) -> None:
        service.controls.fail_next("DistributeImage", "ServiceQuotaExceededException")
        refused = refusal(service.api.distribute_image, **service.request())
        assert refused == ("ServiceQuotaExceededException", 402)


class TestTroubles:
    def test_given_a_distribution_told_to_fail_then_it_says_where(self, service: Service) -> None:
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

    def test_given_imports_told_to_fail_then_distributions_do_not_and_the_reverse(
        self, service: Service
    ) -> None:
        service.controls.fail_next_build()
        assert service.distributed()["state"]["status"] == "AVAILABLE"
        service.controls.fail_next_build(kind="distribution")
        arn = service.imported()
        service.now += WHOLE
        assert service.state(arn)["status"] == "FAILED"
        assert service.distributed()["state"]["status"] == "FAILED"

    def test_given_another_name_told_to_fail_then_this_distribution_does_not(
        self, service: Service
    ) -> None:
        service.controls.fail_next_build(kind="distribution", name="another")
        assert service.distributed()["state"]["status"] == "AVAILABLE"
        service.controls.fail_next_build(kind="distribution", name="windows_11")
        assert service.distributed()["state"]["status"] == "FAILED"

    def test_given_a_state_that_no_distribution_passes_then_it_is_no_order(
        self, service: Service
    ) -> None:
        with pytest.raises(ValueError, match="BUILDING"):
            service.controls.fail_next_build(status="BUILDING", kind="distribution")
        with pytest.raises(ValueError, match="CREATING"):
            service.controls.pass_through("WARMING", kind="distribution")
        with pytest.raises(ValueError, match="dream"):
            control(service.builder, "fail_next_build", {"kind": "dream"})

    def test_given_a_hold_of_imports_then_distributions_go_on_and_the_reverse(
        self, service: Service
    ) -> None:
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

    def test_given_a_state_of_the_future_then_only_distributions_pass_through_it(
        self, service: Service
    ) -> None:
        service.controls.pass_through("COPYING", after="PENDING", seconds=50, kind="distribution")
        service.made()
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        assert service.state(arn)["status"] == "COPYING"

    def test_given_a_running_distribution_when_cancelled_then_it_becomes_cancelled(
        self, service: Service
    ) -> None:
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        service.api.cancel_image_creation(imageBuildVersionArn=arn, clientToken="c")
        assert service.state(arn)["status"] == "CANCELLED"
        assert service.state(service.source)["status"] == "AVAILABLE"

    def test_given_a_failed_distribution_when_retried_then_the_same_build_goes_on(
        self, service: Service
    ) -> None:
        service.controls.fail_next_build(kind="distribution")
        arn = service.distributed()["arn"]
        service.api.retry_image(imageBuildVersionArn=arn, clientToken="r")
        assert service.state(arn)["status"] == "DISTRIBUTING"
        service.now += WHOLE
        assert len(service.image(arn)["outputResources"]["amis"]) == 3

    def test_given_a_finished_distribution_when_deleted_then_an_oracle_still_sees_it(
        self, service: Service
    ) -> None:
        arn = service.distributed()["arn"]
        service.api.delete_image(imageBuildVersionArn=arn)
        refused = refusal(service.api.get_image, imageBuildVersionArn=arn)
        assert refused == ("ResourceNotFoundException", 404)
        (record,) = service.builder.history("distribution")
        assert [each["status"] for each in record["history"]][-1] == "DELETED"
        assert service.start().endswith("/3")

    def test_given_a_full_quota_then_the_distribution_waits_as_a_build_does(
        self, service: Service
    ) -> None:
        service.builder.set_quota(1)
        service.imported()
        service.now += TIMINGS["PENDING"]
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        assert service.state(arn)["status"] == "PENDING"
        service.now += WHOLE
        assert service.state(arn)["status"] == "AVAILABLE"


class TestListed:
    def test_given_a_distribution_when_builds_are_listed_then_it_is_among_them_with_its_tags(
        self, service: Service
    ) -> None:
        arn = service.start(tags={"isodrop:drop": "1"})
        version = arn.rsplit("/", 1)[0]
        listed = service.api.list_image_build_versions(imageVersionArn=version)
        assert [
            (each["arn"], each["buildType"], each.get("tags"))
            for each in listed["imageSummaryList"]
        ] == [
            (arn, "IMPORT_ISO", {"isodrop:drop": "1"}),
            (service.source, "IMPORT_ISO", None),
        ]

    def test_given_an_available_distribution_when_the_version_is_asked_for_then_it_answers(
        self, service: Service
    ) -> None:
        arn = service.distributed()["arn"]
        assert service.image(arn.rsplit("/", 1)[0])["arn"] == arn

    def test_given_a_distribution_when_its_workflows_are_listed_then_there_is_one(
        self, service: Service
    ) -> None:
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        (run,) = service.api.list_workflow_executions(imageBuildVersionArn=arn)[
            "workflowExecutions"
        ]
        assert (run["type"], run["status"], run["totalStepCount"]) == ("DISTRIBUTION", "RUNNING", 1)

    def test_given_an_import_after_a_distribution_then_its_number_is_the_next(
        self, service: Service
    ) -> None:
        service.start()
        assert service.imported().endswith("/3")


class TestRecords:
    def test_given_both_kinds_then_an_oracle_of_imports_sees_imports_only(
        self, service: Service
    ) -> None:
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

    def test_given_an_order_by_the_control_surface_then_it_is_carried_out(
        self, service: Service
    ) -> None:
        control(service.builder, "fail_next_build", {"kind": "distribution"})
        arn = service.start()
        service.now += WHOLE
        (record,) = control(service.builder, "builds", {"kind": "distribution"})
        assert (record["arn"], record["state"]["status"]) == (arn, "FAILED")
        assert [each["arn"] for each in control(service.builder, "builds", {})] == [service.source]
        (call,) = control(service.builder, "calls", {"operation": "DistributeImage"})
        assert call["build"] == arn
