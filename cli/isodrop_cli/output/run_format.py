"""Format a run: as JSON, as names and values, as a line."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from isodrop.codes import Rejection
from isodrop.domain.arn import Arn
from isodrop.domain.model import ImportPlan
from isodrop.text import printable
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.output.console import format_time

if TYPE_CHECKING:
    from isodrop.domain.run import Run

EXIT_CODES: Final = {
    "Succeeded": ExitCode.OK,
    "Rejected": ExitCode.REJECTED,
    "Failed": ExitCode.FAILED,
}
"""The exit code of a command that waited for an answer, by its kind."""

STATES: Final = (
    *("inspecting", "importing", "building", "distributing"),
    *("succeeded", "rejected", "failed"),
)
"""The states of a run, in the order in which it goes through them."""


def parse_answer(run: "Run") -> dict[str, Any] | None:
    """Parse the answer as it is, or will be, published."""
    if run.answer_json is None:
        return None
    answer = dict(json.loads(run.answer_json))
    answer["detail"]["data"]["notes"] = list(run.annotation_notes or ())
    return answer


def answer_kind(answer: dict[str, Any]) -> str:
    """Return the kind of an answer: ``Succeeded``, ``Rejected`` or ``Failed``."""
    return str(answer["detail-type"]).rsplit(" ", 1)[-1]


def describe_amis(answer: Mapping[str, Any]) -> list[str]:
    """Describe each AMI with its Region, and with its account if that is not the stack's."""
    data = answer["detail"]["data"]
    amis = data.get("amis", ())
    account = Arn.parse(data["buildArn"]).account if amis else ""
    return [
        f"{ami['id']} {ami['region']}"
        + ("" if ami["account"] == account else f" in {ami['account']}")
        for ami in amis
    ]


def as_json(run: "Run") -> dict[str, Any]:
    """Convert a run to the documented JSON."""
    plan = None if isinstance(run.decision, Rejection) else run.decision
    return {
        "uploadId": run.upload_id,
        "run": run.run_request.number,
        "overrides": dict(run.run_request.overrides),
        "uploader": run.run_request.uploader,
        "source": {
            "bucket": run.upload.bucket,
            "key": run.upload.key,
            "versionId": run.upload.version_id,
            "etag": run.upload.etag,
            "size": run.upload.size,
            "contentId": None if run.content is None else run.content.id,
            "sha256": run.sha256,
        },
        "state": get_state(run),
        "startedAt": run.claimed_at,
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


def get_state(run: "Run") -> str:
    """Return the state of a run, one of :data:`STATES`."""
    answer = parse_answer(run)
    if answer is not None:
        return answer_kind(answer).lower()
    if run.distribution.arn is not None:
        return "distributing"
    if run.import_build.arn is not None:
        return "building"
    # A rejection is not an import: its answer follows at once.
    return "importing" if isinstance(run.decision, ImportPlan) else "inspecting"


def to_pairs(run: "Run") -> list[tuple[str, object]]:
    """Return all that is known of a run, as names and values."""
    answer = parse_answer(run)
    data = {} if answer is None else answer["detail"]["data"]
    plan = None if isinstance(run.decision, Rejection) else run.decision
    pairs: list[tuple[str, object]] = [
        ("run", run.run_request.number),
        *(("set", f"{name}={value}") for name, value in sorted(run.run_request.overrides.items())),
        ("state", get_state(run)),
        ("started", _format(run.claimed_at)),
    ]
    if run.run_request.uploader is not None:
        pairs.append(("uploaded by", printable(run.run_request.uploader)))
    if plan is not None:
        pairs += [
            ("image", f"{plan.name} {plan.semantic_version}"),
            ("edition", f"{plan.edition}, image index {plan.image_index}"),
        ]
    if run.content is not None:
        pairs.append(("content", run.content.id))
    if run.sha256 is not None:
        pairs.append(("sha256", run.sha256))
    if run.import_build.arn is not None:
        pairs.append(("build", run.import_build.arn))
    if run.import_build.attempt is not None:
        pairs.append(("attempt", run.import_build.attempt.number))
    if run.distribution.arn is not None:
        pairs.append(("distribution", run.distribution.arn))
    if run.answered_at is not None:
        pairs.append(("answered", _format(run.answered_at)))
    pairs += [(name, data[name]) for name in ("code", "message", "remedy") if name in data]
    pairs += [] if answer is None else [("ami", each) for each in describe_amis(answer)]
    pairs += [("note", note) for note in data.get("notes", ())]
    pairs.append(("execution", run.execution_arn))
    return pairs


def to_row(run: "Run") -> tuple[object, ...]:
    """Return a run as a line: started, state, code, run, image, version, build, key."""
    answer = parse_answer(run)
    plan = None if isinstance(run.decision, Rejection) else run.decision
    return (
        _format(run.claimed_at),
        get_state(run),
        None if answer is None else answer["detail"]["data"].get("code"),
        run.run_request.number,
        None if plan is None else plan.name,
        None if plan is None else plan.semantic_version,
        run.import_build.arn,
        run.upload.key,
    )


def _format(written: str) -> str:
    return format_time(datetime.fromisoformat(written))
