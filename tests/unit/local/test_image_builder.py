"""The fake Image Builder does what the real one's documentation says, sentence by sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from isodrop_local.image_builder import InMemoryEnvironment
from tests.support.fake_image_builder import FakeSetup, refusal

if TYPE_CHECKING:
    pass

TIMINGS = {
    "PENDING": 10.0,
    "CREATING": 10.0,
    "BUILDING": 70.0,
    "TESTING": 30.0,
    "DISTRIBUTING": 10.0,
    "INTEGRATING": 10.0,
}
STATUSES = [*TIMINGS, "AVAILABLE"]
WHOLE = sum(TIMINGS.values())
BUCKET, KEY = "isodrop-upload", "isos/windows.iso"
NOWHERE = "arn:aws:imagebuilder:us-east-1:123456789012:image/nowhere/1.0.0/1"


@dataclass
class Service(FakeSetup):
    """The fake, with a bucket with one ISO."""

    environment: InMemoryEnvironment = field(
        default_factory=lambda: InMemoryEnvironment(objects={(BUCKET, KEY): "etag-1"})
    )
    timings: Mapping[str, float] | None = field(default_factory=lambda: TIMINGS)

    def request(self, **changes: Any) -> dict[str, Any]:
        named = {"name": "Windows-11-Enterprise", "uri": f"s3://{BUCKET}/{KEY}"}
        return self.an_import(**named | changes)

    def start(self, **changes: Any) -> str:
        return self.imported(**self.request(**changes))

    def made(self, **changes: Any) -> str:
        """Import, and wait for the image."""
        arn = self.start(**changes)
        self.now += WHOLE
        return arn

    def until(self, status: str) -> None:
        """Advance the clock until a build enters a state."""
        self.now += sum(TIMINGS[each] for each in STATUSES[: STATUSES.index(status)])


@pytest.fixture
def service() -> Service:
    return Service()


class TestImport:
    def test_a_sent_request_makes_a_pending_image_at_once(self, service: Service) -> None:
        answer = service.api.import_disk_image(**service.request(clientToken="mine"))
        arn = answer["imageBuildVersionArn"]
        assert answer["clientToken"] == "mine"
        assert arn.endswith(":image/windows-11-enterprise/11.26100.1742/1")
        assert service.status(arn) == "PENDING"

    def test_a_build_passes_through_all_states(self, service: Service) -> None:
        arn = service.start()
        seen = []
        for status in STATUSES:
            seen.append(service.status(arn))
            service.now += TIMINGS.get(status, 0)
        assert seen == STATUSES

    def test_after_a_long_pause_each_state_has_its_own_start(self, service: Service) -> None:
        began = service.now
        arn = service.made()
        assert service.status(arn) == "AVAILABLE"
        history = service.builder.history()[0]["history"]
        assert [entry["at"] - began for entry in history] == [0, 10, 20, 90, 120, 130, 140]

    def test_an_imported_image_names_its_source(self, service: Service) -> None:
        image = service.image(service.start(executionRole="isodrop"))
        assert image["buildType"] == "IMPORT_ISO"
        assert image["version"] == "11.26100.1742/1"
        assert image["executionRole"] == "isodrop"
        assert image["infrastructureConfiguration"]["arn"] == service.infrastructure

    def test_a_known_token_returns_the_same_response_and_starts_no_build(
        self, service: Service
    ) -> None:
        request = service.request()
        first = service.api.import_disk_image(**request)["imageBuildVersionArn"]
        again = service.api.import_disk_image(**request)["imageBuildVersionArn"]
        assert first == again
        assert len(service.builder.builds) == 1

    def test_the_token_of_a_failed_build_returns_that_build(self, service: Service) -> None:
        service.builder.controls.fail_next_build()
        request = service.request()
        arn = service.api.import_disk_image(**request)["imageBuildVersionArn"]
        service.now += WHOLE
        assert service.status(arn) == "FAILED"
        assert service.api.import_disk_image(**request)["imageBuildVersionArn"] == arn

    def test_a_known_token_with_other_parameters_is_a_violation(self, service: Service) -> None:
        first = service.start(clientToken="same")
        again = service.start(clientToken="same", name="Another")
        assert first == again
        assert service.builder.controls.violations == [
            "ImportDiskImage: clientToken same was reused with a different name"
        ]

    def test_a_token_can_be_used_after_a_refused_request(self, service: Service) -> None:
        bad = service.request(clientToken="same", uri="s3://b/k.img")
        assert refusal(service.api.import_disk_image, **bad) == ("ClientException", 400)
        assert service.start(clientToken="same")

    def test_a_forgotten_token_starts_another_build(self, service: Service) -> None:
        service.start(clientToken="same")
        service.builder.forget_tokens()
        assert service.start(clientToken="same").endswith("/2")

    @pytest.mark.parametrize("name", ["windows-11-enterprise", "Windows 11_Enterprise"])
    def test_a_name_that_folds_the_same_gets_the_next_build_version(
        self, service: Service, name: str
    ) -> None:
        first = service.start()
        second = service.start(name=name)
        assert second == first.removesuffix("/1") + "/2"

    def test_the_number_of_a_deleted_build_is_not_reused(self, service: Service) -> None:
        service.api.delete_image(imageBuildVersionArn=service.made())
        assert service.start().endswith("/2")

    @pytest.mark.parametrize("ending", ["iso", "ISO", "Iso"])
    def test_a_key_that_ends_in_iso_is_accepted(self, service: Service, ending: str) -> None:
        assert service.start(uri=f"s3://{BUCKET}/a b+ü.{ending}")

    @pytest.mark.parametrize(
        "changes",
        [
            {"uri": f"s3://{BUCKET}/windows.iSO"},
            {"uri": f"s3://{BUCKET}/windows.img"},
            {"uri": f"https://{BUCKET}/windows.iso"},
            {"uri": "s3:///windows.iso"},
            {"uri": "s3://somebody-elses/windows.iso"},
            {"platform": "Linux"},
            {"osVersion": "Microsoft Windows 10"},
            {"name": "Windows 11.0"},
            {"name": "ab"},
            {"semanticVersion": "11.26100"},
            {"semanticVersion": "1073741824.0.0"},
            {"infrastructureConfigurationArn": NOWHERE.replace("image/", "image-recipe/")},
            {"tags": {"aws:mine": "x"}},
            {"tags": {"key": "x" * 257}},
            {"tags": {f"key-{n}": "x" for n in range(51)}},
            {"clientToken": "x" * 65},
            {"windowsConfiguration": {"imageIndex": 4294967296}},
            {"registerImageOptions": {"uefiData": "x" * 64_001}},
            {"loggingConfiguration": {"logGroupName": "/mine"}},
        ],
        ids=str,
    )
    def test_a_documented_refusal_is_a_client_exception(
        self, service: Service, changes: Mapping[str, Any]
    ) -> None:
        request = service.request(**changes)
        assert refusal(service.api.import_disk_image, **request) == ("ClientException", 400)
        assert not service.builder.builds

    def test_a_missing_infrastructure_configuration_is_a_client_exception(
        self, service: Service
    ) -> None:
        service.api.delete_infrastructure_configuration(
            infrastructureConfigurationArn=service.infrastructure
        )
        refused = refusal(service.api.import_disk_image, **service.request())
        assert refused == ("ClientException", 400)


class TestObject:
    def test_an_upload_replaced_while_pending_is_read_in_its_new_version(
        self, service: Service
    ) -> None:
        service.made()
        service.start()
        assert service.environment.objects is not None
        service.environment.objects[BUCKET, KEY] = "etag-2"
        service.now += WHOLE
        assert [build["etagRead"] for build in service.builder.history()] == ["etag-1", "etag-2"]

    def test_an_upload_replaced_while_building_is_not_read_again(self, service: Service) -> None:
        service.start()
        service.until("BUILDING")
        service.builder.tick()
        assert service.environment.objects is not None
        service.environment.objects[BUCKET, KEY] = "etag-2"
        service.now += WHOLE
        assert service.builder.history()[0]["etagRead"] == "etag-1"

    def test_a_missing_object_fails_the_build(self, service: Service) -> None:
        arn = service.made(uri=f"s3://{BUCKET}/missing.iso")
        state = service.image(arn)["state"]
        assert state["status"] == "FAILED"
        assert state["failureContext"]["failedStep"] == "DownloadIso"


class TestAmi:
    def test_a_build_that_is_not_available_has_no_ami(self, service: Service) -> None:
        arn = service.start()
        service.until("INTEGRATING")
        assert service.image(arn)["outputResources"]["amis"] == []
        assert service.environment.amis == []

    def test_the_ami_of_an_available_build_is_registered_and_named(self, service: Service) -> None:
        (ami,) = service.image(service.made(description="From an ISO"))["outputResources"]["amis"]
        assert [ami["image"]] == service.environment.amis
        assert ami["region"] == "us-east-1"
        assert ami["accountId"] == "123456789012"
        assert ami["name"].startswith("Windows-11-Enterprise ")
        assert ami["description"] == "From an ISO"


class TestGetImage:
    @pytest.mark.parametrize("wanted", ["x.x.x", "11.x.x", "11.26100.x", "11.26100.1742"])
    def test_a_version_or_a_wildcard_returns_the_newest_available_build(
        self, service: Service, wanted: str
    ) -> None:
        service.made(semanticVersion="9.0.0")
        service.made()
        newest = service.made()
        service.start(semanticVersion="11.26100.1742")
        base = newest.rsplit("/", 2)[0]
        assert service.image(f"{base}/{wanted}")["arn"] == newest

    def test_versions_are_ordered_as_numbers(self, service: Service) -> None:
        service.made(semanticVersion="9.0.0")
        newest = service.made(semanticVersion="10.0.0")
        assert service.image(f"{newest.rsplit('/', 2)[0]}/x.x.x")["arn"] == newest

    @pytest.mark.parametrize("status", ["DEPRECATED", "DISABLED", "DELETED"])
    def test_a_wildcard_does_not_match_a_retired_build(self, service: Service, status: str) -> None:
        arn = service.made()
        service.builder.set_status(arn, status)
        wildcard = f"{arn.rsplit('/', 2)[0]}/x.x.x"
        refused = refusal(service.api.get_image, imageBuildVersionArn=wildcard)
        assert refused == ("ResourceNotFoundException", 404)
        assert service.status(arn) == status

    def test_an_unknown_arn_is_not_found(self, service: Service) -> None:
        refused = refusal(service.api.get_image, imageBuildVersionArn=NOWHERE)
        assert refused == ("ResourceNotFoundException", 404)

    def test_a_string_that_is_not_an_arn_is_an_invalid_request(self, service: Service) -> None:
        refused = refusal(service.api.get_image, imageBuildVersionArn="windows")
        assert refused == ("InvalidRequestException", 400)


class TestLists:
    def test_the_builds_of_a_version_have_their_state_and_tags(self, service: Service) -> None:
        first = service.made(tags={"isodrop:upload": "1"})
        second = service.start()
        listed = service.api.list_image_build_versions(imageVersionArn=first.rsplit("/", 1)[0])
        assert [(each["arn"], each["state"]["status"]) for each in listed["imageSummaryList"]] == [
            (second, "PENDING"),
            (first, "AVAILABLE"),
        ]
        assert listed["imageSummaryList"][1]["tags"] == {"isodrop:upload": "1"}

    def test_an_unknown_version_has_an_empty_list(self, service: Service) -> None:
        listed = service.api.list_image_build_versions(imageVersionArn=NOWHERE.rsplit("/", 1)[0])
        assert listed["imageSummaryList"] == []

    def test_builds_are_listed_in_pages_of_25(self, service: Service) -> None:
        for _ in range(30):
            service.start()
        pages = list(service.api.get_paginator("list_image_build_versions").paginate())
        assert [len(page["imageSummaryList"]) for page in pages] == [25, 5]

    def test_an_invented_page_token_is_refused(self, service: Service) -> None:
        refused = refusal(service.api.list_images, nextToken="mine")
        assert refused == ("InvalidPaginationTokenException", 400)

    def test_two_versions_are_listed_once_each(self, service: Service) -> None:
        service.start()
        service.start()
        service.start(semanticVersion="11.26200.1")
        listed = service.api.list_images()["imageVersionList"]
        assert [each["version"] for each in listed] == ["11.26200.1", "11.26100.1742"]
        assert len(service.api.list_images(byName=True)["imageVersionList"]) == 1

    def test_a_filter_selects_the_listed_images(self, service: Service) -> None:
        service.start()
        service.start(name="Another")
        found = service.api.list_images(filters=[{"name": "name", "values": ["Another"]}])
        assert [each["name"] for each in found["imageVersionList"]] == ["Another"]
        assert service.api.list_images(owner="Amazon")["imageVersionList"] == []


class TestWorkflows:
    def counts(self, service: Service, arn: str) -> list[tuple[str, str, int, int]]:
        listed = service.api.list_workflow_executions(imageBuildVersionArn=arn)
        return [
            (each["type"], each["status"], each["totalStepsSucceeded"], each["totalStepCount"])
            for each in listed["workflowExecutions"]
        ]

    def test_the_steps_of_a_build_are_counted_up(self, service: Service) -> None:
        arn = service.start()
        assert self.counts(service, arn) == []
        service.until("BUILDING")
        assert self.counts(service, arn) == [("BUILD", "RUNNING", 0, 7)]
        service.now += 35
        assert self.counts(service, arn) == [("BUILD", "RUNNING", 3, 7)]
        service.now += WHOLE
        assert self.counts(service, arn) == [
            ("DISTRIBUTION", "COMPLETED", 1, 1),
            ("TEST", "COMPLETED", 3, 3),
            ("BUILD", "COMPLETED", 7, 7),
        ]

    def test_the_listed_steps_of_a_workflow_agree_with_the_count(self, service: Service) -> None:
        arn = service.start()
        service.until("BUILDING")
        service.now += 15
        (run,) = service.api.list_workflow_executions(imageBuildVersionArn=arn)[
            "workflowExecutions"
        ]
        steps = service.api.list_workflow_step_executions(
            workflowExecutionId=run["workflowExecutionId"]
        )["steps"]
        statuses = [step["status"] for step in steps]
        assert statuses == ["COMPLETED", "RUNNING", *["PENDING"] * 5]

    def test_workflow_and_steps_agree_on_a_failed_step(self, service: Service) -> None:
        service.builder.controls.fail_next_build(step="ValidateIso")
        arn = service.made()
        context = service.image(arn)["state"]["failureContext"]
        (run,) = service.api.list_workflow_executions(imageBuildVersionArn=arn)[
            "workflowExecutions"
        ]
        assert context["workflowExecutionId"] == run["workflowExecutionId"]
        assert (run["totalStepsSucceeded"], run["totalStepsFailed"]) == (2, 1)
        steps = service.api.list_workflow_step_executions(
            workflowExecutionId=run["workflowExecutionId"]
        )["steps"]
        failed = [step["stepExecutionId"] for step in steps if step["status"] == "FAILED"]
        assert failed == [context["stepExecutionId"]]
        assert run["endTime"]

    def test_the_workflows_of_an_unknown_build_are_not_found(self, service: Service) -> None:
        refused = refusal(service.api.list_workflow_executions, imageBuildVersionArn=NOWHERE)
        assert refused == ("ResourceNotFoundException", 404)


class TestEndings:
    def test_a_running_build_can_be_cancelled(self, service: Service) -> None:
        arn = service.start()
        service.api.cancel_image_creation(imageBuildVersionArn=arn, clientToken="c")
        assert service.status(arn) == "CANCELLED"
        assert "failureContext" not in service.image(arn)["state"]

    def test_cancelling_a_finished_build_is_refused(self, service: Service) -> None:
        arn = service.made()
        refused = refusal(
            service.api.cancel_image_creation, imageBuildVersionArn=arn, clientToken="c"
        )
        assert refused == ("InvalidRequestException", 400)

    def test_a_used_cancellation_token_for_another_build_is_a_mismatch(
        self, service: Service
    ) -> None:
        first, second = service.start(), service.start()
        service.api.cancel_image_creation(imageBuildVersionArn=first, clientToken="c")
        refused = refusal(
            service.api.cancel_image_creation, imageBuildVersionArn=second, clientToken="c"
        )
        assert refused == ("IdempotentParameterMismatchException", 400)
        assert service.status(second) == "PENDING"

    def test_a_retried_test_continues_the_same_build(self, service: Service) -> None:
        service.builder.controls.fail_next_build(step="WaitForSsmAgent")
        arn = service.made()
        service.api.retry_image(imageBuildVersionArn=arn, clientToken="r")
        assert service.status(arn) == "TESTING"
        service.now += WHOLE
        assert service.status(arn) == "AVAILABLE"
        runs = service.api.list_workflow_executions(imageBuildVersionArn=arn)
        assert [(run["type"], run["retried"]) for run in runs["workflowExecutions"]] == [
            ("DISTRIBUTION", False),
            ("TEST", False),
            ("TEST", True),
            ("BUILD", False),
        ]

    def test_retrying_a_build_that_failed_before_its_tests_is_refused(
        self, service: Service
    ) -> None:
        service.builder.controls.fail_next_build()
        arn = service.made()
        refused = refusal(service.api.retry_image, imageBuildVersionArn=arn, clientToken="r")
        assert refused == ("InvalidRequestException", 400)

    def test_a_deleted_build_leaves_its_ami(self, service: Service) -> None:
        arn = service.made()
        service.api.delete_image(imageBuildVersionArn=arn)
        refused = refusal(service.api.get_image, imageBuildVersionArn=arn)
        assert refused == ("ResourceNotFoundException", 404)
        assert service.api.list_images()["imageVersionList"] == []
        assert len(service.environment.amis) == 1

    def test_deleting_a_running_build_is_refused(self, service: Service) -> None:
        refused = refusal(service.api.delete_image, imageBuildVersionArn=service.start())
        assert refused == ("ResourceDependencyException", 400)

    def test_an_available_image_can_be_deprecated_and_restored(self, service: Service) -> None:
        arn = service.made()
        for number, status in enumerate(("DEPRECATED", "DISABLED", "AVAILABLE")):
            service.api.start_resource_state_update(
                resourceArn=arn,
                state={"status": status},  # type: ignore[typeddict-item]  # one of the literals
                clientToken=f"u{number}",
            )
            assert service.status(arn) == status
        assert len(service.environment.amis) == 1

    def test_a_build_beyond_the_quota_waits_until_one_is_done(self, service: Service) -> None:
        service.builder.set_quota(1)
        first, second = service.start(), service.start()
        service.until("BUILDING")
        assert [service.status(first), service.status(second)] == ["BUILDING", "PENDING"]
        service.now += WHOLE - TIMINGS["PENDING"] - TIMINGS["CREATING"]
        assert [service.status(first), service.status(second)] == ["AVAILABLE", "CREATING"]


class TestTags:
    def test_the_tags_of_an_image_can_be_changed(self, service: Service) -> None:
        arn = service.start(tags={"kept": "1", "taken": "2"})
        service.api.tag_resource(resourceArn=arn, tags={"given": "3"})
        service.api.untag_resource(resourceArn=arn, tagKeys=["taken", "never there"])
        tags = service.api.list_tags_for_resource(resourceArn=arn)["tags"]
        assert tags == {"kept": "1", "given": "3"} == service.image(arn)["tags"]

    def test_without_tags_there_is_no_map_of_them(self, service: Service) -> None:
        arn = service.start()
        assert "tags" not in service.api.list_tags_for_resource(resourceArn=arn)
        assert "tags" not in service.image(arn)

    def test_more_than_50_tags_in_all_are_refused(self, service: Service) -> None:
        arn = service.start(tags={f"a{n}": "" for n in range(50)})
        refused = refusal(service.api.tag_resource, resourceArn=arn, tags={"b": ""})
        assert refused == ("InvalidParameterException", 400)

    def test_tagging_an_unknown_arn_is_not_found(self, service: Service) -> None:
        refused = refusal(service.api.tag_resource, resourceArn=NOWHERE, tags={"b": ""})
        assert refused == ("ResourceNotFoundException", 404)


class TestInfrastructure:
    def test_an_updated_configuration_keeps_name_and_tags(self, service: Service) -> None:
        api = service.api
        arn = api.create_infrastructure_configuration(
            name="Second One", instanceProfileName="p", tags={"a": "b"}, clientToken="1"
        )["infrastructureConfigurationArn"]
        api.update_infrastructure_configuration(
            infrastructureConfigurationArn=arn,
            instanceProfileName="q",
            instanceTypes=["m7i.large"],
            clientToken="2",
        )
        found = api.get_infrastructure_configuration(infrastructureConfigurationArn=arn)[
            "infrastructureConfiguration"
        ]
        assert (found["name"], found["tags"]) == ("Second One", {"a": "b"})
        assert (found["instanceProfileName"], found["instanceTypes"]) == ("q", ["m7i.large"])
        assert found["dateUpdated"]

    def test_two_configurations_are_listed(self, service: Service) -> None:
        service.api.create_infrastructure_configuration(
            name="second", instanceProfileName="p", clientToken="1"
        )
        listed = service.api.list_infrastructure_configurations()
        names = [each["name"] for each in listed["infrastructureConfigurationSummaryList"]]
        assert names == ["isodrop", "second"]

    def test_a_name_that_folds_the_same_already_exists(self, service: Service) -> None:
        refused = refusal(
            service.api.create_infrastructure_configuration,
            name="ISODROP",
            instanceProfileName="p",
            clientToken="1",
        )
        assert refused == ("ResourceAlreadyExistsException", 400)

    def test_a_subnet_without_a_security_group_is_refused(self, service: Service) -> None:
        refused = refusal(
            service.api.create_infrastructure_configuration,
            name="second",
            instanceProfileName="p",
            subnetId="subnet-1",
            clientToken="1",
        )
        assert refused == ("InvalidRequestException", 400)

    def test_a_dry_run_is_reported_and_creates_nothing(self, service: Service) -> None:
        refused = refusal(
            service.api.create_infrastructure_configuration,
            name="second",
            instanceProfileName="p",
            dryRun=True,
            clientToken="1",
        )
        assert refused == ("DryRunOperationException", 412)
        assert len(service.builder.infrastructure_configurations.stored) == 1
