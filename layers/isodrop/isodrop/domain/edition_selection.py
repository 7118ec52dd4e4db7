"""Selects which Windows image on an ISO to import, or says why the ISO is rejected. Pure.

The selection uses EDITIONID (case-sensitive), INSTALLATIONTYPE, ARCH and VERSION. NAME and the
volume's label are not used: they are for people, and differ between languages and releases.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from isodrop.codes import Code, Rejection
from isodrop.domain.overrides import MAX_IMAGE_INDEX, MAX_VERSION_NODE
from isodrop.iso.model import UNREADABLE, IsoContents, WimImage
from isodrop.text import join_list, printable
from isodrop.windows.releases import (
    FIRST_WINDOWS_11_BUILD,
    MAX_REVISION,
    UNSUPPORTED_RELEASES,
    describe_release,
    determine_release,
    first_revision,
    possible_releases,
)

ARCHITECTURE: Final = "x64"
DOCUMENTED_EDITION: Final = "Enterprise"  # the only one that AWS documents as importable
MAX_LANGUAGES: Final = 64

_WINDOWS_MAJOR: Final = 10  # of Windows 11, too
_PE: Final = "WindowsPE"
_EDITION_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_EVALUATION: Final = re.compile(r"[A-Za-z]{1,60}Eval")
# EnterpriseS, IoTEnterpriseS, their N and K variants, and their evaluation editions.
_LTSC: Final = re.compile(r"(?:IoT)?EnterpriseS[NK]{0,2}(?:Eval)?")
_REFUSED: Final = {
    Code.EVALUATION_ISO: ("an evaluation edition", "evaluation ISOs"),
    Code.LTSC_ISO: ("a long-term servicing edition", "LTSC ISOs"),
}
# https://docs.aws.amazon.com/imagebuilder/latest/userguide/import-iso-disk.html
_ESD_WARNING: Final = (
    "The Media Creation Tool creates such ISOs, and AWS documents that they are not supported:"
    " their import fails after the build has started."
)
# tiny11, winutil and partial captures produce images without EDITIONID or INSTALLATIONTYPE.
# https://learn.microsoft.com/windows-hardware/manufacture/desktop/dism-image-management-command-line-options-s14
_CAPTURE_REMEDY: Final = (
    "Upload an unmodified ISO. For an image of your own, capture a complete, generalized Windows"
    " installation from its root (dism /Capture-Image), or export an image that has the field (dism"
    " /Export-Image); dism /Get-ImageInfo /Index:N must show Edition and Installation for it."
)
# Larger numbers are not shown; this is the largest with 32 bits.
_MAX_SHOWN_NUMBER: Final = 4_294_967_295
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")


@dataclass(frozen=True, slots=True)
class SelectedImage:
    """The selected image, with all required fields.

    Attributes
    ----------
    index : int
        The value of ``windowsConfiguration.imageIndex``.
    edition, architecture : str
    build : int
    revision : int or None
        ``None`` if the ISO does not contain it.
    languages : tuple of str
        In lowercase, the default language first.
    notes : tuple of str
        Remarks on the selection, such as that several images match.
    """

    index: int
    edition: str
    architecture: str
    build: int
    revision: int | None
    languages: tuple[str, ...]
    notes: tuple[str, ...] = ()


def select_image(
    contents: IsoContents,
    *,
    edition: str,
    image_index: int | None,
    supported_windows_builds: Collection[int],
    named_release: str | None,
    allow_esd: bool = False,
) -> SelectedImage | Rejection:
    """Select the image to import.

    Parameters
    ----------
    contents : IsoContents
        The contents of the ISO.
    edition : str
        The ``EDITIONID`` to import.
    image_index : int or None
        Selects the image by index; the edition is then ignored.
    supported_windows_builds : collection of int
        The Windows builds that the stack imports.
    named_release : str or None
        The release according to the file name; used if several releases share a build.
    allow_esd : bool, optional
        Whether an ESD is imported, with a note.

    Returns
    -------
    SelectedImage or Rejection
        The first image of the edition that can be imported. If none can, the reason why the first
        one cannot; but a reason that applies to the whole ISO, such as that it contains Windows
        Server, takes precedence over a missing edition.
    """
    if rejection := _check_iso(contents.images):
        return rejection
    candidates = (
        _select_by_edition(contents.images, edition)
        if image_index is None
        else _select_by_index(contents.images, image_index)
    )
    if isinstance(candidates, Rejection):
        return candidates
    checked = [_check_image(image, supported_windows_builds, named_release) for image in candidates]
    passed = [image for image in checked if isinstance(image, SelectedImage)]
    if not passed:
        return checked[0]
    # Last: if the edition is missing, an install.wim instead of the ESD would not help.
    if contents.is_esd and not allow_esd:
        return Rejection.of(
            Code.ESD_ISO, f"The Windows image file on the ISO is an ESD. {_ESD_WARNING}"
        )
    notes = (
        *((_note_several(passed),) if len(passed) > 1 else ()),
        *(
            (f"The Windows image file is an ESD, which this stack allows. {_ESD_WARNING}",)
            if contents.is_esd
            else ()
        ),
    )
    return replace(passed[0], notes=notes)


def _check_iso(images: Sequence[WimImage]) -> Rejection | None:
    """Reject an ISO that contains no image that could be imported.

    Only images with the relevant fields are considered. An image without them, such as a capture or
    the setup files in an ESD, is ignored.
    """
    if not images:
        return Rejection.of(
            Code.UNREADABLE_ISO, "The Windows image file on the ISO describes no image."
        )
    systems = _installable_images(images)
    if not systems:
        return Rejection.of(
            Code.NOT_WINDOWS,
            "The Windows image file on the ISO contains only Windows PE, from which Setup runs, and"
            " no Windows that can be installed.",
        )
    typed_images = [image for image in systems if image.installation_type is not None]
    if typed_images and all(_is_server(image) for image in typed_images):
        return _reject_server(typed_images)
    versioned_images = [image for image in systems if (image.build, image.major) != (None, None)]
    if versioned_images and all(_is_older_windows(image) for image in versioned_images):
        return _reject_older_windows(versioned_images[0], "The ISO contains")
    return None


def _installable_images(images: Sequence[WimImage]) -> list[WimImage]:
    """Return the installable images: not Windows PE, nor the setup files before it in an ESD."""
    first = min((image.index for image in images if _is_pe(image)), default=0)
    return [
        image
        for image in images
        if not _is_pe(image) and not (_is_bare(image) and image.index < first)
    ]


def _select_by_index(images: Sequence[WimImage], index: int) -> list[WimImage] | Rejection:
    matches = [image for image in images if image.index == index]
    if not matches:
        indexes = join_list(_format_number(image.index) for image in images)
        return Rejection.of(
            Code.INVALID_OVERRIDE,
            f"The override image-index asks for image {index}, but the ISO has only: {indexes}.",
        )
    return matches


def _select_by_edition(images: Sequence[WimImage], wanted: str) -> list[WimImage] | Rejection:
    matches = [image for image in images if image.edition_id == wanted]
    return matches or _no_such_edition(_installable_images(images), wanted)


def _note_several(passed: Sequence[SelectedImage]) -> str:
    indexes = join_list(str(image.index) for image in passed)
    versions = join_list(
        " ".join((f"{image.build}.{image.revision or 0}", *image.languages[:1])) for image in passed
    )
    return (
        f"{len(passed)} images of the edition {passed[0].edition} can be imported (indexes"
        f" {indexes}; {versions}); the first is imported unless the override image-index selects"
        " another."
    )


def _no_such_edition(images: Sequence[WimImage], wanted: str) -> Rejection:
    known = [image.edition_id for image in images if image.edition_id is not None]
    without_edition = [image for image in images if image.edition_id is None]
    if not known:
        return _reject_incomplete(without_edition[0], "EDITIONID")
    for code, pattern in ((Code.EVALUATION_ISO, _EVALUATION), (Code.LTSC_ISO, _LTSC)):
        if refused := [edition for edition in known if pattern.fullmatch(edition)]:
            return _reject_unsupported_edition(code, refused, wanted)
    message = (
        f"The edition {printable(wanted)} is not on the ISO, which contains: {join_list(known)}."
    )
    if similar := next((edition for edition in known if edition.lower() == wanted.lower()), None):
        return Rejection.of(
            Code.NO_SUCH_EDITION,
            message,
            f"Use {printable(similar)}: the names of editions are case-sensitive.",
        )
    if without_edition:
        return Rejection.of(
            Code.NO_SUCH_EDITION,
            f"{message} {_reject_incomplete(without_edition[0], 'EDITIONID').message}",
            _CAPTURE_REMEDY,
        )
    if wanted == DOCUMENTED_EDITION:
        return Rejection.of(Code.NO_SUCH_EDITION, message)
    return Rejection.of(
        Code.NO_SUCH_EDITION,
        message,
        "Choose one of these with the override edition or the stack's parameter Edition, or upload"
        " an ISO that contains the edition that you want.",
    )


def _check_image(
    image: WimImage, supported_windows_builds: Collection[int], named_release: str | None
) -> SelectedImage | Rejection:
    """Check one image."""
    return (
        _check_windows(image)
        or _check_edition(image)
        or _check_type_and_architecture(image)
        or _check_release(image, supported_windows_builds, named_release)
        or _to_selected_image(image)
    )


def _check_windows(image: WimImage) -> Rejection | None:
    if _is_server(image):
        return _reject_server([image])
    if not _is_older_windows(image):
        return None
    name = printable(image.edition_id or image.name)
    return _reject_older_windows(
        image, f"Image {_format_number(image.index)} on the ISO, {name}, is"
    )


def _check_edition(image: WimImage) -> Rejection | None:
    if image.edition_id is None or not _EDITION_ID.fullmatch(image.edition_id):
        return _reject_incomplete(image, "EDITIONID", image.edition_id)
    if _EVALUATION.fullmatch(image.edition_id):
        return _reject_unsupported_edition(Code.EVALUATION_ISO, [image.edition_id])
    if _LTSC.fullmatch(image.edition_id):
        return _reject_unsupported_edition(Code.LTSC_ISO, [image.edition_id])
    return None


def _check_type_and_architecture(image: WimImage) -> Rejection | None:
    if image.installation_type is None:
        return _reject_incomplete(image, "INSTALLATIONTYPE")
    if image.installation_type != "Client":
        return Rejection.of(
            Code.NOT_WINDOWS,
            f"Image {_format_number(image.index)} on the ISO has the installation type"
            f" {printable(image.installation_type)}, but only Client can be imported.",
        )
    if image.architecture is None:
        return _reject_incomplete(image, "ARCH")
    if image.architecture != ARCHITECTURE:
        return Rejection.of(
            Code.WRONG_ARCHITECTURE,
            f"The image {image.edition_id} on the ISO is for {printable(image.architecture)}; Image"
            f" Builder imports {ARCHITECTURE} only.",
        )
    return None


def _check_release(
    image: WimImage, supported: Collection[int], named: str | None
) -> Rejection | None:
    build = image.build
    if build is None or not 0 <= build <= MAX_VERSION_NODE:
        return _reject_incomplete(image, "VERSION/BUILD", build)
    if image.revision is not None and not 0 <= image.revision <= MAX_REVISION:
        return _reject_incomplete(image, "VERSION/SPBUILD", image.revision)
    if build not in supported or image.major not in (None, _WINDOWS_MAJOR):
        builds = join_list(str(number) for number in sorted(supported)) or "none"
        return Rejection.of(
            Code.UNSUPPORTED_RELEASE,
            f"The ISO contains {_describe_build(build)}; this stack imports only the"
            f" Windows builds {builds}.",
        )
    return _check_shared_build(build, image.revision, named)


def _check_shared_build(build: int, revision: int | None, named: str | None) -> Rejection | None:
    """Reject the older of two releases whose ISOs contain the same build."""
    sharing, possible = possible_releases(build), possible_releases(build, revision)
    if len(sharing) == 1 or determine_release(build, revision, named) not in UNSUPPORTED_RELEASES:
        return None
    newer = sharing[-1]
    version = f"build {build}" if revision is None else f"build {build}.{revision}"
    if len(possible) == 1:
        contradiction = (
            "" if named in (None, possible[0]) else f", although the file name says {named}"
        )
        return Rejection.of(
            Code.UNSUPPORTED_RELEASE,
            f"The ISO contains {version}, which is {possible[0]}{contradiction}: the oldest ISOs"
            f" of {newer} contain {build}.{first_revision(build, newer)}. Image Builder does not"
            f" import {possible[0]}.",
            f"Upload {newer} or newer.",
        )
    return Rejection.of(
        Code.UNSUPPORTED_RELEASE,
        f"The ISO contains {version}, which is {' or '.join(possible)}, and the file name says"
        f" {named}, which Image Builder does not import.",
        f"Upload {newer} or newer; if this is {newer} after all, upload it under a name that"
        " says so.",
    )


def _to_selected_image(image: WimImage) -> SelectedImage | Rejection:
    """Convert a checked image to the result; reject it if a field is still missing."""
    if not 1 <= image.index <= MAX_IMAGE_INDEX:
        return _reject_incomplete(image, "INDEX", image.index)
    if image.edition_id is None or image.architecture is None or image.build is None:
        return _reject_incomplete(image, "description")
    return SelectedImage(
        image.index,
        image.edition_id,
        image.architecture,
        image.build,
        image.revision,
        _normalize_languages(image),
    )


def _normalize_languages(image: WimImage) -> tuple[str, ...]:
    languages = (image.default_language, *image.languages)
    tags = (tag.lower() for tag in languages if tag is not None and _LANGUAGE.fullmatch(tag))
    return tuple(dict.fromkeys(tags))[:MAX_LANGUAGES]


def _is_pe(image: WimImage) -> bool:
    return _PE in (image.installation_type, image.edition_id)


def _is_bare(image: WimImage) -> bool:
    """Whether an image has none of the fields that describe a Windows installation."""
    return (image.edition_id, image.installation_type, image.build) == (None, None, None)


def _is_server(image: WimImage) -> bool:
    # "Server", "Server Core", "Nano Server". Not by EDITIONID: ServerRdsh is a client edition.
    return "Server" in (image.installation_type or "").split()


def _is_older_windows(image: WimImage) -> bool:
    if image.major is not None and image.major < _WINDOWS_MAJOR:
        return True
    return image.build is not None and 0 <= image.build < FIRST_WINDOWS_11_BUILD


def _reject_server(images: Iterable[WimImage]) -> Rejection:
    return Rejection.of(
        Code.SERVER_ISO,
        f"The ISO contains Windows Server ({_list_editions(images)}); Image Builder imports only"
        " Windows 11 from an ISO.",
    )


def _reject_older_windows(image: WimImage, subject: str) -> Rejection:
    older = image.major is not None and image.major < _WINDOWS_MAJOR
    what = (
        "Windows with an unknown build"
        if image.build is None
        else f"a version of Windows older than Windows 10 (build {_format_number(image.build)})"
        if older
        else _describe_build(image.build)
    )
    return Rejection.of(
        Code.NOT_WINDOWS_11,
        f"{subject} {what}; Windows 11 begins with build {FIRST_WINDOWS_11_BUILD}.",
    )


def _reject_unsupported_edition(
    code: Code, editions: Iterable[str], wanted: str | None = None
) -> Rejection:
    edition, plural = _REFUSED[code]
    instead = "" if wanted is None else f" and no {printable(wanted)}"
    return Rejection.of(
        code,
        f"The ISO contains {edition} ({join_list(editions)}){instead}; Image Builder refuses"
        f" {plural}.",
    )


def _reject_incomplete(image: WimImage, field: str, value: str | int | None = None) -> Rejection:
    """Make the rejection for a field that is missing or that has an impossible value."""
    name = f", '{printable(image.name)}'," if image.name else ""
    which = f"Image {_format_number(image.index)}{name}"
    if value is None or value == UNREADABLE:
        flaw = "no" if value is None else "an unreadable"
        return Rejection.of(
            Code.UNREADABLE_ISO,
            f"{which} on the ISO has {flaw} {field}. Every Windows image from Microsoft has a"
            " valid one, and isodrop does not guess it from the name or the flags.",
            _CAPTURE_REMEDY,
        )
    text = _format_number(value) if isinstance(value, int) else value
    return Rejection.of(
        Code.UNREADABLE_ISO,
        f"{which} on the ISO has the {field} '{printable(text)}', which is impossible.",
    )


def _list_editions(images: Iterable[WimImage]) -> str:
    return join_list(image.edition_id or "(unnamed)" for image in images)


def _describe_build(build: int) -> str:
    return (
        describe_release(build) if 0 <= build <= _MAX_SHOWN_NUMBER else "an impossible build number"
    )


def _format_number(value: int) -> str:
    # An ISO may contain a number of any length, and str() raises ValueError for the longest.
    return str(value) if abs(value) <= _MAX_SHOWN_NUMBER else "(out of range)"
