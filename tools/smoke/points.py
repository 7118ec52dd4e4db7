"""Undocumented behavior that isodrop relies on: expected and observed. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from isodrop.domain.model import ImportPlan
from isodrop_cli.doctor.delivery import steps_counted

History = Iterable[Mapping[str, Any]]

MATCHES: Final = "matches"
DIFFERS: Final = "differs"
POINT_DIFFERS: Final = 5
"""The exit code of a program that found a difference."""
NOT_OBSERVED: Final = "not observed"

_GET_IMAGE: Final = "aws-sdk:imagebuilder:getImage"
_BUILDS_OF_25H2: Final = (26100, 26200)


@dataclass(frozen=True, slots=True)
class Point:
    """One assumption to verify.

    Attributes
    ----------
    name, expected, observed : str
    result : str
        ``matches``, ``differs`` or ``not observed``.
    """

    name: str
    expected: str
    observed: str
    result: str


def _make_point(name: str, expected: str, observed: str, matches: bool | None) -> Point:
    return Point(
        name, expected, observed, {None: NOT_OBSERVED, True: MATCHES, False: DIFFERS}[matches]
    )


def token(when: str, build_arn: str, repeated_arn: str | None, why_not: str = "") -> Point:
    """Compare the build of a repeated request with the original one."""
    name, expected = f"token repeated {when}", "the same build"
    if repeated_arn is None:
        return _make_point(name, expected, why_not, None)
    return _make_point(name, expected, repeated_arn, repeated_arn == build_arn)


def lag(seconds: float | None) -> Point:
    """Report how long it took until a build that GetImage returned was listed."""
    expected = "ListImageBuildVersions may lag behind"
    if seconds is None:
        return _make_point("list lag", expected, "never listed while it was followed", False)
    return _make_point("list lag", expected, f"listed within {seconds:.0f} s", True)


def tags(sent: Mapping[str, str], stored: Mapping[str, str]) -> Point:
    """Compare the import's tags with those on the image."""
    changed = sorted(name for name, value in sent.items() if stored.get(name) != value)
    observed = f"{len(sent)} tags as sent" if not changed else f"different: {', '.join(changed)}"
    return _make_point(
        "tag characters", "each tag of the image as it was sent", observed, not changed
    )


def release(plan: ImportPlan) -> Point:
    """Report which build an ISO named 25H2 has."""
    expected = " or ".join(map(str, _BUILDS_OF_25H2))
    observed = f"{plan.release or 'no release'}: {plan.windows_build}.{plan.revision}"
    matches = plan.windows_build in _BUILDS_OF_25H2 if plan.release == "25H2" else None
    return _make_point("build of a 25H2 ISO", expected, observed, matches)


def kms_key(encryption: str | None, kind: str) -> Point:
    """Check whether Image Builder could read an ISO that is encrypted with a KMS key."""
    expected = "kms:Decrypt for both of Image Builder's roles is enough"
    if encryption not in ("aws:kms", "aws:kms:dsse"):
        return _make_point(
            "SSE-KMS grant", expected, f"the ISO is encrypted with {encryption or 'AES256'}", None
        )
    return _make_point("SSE-KMS grant", expected, f"the answer is {kind}", kind == "Succeeded")


def steps(history: History) -> Point:
    """Check whether Step Functions' SDK integration returns step counts."""
    counted = steps_counted({"events": list(history)})
    observed = {None: "no steps were requested", True: "counted", False: "not counted"}[counted]
    return _make_point(
        "SDK integration: step counts", "TotalStepsSucceeded is returned", observed, counted
    )


def failure(history: History, kind: str) -> Point:
    """Check whether Step Functions' SDK returns why a build failed."""
    name, expected = "SDK integration: failureContext", "FailureContext is returned"
    if kind != "Failed":
        return _make_point(name, expected, f"the answer is {kind}", None)
    responses = [
        json.loads(details.get("output", "{}"))
        for event in history
        if (details := event.get("taskSucceededEventDetails", {}))
        and f"{details.get('resourceType')}:{details.get('resource')}" == _GET_IMAGE
    ]
    last = responses[-1].get("Image", {}).get("State", {}) if responses else {}
    has = "FailureContext" in last
    return _make_point(name, expected, f"{last.get('Status', 'no status')}: {sorted(last)}", has)


def quota(history: History) -> Point:
    """Report which error a full quota caused."""
    expected = "the build stays PENDING, or a quota exception is returned and retried"
    for event in history:
        for details in event.values():
            if isinstance(details, Mapping) and details.get("error") == "QuotaError":
                return _make_point(
                    "quota error", expected, str(details.get("cause", ""))[:200], True
                )
    return _make_point("quota error", expected, "no quota was reached", None)


def ami_tags(image: Mapping[str, str], ami: Mapping[str, str] | None) -> Point:
    """Check whether the AMI has the tags of its image, after isodrop has written them there."""
    name, expected = "tags on the AMI", "each tag of the image"
    if ami is None:
        return _make_point(name, expected, "no AMI of this Region", None)
    missing = sorted(key for key, value in image.items() if ami.get(key) != value)
    observed = f"{len(ami)} tags" if not missing else f"missing or different: {', '.join(missing)}"
    return _make_point(name, expected, observed, not missing)


def distributed_names(home: str, amis: Iterable[Mapping[str, Any]]) -> Point:
    """Report the names of distributed images."""
    details = list(amis)
    name, expected = (
        "name of a distributed image",
        "that of the image in the stack's Region, in every Region",
    )
    home_names = {each["name"] for each in details if each["region"] == home}
    other_names = {each["name"] for each in details if each["region"] != home}
    if not other_names:
        return _make_point(name, expected, "it was not distributed", None)
    return _make_point(name, expected, ", ".join(sorted(other_names)), other_names <= home_names)


def log_writers(users: Iterable[str] | None, why_not: str = "") -> Point:
    """Report who created the streams of the build's log, from CloudTrail."""
    name, expected = "who writes build logs", "the role of the build's instance"
    found = sorted(set(users or ()))
    return _make_point(name, expected, ", ".join(found) or why_not, None if not found else True)


def missing_object(refused: str | None, build_arn: str | None, why_not: str = "") -> Point:
    """Report the result of an import of a missing object; nothing depends on it."""
    name, expected = "ImportDiskImage without an object", "an error, or a build that would fail"
    if refused is None and build_arn is None:
        return _make_point(name, expected, why_not, None)
    observed = refused or f"a build was started, and cancelled: {build_arn}"
    return _make_point(name, expected, observed, True)
