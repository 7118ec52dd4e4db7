"""The values that a decision is based on, and its result: uploads, settings, plans."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from isodrop.domain.overrides import DEFAULT_ALLOWED
from isodrop.domain.s3_uri import S3Uri

if TYPE_CHECKING:
    from isodrop.iso.model import IsoContents


@dataclass(frozen=True, slots=True)
class Upload:
    """One write of one object, as described by S3's ``Object Created`` event.

    Attributes
    ----------
    bucket, key : str
        The object; the key is raw, not URL-encoded.
    etag : str
        Without quotes.
    size : int
        In bytes.
    sequencer : str
        S3's hexadecimal sequence value of the write, unique per key. Only events contain it; empty
        for an upload that was found by its version.
    version_id : str or None
        ``None`` in a bucket without versioning.
    """

    bucket: str
    key: str
    etag: str
    size: int
    sequencer: str
    version_id: str | None = None

    @property
    def is_iso(self) -> bool:
        """Whether its key ends in ``.iso``, in any case. Other objects are ignored."""
        return self.key.lower().endswith(".iso")

    @property
    def uri(self) -> str:
        """``s3://bucket/key``, for messages."""
        return str(S3Uri(self.bucket, self.key))

    @property
    def unique_version_id(self) -> str | None:
        """The version id if it identifies one write; S3 uses ``null`` for unversioned objects."""
        return None if self.version_id in {"", "null"} else self.version_id


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The request for a run. The upload's arrival requests the first; operators, any later ones.

    Attributes
    ----------
    number : int
        Counted from 0.
    overrides : mapping of str to str
        The operator's overrides, which take precedence over the object's metadata; see
        :func:`isodrop.domain.overrides.merge_overrides`.
    uploader : str or None
        Who uploaded the object, from S3's event: an account id or a service. It is informational
        and does not distinguish runs.
    """

    number: int = 0
    overrides: Mapping[str, str] = field(default_factory=dict)
    uploader: str | None = field(default=None, compare=False)


FIRST_RUN: Final = RunRequest()


@dataclass(frozen=True, slots=True)
class DistributionSettings:
    """The stack's settings for the distribution of every image.

    Attributes
    ----------
    configuration_arn : str
        The distribution configuration in Image Builder, with its Regions and accounts.
    execution_role : str
        The role that Image Builder assumes.
    log_group_name : str or None
        The log group; Image Builder's default if ``None``.
    """

    configuration_arn: str
    execution_role: str
    log_group_name: str | None = None


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """The stack's settings for every import.

    Attributes
    ----------
    stack : str
        The stack's name; part of every client token.
    edition : str
        The ``EDITIONID`` to import.
    image_name_template : str
        With ``{edition}``, ``{architecture}``, ``{language}``, ``{release}``, ``{build}``.
    supported_windows_builds : frozenset of int
        The Windows builds that may be imported.
    allow_esd : bool
        Whether ISOs whose Windows image file is an ESD may be imported.
    allowed_overrides : frozenset of str
        The overrides that an uploader may set as user metadata.
    infrastructure_configuration_arn : str
        Passed to every import.
    execution_role, log_group_name, uefi_data, description : str or None
        Passed to every import unless ``None``; an override of the description takes precedence.
    secure_boot : bool or None
        Passed to every import unless ``None``.
    tags : mapping of str to str
        The tags of the parameter ImageTags, for every image, in addition to isodrop's.
    min_iso_megabytes, max_iso_gigabytes : int, and int or None
        The minimum and maximum size of an ISO, in MB (1,000,000 bytes) and GB.
    """

    stack: str
    infrastructure_configuration_arn: str
    edition: str = "Enterprise"
    image_name_template: str = "windows-11-{edition}-{architecture}-{language}"
    supported_windows_builds: frozenset[int] = frozenset({22621, 22631, 26100, 26200})
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
    """The plan of one import: the parameters of ImportDiskImage, and data for the events.

    Attributes
    ----------
    name, semantic_version, image_index, description
        As in ImportDiskImage; each satisfies the service model's pattern and lengths.
    edition : str
        ``EDITIONID`` of the chosen image.
    release : str or None
        Such as ``24H2``; ``None`` if neither the ISO nor the file name contains it.
    architecture : str
        ``x64``.
    windows_build, revision : int
        The Windows build and revision of the chosen image.
    languages : tuple of str
        In lowercase, the default language first.
    rebuild : str or None
        The override that requests another import of the same content.
    tags : mapping of str to str
        Valid tags for the image resource.
    notes : tuple of str
        Remarks for people, such as that the file name contradicts the ISO.
    """

    name: str
    semantic_version: str
    image_index: int
    description: str
    edition: str
    release: str | None
    architecture: str
    windows_build: int
    revision: int
    languages: tuple[str, ...]
    rebuild: str | None
    tags: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def matches(self, contents: "IsoContents") -> bool:
        """Whether an ISO contains the image that this plan was made for."""
        return any(
            (each.index, each.edition_id, each.build, each.revision, each.architecture)
            == (
                self.image_index,
                self.edition,
                self.windows_build,
                self.revision,
                self.architecture,
            )
            for each in contents.images
        )
