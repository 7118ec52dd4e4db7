"""Which image on the disc is imported, or why none is. Pure.

Judged by EDITIONID exactly, INSTALLATIONTYPE, ARCH and VERSION; never by NAME or the volume's
label, which are for people and differ between languages and years.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from isodrop.codes import Code, Rejection
from isodrop.domain.overrides import MAX_IMAGE_INDEX, MAX_VERSION_NODE
from isodrop.iso.model import Edition, Media
from isodrop.text import listed, shown
from isodrop.windows.releases import CLIENT_RELEASES, FIRST_WINDOWS_11_BUILD, TOO_OLD, candidates

ARCHITECTURE: Final = "x64"
DOCUMENTED_EDITION: Final = "Enterprise"
MAX_LANGUAGES: Final = 64

_WINDOWS_MAJOR: Final = 10  # of Windows 11, too
_EDITION_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_EVALUATION: Final = re.compile(r"[A-Za-z]{1,60}Eval")
# EnterpriseS, IoTEnterpriseS, their N and K forms, and the evaluation editions of them.
_LTSC: Final = re.compile(r"(?:IoT)?EnterpriseS[NK]{0,2}(?:Eval)?")
_REFUSED: Final = {
    Code.EVALUATION_MEDIA: ("an evaluation edition", "evaluation media"),
    Code.LTSC_MEDIA: ("a long-term servicing edition", "LTSC media"),
}
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen image, with nothing missing.

    Attributes
    ----------
    index : int
        What ``windowsConfiguration.imageIndex`` takes.
    edition, architecture : str
    build, revision : int
    languages : tuple of str
        Lower case, the default language first.
    notes : tuple of str
        What made the choice less than obvious.
    """

    index: int
    edition: str
    architecture: str
    build: int
    revision: int
    languages: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose(
    media: Media,
    *,
    edition: str,
    image_index: int | None,
    supported_builds: Collection[int],
    release_said: str | None,
) -> Choice | Rejection:
    """Choose the image to import.

    Parameters
    ----------
    media : Media
        What is on the disc.
    edition : str
        The wanted ``EDITIONID``.
    image_index : int or None
        Names the image directly; the edition is then not looked for.
    supported_builds : collection of int
        Builds that the stack imports.
    release_said : str or None
        What the file name says, where the build alone leaves a choice.

    Returns
    -------
    Choice or Rejection
        Of several reasons against an import the one that helps most: that this is Server tells
        more than that there is no Enterprise.
    """
    if rejection := _judge_disc(media.editions):
        return rejection
    picked = (
        _pick_edition(media.editions, edition)
        if image_index is None
        else _pick_index(media.editions, image_index)
    )
    if isinstance(picked, Rejection):
        return picked
    image, notes = picked
    if rejection := (
        _judge_windows(image)
        or _judge_edition(image)
        or _judge_machine(image)
        or _judge_release(image, supported_builds, release_said)
    ):
        return rejection
    return _complete(image, notes)


def _judge_disc(editions: Sequence[Edition]) -> Rejection | None:
    if not editions:
        return Rejection.of(
            Code.UNREADABLE_MEDIA, "The Windows image on the ISO describes no edition at all."
        )
    if all(_is_server(image) for image in editions):
        return _server(editions)
    if all(_is_old(image) for image in editions):
        return _old(editions[0])
    return None


def _pick_index(
    editions: Sequence[Edition], index: int
) -> tuple[Edition, tuple[str, ...]] | Rejection:
    image = next((image for image in editions if image.index == index), None)
    if image is None:
        found = listed(_number(image.index) for image in editions)
        return Rejection.of(
            Code.INVALID_OVERRIDE,
            f"The override image-index asks for image {index}, but the ISO has only: {found}.",
        )
    return image, ()


def _pick_edition(
    editions: Sequence[Edition], wanted: str
) -> tuple[Edition, tuple[str, ...]] | Rejection:
    same = [image for image in editions if image.edition_id == wanted]
    if not same:
        return _no_such_edition(editions, wanted)
    importable = [image for image in same if image.architecture == ARCHITECTURE] or same
    if len(importable) == 1:
        return importable[0], ()
    indexes = listed(_number(image.index) for image in importable)
    note = (
        f"{len(importable)} images are {shown(wanted)} (indexes {indexes}); the first is taken,"
        " and the override image-index names another."
    )
    return importable[0], (note,)


def _no_such_edition(editions: Sequence[Edition], wanted: str) -> Rejection:
    known = [image.edition_id for image in editions if image.edition_id is not None]
    for code, pattern in ((Code.EVALUATION_MEDIA, _EVALUATION), (Code.LTSC_MEDIA, _LTSC)):
        if refused := [edition for edition in known if pattern.fullmatch(edition)]:
            return _refused(code, refused, wanted)
    message = f"The edition {shown(wanted)} is not on the ISO, which holds: {_found(editions)}."
    if near := next((edition for edition in known if edition.lower() == wanted.lower()), None):
        return Rejection.of(
            Code.NO_SUCH_EDITION, message, f"Ask for {shown(near)}: editions are compared exactly."
        )
    if wanted == DOCUMENTED_EDITION:
        return Rejection.of(Code.NO_SUCH_EDITION, message)
    return Rejection.of(
        Code.NO_SUCH_EDITION,
        message,
        "Ask for an edition that is on it, by the override edition or the stack's parameter"
        " WantedEdition, or upload an ISO that holds the wanted one.",
    )


def _judge_windows(image: Edition) -> Rejection | None:
    if _is_server(image):
        return _server([image])
    return _old(image) if _is_old(image) else None


