"""The formats of the allow-list, and its invalid lines."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isodrop.domain.allow_list import AllowList, parse_allow_list

ONE, OTHER = ("ab" * 32, "01" * 32)


@pytest.mark.parametrize(
    "line",
    [
        ONE,
        ONE.upper(),
        f"{ONE}  Win11.iso",
        f"{ONE} *Win11.iso",
        f"{ONE}\tWin11.iso",
        f"  {ONE}  Win11.iso  ",
        f"\\{ONE}  a\\nb.iso",
        f"{ONE}  a name with spaces.iso",
    ],
)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_line_is_read_as_it_is_written(line: str, end: str, encoding: str) -> None:
    found = parse_allow_list((line + end).encode(encoding))
    assert (set(found.names_by_hash), found.invalid_lines) == ({ONE}, ())
    assert ONE.upper() in found
    assert OTHER not in found


def test_the_format_of_sha256sum_is_read(tmp_path: Path) -> None:
    names = ["plain.iso", "with space.iso", "back\\slash.iso", "Büro.iso"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    for how in ((), ("--binary",)):
        written = subprocess.run(
            ["sha256sum", *how, *names], cwd=tmp_path, stdout=subprocess.PIPE, check=True
        ).stdout
        found = parse_allow_list(written)
        assert set(found.names_by_hash) == {
            hashlib.sha256(name.encode()).hexdigest() for name in names
        }
        assert found.invalid_lines == ()


def test_comments_and_empty_lines_have_no_effect() -> None:
    found = parse_allow_list(f"# ours\n\n  # theirs\n{ONE}\n \n".encode())
    assert (set(found.names_by_hash), found.invalid_lines) == ({ONE}, ())


@pytest.mark.parametrize(
    "wrong",
    [ONE[:-1], f"{ONE}0", f"{ONE}.iso", "g" * 64, "d41d8cd98f00b204e9800998ecf8427e", "Win11.iso"],
)
def test_a_wrong_line_is_named_by_its_number_and_allows_no_iso(wrong: str) -> None:
    found = parse_allow_list(f"{OTHER}\r\n# a comment\r\n{wrong}\r\n".encode())
    assert (set(found.names_by_hash), found.invalid_lines) == ({OTHER}, (3,))
    assert found.describe() == "1 entry; line 3 cannot be read"


def test_an_empty_list_allows_no_iso() -> None:
    assert parse_allow_list(b"") == AllowList()
    assert AllowList().describe() == "0 entries"
    assert ONE not in AllowList()


def test_ten_thousand_lines_are_read_and_errors_are_summarized() -> None:
    lines = [f"{hashlib.sha256(str(n).encode()).hexdigest()}  {n}.iso" for n in range(10_000)]
    found = parse_allow_list("\n".join(lines).encode())
    assert (len(found.names_by_hash), found.invalid_lines) == (10_000, ())

    broken = parse_allow_list(b"x\n" * 10_000)
    assert broken.describe() == (
        "0 entries; lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 9990 more cannot be read"
    )


@given(st.binary(max_size=400))
def test_any_bytes_raise_no_error(data: bytes) -> None:
    found = parse_allow_list(data)
    assert all(len(each) == 64 for each in found.names_by_hash)
