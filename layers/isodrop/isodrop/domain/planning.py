"""Decides on an upload: a plan or a rejection, from its ISO, overrides and settings. Pure."""

from collections.abc import Mapping
from typing import Final

from isodrop.codes import Code, Rejection
from isodrop.domain.edition_selection import DOCUMENTED_EDITION, SelectedImage, select_image
from isodrop.domain.image_naming import (
    check_template,
    default_description,
    image_name,
    image_tags,
    truncate_description,
)
from isodrop.domain.model import (
    FIRST_RUN,
    DistributionSettings,
    ImportPlan,
    ImportSettings,
    RunRequest,
    Upload,
)
from isodrop.domain.overrides import Overrides, read_overrides
from isodrop.iso.model import IsoContents
from isodrop.text import clean_tag_value
from isodrop.windows.file_names import FileName, parse_file_name
from isodrop.windows.releases import determine_release, possible_releases

__all__ = [
    "FIRST_RUN",
    "DistributionSettings",
    "ImportPlan",
    "ImportSettings",
    "Overrides",
    "RunRequest",
    "Upload",
    "check_template",
    "clean_tag_value",
    "plan_import",
    "read_overrides",
]

_MEGABYTE: Final = 10**6
_GIGABYTE: Final = 10**9
_WINDOWS: Final = {
    "10": "Windows 10",
    "server": "Windows Server",
    "none": "something other than Windows",
}


def plan_import(
    upload: Upload, contents: IsoContents, metadata: Mapping[str, str], settings: ImportSettings
) -> ImportPlan | Rejection:
    """Decide which image to import, and its name, version, description and tags.

    Overrides take precedence over the ISO, and the ISO over the file name. If the file name
    contradicts the ISO, the plan has a note.

    Parameters
    ----------
    upload : Upload
    contents : IsoContents
        The contents of the ISO.
    metadata : mapping of str to str
        The object's user metadata, merged with the operator's overrides.
    settings : ImportSettings
        The stack's settings.

    Returns
    -------
    ImportPlan or Rejection
        A plan is valid for ImportDiskImage; a rejection describes what was found and what is
        required. No exception is raised for any input.
    """
    overrides = read_overrides(metadata, settings.allowed_overrides)
    if isinstance(overrides, Rejection):
        return overrides
    file_name = parse_file_name(upload.key)
    image = select_image(
        contents,
        edition=overrides.edition or settings.edition,
        image_index=overrides.image_index,
        supported_windows_builds=settings.supported_windows_builds,
        named_release=file_name.certain_release,
        allow_esd=settings.allow_esd,
    )
    if isinstance(image, Rejection):
        return image
    if overrides.edition not in (None, image.edition):
        return Rejection.of(
            Code.INVALID_OVERRIDE,
            f"The overrides disagree: image-index {image.index} is {image.edition}, and edition"
            f" asks for {overrides.edition}.",
        )
    # Last: a reason found in the contents is more helpful than the size.
    if rejection := _check_size(upload.size, settings):
        return rejection
    return _build_plan(upload, settings, overrides=overrides, file_name=file_name, image=image)


def _check_size(size: int, settings: ImportSettings) -> Rejection | None:
    minimum, maximum = settings.min_iso_megabytes, settings.max_iso_gigabytes
    if size < minimum * _MEGABYTE:
        return Rejection.of(
            Code.TOO_SMALL,
            f"The ISO is {size:,} bytes, but the smallest that this stack imports is {minimum:,} MB"
            " (MinIsoMegabytes).",
        )
    if maximum is not None and size > maximum * _GIGABYTE:
        return Rejection.of(
            Code.TOO_LARGE,
            f"The ISO is {size:,} bytes, but the largest that this stack imports is {maximum:,} GB"
            " (MaxIsoGigabytes).",
        )
    return None


