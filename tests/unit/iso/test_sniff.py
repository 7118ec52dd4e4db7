"""Objects that are not Windows ISOs are identified."""

import gzip
from io import BytesIO
from zipfile import ZipFile

import pytest

from isodrop.codes import Code
from isodrop_local.iso_maker import Content, Image, Layout, make_image, make_wim
from isodrop_local.iso_maker.image import SECTOR
from isodrop_local.iso_maker.meter import read_contents, read_rejection

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
        # Without the time of day, which would make the names of tests differ between workers.
        (gzip.compress(b"x", mtime=0), "a gzip file"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7-Zip archive"),
        (b"\r\n<!DOCTYPE html>\n<title>Download</title>", "an HTML page"),
        (b"<html><body>Please sign in", "an HTML page"),
        (b"vhdxfile", "a virtual disk (VHDX)"),
        (b"\0" + b"\xff" * 10 + b"\0\0\x02\0\x01", "a raw CD or DVD image, with sectors of 2,352"),
        (b"CISO\0\0\0\0", "a compressed disk image (CSO)"),
        (b"IsZ!\x40\x01", "a compressed disk image (ISZ)"),
        (b"DAA" + bytes(13), "a compressed disk image (DAA)"),
        (b"WLPWM\0\0\0\xd0\0\0\0", "a bare Windows image file (WIM)"),
        (b"MZ\x90\0", "a Windows program"),
        (bytes(510) + b"\x55\xaa", "a disk with a boot sector"),
        (b"file".ljust(257, b"\0") + b"ustar\x0000", "a tar archive"),
        (b"\x9d\x01\x02\x03" * 50, "binary data of an unknown format"),
    ],
)
def test_other_files_are_recognized_by_their_kind(data: bytes, words: str, size: int) -> None:
    found = read_rejection(Image(Content(max(size, len(data)), ((0, data),))), requests=4)

    assert found.code is Code.NOT_AN_ISO
    assert f"The object is {words}" in found.message
    assert "the Windows 11 ISO is needed" in found.message


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (70, "70 zero bytes and ends before byte 32,768"),
        (20_000, "20,000 zero bytes and ends before byte 32,768"),
        (1_000_000, "has only zeros where the file system should be"),
    ],
)
def test_zeros_are_reported_with_their_number(size: int, words: str) -> None:
    found = read_rejection(Image(Content(size, ())), requests=4)

    assert found.code is Code.NOT_AN_ISO
    assert words in found.message
    assert "probably its download was interrupted" in found.message
    assert "Download the ISO again" in found.remedy


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("anchor first", "the anchor of its file system"),
        ("main 0", "its volume descriptors"),
        ("fsd", "the file set descriptor"),
        ("/#", "the file entry of its root folder"),
        ("/", "the name in its root folder"),
        ("/sources#", "the file entry of sources"),
        ("/sources", "the name in sources"),
        ("/sources/install.wim#", "the file entry of sources/install.wim"),
        ("/sources/install.wim", "the beginning of sources/install.wim"),
        ("xml", "the XML of sources/install.wim"),
    ],
)
def test_unexpected_zeros_are_reported_as_a_broken_download(place: str, words: str) -> None:
    # Given a download tool that created the file at full size, but did not write this part
    image = make_image(size=8 << 20, layout=Layout(anchors=("first",)))
    wim = image.places["/sources/install.wim"]
    offset = int.from_bytes(image.read(wim + 0x50, 8), "little")
    start = wim + offset if place == "xml" else image.places[place]
    length = image.size - start if place == "xml" else SECTOR
    for at in (start, image.places["reserve 0"] if place == "main 0" else start):
        image = image.with_bytes(at, bytes(length))

    found = read_rejection(image)

    assert found.code is Code.UNREADABLE_ISO
    assert "only zeros where" in found.message
    assert words in found.message
    assert "Download the ISO again" in found.remedy


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be", "utf-16-le", "utf-32-be"]
)
@pytest.mark.parametrize("size", [40, 700_000])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Só não é um ISO. 이것은 아닙니다.\r\n", "a text file"),
        ("  <!DOCTYPE html>\n<title>Sign in</title>", "an HTML page"),
    ],
)
def test_text_with_a_byte_order_mark_is_text(
    encoding: str, size: int, text: str, words: str
) -> None:
    mark = "\ufeff" if encoding.endswith(("be", "le")) else ""
    data = (mark + text + " " * (size - len(text))).encode(encoding)

    found = read_rejection(Image(Content.of(data)), requests=4)

    assert found.code is Code.NOT_AN_ISO
    assert words in found.message


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_a_byte_order_mark_alone_is_text(data: bytes) -> None:
    assert "a text file" in read_rejection(Image(Content.of(data))).message


def test_a_byte_order_mark_before_binary_data_is_not_text() -> None:
    data = b"\xff\xfe" + bytes(range(256)) * 4

    assert "binary data" in read_rejection(Image(Content.of(data))).message


