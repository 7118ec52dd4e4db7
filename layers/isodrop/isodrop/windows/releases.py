"""The releases of Windows by build number: tables, and functions that look up values in them.

Build numbers are not in release order: 26H1 is 28000, 26H2 is 26300. The build number on an ISO is
not always that of the installed Windows: if a release is an enablement package, its ISOs may
contain the build number of the release that it is based on.

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

# The release of each build number, as in winver and in file names.
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
class ReleaseRule:
    """The releases whose ISOs contain a build number with a revision in a range.

    Attributes
    ----------
    build : int
        ``WINDOWS/VERSION/BUILD``.
    first, last : int
        The range of ``WINDOWS/VERSION/SPBUILD``, both inclusive.
    releases : tuple of str
        More than one if the ISOs do not distinguish them.
    source : str
        The URL of the source.
    """

    build: int
    first: int
    last: int
    releases: tuple[str, ...]
    source: str


MAX_REVISION: Final = 99_999
"""No revision has more than five digits; the highest known is 32230, of build 26100."""

_HISTORY: Final = "https://learn.microsoft.com/windows/release-health/windows11-release-information"
_23H2: Final = "https://learn.microsoft.com/windows/whats-new/whats-new-windows-11-version-23h2"
_22H2_ENDS: Final = (
    "https://learn.microsoft.com/lifecycle/announcements/"
    "windows-11-22h2-end-of-updates-enterprise-education"
)

# 23H2 is an enablement package for 22H2. By Microsoft's design its ISOs contain build 22621, with
# the first revision of 23H2 (2428) or a later one. The last revision of 22H2 is the last one before
# its end of servicing.
RELEASE_RULES: Final = (
    ReleaseRule(22000, 0, MAX_REVISION, ("21H2",), _HISTORY),
    ReleaseRule(22621, 0, 2427, ("22H2",), _HISTORY),
    ReleaseRule(22621, 2428, 6060, ("22H2", "23H2"), _23H2),
    ReleaseRule(22621, 6061, MAX_REVISION, ("23H2",), _22H2_ENDS),
    ReleaseRule(22631, 0, MAX_REVISION, ("23H2",), _23H2),
    ReleaseRule(26100, 0, MAX_REVISION, ("24H2",), _HISTORY),
    ReleaseRule(26200, 0, MAX_REVISION, ("25H2",), _HISTORY),
    ReleaseRule(26300, 0, MAX_REVISION, ("26H2",), _HISTORY),
    ReleaseRule(28000, 0, MAX_REVISION, ("26H1",), _HISTORY),
)

# The build numbers on ISOs of Windows 10 that several releases share, because the later releases
# are enablement packages.
_SHARED_WINDOWS_10_BUILDS: Final = MappingProxyType({18362: "1903 or 1909", 19041: "2004 to 22H2"})

# The releases that AWS documents as importable, and the older ones, which it does not:
# https://docs.aws.amazon.com/imagebuilder/latest/userguide/import-iso-disk.html
SUPPORTED_RELEASES: Final = frozenset({"23H2", "24H2", "25H2"})
UNSUPPORTED_RELEASES: Final = frozenset({"21H2", "22H2"})

_HALF_YEAR: Final = re.compile(r"[0-9]{2}H[12]")


def possible_releases(build: int, revision: int | None = None) -> tuple[str, ...]:
    """List the Windows 11 releases whose ISOs may contain a build and revision, oldest first.

    Parameters
    ----------
    build : int
    revision : int or None
        ``None`` if it is not known.

    Examples
    --------
    >>> possible_releases(22621), possible_releases(22621, 525), possible_releases(22621, 6199)
    (('22H2', '23H2'), ('22H2',), ('23H2',))
    >>> possible_releases(27842)
    ()
    """
    matching = (
        rule.releases
        for rule in RELEASE_RULES
        if rule.build == build and (revision is None or rule.first <= revision <= rule.last)
    )
    return tuple(dict.fromkeys(release for releases in matching for release in releases))


def first_revision(build: int, release: str) -> int:
    """Return the first revision on ISOs of a release.

    Examples
    --------
    >>> first_revision(22621, "23H2")
    2428
    """
    return min(
        rule.first for rule in RELEASE_RULES if rule.build == build and release in rule.releases
    )


def determine_release(build: int, revision: int | None, named: str | None) -> str | None:
    """Return the release of an ISO, from its build and revision and, if needed, its file name.

    Parameters
    ----------
    build : int
        The build number on the ISO.
    revision : int or None
        The revision on the ISO; ``None`` if it has none.
    named : str or None
        The release in the file name.

    Returns
    -------
    str or None
        ``None`` if it cannot be determined. The file name is used only if several releases share
        the build and revision, or if both the build and the named release are unknown.

    Examples
    --------
    >>> determine_release(22621, 3447, "23H2"), determine_release(22621, 3447, None)
    ('23H2', None)
    >>> determine_release(22621, 525, "23H2"), determine_release(26100, 1742, "25H2")
    ('22H2', '24H2')
    """
    possible = possible_releases(build, revision)
    if len(possible) == 1:
        return possible[0]
    if possible:
        return named if named in possible else None
    # No rule matches. If this is a newer Windows 11 build, its release is not a known one.
    is_half_year = named is not None and _HALF_YEAR.fullmatch(named) is not None
    return named if is_half_year and named not in CLIENT_RELEASES.values() else None


def describe_release(build: int) -> str:
    """Describe the Windows release on ISOs with a build number.

    Examples
    --------
    >>> describe_release(19041), describe_release(26100), describe_release(27842)
    ('Windows 10, build 19041 (2004 to 22H2)', 'Windows 11, build 26100 (24H2)', 'build 27842')
    """
    release = _SHARED_WINDOWS_10_BUILDS.get(build) or " or ".join(possible_releases(build))
    release = release or CLIENT_RELEASES.get(build, "")
    if not release:
        return f"build {build}"
    return f"Windows {11 if build >= FIRST_WINDOWS_11_BUILD else 10}, build {build} ({release})"
