"""Malicious XML in a Windows image file: rejected, or read at little cost."""

import pytest

from isodrop.iso.model import UNREADABLE
from isodrop_local.iso_maker import EditionSpec, Image, make_image, make_wim
from isodrop_local.iso_maker.meter import (
    MAX_LINES,
    MAX_MEMORY,
    assert_rejected_cheaply,
    count_lines,
    peak_memory,
    read_contents,
    read_rejection,
)

ONE = [EditionSpec("Enterprise", "Windows 11 Enterprise")]


def iso_with_xml(text: str, *, encoding: str = "utf-16-le", mark: str = "\ufeff") -> Image:
    data = (mark + text).encode(encoding, "surrogatepass")
    return make_image(wim=make_wim(ONE, xml=data))


GOOD = '<WIM><IMAGE INDEX="1"><NAME>x</NAME></IMAGE></WIM>'
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def test_the_xml_that_the_other_cases_modify_is_read() -> None:
    assert read_contents(iso_with_xml(GOOD)).images[0].name == "x"
    assert (
        read_contents(iso_with_xml(f'<?xml version="1.0" encoding="utf-16"?>{GOOD}')).images[0].name
        == "x"
    )


@pytest.mark.parametrize(
    "text",
    [
        f'<!DOCTYPE WIM [<!ENTITY l0 "ha">{LAUGHS}]>{GOOD.replace("x", "&l9;")}',
        f'<!DOCTYPE WIM SYSTEM "http://169.254.169.254/latest/meta-data/">{GOOD}',
        f'<!DOCTYPE WIM [<!ENTITY x SYSTEM "file:///etc/passwd">]>{GOOD.replace("x", "&x;")}',
        GOOD.replace("x", "<!-- -->"),
        GOOD.replace("x", "<![CDATA[y]]>"),
        GOOD + "<!",
    ],
    ids=["laughs", "fetch", "file", "comment", "cdata", "end"],
)
def test_declarations_of_any_kind_are_refused_before_parsing(text: str) -> None:
    assert_rejected_cheaply(iso_with_xml(text), "declaration or comment")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "<WIM>",
        GOOD[:-1],
        GOOD + GOOD,
        GOOD.replace("x", "&l9;"),
        GOOD.replace("x", "x\0y"),
        GOOD.replace("<NAME", "<NA\0ME"),
        GOOD.replace(" INDEX", "\0INDEX\0"),
        GOOD.replace("x", "\ud800"),
        GOOD.replace("x", "\udc00\ud800"),
        GOOD.replace("x", "&#xD800;"),
        GOOD.replace("x", "&#0;"),
        GOOD.replace("</NAME>", "</name>"),
        GOOD.replace('"1"', '"1" INDEX="1"'),
    ],
)
def test_malformed_xml_is_refused(text: str) -> None:
    assert_rejected_cheaply(iso_with_xml(text), "not well-formed")


def test_other_encodings_are_refused() -> None:
    assert_rejected_cheaply(iso_with_xml(GOOD, encoding="utf-16-be"), "not UTF-16")
    assert_rejected_cheaply(iso_with_xml(GOOD, mark=""), "not UTF-16")
    assert_rejected_cheaply(iso_with_xml(GOOD, encoding="utf-8", mark=""), "not UTF-16")


@pytest.mark.parametrize("encoding", ["utf-8", "shift_jis", "no-such-code", "utf-7"])
def test_the_encoding_declared_in_the_xml_is_ignored(encoding: str) -> None:
    image = iso_with_xml(f'<?xml version="1.0" encoding="{encoding}"?>{GOOD}')

    assert read_contents(image).images[0].name == "x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace('"1"', '"2"'), "XML are: 2;"),
        (GOOD.replace('"1"', '"0"'), "XML are: 0;"),
        (GOOD.replace('"1"', '"-1"'), "not numbered"),
        (GOOD.replace('"1"', '"\uff11"'), "not numbered"),
        (GOOD.replace('"1"', f'"{"9" * 5000}"'), "not numbered"),
        (GOOD.replace(' INDEX="1"', ""), "not numbered"),
        (GOOD.replace("</WIM>", '<IMAGE INDEX="1"/></WIM>'), "1 occurs twice"),
        (GOOD.replace("</WIM>", '<IMAGE INDEX="2"/></WIM>'), "XML are: 1, 2;"),
        (GOOD.replace("WIM", "MIW"), "XML are: none;"),
        (GOOD.replace("</NAME>", "</NAME><NAME>y</NAME>"), "NAME twice"),
        (
            GOOD.replace(
                "</IMAGE>",
                "<WINDOWS><EDITIONID>Core</EDITIONID></WINDOWS>"
                "<WINDOWS><EDITIONID>Enterprise</EDITIONID></WINDOWS></IMAGE>",
            ),
            "EDITIONID twice",
        ),
    ],
)
def test_images_that_contradict_each_other(text: str, words: str) -> None:
    assert_rejected_cheaply(iso_with_xml(text), words)


