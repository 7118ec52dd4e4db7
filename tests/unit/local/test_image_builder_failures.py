"""The fake Image Builder fails on demand, and records its calls."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from isodrop_local.image_builder import (
    LOST_RESPONSE,
    TIMINGS,
    InMemoryEnvironment,
    InvalidResponseError,
    LostResponseError,
    client,
    control,
    respond,
    scaled,
)
from tests.support.fake_image_builder import FakeSetup

if TYPE_CHECKING:
    pass

WHOLE = sum(TIMINGS.values())


@dataclass
class Killer(InMemoryEnvironment):
    """An environment in which callers can be killed."""

    killed: int = 0

    def kill_caller(self) -> None:
        self.killed += 1


@dataclass
class Service(FakeSetup):
    """The fake in such an environment, without records."""

    environment: Killer = field(default_factory=Killer)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.controls.reset()

    def request(self, name: str = "Windows-11", token: str | None = None) -> dict[str, Any]:
        return self.an_import(name=name, **({"clientToken": token} if token else {}))

    def start(self, name: str = "Windows-11") -> str:
        return self.imported(name=name)


@pytest.fixture
def service() -> Service:
    return Service()


def error_of(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int, str]:
    response = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return response["Error"]["Code"], status, response["Error"]["Message"]


class TestBuildsThatFail:
    @pytest.mark.parametrize("status", ["PENDING", "CREATING", "INTEGRATING"])
    def test_a_failure_in_a_state_without_a_workflow_is_reported(
        self, service: Service, status: str
    ) -> None:
        service.controls.fail_next_build(status=status, message="No capacity.")
        arn = service.start()
        service.now += WHOLE
        assert service.state(arn) == {
            "status": "FAILED",
            "reason": "No capacity.",
            "failureContext": {"imageStatus": status},
        }

    @pytest.mark.parametrize("status", ["BUILDING", "TESTING"])
    def test_a_failed_build_or_test_is_explained_by_its_component(
        self, service: Service, status: str
    ) -> None:
        service.controls.fail_next_build(status=status, step="MyStep", message="It broke.")
        arn = service.start()
        service.now += WHOLE
        context = service.state(arn)["failureContext"]
        assert context["imageStatus"] == status
        assert context["failedStep"] == "MyStep"
        assert context["componentFailure"] == {"errorMessage": "It broke."}
        assert context["workflowExecutionId"].startswith("wf-")

    def test_a_failed_distribution_is_explained_by_the_distribution(self, service: Service) -> None:
        service.controls.fail_next_build(step="DistributeImage", message="No quota.")
        arn = service.start()
        service.now += WHOLE
        context = service.state(arn)["failureContext"]
        assert context["distributionFailure"] == {"errorMessage": "No quota."}
        assert "componentFailure" not in context

    def test_a_planned_failure_of_one_build_spares_the_next(self, service: Service) -> None:
        service.controls.fail_next_build()
        first, second = service.start(), service.start()
        service.now += WHOLE
        assert [service.status(first), service.status(second)] == ["FAILED", "AVAILABLE"]

    def test_a_planned_failure_of_a_name_spares_other_names(self, service: Service) -> None:
        service.controls.fail_next_build(2, name="Cursed Image")
        arns = [service.start(name) for name in ("Blessed", "cursed-image", "Cursed_Image")]
        service.now += WHOLE
        assert [service.status(arn) for arn in arns] == ["AVAILABLE", "FAILED", "FAILED"]

    def test_a_state_that_no_build_has_is_an_invalid_order(self, service: Service) -> None:
        with pytest.raises(ValueError, match="DREAMING"):
            service.controls.fail_next_build(status="DREAMING")

    def test_a_running_build_fails_in_its_current_state(self, service: Service) -> None:
        arn = service.start()
        service.now += TIMINGS["PENDING"]
        service.builder.fail(arn, message="Somebody terminated the instance.")
        assert service.state(arn)["failureContext"] == {"imageStatus": "CREATING"}


class TestCallsThatFail:
    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("AccessDeniedException", 403),
            ("CallRateLimitExceededException", 429),
            ("ClientException", 400),
            ("ForbiddenException", 403),
            ("ServiceException", 500),
            ("ServiceQuotaExceededException", 402),
            ("ServiceUnavailableException", 503),
            ("TooManyRequestsException", 429),
        ],
    )
    def test_an_error_of_the_model_has_the_status_of_the_model(
        self, service: Service, code: str, status: int
    ) -> None:
        service.controls.fail_next("ImportDiskImage", code, message="Not now.")
        with pytest.raises(ClientError) as caught:
            service.start()
        assert error_of(caught) == (code, status, "Not now.")
        assert not service.builder.builds

    def test_after_two_planned_errors_the_third_call_succeeds(self, service: Service) -> None:
        arn = service.start()
        service.controls.fail_next("GetImage", "CallRateLimitExceededException", times=2)
        for _ in range(2):
            with pytest.raises(ClientError):
                service.status(arn)
        assert service.status(arn) == "PENDING"

    def test_after_a_commit_and_an_error_the_token_returns_the_build(
        self, service: Service
    ) -> None:
        service.controls.fail_next("ImportDiskImage", committed=True)
        request = service.request()
        with pytest.raises(ClientError) as caught:
            service.api.import_disk_image(**request)
        assert error_of(caught)[:2] == ("ServiceException", 500)
        (made,) = service.builder.builds
        assert service.api.import_disk_image(**request)["imageBuildVersionArn"] == made

    def test_a_lost_response_never_reaches_the_caller(self, service: Service) -> None:
        service.controls.fail_next("ImportDiskImage", LOST_RESPONSE, committed=True)
        with pytest.raises(ReadTimeoutError):
            service.start()
        assert len(service.builder.builds) == 1

    def test_a_lost_response_breaks_the_connection(self, service: Service) -> None:
        service.controls.fail_next("*", LOST_RESPONSE)
        with pytest.raises(LostResponseError):
            respond(service.builder, "POST", "/ListImages", {}, b"{}")

    def test_the_retries_of_boto3_reach_the_service(self, service: Service) -> None:
        service.controls.fail_next("ListImages", "TooManyRequestsException")
        patient = client(service.builder, retries={"total_max_attempts": 2})
        assert patient.list_images()["imageVersionList"] == []
        assert len(service.controls.calls) == 2

    def test_a_fault_can_kill_the_caller(self, service: Service) -> None:
        service.controls.fail_next("ListImages", LOST_RESPONSE, kill_caller=True)
        with pytest.raises(ReadTimeoutError):
            service.api.list_images()
        assert service.environment.killed == 1

    def test_an_unknown_error_or_operation_is_an_invalid_order(self, service: Service) -> None:
        with pytest.raises(ValueError, match="Throttled"):
            service.controls.fail_next("GetImage", "Throttled")
        with pytest.raises(ValueError, match="GetImages"):
            service.controls.fail_next("GetImages")
        service.controls.fail_next("GetImage", "Throttled", status=429)


class TestStates:
    def test_a_held_build_waits_until_it_is_released(self, service: Service) -> None:
        service.controls.hold("TESTING")
        arn = service.start()
        service.now += WHOLE * 10
        assert service.status(arn) == "TESTING"
        service.controls.release("TESTING")
        assert service.status(arn) == "DISTRIBUTING"
        service.now += WHOLE
        assert service.status(arn) == "AVAILABLE"

    def test_a_hold_of_one_name_spares_the_others(self, service: Service) -> None:
        service.controls.hold("BUILDING", name="held")
        held, free = service.start("held"), service.start("free")
        service.now += WHOLE
        assert [service.status(held), service.status(free)] == ["BUILDING", "AVAILABLE"]

    def test_a_held_build_can_be_cancelled(self, service: Service) -> None:
        service.controls.hold("PENDING")
        arn = service.start()
        service.builder.cancel(arn)
        assert service.status(arn) == "CANCELLED"

    def test_a_slow_cancellation_takes_longer(self) -> None:
        service = Service()
        service.builder.timings = {**TIMINGS, "CANCELLED": 30.0}
        arn = service.start()
        service.builder.cancel(arn)
        assert service.status(arn) == "PENDING"
        service.now += 30
        assert service.status(arn) == "CANCELLED"

    def test_builds_pass_through_a_future_state(self, service: Service) -> None:
        service.controls.pass_through("WARMING", after="CREATING", seconds=50)
        arn = service.start()
        service.now += TIMINGS["PENDING"] + TIMINGS["CREATING"]
        assert service.status(arn) == "WARMING"
        service.now += 50
        assert service.status(arn) == "BUILDING"

    def test_a_build_put_into_a_future_state_stays_there(self, service: Service) -> None:
        arn = service.start()
        service.builder.set_status(arn, "WARMING")
        service.now += WHOLE
        assert service.status(arn) == "WARMING"
        service.builder.cancel(arn)
        assert service.status(arn) == "CANCELLED"

    def test_a_state_that_was_not_requested_is_never_returned(self, service: Service) -> None:
        arn = service.start()
        service.builder.builds[arn].path = ("PENDING", "WARMING", "AVAILABLE")
        service.now += TIMINGS["PENDING"]
        service.controls.hold("WARMING")
        with pytest.raises(InvalidResponseError, match="WARMING"):
            service.status(arn)

    def test_a_time_scale_speeds_everything_up(self, service: Service) -> None:
        service.builder.timings = scaled(1 / 64)  # a fraction that floats have exactly
        arn = service.start()
        service.now += WHOLE / 64
        assert service.status(arn) == "AVAILABLE"


class TestEvents:
    def test_each_change_of_an_imports_state_is_published_in_order(self, service: Service) -> None:
        arn = service.start()
        service.now += WHOLE
        service.builder.tick()
        states = [event["detail"]["state"]["status"] for event in service.environment.events]
        assert states == [*list(TIMINGS)[1:], "AVAILABLE"]
        assert service.environment.events[-1] == {
            "version": "0",
            "id": service.environment.events[-1]["id"],
            "detail-type": "EC2 Image Builder Image State Change",
            "source": "aws.imagebuilder",
            "account": "123456789012",
            "time": "2027-01-15T08:27:40Z",
            "region": "us-east-1",
            "resources": [arn],
            "detail": {
                "previous-state": {"status": "INTEGRATING"},
                "state": {"status": "AVAILABLE"},
            },
        }


class TestWire:
    def respond(self, service: Service, *request: Any) -> tuple[int, str, dict[str, Any]]:
        status, headers, body = respond(service.builder, *request)
        return status, headers.get("x-amzn-ErrorType", ""), json.loads(body)

    def test_an_unknown_path_is_an_unknown_operation(self, service: Service) -> None:
        status, error, _ = self.respond(service, "PUT", "/ImportVmImage", {}, b"{}")
        assert (status, error) == (404, "UnknownOperationException")

    @pytest.mark.parametrize(
        ("query", "body"),
        [
            ({}, b"[]"),
            ({}, b"{"),
            ({}, b'{"maxResult": 1}'),
            ({}, b'{"maxResults": "1"}'),
            ({}, b'{"maxResults": 101}'),
            ({}, b'{"owner": "Me"}'),
            ({"maxResults": ["1"]}, b"{}"),
        ],
    )
    def test_an_undocumented_request_is_refused_and_recorded(
        self, service: Service, query: dict[str, list[str]], body: bytes
    ) -> None:
        status, error, _ = self.respond(service, "POST", "/ListImages", query, body)
        assert (status, error) == (400, "InvalidRequestException")
        assert len(service.controls.violations) == 1

    @pytest.mark.parametrize("slash", ["/", "%2F"])
    def test_an_arn_in_the_path_may_be_encoded_or_not(self, service: Service, slash: str) -> None:
        path = f"/tags/{service.infrastructure.replace('/', slash)}"
        assert self.respond(service, "GET", path, {}, b"") == (200, "", {})


class TestRecords:
    def test_each_call_is_recorded_with_its_result(self, service: Service) -> None:
        service.controls.fail_next("ImportDiskImage", committed=True)
        with pytest.raises(ClientError):
            service.start()
        service.api.list_images()
        imported, listed = service.controls.calls
        assert (imported.operation, imported.error) == ("ImportDiskImage", "ServiceException")
        assert imported.took_effect
        assert imported.parameters["name"] == "Windows-11"
        assert imported.build in service.builder.builds
        assert (listed.operation, listed.error) == ("ListImages", None)

    def test_a_deleted_build_is_still_recorded(self, service: Service) -> None:
        arn = service.start()
        service.builder.delete(arn)
        (build,) = service.builder.history()
        assert (build["arn"], build["token"]) == (arn, "token-0")
        assert [entry["status"] for entry in build["history"]] == ["PENDING", "DELETED"]

    def test_an_order_through_the_control_api_is_executed(self, service: Service) -> None:
        control(service.builder, "fail_next_build", {"step": "WaitForSsmAgent"})
        control(service.builder, "set_quota", {"quota": 5})
        arn = service.start()
        service.now += WHOLE
        (build,) = control(service.builder, "builds", {})
        assert (build["arn"], build["state"]["status"]) == (arn, "FAILED")
        assert len(control(service.builder, "calls", {"operation": "ImportDiskImage"})) == 1
        assert control(service.builder, "violations", {}) == []
        assert json.dumps(control(service.builder, "calls", {}))

    def test_an_unknown_order_is_refused(self, service: Service) -> None:
        with pytest.raises(KeyError):
            control(service.builder, "explode", {})