@pytest.mark.parametrize("size", [1, 100, 2048, 524_288, 600_000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_text_file(size: int, encoding: str) -> None:
    text = ("Not an ISO, só não é.\n" * (size // 10 + 1)).encode(encoding)
    if encoding == "utf-16" and size < 4:
        size = 4

    found = read_rejection(Image(Content.of(text[:size])), requests=4)

    assert found.code is Code.NOT_AN_ISO
    assert "a text file" in found.message


def test_an_empty_file() -> None:
    found = read_rejection(Image(Content.of(b"")), requests=0)

    assert found.code is Code.NOT_AN_ISO
    assert "is empty" in found.message
    assert "was probably interrupted" in found.remedy
    assert "download page" not in found.remedy


def test_a_bare_windows_image() -> None:
    found = read_rejection(Image(make_wim([], size=1_000_000)))

    assert found.code is Code.NOT_AN_ISO
    assert "a bare Windows image" in found.message


def test_an_iso_without_udf_is_an_iso_but_not_of_windows() -> None:
    found = read_rejection(PLAIN)

    assert found.code is Code.NOT_WINDOWS
    assert "CCCOMA_X64FRE_EN-US_DV9" in found.message
    assert "plain ISO 9660" in found.message


def test_an_iso_without_udf_that_is_cut_off() -> None:
    assert read_rejection(PLAIN.resized(PLAIN.size - SECTOR)).code is Code.TRUNCATED


def test_an_iso_without_its_anchor_is_rejected() -> None:
    image = make_image(size=3_000_000)
    for place in ("anchor first", "anchor last"):
        image = image.with_bytes(image.places[place] + 20, b"\x99")

    found = read_rejection(image)

    assert found.code is Code.UNREADABLE_ISO
    assert "the anchor is missing" in found.message


@pytest.mark.parametrize(
    ("wim", "files", "words"),
    [
        (
            b"",
            {},
            "sources folder contains boot.wim, idwbinfo.txt, lang.ini, setup.exe, and there",
        ),
        (b"", {f"sources/{n}": b"" for n in range(9)}, "0, 1, 2, 3 and 9 more, and there is no"),
    ],
)
def test_a_windows_iso_without_the_image_is_rejected(
    wim: bytes, files: dict[str, bytes], words: str
) -> None:
    found = read_rejection(make_image(wim=wim, files=files, label="MY_DISC"))

    assert found.code is Code.NOT_WINDOWS
    assert words in found.message
    assert "MY_DISC" in found.message


def test_an_iso_without_a_folder_sources_is_rejected() -> None:
    found = read_rejection(make_image(sources="other"))

    assert found.code is Code.NOT_WINDOWS
    assert "it holds autorun.inf, boot, bootmgr" not in found.message
    assert "and there is no sources/install.wim" in found.message


def test_an_iso_on_which_sources_is_a_file_is_rejected() -> None:
    found = read_rejection(make_image(sources="other", files={"sources": b"x"}))

    assert found.code is Code.NOT_WINDOWS


def test_an_iso_on_which_the_windows_image_is_a_folder_is_rejected() -> None:
    found = read_rejection(make_image(wim=b"", files={"sources/install.wim/x": b"x"}))

    assert found.code is Code.UNREADABLE_ISO
    assert "is not a file" in found.message


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("x64", "x86"), "x64/sources, x86/sources"),
        (("X86", "X64"), "X86/sources, X64/sources"),
        (("x64", "x86", "arm64"), "x64/sources, x86/sources, arm64/sources"),
    ],
)
@pytest.mark.parametrize("kind", ["esd", "wim"])
def test_an_iso_for_several_architectures_is_reported_as_such(
    folders: tuple[str, ...], expected: str, kind: str
) -> None:
    files = {f"{folder}/sources/install.{kind}": b"x" for folder in folders}
    for sources in ("boot", "sources"):  # with a folder of that name at the top, and without
        found = read_rejection(make_image(wim=b"", sources=sources, files=files), requests=6)

        assert found.code is Code.NOT_WINDOWS
        assert f"several architectures ({expected})" in found.message
        assert "x64 alone" in found.message


@pytest.mark.parametrize(
    "files",
    [
        {"x64/setup.exe": b"x", "x86/setup.exe": b"x"},  # Office, or drivers
        {"x64/sources/install.esd": b"x"},
        {"x64/sources/install.esd": b"x", "x86/setup.exe": b"x"},
        {"x64/sources": b"x", "x86/sources": b"x"},
        {"x64": b"x", "x86": b"x"},
    ],
)
def test_other_isos_with_folders_of_those_names_are_not(files: dict[str, bytes]) -> None:
    found = read_rejection(make_image(wim=b"", sources="other", files=files))

    assert found.code is Code.NOT_WINDOWS
    assert "no sources/install.wim" in found.message


def test_a_complete_windows_beside_such_folders_is_used() -> None:
    files = {f"{folder}/sources/install.esd": b"x" for folder in ("x64", "x86")}

    assert len(read_contents(make_image(files=files)).images) == 11