def test_invalid_numbers_count_as_missing() -> None:
    version = (
        "<MAJOR>\uff11\uff10</MAJOR><MINOR>-1</MINOR><BUILD>26100.1</BUILD><SPBUILD>9e9</SPBUILD>"
    )
    arch = f"<ARCH>{'9' * 900}</ARCH>"
    text = f"<WINDOWS>{arch}<VERSION>{version}</VERSION></WINDOWS></IMAGE>"

    edition = read_contents(iso_with_xml(GOOD.replace("</IMAGE>", text))).images[0]

    assert (edition.major, edition.minor, edition.build, edition.architecture) == (None,) * 4
    # A missing one counts as the first; an unreadable one must not.
    assert edition.revision == UNREADABLE


@pytest.mark.parametrize("spbuild", ["-1", "x", "1742.0", "0x6CE", "99999999999", "\uff11"])
def test_a_revision_that_is_not_a_number_is_not_treated_as_missing(spbuild: str) -> None:
    text = f"<WINDOWS><VERSION><SPBUILD>{spbuild}</SPBUILD></VERSION></WINDOWS></IMAGE>"

    assert (
        read_contents(iso_with_xml(GOOD.replace("</IMAGE>", text))).images[0].revision == UNREADABLE
    )


@pytest.mark.parametrize("spbuild", ["<SPBUILD/>", "<SPBUILD> </SPBUILD>", ""])
def test_an_empty_revision_counts_as_missing(spbuild: str) -> None:
    text = f"<WINDOWS><VERSION>{spbuild}</VERSION></WINDOWS></IMAGE>"

    assert read_contents(iso_with_xml(GOOD.replace("</IMAGE>", text))).images[0].revision is None


DESCRIBED = (
    '<WIM><IMAGE INDEX="1"><WINDOWS><ARCH>~9~</ARCH><EDITIONID>~Enterprise~</EDITIONID>'
    "<INSTALLATIONTYPE>~Client~</INSTALLATIONTYPE><LANGUAGES><LANGUAGE>~en-US~</LANGUAGE>"
    "<DEFAULT>~en-US~</DEFAULT></LANGUAGES><VERSION><MAJOR>~10~</MAJOR><MINOR>~0~</MINOR>"
    "<BUILD>~26100~</BUILD><SPBUILD>~1742~</SPBUILD><BRANCH>~ge_release~</BRANCH></VERSION>"
    "</WINDOWS>~<NAME>~Windows 11 Enterprise~</NAME></IMAGE></WIM>~"
)


@pytest.mark.parametrize(
    "around", [" ", "\0", "\0\0", "\r\n\t", " \0 ", "\n\0\0\n", "&#32;", "&#10;"]
)
def test_white_space_and_nuls_around_values_are_stripped(around: str) -> None:
    text = DESCRIBED if around[0] != "&" else DESCRIBED.removesuffix("~").replace(">~<", "><")

    edition = read_contents(iso_with_xml(text.replace("~", around))).images[0]

    assert edition == read_contents(iso_with_xml(DESCRIBED.replace("~", ""))).images[0]
    assert (edition.edition_id, edition.build, edition.revision) == ("Enterprise", 26100, 1742)
    assert (edition.languages, edition.default_language) == (("en-US",), "en-US")
    assert edition.name == "Windows 11 Enterprise"


@pytest.mark.parametrize("value", ["", " ", "\0", " \0\r\n"])
def test_a_value_of_only_white_space_counts_as_missing(value: str) -> None:
    text = f"<WINDOWS><EDITIONID>{value}</EDITIONID></WINDOWS></IMAGE>"

    assert read_contents(iso_with_xml(GOOD.replace("</IMAGE>", text))).images[0].edition_id is None


def test_images_out_of_order_are_put_in_order() -> None:
    images = "".join(f'<IMAGE INDEX="{n}"><NAME>{n}</NAME></IMAGE>' for n in (3, 1, 2))
    wim = make_wim(ONE * 3, xml=f"\ufeff<WIM>{images}</WIM>".encode("utf-16-le"))

    assert [(e.index, e.name) for e in read_contents(make_image(wim=wim)).images] == [
        (1, "1"),
        (2, "2"),
        (3, "3"),
    ]


@pytest.mark.parametrize(
    "piece",
    [
        "<a/>",
        "<a>x</a>",
        '<a b="c"/>',
        "<NAME>x</NAME>",
        "x",
        "&#65;",
        "\U0001f600",
        "<?p?>",
        "\0",
        "\0\U0001f600",
    ],
)
def test_a_mebibyte_of_anything_takes_little_memory_and_work(piece: str) -> None:
    room = (1 << 19) - 100
    count = room // len(piece.encode("utf-16-le")) * 2
    image = iso_with_xml(GOOD.replace("</IMAGE>", piece * count + "</IMAGE>"))
    assert image.size > 1 << 20

    assert peak_memory(image) < MAX_MEMORY
    assert count_lines(image) < MAX_LINES


def test_too_many_attributes_are_refused() -> None:
    attributes = " ".join(f'a{n}=""' for n in range(40_000))

    assert_rejected_cheaply(
        iso_with_xml(GOOD.replace("<NAME", f"<o {attributes}/><NAME")), "too many attributes"
    )


def test_names_are_shown_escaped() -> None:
    image = make_image(
        wim=b"", label="X\n\u202eY", files={"sources/\x1b[2J\n": b"", "a\u2028": b""}
    )

    found = read_rejection(image)

    assert "\\x1b[2J\\n" in found.message
    assert "X\\n\\u202eY" in found.message
