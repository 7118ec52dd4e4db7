"""The command isodrop: its output and its exit codes."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isodrop import __version__
from isodrop.codes import Code
from isodrop.errors import RejectedError
from isodrop.iso.model import UNREADABLE, IsoContents, ReadRange
from isodrop_cli.commands import inspect
from isodrop_cli.main import main
from tests.support.builders import a_business_iso, an_edition, an_iso

GOOD = "en-us_windows_11_business_editions_version_24h2_x64_dvd_59a1851e.iso"
Run = Callable[..., tuple[int, str, str]]
SetContents = Callable[[IsoContents | Code], None]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as leaving:  # argparse exits
            status = int(leaving.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return run


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    path = tmp_path / GOOD
    path.write_bytes(bytes(4096))
    return path


@pytest.fixture(autouse=True)
def set_contents(monkeypatch: pytest.MonkeyPatch) -> SetContents:
    """Set the contents of every ISO that is read; the reader has its own tests."""

    def put(content: IsoContents | Code) -> None:
        def read_media(read: ReadRange, size: int) -> IsoContents:
            read(0, min(size, 2048))
            if isinstance(content, Code):
                raise RejectedError(content)
            return content

        monkeypatch.setattr(inspect, "read_iso", read_media)

    put(a_business_iso())
    return put


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the command on a terminal."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(*arguments: str | Path) -> str:
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setenv("NO_COLOR", "1")
        with monkeypatch.context() as here:  # only here: pytest has its own stdout
            here.setattr(sys, "stdout", screen := Terminal())
            main([str(argument) for argument in arguments])
        return screen.getvalue()

    return shown


# isodrop names


def test_names_as_json_keeps_its_contract(run: Run) -> None:
    status, out, err = run("names", f"in/{GOOD}", "holiday.iso", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == [
        {
            "name": GOOD,
            "family": "msdn-business",
            "windows": "11",
            "release": "24H2",
            "build": None,
            "revision": None,
            "architecture": "x64",
            "language": "en-US",
            "importable": "yes",
        },
        {
            "name": "holiday.iso",
            "family": None,
            "windows": None,
            "release": None,
            "build": None,
            "revision": None,
            "architecture": None,
            "language": None,
            "importable": "unknown",
        },
    ]


def test_in_a_pipe_names_prints_one_line_of_tabs_for_each(run: Run) -> None:
    status, out, _ = run("names", GOOD, "evil\tname\x1b[31m\n.iso")
    assert status == 0
    assert out.splitlines() == [
        f"{GOOD}\tmsdn-business\t11\t24H2\t\t\tx64\ten-US\tyes",
        "evil\\tname\\x1b[31m\\n.iso\t\t\t\t\t\t\t\tunknown",
    ]


def test_on_a_terminal_names_prints_a_table(
    shown: Callable[..., str],
) -> None:
    screen = shown("names", GOOD, "[bold]not markup.iso")
    assert "Importable" in screen
    assert "24H2" in screen
    assert "[bold]not markup.iso" in screen


def test_a_name_that_is_not_utf_8_is_printed(run: Run) -> None:
    status, out, _ = run("names", os.fsdecode(b"win11_\xff.iso"))
    assert (status, out.split("\t")[0]) == (0, r"win11_\udcff.iso")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-home.iso"],
        ["-Win11_24H2_English_x64.iso", "a.iso", "-x"],
        ["--Win11.iso", "-"],
        ["--", "--json", "-h"],
        ["a.iso", "--", "--json"],
    ],
)
def test_arguments_that_begin_with_a_hyphen_can_be_names(run: Run, arguments: list[str]) -> None:
    status, out, err = run("names", *arguments)
    assert (status, err) == (0, "")
    names = [argument for argument in arguments if argument != "--"]
    assert [line.split("\t")[0] for line in out.splitlines()] == names


def test_an_option_after_a_hyphenated_name_is_an_option(run: Run) -> None:
    status, out, _ = run("names", "-Win11_24H2.iso", "--json")
    assert (status, [each["name"] for each in json.loads(out)]) == (0, ["-Win11_24H2.iso"])
    status, _, err = run("names", "a.iso", "--jason")
    assert (status, "--jason" in err) == (2, True)


# isodrop inspect


def test_a_good_iso_is_accepted_with_its_plan(run: Run, iso: Path) -> None:
    status, out, err = run("inspect", iso)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "label\tCCCOMA_X64FRE_EN-US_DV9"
    assert "image\t3\tEnterprise\tWindows 11 Enterprise\tx64\t26100.1742\ten-US" in lines
    assert "decision\taccepted" in lines
    assert "name\twindows-11-enterprise-x64-en-us" in lines
    assert "image index\t3" in lines


def test_inspect_as_json_keeps_its_contract(run: Run, iso: Path, set_contents: SetContents) -> None:
    set_contents(an_iso(an_edition(index=7)))
    status, out, _ = run("inspect", iso, "--json")
    shown = json.loads(out)
    assert status == 0
    assert shown.keys() == {"iso", "decision", "rejection", "plan", "settings"}
    assert (shown["decision"], shown["rejection"], shown["settings"]) == (
        "accepted",
        None,
        "defaults",
    )
    assert shown["iso"].keys() == {"label", "kind", "images", "requests", "bytesRead"}
    assert (shown["iso"]["label"], shown["iso"]["kind"]) == (
        "CCCOMA_X64FRE_EN-US_DV9",
        "wim",
    )
    assert shown["iso"]["images"] == [
        {
            "index": 7,
            "name": "Windows 11 Enterprise",
            "editionId": "Enterprise",
            "architecture": "x64",
            "build": 26100,
            "revision": 1742,
            "languages": ["en-US"],
        }
    ]
    assert (shown["iso"]["requests"], shown["iso"]["bytesRead"]) == (3, 491_520)
    plan: dict[str, Any] = shown["plan"]
    assert plan["name"] == "windows-11-enterprise-x64-en-us"
    assert (plan["semanticVersion"], plan["imageIndex"]) == ("11.26100.1742", 7)
    assert plan["tags"]["isodrop:source"] == f"s3://your-bucket/{GOOD}"
    assert "isodrop:etag" not in plan["tags"]


def test_an_iso_of_a_refused_kind_exits_3_with_the_reason(
    run: Run, iso: Path, set_contents: SetContents
) -> None:
    set_contents(a_business_iso(architecture="arm64"))
    status, out, _ = run("inspect", iso)
    assert status == 3
    assert "decision\trejected\twrong-architecture" in out
    assert "remedy\tUpload the x64 ISO of the same release." in out
    shown = json.loads(run("inspect", iso, "--json")[1])
    assert (shown["decision"], shown["plan"]) == ("rejected", None)
    assert shown["rejection"].keys() == {"code", "message", "remedy"}
    assert shown["rejection"]["code"] == "wrong-architecture"
    assert len(shown["iso"]["images"]) == 6


def test_an_invalid_revision_is_not_shown(run: Run, iso: Path, set_contents: SetContents) -> None:
    set_contents(a_business_iso(revision=UNREADABLE))
    status, out, _ = run("inspect", iso, "--json")
    shown = json.loads(out)
    assert (status, shown["iso"]["images"][2]["revision"]) == (3, None)
    assert "has an unreadable VERSION/SPBUILD" in shown["rejection"]["message"]
    assert "\t26100\t" in run("inspect", iso)[1]


def test_no_contents_are_shown_for_a_file_that_is_not_an_iso(
    run: Run, iso: Path, set_contents: SetContents
) -> None:
    set_contents(Code.NOT_AN_ISO)
    status, out, _ = run("inspect", iso, "--json")
    shown = json.loads(out)
    assert (status, shown["iso"], shown["rejection"]["code"]) == (3, None, "not-an-iso")


def test_the_given_key_replaces_the_file_name(
    run: Run, iso: Path, set_contents: SetContents
) -> None:
    set_contents(a_business_iso(build=22621, revision=3447))
    status, out, _ = run("inspect", iso, "--key", "isos/Win11.iSo")
    assert status == 0
    status, out, _ = run("inspect", iso, "--key", "isos/Win11_23H2_Enterprise.ISO")
    assert (status, "release\t23H2" in out) == (0, True)


def test_metadata_is_tried_as_overrides(run: Run, iso: Path) -> None:
    status, out, _ = run(
        "inspect", iso, "--metadata", "edition=EnterpriseN", "--metadata", "description=a=b"
    )
    assert (status, "image index\t4" in out, "description\ta=b" in out) == (0, True, True)
    status, out, _ = run("inspect", iso, "--metadata", "image-index=99")
    assert (status, "invalid-override" in out) == (3, True)


def test_overrides_take_precedence_over_metadata(run: Run, iso: Path) -> None:
    metadata = ("--metadata", "edition=EnterpriseN")
    status, out, _ = run("inspect", iso, *metadata, "--set", "edition=Professional")
    assert (status, "edition\tProfessional\n" in out) == (0, True)
    status, out, _ = run("inspect", iso, *metadata, "--set", "edition=")
    assert (status, "edition\tEnterprise\n" in out) == (0, True)
    status, _, err = run("inspect", iso, "--set", "editon=EnterpriseN")
    assert (status, "where KEY is one of image-name" in err) == (2, True)


def test_trace_prints_each_read_on_stderr_only(run: Run, iso: Path) -> None:
    _, out, err = run("inspect", iso, "--trace", "--json")
    assert json.loads(out)["decision"] == "accepted"
    assert err.startswith("read 1: 2,048 bytes at 0, ")


def test_inspect_on_a_terminal_is_readable(
    iso: Path, set_contents: SetContents, shown: Callable[..., str]
) -> None:
    screen = shown("inspect", iso)
    assert "install.wim on an ISO of 5.50 GiB; read 480 KiB of it in 3 requests" in screen
    assert "ACCEPTED" in screen
    set_contents(a_business_iso(build=28000))
    assert "REJECTED unsupported-release" in shown("inspect", iso)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.iso", "no such file or directory"),
        ("directory.iso", "this is a directory"),
        ("pipe.iso", "this is neither a file nor an optical drive"),
        ("nul\0.iso", "embedded null"),
        ("x" * 300, "file name too long"),
        ("https://example.com/x.iso", "only a file or s3://bucket/key can be inspected"),
    ],
)
def test_without_a_file_inspect_exits_1_in_one_sentence(
    run: Run, tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "directory.iso").mkdir()
    os.mkfifo(tmp_path / "pipe.iso")
    status, out, err = run("inspect", name if "://" in name else tmp_path / name)
    assert (status, out) == (1, "")
    assert err.startswith("isodrop: ")
    assert reason in err
    assert err.count("\n") == 1


def test_an_unreadable_file_exits_1(run: Run, iso: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(iso))

    monkeypatch.setattr(
        Path, "open", refuse
    )  # root may read every file, so the mode would have no effect
    status, out, err = run("inspect", iso)
    assert (status, out, err) == (1, "", f"isodrop: {iso}: permission denied\n")


def test_a_file_that_shrinks_during_inspection_exits_1(
    run: Run, iso: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(read: ReadRange, size: int) -> IsoContents:
        read(size - 1, 2)
        raise AssertionError

    monkeypatch.setattr(inspect, "read_iso", greedy)
    status, _, err = run("inspect", iso)
    assert (status, "became shorter" in err) == (1, True)


# The command itself


@pytest.mark.parametrize(
    "arguments",
    [(), ("unknown",), ("names",), ("inspect",), ("inspect", "x.iso", "--metadata", "novalue")],
)
def test_wrong_usage_exits_2_with_the_usage_on_stderr(run: Run, arguments: tuple[str, ...]) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: isodrop")


def test_version_prints_the_version(run: Run) -> None:
    assert run("--version") == (0, f"isodrop {__version__}\n", "")


@pytest.mark.parametrize(
    "command",
    [
        (),
        *((name,) for name in ("names", "inspect", "event", "upload", "watch")),
        *((name,) for name in ("list", "status", "retry", "cancel", "doctor")),
    ],
)
def test_help_has_examples_that_fit_the_screen(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = run(*command, "--help")
    assert status == 0
    assert "examples:\n  isodrop" in out
    assert max(map(len, out.splitlines())) <= 80
