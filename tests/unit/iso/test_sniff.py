"""What is no Windows ISO is told for what it is."""

import gzip
from io import BytesIO
from zipfile import ZipFile

import pytest

from isodrop.codes import Code
from isodrop_local.iso_maker import Content, Image, make_image, make_wim
from isodrop_local.iso_maker.image import SECTOR
from isodrop_local.iso_maker.meter import rejection

PLAIN = make_image(layout="iso9660-only")


def archive() -> bytes:
    file = BytesIO()
    with ZipFile(file, "w") as made:
        made.writestr("windows.iso", b"x")
    return file.getvalue()


@pytest.mark.parametrize("size", [0, 1_000_000])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (archive(), "a ZIP archive"),
        # Without the time of day: it would be in the test's name, and differ between the workers.
        (gzip.compress(b"x", mtime=0), "a gzip file"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7-Zip archive"),
        (b"\r\n<!DOCTYPE html>\n<title>Download</title>", "an HTML page"),
        (b"<html><body>Please sign in", "an HTML page"),
        (b"vhdxfile", "a virtual disk (VHDX)"),
        (b"\0" + b"\xff" * 10 + b"\0\0\x02\0\x01", "a raw copy of a disc, with sectors of 2,352"),
        (b"CISO\0\0\0\0", "a compressed disc image (CSO)"),
        (b"IsZ!\x40\x01", "a compressed disc image (ISZ)"),
        (b"DAA" + bytes(13), "a compressed disc image (DAA)"),
        (b"WLPWM\0\0\0\xd0\0\0\0", "a bare Windows image (WIM)"),
        (b"MZ\x90\0", "a Windows program"),
        (bytes(510) + b"\x55\xaa", "a disk with a boot sector"),
        (b"file".ljust(257, b"\0") + b"ustar\x0000", "a tar archive"),
        (b"\x9d\x01\x02\x03" * 50, "binary data of no known kind"),
    ],
)
def test_other_files_are_told_for_what_they_are(data: bytes, words: str, size: int) -> None:
    found = rejection(Image(Content(max(size, len(data)), ((0, data),))), requests=4)

    assert found.code is Code.NOT_AN_ISO
    assert f"The object is {words}" in found.message
    assert "the Windows 11 ISO is needed" in found.message


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (70, "70 zeros, where the file system of an ISO begins at byte 32,768"),
        (20_000, "20,000 zeros, where the file system of an ISO begins at byte 32,768"),
        (1_000_000, "nothing but zeros where a file system has to be"),
    ],
)
def test_zeros_are_told_by_how_many_there_are(size: int, words: str) -> None:
    found = rejection(Image(Content(size, ())), requests=4)

    assert found.code is Code.NOT_AN_ISO
    assert words in found.message


@pytest.mark.parametrize("size", [1, 100, 2048, 524_288, 600_000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_text_file(size: int, encoding: str) -> None:
    text = ("Not an ISO, só não é.\n" * (size // 10 + 1)).encode(encoding)
    if encoding == "utf-16" and size < 4:
        size = 4

    found = rejection(Image(Content.of(text[:size])), requests=4)

    assert found.code is Code.NOT_AN_ISO
    assert "a text file" in found.message


def test_an_empty_file() -> None:
    found = rejection(Image(Content.of(b"")), requests=0)

    assert found.code is Code.NOT_AN_ISO
    assert "is empty" in found.message
    assert "was broken off" in found.remedy
    assert "download page" not in found.remedy


def test_a_bare_windows_image() -> None:
    found = rejection(Image(make_wim([], size=1_000_000)))

    assert found.code is Code.NOT_AN_ISO
    assert "a bare Windows image" in found.message


def test_an_iso_without_udf_is_one_but_not_of_windows() -> None:
    found = rejection(PLAIN)

    assert found.code is Code.NOT_WINDOWS
    assert "CCCOMA_X64FRE_EN-US_DV9" in found.message
    assert "plain ISO 9660" in found.message


def test_an_iso_without_udf_that_is_cut_off() -> None:
    assert rejection(PLAIN.cut(PLAIN.size - SECTOR)).code is Code.TRUNCATED


def test_an_iso_whose_anchor_is_gone() -> None:
    image = make_image(size=3_000_000)
    for place in ("anchor first", "anchor last"):
        image = image.changed(image.places[place], bytes(SECTOR))

    found = rejection(image)

    assert found.code is Code.UNREADABLE_MEDIA
    assert "the anchor of it is missing" in found.message


@pytest.mark.parametrize(
    ("wim", "files", "words"),
    [
        (b"", {}, "sources holds boot.wim, idwbinfo.txt, lang.ini, setup.exe, but no"),
        (b"", {f"sources/{n}": b"" for n in range(9)}, "0, 1, 2, 3 and 9 more, but no"),
    ],
)
def test_windows_media_without_the_image(wim: bytes, files: dict[str, bytes], words: str) -> None:
    found = rejection(make_image(wim=wim, files=files, label="MY_DISC"))

    assert found.code is Code.NOT_WINDOWS
    assert words in found.message
    assert "MY_DISC" in found.message


def test_a_disc_without_a_folder_sources() -> None:
    found = rejection(make_image(sources="other"))

    assert found.code is Code.NOT_WINDOWS
    assert "it holds autorun.inf, boot, bootmgr" not in found.message
    assert "but no sources/install.wim" in found.message


def test_a_disc_on_which_sources_is_a_file() -> None:
    found = rejection(make_image(sources="other", files={"sources": b"x"}))

    assert found.code is Code.NOT_WINDOWS


def test_a_disc_on_which_the_windows_image_is_a_folder() -> None:
    found = rejection(make_image(wim=b"", files={"sources/install.wim/x": b"x"}))

    assert found.code is Code.UNREADABLE_MEDIA
    assert "is not a file" in found.message