def _judge_edition(image: Edition) -> Rejection | None:
    if image.edition_id is None or not _EDITION_ID.fullmatch(image.edition_id):
        return _lacks(image, "EDITIONID", image.edition_id)
    if _EVALUATION.fullmatch(image.edition_id):
        return _refused(Code.EVALUATION_MEDIA, [image.edition_id])
    if _LTSC.fullmatch(image.edition_id):
        return _refused(Code.LTSC_MEDIA, [image.edition_id])
    return None


def _judge_machine(image: Edition) -> Rejection | None:
    if image.installation_type is None:
        return _lacks(image, "INSTALLATIONTYPE", None)
    if image.installation_type != "Client":
        return Rejection.of(
            Code.NOT_WINDOWS,
            f"Image {_number(image.index)} on the ISO is of the installation type"
            f" {shown(image.installation_type)}, where an importable one is Client.",
        )
    if image.architecture is None:
        return _lacks(image, "ARCH", None)
    if image.architecture != ARCHITECTURE:
        return Rejection.of(
            Code.WRONG_ARCHITECTURE,
            f"{image.edition_id} is on the ISO for {shown(image.architecture)}; Image Builder"
            f" imports {ARCHITECTURE} only.",
        )
    return None


def _judge_release(
    image: Edition, supported: Collection[int], said: str | None
) -> Rejection | None:
    build = image.build
    if build is None or not 0 <= build <= MAX_VERSION_NODE:
        return _lacks(image, "VERSION/BUILD", build)
    if build not in supported or image.major not in (None, _WINDOWS_MAJOR):
        builds = listed(str(number) for number in sorted(supported)) or "none"
        return Rejection.of(
            Code.UNSUPPORTED_RELEASE,
            f"The media say {_release(build)}; this stack imports the builds {builds}.",
        )
    if said in TOO_OLD and said in candidates(build) and len(candidates(build)) > 1:
        newer = candidates(build)[-1]
        return Rejection.of(
            Code.UNSUPPORTED_RELEASE,
            f"The media say build {build}, which is {' or '.join(candidates(build))}, and the file"
            f" name says {said}, which Image Builder does not import.",
            f"Upload {newer} or newer; if this is {newer} after all, upload it under a name that"
            " says so.",
        )
    return None


def _complete(image: Edition, notes: tuple[str, ...]) -> Choice | Rejection:
    """Turn a judged image into a choice; what it lacks even now is the media's fault."""
    revision = image.revision or 0
    if not 0 <= revision <= MAX_VERSION_NODE:
        return _lacks(image, "VERSION/SPBUILD", revision)
    if not 1 <= image.index <= MAX_IMAGE_INDEX:
        return _lacks(image, "INDEX", image.index)
    if image.edition_id is None or image.architecture is None or image.build is None:
        return _lacks(image, "description", None)
    return Choice(
        image.index,
        image.edition_id,
        image.architecture,
        image.build,
        revision,
        _languages(image),
        notes,
    )


def _languages(image: Edition) -> tuple[str, ...]:
    said = (image.default_language, *image.languages)
    tags = (tag.lower() for tag in said if tag is not None and _LANGUAGE.fullmatch(tag))
    return tuple(dict.fromkeys(tags))[:MAX_LANGUAGES]


def _is_server(image: Edition) -> bool:
    # "Server", "Server Core", "Nano Server". Not by EDITIONID: ServerRdsh is a client edition.
    return "Server" in (image.installation_type or "").split()


def _is_old(image: Edition) -> bool:
    if image.major is not None and image.major < _WINDOWS_MAJOR:
        return True
    return image.build is not None and 0 <= image.build < FIRST_WINDOWS_11_BUILD


def _server(images: Iterable[Edition]) -> Rejection:
    return Rejection.of(
        Code.SERVER_MEDIA,
        f"The ISO holds Windows Server ({_found(images)}); Image Builder imports only Windows 11"
        " from an ISO.",
    )


def _old(image: Edition) -> Rejection:
    build = "an unknown build" if image.build is None else _release(image.build)
    return Rejection.of(
        Code.NOT_WINDOWS_11,
        f"The ISO holds Windows of {build}; Windows 11 begins with build {FIRST_WINDOWS_11_BUILD}.",
    )


def _refused(code: Code, editions: Iterable[str], wanted: str | None = None) -> Rejection:
    edition, kind = _REFUSED[code]
    instead = "" if wanted is None else f" and no {shown(wanted)}"
    return Rejection.of(
        code,
        f"The ISO holds {edition} ({listed(editions)}){instead}; Image Builder refuses {kind}.",
    )


def _lacks(image: Edition, field: str, value: str | int | None) -> Rejection:
    text = _number(value) if isinstance(value, int) else value
    said = "does not say" if text is None else f"says '{shown(text)}' as"
    return Rejection.of(
        Code.UNREADABLE_MEDIA,
        f"Image {_number(image.index)} on the ISO {said} its {field}, which every Windows image by"
        " Microsoft says in a known form.",
    )


def _found(images: Iterable[Edition]) -> str:
    return listed(image.edition_id or "(unnamed)" for image in images)


def _release(build: int) -> str:
    release = CLIENT_RELEASES.get(build)
    return f"build {_number(build)}" if release is None else f"build {build} ({release})"


def _number(value: int) -> str:
    # Media may hold a number of any length, and str() refuses the longest.
    return str(value) if abs(value) <= MAX_IMAGE_INDEX else "(out of all bounds)"
