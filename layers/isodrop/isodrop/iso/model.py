"""What a Windows ISO turns out to hold: plain frozen values."""

from dataclasses import dataclass
from typing import Final, Protocol

UNREADABLE: Final = -1
"""A revision that is said, but not as a number: unlike one that is not said at all."""

WIM: Final = "wim"
ESD: Final = "esd"
"""What :attr:`IsoContents.kind` may be."""


class ReadRange(Protocol):
    """Read ``length`` bytes from ``offset``; S3, a file and a test each bring their own.

    Must return exactly ``length`` bytes: the reader never asks beyond the size it was given.
    What the callable itself raises (a lost connection, a changed object) passes through
    the reader untouched.
    """

    def __call__(self, offset: int, length: int, /) -> bytes:
        """Read a range."""
        ...


@dataclass(frozen=True, slots=True)
class Edition:
    """One image of the WIM, as its XML describes it. ``None`` where the XML does not say.

    Attributes
    ----------
    index : int
        1-based image index, what ``windowsConfiguration.imageIndex`` takes.
    name : str
        The display name. For people only; nothing is decided by it.
    edition_id : str or None
        ``WINDOWS/EDITIONID``, such as ``Enterprise`` or ``EnterpriseN``.
    installation_type : str or None
        ``WINDOWS/INSTALLATIONTYPE``: ``Client``, ``Server``, ``Server Core``, …
    architecture : str or None
        ``WINDOWS/ARCH`` in words: ``x86``, ``x64``, ``arm``, ``arm64``; ``arch-<n>`` for others.
    major, minor, build, revision : int or None
        ``WINDOWS/VERSION/{MAJOR,MINOR,BUILD,SPBUILD}``. Of the last, :data:`UNREADABLE` stands
        for what is no number.
    branch : str or None
        ``WINDOWS/VERSION/BRANCH``, such as ``ge_release``.
    languages : tuple of str
        ``WINDOWS/LANGUAGES/LANGUAGE``, as written, such as ``en-US``.
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
        """The revision for people and programs: ``None`` where it is not a number."""
        return None if self.revision == UNREADABLE else self.revision


@dataclass(frozen=True, slots=True)
class IsoContents:
    """What is on the ISO.

    Attributes
    ----------
    label : str
        The volume's label, such as ``CCCOMA_X64FRE_EN-US_DV9``.
    kind : str
        The Windows image's container by its name: ``wim`` or ``esd``.
    editions : tuple of Edition
        In the order of their indexes.
    size : int
        The object's size in bytes.
    requests, bytes : int
        What the look cost.
    has_esd_format : bool
        Whether the Windows image has the form of an ESD, whatever its name.
    """

    label: str
    kind: str
    editions: tuple[Edition, ...]
    size: int
    requests: int
    bytes: int
    has_esd_format: bool = False

    @property
    def is_esd(self) -> bool:
        """Whether the Windows image is an ESD, by its name or by what it is."""
        return self.kind == ESD or self.has_esd_format
