"""Which release a build number stands for. Tables only; imports nothing of ours.

Build order is not release order: 26H1 is 28000, 26H2 is 26300. And what media say is not always
what the installed Windows says: a release that is an enablement package leaves the number of the
release before it on its media.

References
----------
https://learn.microsoft.com/windows/release-health/windows11-release-information
https://learn.microsoft.com/windows/release-health/release-information
https://learn.microsoft.com/windows/release-health/windows-server-release-info
"""

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

FIRST_WINDOWS_11_BUILD: Final = 22000

# The release whose own number a build is, as winver and file names say it.
CLIENT_RELEASES: Final = MappingProxyType(
    {
        10240: "1507",
        10586: "1511",
        14393: "1607",
        15063: "1703",
        16299: "1709",
        17134: "1803",
        17763: "1809",
        18362: "1903",
        18363: "1909",
        19041: "2004",
        19042: "20H2",
        19043: "21H1",
        19044: "21H2",
        19045: "22H2",
        22000: "21H2",
        22621: "22H2",
        22631: "23H2",
        26100: "24H2",
        26200: "25H2",
        26300: "26H2",
        28000: "26H1",
    }
)

SERVER_RELEASES: Final = MappingProxyType(
    {
        9600: "2012 R2",
        14393: "2016",
        17763: "2019",
        20348: "2022",
        25398: "23H2",
        26100: "2025",
    }
)

LTSC_RELEASES: Final = MappingProxyType(
    {
        10240: "LTSB 2015",
        14393: "LTSB 2016",
        17763: "LTSC 2019",
        19044: "LTSC 2021",
        26100: "LTSC 2024",
    }
)


@dataclass(frozen=True, slots=True)
class MediaRule:
    """Which releases' media say a build, with a revision out of a range.

    Attributes
    ----------
    build : int
        ``WINDOWS/VERSION/BUILD``.
    first, last : int
        The range of ``WINDOWS/VERSION/SPBUILD``, both inclusive.
    releases : tuple of str
        More than one where the media do not tell them apart.
    source : str
        Where it is published.
    """

    build: int
    first: int
    last: int
    releases: tuple[str, ...]
    source: str


MAX_REVISION: Final = 99_999
"""The highest known is 26100.32230; what is above five digits is no revision of any Windows."""

_HISTORY: Final = "https://learn.microsoft.com/windows/release-health/windows11-release-information"
_23H2: Final = "https://learn.microsoft.com/windows/whats-new/whats-new-windows-11-version-23h2"
_22H2_ENDS: Final = (
    "https://learn.microsoft.com/lifecycle/announcements/"
    "windows-11-22h2-end-of-updates-enterprise-education"
)

# 23H2 is an enablement package for 22H2. Its media say 22621, by Microsoft's design, and begin
# with the revision that 23H2 began with; the last of 22H2 is that of its end of servicing.
MEDIA_RULES: Final = (
    MediaRule(22000, 0, MAX_REVISION, ("21H2",), _HISTORY),
    MediaRule(22621, 0, 2427, ("22H2",), _HISTORY),
    MediaRule(22621, 2428, 6060, ("22H2", "23H2"), _23H2),
    MediaRule(22621, 6061, MAX_REVISION, ("23H2",), _22H2_ENDS),
    MediaRule(22631, 0, MAX_REVISION, ("23H2",), _23H2),
    MediaRule(26100, 0, MAX_REVISION, ("24H2",), _HISTORY),
    MediaRule(26200, 0, MAX_REVISION, ("25H2",), _HISTORY),
    MediaRule(26300, 0, MAX_REVISION, ("26H2",), _HISTORY),
    MediaRule(28000, 0, MAX_REVISION, ("26H1",), _HISTORY),
)

# What media of Windows 10 say, which stand for several releases alike for the same reason.
_WINDOWS_10_MEDIA: Final = MappingProxyType({18362: "1903 or 1909", 19041: "2004 to 22H2"})

# What AWS documents as importable, and what is older than that:
# https://docs.aws.amazon.com/imagebuilder/latest/userguide/import-iso-disk.html
DOCUMENTED: Final = frozenset({"23H2", "24H2", "25H2"})
UNSUPPORTED_RELEASES: Final = frozenset({"21H2", "22H2"})

_CLIENT_LABEL: Final = re.compile(r"[0-9]{2}H[12]")


def possible_releases(build: int, revision: int | None = None) -> tuple[str, ...]:
    """List the Windows 11 releases whose media may say this build and revision, oldest first.

    Parameters
    ----------
    build : int
    revision : int or None
        ``None`` where it is not known.

    Examples
    --------
    >>> possible_releases(22621), possible_releases(22621, 525), possible_releases(22621, 6199)
    (('22H2', '23H2'), ('22H2',), ('23H2',))
    >>> possible_releases(27842)
    ()
    """
    fitting = (
        rule.releases
        for rule in MEDIA_RULES
        if rule.build == build and (revision is None or rule.first <= revision <= rule.last)
    )
    return tuple(dict.fromkeys(release for releases in fitting for release in releases))


def first_revision(build: int, release: str) -> int:
    """Give the revision with which the media of a release begin.

    Examples
    --------
    >>> first_revision(22621, "23H2")
    2428
    """
    return min(
        rule.first for rule in MEDIA_RULES if rule.build == build and release in rule.releases
    )


def release_of(build: int, revision: int | None, said: str | None) -> str | None:
    """Name the release on media that say a build and revision, with the file name's word to help.

    Parameters
    ----------
    build : int
        What the media say.
    revision : int or None
        What the media say, ``None`` if they do not.
    said : str or None
        The release that the file name says.

    Returns
    -------
    str or None
        ``None`` where neither is enough. The word of the file name counts only where the media
        leave a choice.

    Examples
    --------
    >>> release_of(22621, 3447, "23H2"), release_of(22621, 3447, None)
    ('23H2', None)
    >>> release_of(22621, 525, "23H2"), release_of(26100, 1742, "25H2")
    ('22H2', '24H2')
    """
    possible = possible_releases(build, revision)
    if len(possible) == 1:
        return possible[0]
    if possible:
        return said if said in possible else None
    # A build newer than this table; the label of one that is in it would be a contradiction.
    fits = said is not None and _CLIENT_LABEL.fullmatch(said) is not None
    return said if fits and said not in CLIENT_RELEASES.values() else None


def describe_rule(build: int) -> str:
    """Say in words what media of this build hold.

    Examples
    --------
    >>> describe_rule(19041), describe_rule(26100), describe_rule(27842)
    ('Windows 10, build 19041 (2004 to 22H2)', 'Windows 11, build 26100 (24H2)', 'build 27842')
    """
    release = _WINDOWS_10_MEDIA.get(build) or " or ".join(possible_releases(build))
    release = release or CLIENT_RELEASES.get(build, "")
    if not release:
        return f"build {build}"
    return f"Windows {11 if build >= FIRST_WINDOWS_11_BUILD else 10}, build {build} ({release})"
