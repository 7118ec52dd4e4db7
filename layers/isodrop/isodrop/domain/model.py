"""The values that an import is decided with: uploads, settings, plans."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from isodrop.domain.overrides import DEFAULT_ALLOWED

if TYPE_CHECKING:
    from isodrop.iso.model import IsoContents


@dataclass(frozen=True, slots=True)
class Upload:
    """One write of one object, as S3's ``Object Created`` event tells it.

    Attributes
    ----------
    bucket, key : str
        Where it is; the key raw, not URL-encoded.
    etag : str
        Without quotes.
    size : int
        In bytes.
    sequencer : str
        S3's hexadecimal order of writes to one key; one per write. Only events have it: empty
        for an upload that was found by its version.
    version_id : str or None
        ``None`` on a bucket without versioning.
    """

    bucket: str
    key: str
    etag: str
    size: int
    sequencer: str
    version_id: str | None = None

    @property
    def is_iso(self) -> bool:
        """Whether its key ends in ``.iso``, in any spelling: what does not is nobody's business."""
        return self.key.lower().endswith(".iso")

    @property
    def uri(self) -> str:
        """``s3://bucket/key``, for people."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def version(self) -> str | None:
        """The version id if it names one write; ``null`` is S3's for all that have none."""
        return None if self.version_id in {"", "null"} else self.version_id


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One asking for an upload: its arrival is the first, an operator may ask anew.

    Attributes
    ----------
    number : int
        Counted from 0.
    overrides : mapping of str to str
        What is asked beside the object's metadata, and before them; see
        :func:`isodrop.domain.overrides.merge_overrides`.
    requester : str or None
        Who uploaded the object, as S3's event says it: an account's id or a service. It decides
        nothing, and makes no other run.
    """

    number: int = 0
    overrides: Mapping[str, str] = field(default_factory=dict)
    requester: str | None = field(default=None, compare=False)


FIRST_RUN: Final = RunRequest()


@dataclass(frozen=True, slots=True)
class DistributionSettings:
    """What the stack's parameters say about the distribution of every image.

    Attributes
    ----------
    configuration_arn : str
        Image Builder's distribution configuration: to which Regions and accounts, and how.
    execution_role : str
        Whose name Image Builder acts in.
    log_group_name : str or None
        Where it writes its log; its own default if ``None``.
    """

    configuration_arn: str
    execution_role: str
    log_group_name: str | None = None


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """What the stack's parameters say about every import.

    Attributes
    ----------
    stack : str
        The stack's name; part of every client token.
    edition : str
        The wanted ``EDITIONID``.
    image_name_template : str
        With ``{edition}``, ``{architecture}``, ``{language}``, ``{release}``, ``{build}``.
    supported_builds : frozenset of int
        Builds that are imported.
    allow_esd : bool
        Whether media whose Windows image is an ESD are imported.
    allowed_overrides : frozenset of str
        Which user metadata keys an uploader may set.
    infrastructure_configuration_arn : str
        Passed on to every import, as the next four are unless ``None``.
    execution_role, log_group_name, uefi_data, description : str or None
    secure_boot : bool or None
    tags : mapping of str to str
        The stack's own tags for every image, beside isodrop's.
    min_iso_megabytes, max_iso_gigabytes : int, and int or None
        How small and how large an ISO may be, in units of 1024^2 and 1024^3 bytes.
    """

    stack: str
    infrastructure_configuration_arn: str
    edition: str = "Enterprise"
    image_name_template: str = "windows-11-{edition}-{architecture}-{language}"
    supported_builds: frozenset[int] = frozenset({22621, 22631, 26100, 26200})
    allow_esd: bool = False
    allowed_overrides: frozenset[str] = DEFAULT_ALLOWED
    execution_role: str | None = None
    log_group_name: str | None = None
    secure_boot: bool | None = None
    uefi_data: str | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    min_iso_megabytes: int = 0
    max_iso_gigabytes: int | None = None


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """One import, decided: everything that ImportDiskImage is told and the events say.

    Attributes
    ----------
    name, semantic_version, image_index, description
        As in ImportDiskImage; each satisfies the service model's pattern and lengths.
    edition : str
        ``EDITIONID`` of the chosen image.
    release : str or None
        ``24H2`` and the like; ``None`` where neither media nor name say.
    architecture : str
        ``x64``.
    build, revision : int
        Of the chosen image.
    languages : tuple of str
        Lower case, the default language first.
    rebuild : str or None
        The override that makes another import of the same content on purpose.
    tags : mapping of str to str
        For the image resource, cleaned.
    notes : tuple of str
        What a person should know, such as a file name that contradicts the media.
    """

    name: str
    semantic_version: str
    image_index: int
    description: str
    edition: str
    release: str | None
    architecture: str
    build: int
    revision: int
    languages: tuple[str, ...]
    rebuild: str | None
    tags: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def matches(self, contents: "IsoContents") -> bool:
        """Whether this is what is on an ISO, as far as the import goes by it."""
        return any(
            (each.index, each.edition_id, each.build, each.revision, each.architecture)
            == (self.image_index, self.edition, self.build, self.revision, self.architecture)
            for each in contents.editions
        )
