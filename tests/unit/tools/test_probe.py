"""How make probe evaluates responses that only a real account might return."""

from typing import Any

from botocore.exceptions import ClientError

from tools.probe.points import Probe, Stack, part_checksums, rule_pattern
from tools.smoke.points import DIFFERS, MATCHES, NOT_OBSERVED

STACK = Stack(
    "isodrop", "uploads", "arn:aws:states:eu-central-1:1:stateMachine:m", {"UploadRule": "r"}
)


class InvalidEventPatternException(Exception):  # noqa: N818 # botocore has it so
    """The exception of EventBridge's client."""


class Service:
    """A client that returns given responses, and records its calls."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[str] = []
        self.exceptions = self
        self.InvalidEventPatternException = InvalidEventPatternException
        self._answers = answers

    def client(self, _name: str) -> "Service":
        return self

    def __getattr__(self, operation: str) -> Any:
        def call(**_given: Any) -> Any:
            self.asked.append(operation)
            answer = self._answers.get(operation, {})
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def test_a_pattern_that_is_too_complex_differs_and_leaves_no_rule() -> None:
    refusal = InvalidEventPatternException("Rule is too complex")
    service = Service(describe_rule={"EventPattern": "{}"}, put_rule=refusal)
    point = Probe("rule", "accepted", rule_pattern).point(service, STACK)
    assert (point.result, point.observed) == (DIFFERS, "Rule is too complex")
    assert service.asked == ["describe_rule", "put_rule", "delete_rule"]


def test_parts_without_checksums_differ_and_are_removed() -> None:
    service = Service(
        put_object={"ETag": '"e"', "VersionId": "v"},
        create_multipart_upload={"UploadId": "u"},
        upload_part_copy={"CopyPartResult": {"ETag": '"p"'}},
        list_object_versions={"Versions": [{"Key": "isodrop-probe", "VersionId": "v"}]},
    )
    point = Probe("parts", "SHA-256", part_checksums).point(service, STACK)
    assert point.result == DIFFERS
    assert "complete_multipart_upload" not in service.asked
    assert service.asked[-5:] == [
        "abort_multipart_upload",
        *["list_object_versions", "delete_object"] * 2,
    ]


def test_a_point_without_permission_was_not_observed() -> None:
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeRule")
    point = Probe("rule", "accepted", rule_pattern).point(Service(describe_rule=denied), STACK)
    assert (point.result, "AccessDenied" in point.observed) == (NOT_OBSERVED, True)


def test_an_expected_observation_passes() -> None:
    service = Service(describe_rule={"EventPattern": "{}"})
    assert Probe("rule", "accepted", rule_pattern).point(service, STACK).result == MATCHES
