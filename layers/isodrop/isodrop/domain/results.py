"""What isodrop knows, in the words of the events' contract."""

from isodrop.domain.content import Content
from isodrop.domain.model import ImportPlan, Upload
from isodrop.events import Plan, Source


def to_contract_source(
    upload: "Upload", content: "Content | None", sha256: str | None = None
) -> Source:
    """Tell an upload, and what its bytes are once it has been copied."""
    return Source(
        bucket=upload.bucket,
        key=upload.key,
        version_id=upload.version_id,
        etag=upload.etag,
        size=upload.size,
        content_id=None if content is None else content.id,
        sha256=sha256,
    )


def to_contract_plan(plan: "ImportPlan") -> Plan:
    """Tell a plan."""
    return Plan(
        name=plan.name,
        semantic_version=plan.semantic_version,
        image_index=plan.image_index,
        edition=plan.edition,
        release=plan.release,
        architecture=plan.architecture,
        build=plan.build,
        revision=plan.revision,
        languages=plan.languages,
        notes=plan.notes,
    )
