"""What a file name says about an ISO, and nothing that it does not say. Pure.

Microsoft names its ISOs in a dozen ways and users rename them. The name decides nothing that the
media can; it fills the gaps they leave, and what it says against them is told.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal, TypeVar

from isodrop.windows.name_patterns import (
    ARCHITECTURES,
    EDITIONS,
    FAMILIES,
    FLAGS,
    LANGUAGE_TAGS,
    LANGUAGE_WORD,
    LANGUAGE_WORDS,
    MAY_HAVE_ENTERPRISE,
    MONTHS,
    WITH_ENTERPRISE,
    Family,
    Windows,
)
from isodrop.windows.releases import (
    CLIENT_RELEASES,
    DOCUMENTED,
    FIRST_WINDOWS_11_BUILD,
    LTSC_RELEASES,
    SERVER_RELEASES,
    TOO_OLD,
    candidates,
)

Importable = Literal["yes", "no", "unknown"]

T = TypeVar("T")

FIRST_WINDOWS_11_LTSC: Final = "2024"

# Longer than any file system lets a name be; whoever writes more says nothing we would believe.
MAX_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class FileName:
    """What one file name says. ``None`` where it does not say.

    Attributes
    ----------
    name : str
        The base name, as it came.
    family : str or None
        Whose way of naming it is; ``renamed`` where only loose words were recognized.
    windows : {"11", "10", "server", "none"} or None
        ``none`` for what is no Windows at all, such as language packs.
    release : str or None
        ``24H2``; ``LTSC 2024``; of Server the year.
    build, revision : int or None
    architecture : str or None
        ``x64``, ``arm64``, ``x86``.
    language : str or None
        BCP 47; ``mul`` for several.
    edition : str or None
        A hint at what is on it: ``business``, ``consumer``, ``enterprise-eval``, ``ltsc``, …
    updated : str or None
        Year and month of the servicing update in it, such as ``2025-03``.
    importable : {"yes", "no", "unknown"}
        On the name's word alone.
    """

    name: str
    family: str | None = None
    windows: Windows | None = None
    release: str | None = None
    build: int | None = None
    revision: int | None = None
    architecture: str | None = None
    language: str | None = None
    edition: str | None = None
    updated: str | None = None
    importable: Importable = "unknown"


_SPACES: Final = re.compile(r"(?:\s|\+|%20)+")
_DOWNLOADED_AGAIN: Final = re.compile(r"_?\([0-9]{1,3}\)$|_-_Copy$", re.IGNORECASE)
_EXTENSION: Final = re.compile(r"\.(?:iso|img)$", re.IGNORECASE)

_LOOSE_WINDOWS: Final = re.compile(r"\b(?:win(?:dows)? ?|w)(10|11)(?![0-9])")
_LOOSE_RELEASE: Final = re.compile(r"\b(2[0-9]h[12])\b")
_LOOSE_LTSC: Final = re.compile(r"\blts[bc] ?(20[0-9]{2})\b")
_LOOSE_BUILD: Final = re.compile(r"(?<![0-9.])([0-9]{5})(?:\.([0-9]{1,5}))?(?![0-9.])")
_LOOSE_ARCHITECTURE: Final = re.compile(
    r"\b(x86 64|x64|amd64|64 ?bit|arm64|aarch64|x86|32 ?bit)(?:fre)?(?:v[0-9]{1,2})?\b"
)
_LOOSE_LANGUAGE: Final = rf"\b{LANGUAGE_WORD.replace('[_(]?', ' ?')}\b"


def read_name(key: str) -> FileName:
    """Read what a file name says.

    Parameters
    ----------
    key : str
        An object's key or a path; only the base name is read. Any string.

    Returns
    -------
    FileName
        Names never seen say less, never nonsense. Nothing is raised.

    Examples
    --------
    >>> said = read_name("in/en-us_windows_11_business_editions_version_24h2_x64_dvd_59a1851e.iso")
    >>> said.release, said.architecture, said.language, said.edition, said.importable
    ('24H2', 'x64', 'en-US', 'business', 'yes')
    >>> read_name("holiday.iso").release
    """
    name = key[max(key.rfind("/"), key.rfind("\\")) + 1 :]
    if len(name) > MAX_NAME:
        return FileName(name)
    stem = _DOWNLOADED_AGAIN.sub("", _SPACES.sub("_", _EXTENSION.sub("", name)))
    for family in FAMILIES:
        if match := re.fullmatch(family.pattern, stem, FLAGS):
            return _of_family(name, family, match.groupdict())
    return _of_loose_words(name, stem)


def _of_family(name: str, family: Family, said: dict[str, str | None]) -> FileName:
    build = _number(said.get("build"))
    edition = family.edition or _edition(said.get("edition") or "")
    windows = family.windows or _windows(said.get("windows"), build, said.get("ltsc"))
    return _judged(
        FileName(
            name=name,
            family=family.name,
            windows=windows,
            release=_release(said, windows, build, edition),
            build=build,
            revision=_number(said.get("revision")),
            architecture=_architecture(said.get("architecture")),
            language=family.language or _language(said.get("language")),
            edition=edition,
            updated=_updated(said.get("month"), said.get("year")),
        ),
        documented=family.documented,
    )


def _of_loose_words(name: str, stem: str) -> FileName:
    """Pick single words out of a name that no family knows, if it speaks of Windows at all."""
    words = re.findall(r"[a-z0-9]+", stem.lower())
    text = " ".join(words)
    numbers = _only(_LOOSE_WINDOWS.findall(text))
    release = _only(_LOOSE_RELEASE.findall(text))
    builds = _LOOSE_BUILD.findall(stem)
    build, revision = _only(pair for pair in builds if int(pair[0]) in CLIENT_RELEASES) or ("", "")
    edition = _edition(text)
    if edition != "server" and not (numbers or release or build):
        return FileName(name)
    return _judged(
        FileName(
            name=name,
            family="renamed",
            windows="server" if edition == "server" else _windows(numbers, None, None),
            release=release.upper() if release else _ltsc_in(text),
            build=_number(build),
            revision=_number(revision),
            architecture=_only(map(_architecture, _LOOSE_ARCHITECTURE.findall(text))),
            language=_only(_languages_in(text, words)),
            edition=edition,
        ),
        documented=False,
    )


def _languages_in(text: str, words: list[str]) -> list[str | None]:
    codes = [f"{left}-{right}" for left, right in pairwise(words)]
    return [_language(match["language"]) for match in re.finditer(_LOOSE_LANGUAGE, text)] + [
        LANGUAGE_TAGS[code] for code in codes if code in LANGUAGE_TAGS
    ]


def _ltsc_in(text: str) -> str | None:
    year = _only(_LOOSE_LTSC.findall(text))
    return None if year is None else f"LTSC {year}"


def _release(
    said: dict[str, str | None], windows: str | None, build: int | None, edition: str | None
) -> str | None:
    if ltsc := said.get("ltsc"):
        return f"LTSC {ltsc.upper()}"
    word = said.get("release")
    label = None if word is None else word.upper()
    if build is None:
        return label
    if windows == "server":
        return label or SERVER_RELEASES.get(build)
    if edition is not None and "ltsc" in edition:
        return LTSC_RELEASES.get(build)
    # The lab's branches are called 25h2_ge_release, but also 19h2_release for what became 1909.
    return label if label in candidates(build) else CLIENT_RELEASES.get(build, label)


def _judged(said: FileName, *, documented: bool) -> FileName:
    """Add the verdict. A yes takes a name of Microsoft's own that says all there is to say."""
    if (
        said.windows in ("10", "server", "none")
        or said.architecture in ("arm64", "x86")
        or said.edition not in MAY_HAVE_ENTERPRISE
        or said.release in TOO_OLD
    ):
        return replace(said, importable="no")
    says_all = said.windows == "11" and said.architecture == "x64" and said.release in DOCUMENTED
    if documented and says_all and said.edition in WITH_ENTERPRISE:
        return replace(said, importable="yes")
    return said


