"""The contents of a Windows ISO, as frozen values."""

from dataclasses import dataclass
from typing import Final, Protocol

UNREADABLE: Final = -1
"""The value of a revision that is present but not a number; a missing one is ``None``."""

WIM: Final = "wim"
ESD: Final = "esd"
"""The values of :attr:`IsoContents.kind`."""


class ReadRange(Protocol):
    """Reads ``length`` bytes from ``offset``; implemented for S3, for files and in tests.

    It must return exactly ``length`` bytes; a range never extends beyond the end of the object.
    Exceptions of the callable (such as a lost connection or a changed object) are passed on
    unchanged.
    """

    def __call__(self, offset: int, length: int, /) -> bytes:
        """Read a range."""
        ...


@dataclass(frozen=True, slots=True)
class WimImage:
    """One image of the WIM, from its XML.

    A value is ``None`` if its element is missing, empty or (for numbers) not a number. A missing
    name is empty.

    Attributes
    ----------
    index : int
        The 1-based index, as in ``windowsConfiguration.imageIndex``.
    name : str
        The display name, for people only.
    edition_id : str or None
        ``WINDOWS/EDITIONID``, such as ``Enterprise`` or ``EnterpriseN``.
    installation_type : str or None
        ``WINDOWS/INSTALLATIONTYPE``: ``Client``, ``Server``, ``Server Core``, …
    architecture : str or None
        ``WINDOWS/ARCH`` as ``x86``, ``x64``, ``arm``, ``arm64`` or ``ia64``; others as
        ``arch-<n>``.
    major, minor, build, revision : int or None
        ``WINDOWS/VERSION/{MAJOR,MINOR,BUILD,SPBUILD}``. A revision that is not a number is
        :data:`UNREADABLE`.
    branch : str or None
        ``WINDOWS/VERSION/BRANCH``, such as ``ge_release``.
    languages : tuple of str
        ``WINDOWS/LANGUAGES/LANGUAGE``, unchanged, such as ``en-US``.
    default_language : str or None
        ``WINDOWS/LANGUAGES/DEFAULT``.
    """

    index: int
    name: str
    edition_id: str | None
    installation_type: str | None
    architecture: str | None
    major: int | None
    minor: int | None
    build: int | None
    revision: int | None
    branch: str | None
    languages: tuple[str, ...]
    default_language: str | None

    @property
    def shown_revision(self) -> int | None:
        """The revision for output: ``None`` if it is not a number."""
        return None if self.revision == UNREADABLE else self.revision


@dataclass(frozen=True, slots=True)
class IsoContents:
    """The contents of an ISO.

    Attributes
    ----------
    label : str
        The volume's label, such as ``CCCOMA_X64FRE_EN-US_DV9``.
    kind : str
        The kind of the Windows image file by its name: ``wim`` or ``esd``.
    images : tuple of WimImage
        In the order of their indexes.
    size : int
        The object's size in bytes.
    requests, bytes_read : int
        The number of requests and bytes that were needed.
    has_esd_format : bool
        Whether the Windows image file has the ESD format, whatever its name.
    """

    label: str
    kind: str
    images: tuple[WimImage, ...]
    size: int
    requests: int
    bytes_read: int
    has_esd_format: bool = False

    @property
    def is_esd(self) -> bool:
        """Whether the Windows image file is an ESD, by its name or its format."""
        return self.kind == ESD or self.has_esd_format
