"""Which ISOs may be imported: SHA-256 in the form that ``sha256sum`` writes. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from isodrop.text import join_list

_BOMS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),  # what Windows PowerShell's > writes
    (b"\xfe\xff", "utf-16"),
)
# A backslash first says that the name is escaped; an asterisk before the name, that the file was
# read as it is: https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html
_LINE: Final = re.compile(r"\\?([0-9A-Fa-f]{64})(?:[ \t]+\*?(.*))?", re.DOTALL)
_TOLD: Final = 10
"""How many wrong lines are told by their numbers."""


class AllowListMode(StrEnum):
    """What is done about an ISO that is not on the list."""

    OFF = "off"
    WARN = "warn"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class AllowList:
    """What may be imported.

    Attributes
    ----------
    names : mapping of str to str
        What each hash was written down for, by the hash in lower case; empty where nothing was.
    wrong_lines : tuple of int
        The numbers, from 1, of the lines that cannot be read. They allow nothing.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    wrong_lines: tuple[int, ...] = ()

    def __contains__(self, sha256: str) -> bool:
        """Whether an ISO of that hash is on it."""
        return sha256.lower() in self.names

    def describe(self) -> str:
        """Say how long it is, and which lines cannot be read.

        Examples
        --------
        >>> AllowList({"0" * 64: ""}, (3, 7)).describe()
        '1 entry; the lines 3, 7 cannot be read'
        """
        count = len(self.names)
        said = f"{count} entr{'y' if count == 1 else 'ies'}"
        if not self.wrong_lines:
            return said
        numbers = join_list(str(each) for each in self.wrong_lines[:_TOLD])
        more = len(self.wrong_lines) - _TOLD
        which = f"the line{'' if len(self.wrong_lines) == 1 else 's'} {numbers}"
        return f"{said}; {which}" + (f" and {more} more" if more > 0 else "") + " cannot be read"

    def refusal(self, sha256: str) -> str:
        """Say that an ISO is not on it."""
        return (
            f"The ISO's SHA-256 is {sha256}, which is not on the stack's allow-list"
            f" ({self.describe()})."
        )


def parse_allow_list(data: bytes) -> AllowList:
    r"""Read a list: a hash on each line, and after white space what it is for.

    Empty lines and those that begin with ``#`` say nothing. Whatever the bytes, nothing is raised.

    Examples
    --------
    >>> found = parse_allow_list(b"# ours\r\n" + b"AB" * 32 + b" *Win11.iso\r\nWin10.iso\r\n")
    >>> found.names["ab" * 32], found.wrong_lines
    ('Win11.iso', (3,))
    """
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
    names: dict[str, str] = {}
    wrong = []
    for number, line in enumerate(data.decode(encoding, "replace").split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _LINE.fullmatch(stripped)
        if found is None:
            wrong.append(number)
        else:
            names.setdefault(found[1].lower(), (found[2] or "").strip())
    return AllowList(names, tuple(wrong))