def _windows(number: str | None, build: int | None, ltsc: str | None) -> Windows | None:
    if number is not None:
        return "11" if number == "11" else "10"
    if ltsc is not None:
        return "10" if ltsc < FIRST_WINDOWS_11_LTSC else "11"  # 24H2, too, is behind it
    if build is not None:
        return "11" if build >= FIRST_WINDOWS_11_BUILD else "10"
    return None


def _edition(words: str) -> str | None:
    text = " ".join(re.findall(r"[a-z0-9]+", words.lower()))
    return next((edition for edition, pattern in EDITIONS if re.search(pattern, text)), None)


def _architecture(word: str | None) -> str | None:
    squashed = re.sub(r"[^a-z0-9]", "", (word or "").lower())
    return ARCHITECTURES.get(squashed)


def _language(word: str | None) -> str | None:
    lower = (word or "").lower()
    return LANGUAGE_TAGS.get(lower) or LANGUAGE_WORDS.get(re.sub(r"[ _(]", "", lower))


def _updated(month: str | None, year: str | None) -> str | None:
    if month is None or year is None or month[:3].lower() not in MONTHS:
        return None
    return f"{year}-{MONTHS.index(month[:3].lower()) + 1:02}"


def _number(digits: str | None) -> int | None:
    return int(digits) if digits else None


def _only(values: Iterable[T | None]) -> T | None:
    """Take a word that is said once, or twice alike; a name that contradicts itself says none."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
