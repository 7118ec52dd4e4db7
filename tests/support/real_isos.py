"""ISOs that people have, and the expected decision on each: the table of docs/supported-isos.md.

Each case makes an image, which is then read like an upload.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from isodrop.codes import Rejection
from isodrop.domain.model import ImportPlan
from isodrop.domain.planning import plan_import
from isodrop.errors import RejectedError
from isodrop.iso.reader import read_iso
from isodrop_local.iso_maker import (
    MICROSOFT_ENTERPRISE_INDEX,
    Content,
    EditionSpec,
    Image,
    business_editions,
    consumer_editions,
    evaluation_editions,
    ltsc_editions,
    make_image,
    make_wim,
    make_xml,
    server_editions,
)
from isodrop_local.iso_maker.mutate import put, resealed
from tests.support.builders import an_upload, some_settings

ACCEPTED: Final = "accepted"
NOTED: Final = "accepted with a note"
NEUTRAL_NAME: Final = "windows.iso"


@dataclass(frozen=True, slots=True)
class Case:
    """One ISO and its expected decision.

    Attributes
    ----------
    what : str
        A description, for the page.
    make : callable
        Makes it.
    outcome : str
        :data:`ACCEPTED`, :data:`NOTED`, or the code of a rejection.
    words : str
        A part of the summary, the note or the message.
    key : str
        Its file name.
    settings : mapping
        The stack's, where they are not the defaults.
    """

    what: str
    make: Callable[[], Image]
    outcome: str
    words: str
    key: str = NEUTRAL_NAME
    settings: Mapping[str, Any] = field(default_factory=dict)

    def decision(self) -> ImportPlan | Rejection:
        """Make the image, read it and decide."""
        image = self.make()
        try:
            contents = read_iso(image.read, image.size)
        except RejectedError as error:
            return error.rejection
        return plan_import(an_upload(self.key), contents, {}, some_settings(**self.settings))

    def result(self) -> tuple[str, str]:
        """Return the actual outcome and text."""
        made = self.decision()
        if isinstance(made, Rejection):
            return made.code.value, made.message
        release = made.release or "a release that is not known"
        plan = f"{made.edition} at index {made.image_index}, {made.semantic_version}, {release}"
        return (NOTED, " ".join(made.notes)) if made.notes else (ACCEPTED, plan)


ENTERPRISE: Final = EditionSpec("Enterprise", "Windows 11 Enterprise")
PRO: Final = EditionSpec("Professional", "Windows 11 Pro")
TEN: Final = replace(ENTERPRISE, name="Windows 10 Enterprise", build=19041, revision=3803)
SETUP: Final = EditionSpec("WindowsPE", "Microsoft Windows PE", installation_type="WindowsPE")
CORE: Final = EditionSpec("Core", "Windows 11 Home")
EDUCATION: Final = EditionSpec("Education", "Windows 11 Education")


def of(*specs: EditionSpec, **how: Any) -> Callable[[], Image]:
    return lambda: make_image(editions=specs, **how)


def business(index: int = MICROSOFT_ENTERPRISE_INDEX, **changes: Any) -> Callable[[], Image]:
    return of(*business_editions(enterprise_index=index, **changes))


def described(
    specs: Sequence[EditionSpec], *changes: tuple[str, str], **how: Any
) -> Callable[[], Image]:
    """Make an image with replacements in its XML; each must change something."""

    def make() -> Image:
        text = make_xml(specs)
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        xml = b"\xff\xfe" + text.encode("utf-16-le")
        return make_image(wim=make_wim(specs, xml=xml, **how))

    return make


def without_windows(spec: EditionSpec, **how: Any) -> Callable[[], Image]:
    """Make an image whose description has only a name."""
    text = make_xml([spec])
    start, end = text.index("<WINDOWS>"), text.index("</WINDOWS>") + len("</WINDOWS>")
    return described([spec], (text[start:end], ""), **how)


MISSING_ELEMENTS: Final = (
    ("<EDITIONID>Enterprise</EDITIONID>", ""),
    ("<INSTALLATIONTYPE>Client</INSTALLATIONTYPE>", ""),
    ("<LANGUAGE>en-US</LANGUAGE><DEFAULT>en-US</DEFAULT>", ""),
)
"""The elements that exports of tiny11 and winutil lack; FLAGS remains."""


def raw_esd(*specs: EditionSpec) -> Callable[[], Image]:
    """Make an ESD as in Microsoft's catalog: Setup's files, Windows PE twice, Windows."""
    every = (replace(SETUP, name="Windows Setup Media"), SETUP, SETUP, *specs)
    text = make_xml(every)
    start, end = text.index("<WINDOWS>"), text.index("</WINDOWS>") + len("</WINDOWS>")

    def make() -> Image:
        xml = b"\xff\xfe" + (text[:start] + text[end:]).encode("utf-16-le")
        wim = make_wim(every, xml=xml, solid=True)
        return make_image(wim=b"", files={"sources/install.esd": wim})

    return make


def longer(make: Callable[[], Image]) -> Callable[[], Image]:
    """Make the file system claim to be longer than the object, which ends with an anchor."""

    def made() -> Image:
        image = make()
        for place in ("main", "reserve"):
            image = resealed(image, f"{place} 2", put("L", 192, image.size // 2048))
        return image

    return made


def truncated(part: float) -> Callable[[], Image]:
    """Make an ISO of which only the first part exists."""

    def make() -> Image:
        image = business()()
        return image.resized(int(image.size * part))

    return make


def zeroed(place: str) -> Callable[[], Image]:
    """Make an ISO with a block of zeros at a place."""

    def make() -> Image:
        image = business()()
        return image.with_bytes(image.places[place], bytes(2048))

    return make


def object_of(data: bytes, size: int = 1_000_000) -> Callable[[], Image]:
    return lambda: Image(Content(max(size, len(data)), ((0, data),)))


MCT_LABEL: Final = "11_23H2_VOL_x64_en-us"
BOTH: Final = {f"{machine}/sources/install.esd": b"x" for machine in ("x64", "x86")}

CASES: Final = (
    # What is imported
    Case("business editions, 24H2", business(), ACCEPTED, "index 3, 11.26100.1742, 24H2"),
    Case("the same in another order", business(9), ACCEPTED, "index 9"),
    Case("business editions, 25H2", business(build=26200, revision=6584), ACCEPTED, "25H2"),
    Case("23H2 with build 22631", business(build=22631, revision=2428), ACCEPTED, "23H2"),
    Case(
        "23H2 with build 22621.3447, named 23H2",
        business(build=22621, revision=3447),
        ACCEPTED,
        "11.22621.3447, 23H2",
        "Win11_23H2_English_x64.iso",
    ),
    Case("late 23H2 with build 22621.6199", business(build=22621, revision=6199), ACCEPTED, "23H2"),
    Case("a custom image with Enterprise at index 2", of(PRO, ENTERPRISE), ACCEPTED, "index 2"),
    Case(
        "multi-edition ISO: Windows 10 before Windows 11, two of them Enterprise",
        of(replace(PRO, build=19041), TEN, PRO, ENTERPRISE),
        ACCEPTED,
        "index 4",
    ),
    Case(
        "multi-edition ISO: 21H2 before 24H2",
        of(replace(ENTERPRISE, build=22000, revision=318), ENTERPRISE),
        ACCEPTED,
        "index 2, 11.26100.1742",
    ),
    Case(
        "Enterprise for arm64 and x64",
        of(replace(ENTERPRISE, architecture="arm64"), ENTERPRISE),
        ACCEPTED,
        "index 2",
    ),
    Case(
        "Windows Server and Windows 11 together",
        of(*server_editions(), ENTERPRISE),
        ACCEPTED,
        "index 5",
    ),
    Case(
        "an image without EDITIONID beside Enterprise",
        described([PRO, ENTERPRISE], ("<EDITIONID>Professional</EDITIONID>", "")),
        ACCEPTED,
        "index 2",
    ),
    Case(
        "whitespace and NULs around the values in the XML",
        described(
            [ENTERPRISE], (">Enterprise<", "> Enterprise\0\0<"), (">26100<", ">\r\n26100\0<")
        ),
        ACCEPTED,
        "11.26100.1742",
    ),
    Case(
        "a file system that claims to be longer than the ISO, which ends with an anchor",
        longer(business()),
        ACCEPTED,
        "11.26100.1742",
    ),
    Case(
        "images whose indexes are out of order",
        described(
            [PRO, ENTERPRISE],
            ('INDEX="1"', 'INDEX="3"'),
            ('INDEX="2"', 'INDEX="1"'),
            ('INDEX="3"', 'INDEX="2"'),
        ),
        ACCEPTED,
        "index 1",
    ),
    # What is imported with a note
    Case("256 images, all of them Enterprise", of(*(ENTERPRISE,) * 256), NOTED, "256 images of"),
    Case(
        "multi-edition ISO: 23H2 and 24H2 of Enterprise",
        of(replace(ENTERPRISE, build=22631, revision=4037), ENTERPRISE),
        NOTED,
        "the first is imported unless",
    ),
    Case(
        "23H2 or 22H2, ambiguous by its build (22621.3447)",
        business(build=22621, revision=3447),
        NOTED,
        "ISOs of 22H2 and 23H2 contain build",
    ),
    Case(
        "24H2, named 25H2",
        business(),
        NOTED,
        "says 25H2, but the ISO contains build 26100 (24H2)",
        "Win11_25H2_English_x64.iso",
    ),
    Case(
        "25H2, named 24H2",
        business(build=26200, revision=6584),
        NOTED,
        "build 26200 (25H2)",
        "Win11_24H2_English_x64.iso",
    ),
    Case("x64, named Arm64", business(), NOTED, "says arm64", "Win11_24H2_English_Arm64.iso"),
    Case(
        "consumer editions, Edition=Professional",
        of(*consumer_editions()),
        NOTED,
        "documents only Windows 11 Enterprise",
        settings={"edition": "Professional"},
    ),
    Case(
        "an ESD, AllowEsd=true",
        of(EDUCATION, ENTERPRISE, PRO, wim_name="install.esd"),
        NOTED,
        "is an ESD, which this stack allows",
        settings={"allow_esd": True},
    ),
    # Another Windows
    Case(
        "22H2, named 23H2 (22621.525)",
        business(build=22621, revision=525),
        "unsupported-release",
        "which is 22H2, although the file name says 23H2",
        "Win11_23H2.iso",
    ),
    Case(
        "22H2 or 23H2, named 22H2 (22621.3447)",
        business(build=22621, revision=3447),
        "unsupported-release",
        "22H2 or 23H2, and the file name says 22H2",
        "Win11_22H2_English_x64.iso",
    ),
    Case("21H2", business(build=22000, revision=318), "unsupported-release", "build 22000 (21H2)"),
    Case("26H1", business(build=28000, revision=1), "unsupported-release", "build 28000 (26H1)"),
    Case(
        "Windows 10, any release since 2004",
        business(build=19041, revision=3803),
        "not-windows-11",
        "Windows 10, build 19041 (2004 to 22H2)",
    ),
    Case(
        "multi-edition ISO with no Enterprise that can be imported",
        of(PRO, TEN, replace(ENTERPRISE, architecture="arm64")),
        "not-windows-11",
        "Image 2 on the ISO, Enterprise, is Windows 10",
    ),
    Case("Windows Server 2025", of(*server_editions()), "server-iso", "contains Windows Server"),
    Case("evaluation edition", of(*evaluation_editions()), "evaluation-iso", "EnterpriseEval"),
    Case("LTSC 2024", of(*ltsc_editions()), "ltsc-iso", "EnterpriseS"),
    Case(
        "business editions for arm64",
        business(architecture="arm64"),
        "wrong-architecture",
        "for arm64",
    ),
    Case("consumer editions", of(*consumer_editions()), "no-such-edition", "Core, CoreN"),
    # ESD
    Case(
        "ESD of the Media Creation Tool, business editions",
        of(EDUCATION, ENTERPRISE, PRO, wim_name="install.esd", label=MCT_LABEL),
        "esd-iso",
        "is an ESD",
    ),
    Case(
        "ESD of Microsoft's catalog, on an ISO",
        raw_esd(EDUCATION, PRO, ENTERPRISE),
        "esd-iso",
        "is an ESD",
    ),
    Case(
        "ESD named install.wim",
        lambda: make_image(wim=make_wim([ENTERPRISE], solid=True)),
        "esd-iso",
        "is an ESD",
    ),
    Case(
        "ESD with consumer editions",
        of(CORE, PRO, wim_name="install.esd"),
        "no-such-edition",
        "Core, Professional",
    ),
    # Images that lost their description
    Case(
        "an export without EDITIONID and more (tiny11, winutil)",
        described([ENTERPRISE], *MISSING_ELEMENTS),
        "unreadable-iso",
        "Image 1, 'Windows 11 Enterprise', on the ISO has no EDITIONID",
    ),
    Case(
        "a capture without a WINDOWS node",
        without_windows(replace(ENTERPRISE, name="golden")),
        "unreadable-iso",
        "Image 1, 'golden', on the ISO has no EDITIONID",
    ),
    Case(
        "an image without INSTALLATIONTYPE",
        described([ENTERPRISE], MISSING_ELEMENTS[1]),
        "unreadable-iso",
        "has no INSTALLATIONTYPE",
    ),
    Case(
        "Pro, and an image without EDITIONID",
        described([PRO, ENTERPRISE], MISSING_ELEMENTS[0]),
        "no-such-edition",
        "Image 2, 'Windows 11 Enterprise', on the ISO has no EDITIONID",
    ),
    Case("Windows PE only", of(SETUP, SETUP), "not-windows", "only Windows PE"),
    Case("a raw ESD of Server", raw_esd(*server_editions()), "server-iso", "Windows Server"),
    Case(
        "an impossible revision",
        business(revision=4_294_967_295),
        "unreadable-iso",
        "'4294967295'",
    ),
    Case(
        "two images with the same index",
        described([PRO, ENTERPRISE], ('INDEX="2"', 'INDEX="1"')),
        "unreadable-iso",
        "1 occurs twice",
    ),
    Case(
        "an image with two VERSIONs",
        described(
            [ENTERPRISE], ("</VERSION>", "</VERSION><VERSION><BUILD>26200</BUILD></VERSION>")
        ),
        "unreadable-iso",
        "BUILD twice",
    ),
    # Incomplete, or not an ISO
    Case("an interrupted download", truncated(0.6), "truncated", "The object ends after"),
    Case(
        "zeros in place of the folder sources",
        zeroed("/sources#"),
        "unreadable-iso",
        "only zeros",
    ),
    Case(
        "zeros in place of the start of install.wim",
        zeroed("/sources/install.wim"),
        "unreadable-iso",
        "only zeros",
    ),
    Case("only zeros", object_of(b""), "not-an-iso", "only zeros where"),
    Case(
        "Windows for x64 and for x86",
        lambda: make_image(wim=b"", sources="boot", files=BOTH),
        "not-windows",
        "several architectures (x64/sources, x86/sources)",
    ),
    Case(
        "install.wim split into install.swm",
        of(ENTERPRISE, wim_name="install.swm"),
        "split-image",
        "is split",
    ),
    Case("no install.wim", lambda: make_image(wim=b""), "not-windows", "no sources/install.wim"),
    Case(
        "a plain ISO 9660 image, such as a Linux ISO",
        lambda: make_image(layout="iso9660-only"),
        "not-windows",
        "plain ISO 9660",
    ),
    Case("a bare install.wim", object_of(b"MSWIM\0\0\0"), "not-an-iso", "a bare Windows image"),
    Case(
        "text with a byte order mark",
        object_of("\ufeffsha256 …\r\n".encode("utf-16-le"), 0),
        "not-an-iso",
        "a text file",
    ),
    Case(
        "a sign-in page",
        object_of(b"\xef\xbb\xbf<!DOCTYPE html><title>Sign in", 0),
        "not-an-iso",
        "an HTML page",
    ),
)
