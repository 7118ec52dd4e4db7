"""The editions on Microsoft's ISOs, as input of the generator."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class EditionSpec:
    """One image of a generated WIM.

    ``None`` omits the element; ``extra`` is XML that is inserted into ``WINDOWS`` unchanged.
    """

    edition_id: str | None
    name: str
    architecture: str = "x64"
    build: int = 26100
    revision: int = 1742
    installation_type: str | None = "Client"
    languages: tuple[str, ...] = ("en-US",)
    branch: str | None = "ge_release"
    default_language: str | None = None
    major: int = 10
    minor: int = 0
    extra: str = ""


# In the order of Microsoft's English business ISOs except for Enterprise, which is inserted at a
# given position: third on those, fifth here by default. Its index varies on real ones, too, so a
# test that relies on index 3 must fail.
_BUSINESS = (
    ("Education", "Windows 11 Education"),
    ("EducationN", "Windows 11 Education N"),
    ("EnterpriseN", "Windows 11 Enterprise N"),
    ("Professional", "Windows 11 Pro"),
    ("ProfessionalN", "Windows 11 Pro N"),
    ("ProfessionalEducation", "Windows 11 Pro Education"),
    ("ProfessionalEducationN", "Windows 11 Pro Education N"),
    ("ProfessionalWorkstation", "Windows 11 Pro for Workstations"),
    ("ProfessionalWorkstationN", "Windows 11 Pro N for Workstations"),
    ("IoTEnterprise", "Windows 11 IoT Enterprise"),
)
_CONSUMER = (
    ("Core", "Windows 11 Home"),
    ("CoreN", "Windows 11 Home N"),
    ("CoreSingleLanguage", "Windows 11 Home Single Language"),
    ("Education", "Windows 11 Education"),
    ("EducationN", "Windows 11 Education N"),
    ("Professional", "Windows 11 Pro"),
    ("ProfessionalN", "Windows 11 Pro N"),
    ("ProfessionalEducation", "Windows 11 Pro Education"),
    ("ProfessionalEducationN", "Windows 11 Pro Education N"),
    ("ProfessionalWorkstation", "Windows 11 Pro for Workstations"),
    ("ProfessionalWorkstationN", "Windows 11 Pro N for Workstations"),
)

MICROSOFT_ENTERPRISE_INDEX = 3


def _specs(pairs: tuple[tuple[str, str], ...], changes: dict[str, Any]) -> tuple[EditionSpec, ...]:
    return tuple(replace(EditionSpec(edition, name), **changes) for edition, name in pairs)


def business_editions(*, enterprise_index: int = 5, **changes: Any) -> tuple[EditionSpec, ...]:
    """Return the eleven editions of a business ISO, with Enterprise at a 1-based index."""
    if not 1 <= enterprise_index <= len(_BUSINESS) + 1:
        raise ValueError("enterprise_index is 1 to 11")
    at = enterprise_index - 1
    enterprise = (("Enterprise", "Windows 11 Enterprise"),)
    return _specs(_BUSINESS[:at] + enterprise + _BUSINESS[at:], changes)


def consumer_editions(**changes: Any) -> tuple[EditionSpec, ...]:
    """Return the eleven editions of a consumer ISO, without Enterprise."""
    return _specs(_CONSUMER, changes)


def server_editions(**changes: Any) -> tuple[EditionSpec, ...]:
    """Return the four editions of a Windows Server 2025 ISO: each as Core and with a desktop."""
    made = []
    for edition in ("Standard", "Datacenter"):
        name = f"Windows Server 2025 {edition}"
        core = EditionSpec(f"Server{edition}", name, installation_type="Server Core")
        desktop = replace(core, name=f"{name} (Desktop Experience)", installation_type="Server")
        made += [replace(core, **changes), replace(desktop, **changes)]
    return tuple(made)


def evaluation_editions(**changes: Any) -> tuple[EditionSpec, ...]:
    """Return the one edition of an evaluation ISO."""
    return _specs((("EnterpriseEval", "Windows 11 Enterprise Evaluation"),), changes)


def ltsc_editions(**changes: Any) -> tuple[EditionSpec, ...]:
    """Return the two editions of an LTSC 2024 ISO."""
    names = (
        ("EnterpriseS", "Windows 11 Enterprise LTSC 2024"),
        ("EnterpriseSN", "Windows 11 Enterprise N LTSC 2024"),
    )
    return _specs(names, changes)
