"""Which release a build number stands for. Tables only; imports nothing.

Build order is not release order: 26H1 is 28000, 26H2 is 26300.

References
----------
https://learn.microsoft.com/windows/release-health/windows11-release-information
https://learn.microsoft.com/windows/release-health/release-information
https://learn.microsoft.com/windows/release-health/windows-server-release-info
"""

import re
from types import MappingProxyType
from typing import Final

FIRST_WINDOWS_11_BUILD: Final = 22000

# The release that a build is the number of.
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
    {14393: "2016", 17763: "2019", 20348: "2022", 25398: "23H2", 26100: "2025"}
)

LTSC_RELEASES: Final = MappingProxyType(
    {14393: "LTSB 2016", 17763: "LTSC 2019", 19044: "LTSC 2021", 26100: "LTSC 2024"}
)

# Releases that ship as an enablement package: their media may say the build of the release
# before them. 23H2 media do so by design; of 25H2 media it is possible.
# https://learn.microsoft.com/windows/whats-new/whats-new-windows-11-version-23h2
_ALSO_SAID_BY_MEDIA_OF: Final = MappingProxyType({22621: "23H2", 26100: "25H2"})

# 22H2 and 23H2 media look alike for certain, so the build alone does not tell them apart.
_TELLS_NOTHING: Final = frozenset({22621})

# What AWS documents as importable, and what is older than that:
# https://docs.aws.amazon.com/imagebuilder/latest/userguide/import-iso-disk.html
DOCUMENTED: Final = frozenset({"23H2", "24H2", "25H2"})
TOO_OLD: Final = frozenset({"21H2", "22H2"})

_CLIENT_LABEL: Final = re.compile(r"[0-9]{2}H[12]")


def candidates(build: int) -> tuple[str, ...]:
    """List the Windows 11 releases whose media may say this build, its own release first.

    Examples
    --------
    >>> candidates(22621)
    ('22H2', '23H2')
    >>> candidates(27842)
    ()
    """
    own = CLIENT_RELEASES.get(build) if build >= FIRST_WINDOWS_11_BUILD else None
    also = _ALSO_SAID_BY_MEDIA_OF.get(build)
    return tuple(release for release in (own, also) if release is not None)


def release_of(build: int, said: str | None) -> str | None:
    """Name the release on media that say ``build``, with the file name's word to help.

    Parameters
    ----------
    build : int
        What the media say.
    said : str or None
        The release that the file name says.

    Returns
    -------
    str or None
        ``None`` where neither is enough. The word of the file name counts only where the media
        leave a choice.

    Examples
    --------
    >>> release_of(22621, "23H2"), release_of(22621, None), release_of(26100, "22H2")
    ('23H2', None, '24H2')
    """
    possible = candidates(build)
    if said in possible:
        return said
    if possible:
        return None if build in _TELLS_NOTHING else possible[0]
    # A build newer than this table; the label of one that is in it would be a contradiction.
    fits = said is not None and _CLIENT_LABEL.fullmatch(said) is not None
    return said if fits and said not in CLIENT_RELEASES.values() else None
