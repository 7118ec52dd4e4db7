"""Builders of values for tests: an upload, an ISO, a stack's settings, a plan, a run."""

from dataclasses import replace
from typing import Any

from isodrop.codes import Rejection
from isodrop.domain.content import PART_SIZE, Content
from isodrop.domain.model import FIRST_RUN, ImportPlan, ImportSettings, Upload
from isodrop.domain.overrides import RULES
from isodrop.domain.planning import plan_import
from isodrop.domain.run import BuildRecord, Run
from isodrop.iso.model import IsoContents, WimImage

BUSINESS = (
    "Education",
    "EducationN",
    "Enterprise",
    "EnterpriseN",
    "Professional",
    "ProfessionalN",
)
INFRASTRUCTURE = (
    "arn:aws:imagebuilder:eu-central-1:123456789012:infrastructure-configuration/isodrop"
)
CONTENT = Content(5_901_000_000, PART_SIZE, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=-44")


def an_upload(key: str = "isos/windows.iso", **changes: Any) -> Upload:
    upload = Upload(
        bucket="isodrop-upload",
        key=key,
        etag="9b2cf535f27731c974343645a3985328-700",
        size=5_901_000_000,
        sequencer="0062E99A88DC407460",
        version_id="3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
    )
    return replace(upload, **changes)


def an_edition(edition_id: str | None = "Enterprise", index: int = 1, **changes: Any) -> WimImage:
    edition = WimImage(
        index=index,
        name="Windows 11 Enterprise",
        edition_id=edition_id,
        installation_type="Client",
        architecture="x64",
        major=10,
        minor=0,
        build=26100,
        revision=1742,
        branch="ge_release",
        languages=("en-US",),
        default_language="en-US",
    )
    return replace(edition, **changes)


def an_iso(*editions: WimImage) -> IsoContents:
    return IsoContents(
        label="CCCOMA_X64FRE_EN-US_DV9",
        kind="wim",
        images=editions,
        size=5_901_000_000,
        requests=3,
        bytes_read=491_520,
    )


def a_business_iso(**changes: Any) -> IsoContents:
    """Build an ISO with the editions of a business ISO; ``changes`` apply to each edition."""
    return an_iso(
        *(an_edition(name, index, **changes) for index, name in enumerate(BUSINESS, start=1))
    )


def some_settings(**changes: Any) -> ImportSettings:
    """Build settings that allow every override, unless ``changes`` say otherwise."""
    settings = ImportSettings("isodrop", INFRASTRUCTURE, allowed_overrides=frozenset(RULES))
    return replace(settings, **changes)


def a_plan() -> ImportPlan:
    plan = plan_import(an_upload(), a_business_iso(), {}, some_settings())
    assert not isinstance(plan, Rejection)
    return plan


def a_run(**changes: Any) -> Run:
    """Build a run that an execution has claimed."""
    run = Run(
        upload_id="d0d0",
        run_request=FIRST_RUN,
        execution_arn="arn:aws:states:eu-central-1:123456789012:execution:imports:one",
        claimed_at="2026-11-24T09:00:00.000+00:00",
        upload=an_upload(),
        decision=None,
        multipart_id=None,
        content=None,
        import_build=BuildRecord(),
        distribution=BuildRecord(),
        status_first_seen_at={},
        answer_json=None,
        annotation_notes=None,
        answered_at=None,
    )
    return replace(run, **changes)
