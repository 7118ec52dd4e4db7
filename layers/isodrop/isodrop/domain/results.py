"""What isodrop knows, in the words of the events' contract."""

from isodrop.domain.model import ImportPlan, Upload
from isodrop.events import Plan, Source


def source_of(upload: "Upload") -> Source:
    """Tell an upload."""
    return Source(
        bucket=upload.bucket,
        key=upload.key,
        version_id=upload.version_id,
        etag=upload.etag,
        size=upload.size,
    )


def plan_of(plan: "ImportPlan") -> Plan:
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
