"""What is not documented and isodrop rests on: expected, observed, and whether it held. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from isodrop.domain.model import ImportPlan
from isodrop_cli.doctor.delivery import steps_counted

History = Iterable[Mapping[str, Any]]

HELD: Final = "held"
DIFFERS: Final = "differs"
NOT_SEEN: Final = "not seen"

_LOOK: Final = "aws-sdk:imagebuilder:getImage"
_BUILDS_OF_25H2: Final = (26100, 26200)


@dataclass(frozen=True, slots=True)
class Point:
    """One open point.

    Attributes
    ----------
    name, expected, observed : str
    result : str
        ``held``, ``differs`` or ``not seen``.
    """

    name: str
    expected: str
    observed: str
    result: str


def _judged(name: str, expected: str, observed: str, held: bool | None) -> Point:
    return Point(name, expected, observed, {None: NOT_SEEN, True: HELD, False: DIFFERS}[held])


def token(when: str, build_arn: str, again: str | None, why_not: str = "") -> Point:
    """Judge what the same request came to when it was sent again."""
    name, expected = f"token repeated {when}", "the same build"
    if again is None:
        return _judged(name, expected, why_not, None)
    return _judged(name, expected, again, again == build_arn)


def lag(seconds: float | None) -> Point:
    """Tell after how long a listing knew the build that GetImage knew."""
    expected = "ListImageBuildVersions may lag behind"
    if seconds is None:
        return _judged("list lag", expected, "never listed while it was followed", False)
    return _judged("list lag", expected, f"listed within {seconds:.0f} s", True)


def tags(sent: Mapping[str, str], stored: Mapping[str, str]) -> Point:
    """Compare the import's tags with those on the image."""
    changed = sorted(name for name, value in sent.items() if stored.get(name) != value)
    observed = f"{len(sent)} tags as sent" if not changed else f"other: {', '.join(changed)}"
    return _judged("tag characters", "each tag on the image as it was sent", observed, not changed)


def release(plan: ImportPlan) -> Point:
    """Tell which build media say that are named 25H2."""
    expected = " or ".join(map(str, _BUILDS_OF_25H2))
    observed = f"{plan.release or 'no release'}: {plan.build}.{plan.revision}"
    held = plan.build in _BUILDS_OF_25H2 if plan.release == "25H2" else None
    return _judged("build of 25H2 media", expected, observed, held)


def key(encryption: str | None, kind: str) -> Point:
    """Judge whether Image Builder could read an ISO under a KMS key."""
    expected = "kms:Decrypt for both of Image Builder's roles is enough"
    if encryption not in ("aws:kms", "aws:kms:dsse"):
        return _judged(
            "SSE-KMS grant", expected, f"the ISO is under {encryption or 'AES256'}", None
        )
    return _judged("SSE-KMS grant", expected, f"the answer is {kind}", kind == "Succeeded")


def steps(history: History) -> Point:
    """Judge whether Step Functions' SDK counts steps."""
    counted = steps_counted({"events": list(history)})
    observed = {None: "no steps were asked for", True: "counted", False: "not counted"}[counted]
    return _judged("SDK integration: step counts", "TotalStepsSucceeded is told", observed, counted)


def failure(history: History, kind: str) -> Point:
    """Judge whether Step Functions' SDK tells why a build failed."""
    name, expected = "SDK integration: failureContext", "FailureContext is told"
    if kind != "Failed":
        return _judged(name, expected, f"the answer is {kind}", None)
    looks = [
        json.loads(told.get("output", "{}"))
        for event in history
        if (told := event.get("taskSucceededEventDetails", {}))
        and f"{told.get('resourceType')}:{told.get('resource')}" == _LOOK
    ]
    last = looks[-1].get("Image", {}).get("State", {}) if looks else {}
    has = "FailureContext" in last
    return _judged(name, expected, f"{last.get('Status', 'no status')}: {sorted(last)}", has)


def quota(history: History) -> Point:
    """Tell how a full quota showed."""
    expected = "PENDING, or one of the quota exceptions: waited out"
    for event in history:
        for told in event.values():
            if isinstance(told, Mapping) and told.get("error") == "QuotaError":
                return _judged("quota error", expected, str(told.get("cause", ""))[:200], True)
    return _judged("quota error", expected, "no quota was met", None)


def ami_tags(image: Mapping[str, str], ami: Mapping[str, str] | None) -> Point:
    """Judge whether the AMI has the tags of its image, after isodrop has written them there."""
    name, expected = "tags on the AMI", "each tag of the image"
    if ami is None:
        return _judged(name, expected, "no AMI of this Region", None)
    missing = sorted(key for key, value in image.items() if ami.get(key) != value)
    observed = f"{len(ami)} tags" if not missing else f"without or other: {', '.join(missing)}"
    return _judged(name, expected, observed, not missing)


def distributed_names(home: str, amis: Iterable[Mapping[str, Any]]) -> Point:
    """Tell what an image is called where it was distributed to."""
    told = list(amis)
    name, expected = "name of a distributed image", "that of the image at home, in every Region"
    here = {each["name"] for each in told if each["region"] == home}
    there = {each["name"] for each in told if each["region"] != home}
    if not there:
        return _judged(name, expected, "it was not distributed", None)
    return _judged(name, expected, ", ".join(sorted(there)), there <= here)


def log_writers(users: Iterable[str] | None, why_not: str = "") -> Point:
    """Tell who made the streams of the build's log, as CloudTrail has it."""
    name, expected = "who writes build logs", "the role of the build's instance"
    found = sorted(set(users or ()))
    return _judged(name, expected, ", ".join(found) or why_not, None if not found else True)


def missing_object(refused: str | None, began: str | None, why_not: str = "") -> Point:
    """Tell what an import of an object that is not there came to; nothing leans on either."""
    name, expected = "ImportDiskImage without an object", "an error, or a build that would fail"
    if refused is None and began is None:
        return _judged(name, expected, why_not, None)
    observed = refused or f"a build began, and was cancelled: {began}"
    return _judged(name, expected, observed, True)
