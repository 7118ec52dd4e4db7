"""The allow-list of ISOs: SHA-256 hashes in the format of ``sha256sum``. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from isodrop.text import join_list

_BOMS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),  # written by the > of Windows PowerShell
    (b"\xfe\xff", "utf-16"),
)
# A leading backslash marks an escaped name; an asterisk before the name marks binary mode:
# https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html
_LINE: Final = re.compile(r"\\?([0-9A-Fa-f]{64})(?:[ \t]+\*?(.*))?", re.DOTALL)
_MAX_LISTED: Final = 10
"""How many invalid lines a message lists by number."""


class AllowListMode(StrEnum):
    """What happens to an ISO that is not on the list."""

    OFF = "off"
    WARN = "warn"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class AllowList:
    """The ISOs that may be imported.

    Attributes
    ----------
    names_by_hash : mapping of str to str
        Maps each hash, in lowercase, to the text after it, or to an empty string.
    invalid_lines : tuple of int
        The numbers, from 1, of the lines that cannot be parsed. They allow nothing.
    """

    names_by_hash: Mapping[str, str] = field(default_factory=dict)
    invalid_lines: tuple[int, ...] = ()

    def __contains__(self, sha256: str) -> bool:
        """Whether an ISO with that hash is on the list."""
        return sha256.lower() in self.names_by_hash

    def describe(self) -> str:
        """Describe the number of entries, and the lines that cannot be read.

        Examples
        --------
        >>> AllowList({"0" * 64: ""}, (3, 7)).describe()
        '1 entry; lines 3, 7 cannot be read'
        """
        count = len(self.names_by_hash)
        entries = f"{count} entr{'y' if count == 1 else 'ies'}"
        if not self.invalid_lines:
            return entries
        numbers = join_list(str(each) for each in self.invalid_lines[:_MAX_LISTED])
        more = len(self.invalid_lines) - _MAX_LISTED
        lines = f"line{'' if len(self.invalid_lines) == 1 else 's'} {numbers}"
        return f"{entries}; {lines}" + (f" and {more} more" if more > 0 else "") + " cannot be read"

    def describe_missing(self, sha256: str) -> str:
        """Make the message that says that an ISO is not on the list."""
        return (
            f"The ISO's SHA-256 is {sha256}, which is not on the stack's allow-list"
            f" ({self.describe()})."
        )


def parse_allow_list(data: bytes) -> AllowList:
    r"""Parse a list: one hash per line, optionally followed by whitespace and a name.

    Empty lines and lines that begin with ``#`` are ignored. No exception is raised for any input.

    Examples
    --------
    >>> allowed = parse_allow_list(b"# ours\r\n" + b"AB" * 32 + b" *Win11.iso\r\nWin10.iso\r\n")
    >>> allowed.names_by_hash["ab" * 32], allowed.invalid_lines
    ('Win11.iso', (3,))
    """
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
    names: dict[str, str] = {}
    invalid = []
    for number, line in enumerate(data.decode(encoding, "replace").split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            invalid.append(number)
        else:
            names.setdefault(match[1].lower(), (match[2] or "").strip())
    return AllowList(names, tuple(invalid))
