"""Parses the file names of ISOs. Pure.

Microsoft names its ISOs in a dozen ways, and users rename them. The contents of the ISO take
precedence over its name: the name is used only for what the contents do not contain, and
contradictions become notes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

from isodrop.windows.name_patterns import (
    ARCHITECTURE,
    ARCHITECTURES,
    BUILD,
    COPY_SUFFIX,
    FLAGS,
    HALF_YEAR,
    IGNORED_NUMBERS,
    ISO_KINDS,
    LAB_TIME,
    LANGUAGE_CODES,
    LANGUAGE_TAG,
    LANGUAGE_TAGS,
    LANGUAGE_WORD,
    LANGUAGE_WORDS,
    LEADING_LANGUAGE_CODE,
    LTSC,
    LTSC_RELEASE,
    MAY_HAVE_ENTERPRISE,
    MONTHS,
    MULTILINGUAL,
    NAME_PATTERNS,
    NOT_WINDOWS,
    SERVER,
    SERVER_YEAR,
    UPDATE_MONTH,
    WINDOWS_NUMBER,
    YEAR_AND_MONTH,
    NamePattern,
    WindowsKind,
)
from isodrop.windows.releases import (
    CLIENT_RELEASES,
    FIRST_WINDOWS_11_BUILD,
    LTSC_RELEASES,
    SERVER_RELEASES,
    SUPPORTED_RELEASES,
    UNSUPPORTED_RELEASES,
    possible_releases,
)

Importable = Literal["yes", "no", "unknown"]

T = TypeVar("T")

FIRST_WINDOWS_11_LTSC: Final = "2024"

# The maximum length of a file name on common file systems. Longer names are ignored.
MAX_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class FileName:
    """The facts in a file name; ``None`` for each one that it does not contain.

    Attributes
    ----------
    name : str
        The original base name.
    family : str or None
        That of the naming scheme, unless the kind of ISO implies another; ``renamed`` if only some
        words were recognized.
    windows : {"11", "10", "server", "none"} or None
        ``none`` for anything other than Windows, such as language packs.
    release : str or None
        Such as ``24H2`` or ``LTSC 2024``; for Server, such as ``2025``. Derived from ``build``,
        unless the name has a word for a release that fits the build.
    release_word : str or None
        The release that a word of the name states; it may contradict ``build``.
    build, revision : int or None
    architecture : str or None
        ``x64``, ``arm64``, ``x86``.
    language : str or None
        BCP 47; ``mul`` for a multilingual ISO.
    iso_kind : str or None
        The kind of ISO: ``business``, ``consumer``, ``enterprise-eval``, ``ltsc``, …
    updated : str or None
        Year and month of the included update, such as ``2025-03``.
    importable : {"yes", "no", "unknown"}
        According to the name only.
    """

    name: str
    family: str | None = None
    windows: WindowsKind | None = None
    release: str | None = None
    release_word: str | None = None
    build: int | None = None
    revision: int | None = None
    architecture: str | None = None
    language: str | None = None
    iso_kind: str | None = None
    updated: str | None = None
    importable: Importable = "unknown"

    @property
    def certain_release(self) -> str | None:
        """``release_word``, or else the only release whose ISOs have the build in the name."""
        if self.release_word is not None or self.build is None:
            return self.release_word
        possible = possible_releases(self.build, self.revision)
        return possible[0] if len(possible) == 1 else None


_SPACES: Final = re.compile(r"(?:\s|\+|%20)+")
_EXTENSION: Final = re.compile(r"(?:\.(?:iso|img)){1,3}$", re.IGNORECASE)
_BUILDS: Final = frozenset({*CLIENT_RELEASES, *SERVER_RELEASES})
_UNKNOWN: Final = NamePattern("renamed", "")


@dataclass(frozen=True, slots=True)
class _NormalizedName:
    """A normalized name: in lowercase, without numbers that are ignored.

    Attributes
    ----------
    stem : str
        With the original separators, and ``_`` for spaces.
    words : str
        The words, separated by single spaces.
    pattern : NamePattern
        The naming scheme.
    """

    stem: str
    words: str
    pattern: NamePattern


def parse_file_name(key: str) -> FileName:
    """Parse a file name.

    Parameters
    ----------
    key : str
        The key of an object or a path; only the base name is used. Any string is valid.

    Returns
    -------
    FileName
        An unknown naming scheme results in fewer facts, not in wrong ones. Nothing is raised.

    Examples
    --------
    >>> key = "in/en-us_windows_11_business_editions_version_24h2_x64_dvd_59a1851e.iso"
    >>> facts = parse_file_name(key)
    >>> facts.release, facts.architecture, facts.language, facts.iso_kind, facts.importable
    ('24H2', 'x64', 'en-US', 'business', 'yes')
    >>> parse_file_name("holiday.iso").release
    """
    name = key[max(key.rfind("/"), key.rfind("\\")) + 1 :]
    if len(name) > MAX_NAME:
        return FileName(name)
    stem = _SPACES.sub("_", _EXTENSION.sub("", name)).strip("_-")
    stem = re.sub(rf"(?:{COPY_SUFFIX}){{1,3}}$", "", stem, flags=FLAGS)
    pattern = next(
        (each for each in NAME_PATTERNS if re.fullmatch(each.regex, stem, FLAGS)), _UNKNOWN
    )
    updated = re.search(UPDATE_MONTH, stem, FLAGS)
    lower = re.sub(UPDATE_MONTH, "", stem.lower(), flags=re.ASCII)
    cleaned = re.sub(IGNORED_NUMBERS, "", re.sub(LAB_TIME, "_", lower, flags=re.ASCII))
    # Names of the build lab contain CLIENTENTERPRISEEVAL and SERVERHYPERCORE.
    separated = re.sub(r"(?<![a-z])(client|server)(?=[a-z])", r"\1 ", cleaned)
    normalized = _NormalizedName(cleaned, " ".join(re.findall(r"[a-z0-9]+", separated)), pattern)
    return _parse_words(
        name, normalized, None if updated is None else _format_update(**updated.groupdict())
    )


def _parse_words(name: str, normalized: _NormalizedName, updated: str | None) -> FileName:
    pattern = normalized.pattern
    iso_kind = pattern.iso_kind or _find_iso_kind(normalized)
    windows_number = _unique_value(re.findall(WINDOWS_NUMBER, normalized.words))
    build, revision = _find_build(normalized)
    release_word = _find_release_word(normalized, iso_kind)
    if pattern is _UNKNOWN and not (
        windows_number or iso_kind == "server" or build or re.search(HALF_YEAR, normalized.stem)
    ):
        return FileName(name)
    language = _unique_value(_find_languages(normalized))
    if language is None and iso_kind in MULTILINGUAL:
        language = "mul"
    release = _choose_release(normalized, release_word, iso_kind, build, revision)
    trusted_word = release_word if not pattern.is_lab or release_word == release else None
    facts = FileName(
        name=name,
        family=_choose_family(pattern, iso_kind),
        windows=_determine_windows(iso_kind, windows_number, release_word, build),
        release=release,
        release_word=trusted_word,
        build=build,
        revision=revision,
        architecture=_unique_value(_find_architectures(normalized)),
        language=language,
        iso_kind=iso_kind,
        updated=updated,
    )
    return _with_importable(facts, documented=iso_kind in pattern.documented)


def _choose_family(pattern: NamePattern, iso_kind: str | None) -> str:
    """Return the family: by the kind of ISO if that is more specific than the naming scheme."""
    if pattern is _UNKNOWN:
        return pattern.name
    if iso_kind in NOT_WINDOWS:
        return "not-an-os-image"
    if iso_kind == "server":
        return "windows-server"
    return pattern.families.get(iso_kind or "", pattern.name)


def _find_iso_kind(normalized: _NormalizedName) -> str | None:
    found = next((name for name, regex in ISO_KINDS if re.search(regex, normalized.words)), None)
    if found in NOT_WINDOWS or normalized.pattern is _UNKNOWN:
        return found
    return "server" if re.search(SERVER, normalized.words) else found


def _find_build(normalized: _NormalizedName) -> tuple[int | None, int | None]:
    """Return build and revision; for a renamed file, only a known or plausible build."""
    regex = BUILD.format(revision_separators=normalized.pattern.revision_separators)
    found = {
        (int(match["build"]), int(match["revision"]) if match["revision"] else None)
        for match in re.finditer(regex, normalized.stem)
        if normalized.pattern is not _UNKNOWN
        or int(match["build"]) in _BUILDS
        or (match["revision"] and re.search(WINDOWS_NUMBER, normalized.words))
    }
    return found.pop() if len(found) == 1 else (None, None)


def _find_release_word(normalized: _NormalizedName, iso_kind: str | None) -> str | None:
    """Return the word for the release; Server and LTSC have their own words."""
    half_year_or_month = _unique_value(
        [*re.findall(HALF_YEAR, normalized.stem), *re.findall(YEAR_AND_MONTH, normalized.stem)]
        if iso_kind != "server"
        else re.findall(HALF_YEAR, normalized.stem) or re.findall(YEAR_AND_MONTH, normalized.stem)
    )
    if iso_kind == "server" or re.search(SERVER, normalized.words):
        years = re.findall(SERVER_YEAR, normalized.words)
        if year := _unique_value(" ".join(filter(None, pair)) for pair in years):
            return year.upper()
    elif match := re.search(LTSC_RELEASE, normalized.stem):
        kind, year = match["kind"] or match["kind_after"], match["year"] or match["year_before"]
        return f"{kind} {year}".upper()
    return None if half_year_or_month is None else half_year_or_month.upper()


def _choose_release(
    normalized: _NormalizedName,
    release_word: str | None,
    iso_kind: str | None,
    build: int | None,
    revision: int | None,
) -> str | None:
    """Return the release, derived from a known build unless the word fits the build."""
    if build is None:
        return release_word
    if iso_kind == "server" or (iso_kind in NOT_WINDOWS and re.search(SERVER, normalized.words)):
        return release_word or SERVER_RELEASES.get(build) or CLIENT_RELEASES.get(build)
    if iso_kind in LTSC:
        is_ltsc = release_word is not None and release_word.startswith("LTS")
        return release_word if is_ltsc else LTSC_RELEASES.get(build)
    possible = (*possible_releases(build, revision), CLIENT_RELEASES.get(build))
    return release_word if release_word in possible else possible[0] or release_word


def _find_languages(normalized: _NormalizedName) -> list[str]:
    words = [re.sub(r"[ _(-]", "", word) for word in re.findall(LANGUAGE_WORD, normalized.stem)]
    tags = [re.sub(r"[_ ]", "-", tag) for tag in re.findall(LANGUAGE_TAG, normalized.stem)]
    first = re.match(LEADING_LANGUAGE_CODE, normalized.stem)
    code = None if first is None else first["code"]
    if code is not None and code not in LANGUAGE_TAGS:
        tags.append(LANGUAGE_CODES.get(code, ""))
    return [LANGUAGE_WORDS[word] for word in words] + [
        LANGUAGE_TAGS[tag.lower()] for tag in tags if tag.lower() in LANGUAGE_TAGS
    ]


def _find_architectures(normalized: _NormalizedName) -> list[str]:
    found = re.findall(ARCHITECTURE, normalized.stem)
    return [ARCHITECTURES[re.sub(r"[ _-]", "", word)] for word in found]


def _with_importable(facts: FileName, *, documented: bool) -> FileName:
    """Set ``importable``. It is ``yes`` only for a complete name in one of Microsoft's schemes."""
    if (
        facts.windows in ("10", "server", "none")
        or facts.architecture in ("arm64", "x86")
        or facts.iso_kind not in MAY_HAVE_ENTERPRISE
        or facts.certain_release in UNSUPPORTED_RELEASES
    ):
        return replace(facts, importable="no")
    is_complete = (
        facts.windows == "11"
        and facts.architecture == "x64"
        and facts.release in SUPPORTED_RELEASES
    )
    return replace(facts, importable="yes") if documented and is_complete else facts


def _determine_windows(
    iso_kind: str | None, windows_number: str | None, release_word: str | None, build: int | None
) -> WindowsKind | None:
    if iso_kind in NOT_WINDOWS:
        return "none"
    if iso_kind == "server":
        return "server"
    if windows_number is not None:
        return "11" if windows_number == "11" else "10"
    if build is not None:
        return "11" if build >= FIRST_WINDOWS_11_BUILD else "10"
    if release_word is not None and release_word.startswith("LTS"):
        # As text, "24H2" sorts after "2024".
        return "10" if release_word.partition(" ")[2] < FIRST_WINDOWS_11_LTSC else "11"
    return None


def _format_update(month: str, year: str) -> str | None:
    if month[:3].lower() not in MONTHS:
        return None
    return f"{year}-{MONTHS.index(month[:3].lower()) + 1:02}"


def _unique_value(values: Iterable[T]) -> T | None:
    """Return the value if all values are equal, otherwise ``None``."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
