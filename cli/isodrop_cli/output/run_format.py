"""How a drop is shown: as JSON, to a person, in a pipe."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from isodrop.codes import Rejection
from isodrop.domain.model import ImportPlan
from isodrop_cli.output.console import moment

if TYPE_CHECKING:
    from isodrop.domain.run import Drop

STATUSES: Final = {"Succeeded": 0, "Rejected": 3, "Failed": 4}
"""How a command that waited for an answer exits."""


def answer_of(drop: "Drop") -> dict[str, Any] | None:
    """Read the answer as it is, or is to be, published."""
    if drop.answer is None:
        return None
    answer = dict(json.loads(drop.answer))
    answer["detail"]["data"]["notes"] = list(drop.notes or ())
    return answer


def kind_of(answer: dict[str, Any]) -> str:
    """Say which answer it is: ``Succeeded``, ``Rejected`` or ``Failed``."""
    return str(answer["detail-type"]).rsplit(" ", 1)[-1]


def amis_of(answer: Mapping[str, Any]) -> list[str]:
    """Say each AMI with its Region, and with its account where that is not the stack's."""
    data = answer["detail"]["data"]
    return [
        f"{ami['id']} {ami['region']}"
        + ("" if ami["account"] == data["buildArn"].split(":")[4] else f" in {ami['account']}")
        for ami in data.get("amis", ())
    ]


def as_json(drop: "Drop") -> dict[str, Any]:
    """Say it as the contract of ``--json`` does."""
    plan = None if isinstance(drop.verdict, Rejection) else drop.verdict
    return {
        "dropId": drop.id,
        "ask": drop.ask.number,
        "overrides": dict(drop.ask.overrides),
        "source": {
            "bucket": drop.upload.bucket,
            "key": drop.upload.key,
            "versionId": drop.upload.version_id,
            "etag": drop.upload.etag,
            "size": drop.upload.size,
            "contentId": None if drop.content is None else drop.content.id,
        },
        "state": state_of(drop),
        "claimed": drop.claimed,
        "answered": drop.answered,
        "execution": drop.execution,
        "plan": None
        if plan is None
        else {
            "name": plan.name,
            "semanticVersion": plan.semantic_version,
            "imageIndex": plan.image_index,
            "edition": plan.edition,
            "release": plan.release,
        },
        "attempt": drop.attempt,
        "buildArn": drop.build_arn,
        "distributionArn": drop.distribution.build_arn,
        "answer": answer_of(drop),
    }


def state_of(drop: "Drop") -> str:
    """Say where it stands, in a word."""
    answer = answer_of(drop)
    if answer is not None:
        return kind_of(answer).lower()
    if drop.distribution.build_arn is not None:
        return "distributing"
    if drop.build_arn is not None:
        return "building"
    # A rejection that was decided is no import; its answer is on the way.
    return "importing" if isinstance(drop.verdict, ImportPlan) else "looking"


def pairs(drop: "Drop") -> list[tuple[str, object]]:
    """Tell all there is to tell, name by name."""
    answer = answer_of(drop)
    told = {} if answer is None else answer["detail"]["data"]
    plan = None if isinstance(drop.verdict, Rejection) else drop.verdict
    found: list[tuple[str, object]] = [
        ("ask", drop.ask.number),
        *(("set", f"{name}={value}") for name, value in sorted(drop.ask.overrides.items())),
        ("state", state_of(drop)),
        ("claimed", _moment(drop.claimed)),
    ]
    if plan is not None:
        found += [
            ("image", f"{plan.name} {plan.semantic_version}"),
            ("edition", f"{plan.edition}, image {plan.image_index}"),
        ]
    if drop.content is not None:
        found.append(("content", drop.content.id))
    if drop.build_arn is not None:
        found += [("build", drop.build_arn), ("attempt", drop.attempt)]
    if drop.distribution.build_arn is not None:
        found.append(("distribution", drop.distribution.build_arn))
    if drop.answered is not None:
        found.append(("answered", _moment(drop.answered)))
    found += [(name, told[name]) for name in ("code", "message", "remedy") if name in told]
    found += [] if answer is None else [("ami", each) for each in amis_of(answer)]
    found += [("note", note) for note in told.get("notes", ())]
    found.append(("execution", drop.execution))
    return found


def row(drop: "Drop") -> tuple[object, ...]:
    """Tell it in a line: claimed, state, code, ask, image, version, build, key."""
    answer = answer_of(drop)
    plan = None if isinstance(drop.verdict, Rejection) else drop.verdict
    return (
        _moment(drop.claimed),
        state_of(drop),
        None if answer is None else answer["detail"]["data"].get("code"),
        drop.ask.number,
        None if plan is None else plan.name,
        None if plan is None else plan.semantic_version,
        drop.build_arn,
        drop.upload.key,
    )


def _moment(written: str) -> str:
    return moment(datetime.fromisoformat(written))