def _build_plan(
    upload: Upload,
    settings: ImportSettings,
    *,
    overrides: Overrides,
    file_name: FileName,
    image: SelectedImage,
) -> ImportPlan:
    release = determine_release(image.build, image.revision, file_name.certain_release)
    revision = image.revision or 0
    languages = image.languages or _get_language(file_name)
    version = overrides.semantic_version or f"11.{image.build}.{revision}"
    template_values = {
        "edition": image.edition,
        "architecture": image.architecture,
        "language": languages[0] if languages else "",
        "release": release or str(image.build),
        "build": str(image.build),
    }
    words = (image.edition, release, image.architecture, *languages[:1])
    generated = default_description(
        " ".join(("Windows 11", *filter(None, words))), version, upload.uri
    )
    tags, tag_notes = image_tags(
        {
            "stack": settings.stack,
            "source": upload.uri,
            "etag": upload.etag or None,  # a local file has none
            "edition": image.edition,
            "release": release,
            "architecture": image.architecture,
            "languages": " ".join(languages) or None,
            "windows-build": f"{image.build}.{revision}",
        },
        settings.tags,
    )
    return ImportPlan(
        name=overrides.image_name or image_name(settings.image_name_template, template_values),
        semantic_version=version,
        image_index=image.index,
        description=overrides.description
        or truncate_description(settings.description or generated),
        edition=image.edition,
        release=release,
        architecture=image.architecture,
        windows_build=image.build,
        revision=revision,
        languages=languages,
        rebuild=overrides.rebuild,
        tags=tags,
        notes=(
            *image.notes,
            *_caveat_notes(image, release),
            *_mismatch_notes(file_name, image, release),
            *overrides.notes,
            *tag_notes,
        ),
    )


def _get_language(file_name: FileName) -> tuple[str, ...]:
    """Return the language of the file name, for an ISO without LANGUAGES."""
    return (
        ()
        if file_name.language is None or file_name.language == "mul"
        else (file_name.language.lower(),)
    )


def _caveat_notes(image: SelectedImage, release: str | None) -> list[str]:
    """Return notes with the reasons why AWS may still refuse the import."""
    caveats = []
    if image.edition != DOCUMENTED_EDITION:
        caveats.append(
            f"AWS documents only Windows 11 {DOCUMENTED_EDITION} as importable;"
            f" this is {image.edition}."
        )
    if release is None and (possible := possible_releases(image.build, image.revision)):
        caveats.append(
            f"ISOs of {' and '.join(possible)} contain build {_format_version(image)}, and the file"
            f" name does not say which release this is; Image Builder imports {possible[-1]} only."
        )
    return caveats


def _format_version(image: SelectedImage) -> str:
    return str(image.build) if image.revision is None else f"{image.build}.{image.revision}"


def _mismatch_notes(file_name: FileName, image: SelectedImage, release: str | None) -> list[str]:
    """List where the file name contradicts the ISO, which takes precedence."""
    iso_releases = possible_releases(image.build, image.revision)
    named_releases = (
        () if file_name.build is None else possible_releases(file_name.build, file_name.revision)
    )
    actual = f"build {image.build}" + ("" if release is None else f" ({release})")
    same_build = file_name.build == image.build or bool({*named_releases} & {*iso_releases})
    comparisons = (
        (_WINDOWS.get(file_name.windows or ""), "Windows 11", False),
        (file_name.release_word, actual, file_name.release_word == release),
        (file_name.build, actual, same_build),
        (
            file_name.architecture,
            image.architecture,
            file_name.architecture == image.architecture,
        ),
        (
            file_name.language,
            " ".join(image.languages[:8]),
            _languages_agree(file_name.language, image.languages),
        ),
    )
    return [
        f"The file name says {name}, but the ISO contains {found}; the ISO takes precedence."
        for name, found, agreed in comparisons
        if name is not None and not agreed
    ]


def _languages_agree(language: str | None, languages: tuple[str, ...]) -> bool:
    """Whether the file name's language is one of the ISO's; ``ar`` matches ``ar-sa``."""
    if language is None or language == "mul" or not languages:
        return True
    prefix = language.lower()
    return any(prefix == tag or tag.startswith(f"{prefix}-") for tag in languages)
