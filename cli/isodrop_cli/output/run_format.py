"""How a drop is shown: as JSON, to a person, in a pipe."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from isodrop.codes import Rejection
from isodrop.domain.model import ImportPlan
from isodrop_cli.output.console import format_time

if TYPE_CHECKING:
    from isodrop.domain.run import Run

STATUSES: Final = {"Succeeded": 0, "Rejected": 3, "Failed": 4}
"""How a command that waited for an answer exits."""


def parse_answer(run: "Run") -> dict[str, Any] | None:
    """Read the answer as it is, or is to be, published."""
    if run.answer_json is None:
        return None
    answer = dict(json.loads(run.answer_json))
    answer["detail"]["data"]["notes"] = list(run.annotation_notes or ())
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


def as_json(run: "Run") -> dict[str, Any]:
    """Say it as the contract of ``--json`` does."""
    plan = None if isinstance(run.decision, Rejection) else run.decision
    return {
        "uploadId": run.upload_id,
        "run": run.request.number,
        "overrides": dict(run.request.overrides),
        "source": {
            "bucket": run.upload.bucket,
            "key": run.upload.key,
            "versionId": run.upload.version_id,
            "etag": run.upload.etag,
            "size": run.upload.size,
            "contentId": None if run.content is None else run.content.id,
            "sha256": run.sha256,
        },
        "state": state_of(run),
        "claimedAt": run.claimed_at,
        "answeredAt": run.answered_at,
        "executionArn": run.execution_arn,
        "plan": None
        if plan is None
        else {
            "name": plan.name,
            "semanticVersion": plan.semantic_version,
            "imageIndex": plan.image_index,
            "edition": plan.edition,
            "release": plan.release,
        },
        "attempt": None if run.import_build.attempt is None else run.import_build.attempt.number,
        "buildArn": run.import_build.arn,
        "distributionArn": run.distribution.arn,
        "answer": parse_answer(run),
    }


def state_of(run: "Run") -> str:
    """Say where it stands, in a word."""
    answer = parse_answer(run)
    if answer is not None:
        return kind_of(answer).lower()
    if run.distribution.arn is not None:
        return "distributing"
    if run.import_build.arn is not None:
        return "building"
    # A rejection that was decided is no import; its answer is on the way.
    return "importing" if isinstance(run.decision, ImportPlan) else "looking"


def pairs(run: "Run") -> list[tuple[str, object]]:
    """Tell all there is to tell, name by name."""
    answer = parse_answer(run)
    told = {} if answer is None else answer["detail"]["data"]
    plan = None if isinstance(run.decision, Rejection) else run.decision
    found: list[tuple[str, object]] = [
        ("run", run.request.number),
        *(("set", f"{name}={value}") for name, value in sorted(run.request.overrides.items())),
        ("state", state_of(run)),
        ("claimed", _moment(run.claimed_at)),
    ]
    if plan is not None:
        found += [
            ("image", f"{plan.name} {plan.semantic_version}"),
            ("edition", f"{plan.edition}, image {plan.image_index}"),
        ]
    if run.content is not None:
        found.append(("content", run.content.id))
    if run.sha256 is not None:
        found.append(("sha256", run.sha256))
    if run.import_build.arn is not None:
        found.append(("build", run.import_build.arn))
    if run.import_build.attempt is not None:
        found.append(("attempt", run.import_build.attempt.number))
    if run.distribution.arn is not None:
        found.append(("distribution", run.distribution.arn))
    if run.answered_at is not None:
        found.append(("answered", _moment(run.answered_at)))
    found += [(name, told[name]) for name in ("code", "message", "remedy") if name in told]
    found += [] if answer is None else [("ami", each) for each in amis_of(answer)]
    found += [("note", note) for note in told.get("notes", ())]
    found.append(("execution", run.execution_arn))
    return found


def to_row(run: "Run") -> tuple[object, ...]:
    """Tell it in a line: claimed, state, code, ask, image, version, build, key."""
    answer = parse_answer(run)
    plan = None if isinstance(run.decision, Rejection) else run.decision
    return (
        _moment(run.claimed_at),
        state_of(run),
        None if answer is None else answer["detail"]["data"].get("code"),
        run.request.number,
        None if plan is None else plan.name,
        None if plan is None else plan.semantic_version,
        run.import_build.arn,
        run.upload.key,
    )


def _moment(written: str) -> str:
    return format_time(datetime.fromisoformat(written))
