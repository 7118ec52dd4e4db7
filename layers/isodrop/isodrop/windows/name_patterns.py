"""How ISOs are named: one table of families, and the words in their names. Tables only.

To know another family of names, add one :class:`Family` to :data:`FAMILIES`. Its pattern is
matched against the whole base name without the extension, letter case ignored, with ``_`` for
spaces, and says what it finds by group: ``windows``, ``release``, ``ltsc``, ``build``,
``revision``, ``architecture``, ``language``, ``edition``, ``month``, ``year``. The first family
that matches is taken.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

Windows = Literal["11", "10", "server", "none"]

# Patterns are text: they are compiled when the first name is read, and kept by re itself, because
# compiling them takes longer than starting everything else that only imports this.
FLAGS: Final = re.ASCII | re.IGNORECASE


@dataclass(frozen=True, slots=True)
class Family:
    """One way of naming ISOs: a pattern, and what goes without saying in it.

    Attributes
    ----------
    name : str
    pattern : str
        Of the whole stem, for :data:`FLAGS`.
    windows, edition, language
        What goes without saying; a group of the same name is not asked then.
    documented : bool
        Whether AWS documents media of this source as importable.
    """

    name: str
    pattern: str
    windows: Windows | None = None
    edition: str | None = None
    language: str | None = None
    documented: bool = False


# An underscore in a word may be missing in a name, or be a bracket: Chinese_Simplified,
# EnglishInternational, Chinese(Simplified).
LANGUAGES: Final = {
    "arabic": "ar",
    "brazilian": "pt-BR",
    "brazilian_portuguese": "pt-BR",
    "bulgarian": "bg-BG",
    "chinese_simplified": "zh-CN",
    "chinese_traditional": "zh-TW",
    "chnsimp": "zh-CN",
    "chntrad": "zh-TW",
    "chntrad_hong_kong": "zh-HK",
    "croatian": "hr-HR",
    "czech": "cs-CZ",
    "danish": "da-DK",
    "dutch": "nl-NL",
    "eng_intl": "en-GB",
    "english": "en-US",
    "english_international": "en-GB",
    "estonian": "et-EE",
    "finnish": "fi-FI",
    "french": "fr-FR",
    "french_canadian": "fr-CA",
    "german": "de-DE",
    "greek": "el-GR",
    "hebrew": "he-IL",
    "hungarian": "hu-HU",
    "italian": "it-IT",
    "japanese": "ja-JP",
    "korean": "ko-KR",
    "latvian": "lv-LV",
    "lithuanian": "lt-LT",
    "multilang": "mul",
    "norwegian": "nb-NO",
    "polish": "pl-PL",
    "portuguese": "pt-PT",
    "romanian": "ro-RO",
    "russian": "ru-RU",
    "serbian_latin": "sr-Latn-RS",
    "slovak": "sk-SK",
    "slovenian": "sl-SI",
    "spanish": "es-ES",
    "spanish_latam": "es-MX",
    "spanish_mexico": "es-MX",
    "swedish": "sv-SE",
    "thai": "th-TH",
    "turkish": "tr-TR",
    "ukrainian": "uk-UA",
}
LANGUAGE_WORDS: Final = {word.replace("_", ""): tag for word, tag in LANGUAGES.items()}
LANGUAGE_TAGS: Final = {tag.lower(): tag for tag in (*LANGUAGES.values(), "ar-SA")}

ARCHITECTURES: Final = {
    "x64": "x64",
    "amd64": "x64",
    "x8664": "x64",
    "64bit": "x64",
    "arm64": "arm64",
    "aarch64": "arm64",
    "a64": "arm64",
    "64arm": "arm64",
    "x86": "x86",
    "x32": "x86",
    "32bit": "x86",
}

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

# The first that is found in the words of a name tells the edition: what excludes an import comes
# before what allows it. CLIENTENTERPRISE with OEM is IoT Enterprise, the only Enterprise that
# Microsoft sells through manufacturers; ENTERPRISES is the EDITIONID EnterpriseS, so LTSC.
EDITIONS: Final = (
    (
        "languages",
        r"\blang(?:uage)? ?packs?\b|\bfod\b|\blanguages and optional features\b|\blof packages\b",
    ),
    ("inbox-apps", r"\binbox ?apps\b"),
    ("server", r"\bwin(?:dows)? ?server\b"),
    ("ltsc-eval", r"\blts[bc](?:20[0-9]{2})?\b.*\beval|\benterprisesn? ?eval"),
    ("enterprise-eval", r"\b(?:enterprisen?)?eval(?:uation)?\b"),
    ("iot-ltsc", r"\biot\b.*\blts[bc]|\blts[bc].*\biot\b|\biotenterprises"),
    ("ltsc", r"\blts[bc](?:20[0-9]{2})?\b|\benterprisesn? (?:oem|vol)"),
    ("iot", r"\biot(?:enterprise)?\b|\benterprise oem\b"),
    ("business", r"\bbusiness\b|\bpro ent edu\b"),
    ("consumer", r"\bconsumer\b"),
    ("multi", r"\bmulti\b"),
    ("enterprise-n", r"\b(?:enterprise|ent) ?n\b"),
    ("enterprise", r"\benterprise(?:vl)?\b|\bent\b"),
    ("pro", r"\bpro(?:fessional)?n?\b"),
    ("education", r"\bedu(?:cation)?n?\b"),
    ("home", r"\b(?:home|core)n?\b"),
)
WITH_ENTERPRISE: Final = frozenset({"business", "enterprise"})
MAY_HAVE_ENTERPRISE: Final = WITH_ENTERPRISE | {"multi", None}

# Parts of the patterns below. All bounded, none nested in another repetition: a hostile name
# costs no more than a long one.
_W: Final = r"(?P<windows>10|11)"
_RELEASE: Final = r"(?P<release>[0-9]{2}H[12]|1[5-9]0[0-9]|1511|2004)"
_VERSION: Final = rf"(?:_version_{_RELEASE})?"  # the first release of Windows 11 had none
_ARCH: Final = (
    r"(?P<architecture>x64|x86|x32|arm64|amd64|a64|64-?bit|32-?bit|64arm)(?:fre)?(?:_?v[0-9]{1,2})?"
)
LANGUAGE_WORD: Final = r"(?P<language>{})\)?".format(
    "|".join(word.replace("_", "[_(]?") for word in sorted(LANGUAGES, key=len, reverse=True))
)
_CODE: Final = r"(?P<language>[a-z]{2,3}(?:-[a-z]{4})?(?:-[a-z]{2})?)"
_UPDATED: Final = r"(?:_updated_(?P<month>[a-z]{3,9})_(?P<year>20[0-9]{2}))?"
_DVD: Final = r"_dvd_[0-9a-f]{6,10}"
_PART: Final = r"(?:X[0-9]{2}-[0-9]{5}|(?P<build>[0-9]{5})-(?P<revision>[0-9]{1,5}))"
_BUILD: Final = r"(?P<build>[0-9]{5})\.(?P<revision>[0-9]{1,5})\.[0-9]{6}-[0-9]{4}\."
_BRANCH: Final = r"(?:(?P<release>[0-9]{2}H[12])_)?[a-z][a-z0-9_]{1,40}?_"
_LAB: Final = rf"(?:X[0-9]{{2}}-[0-9]{{5}}_)?(?:{_BUILD}{_BRANCH})?"
_LAB_END: Final = rf"_{_ARCH}_{_CODE}(?:_[0-9a-f]{{8,40}})?"
_VLSC: Final = r"SW_DVD[0-9]_Win(?:dows)?"
_VLSC_END: Final = rf"_MLF(?:_-?[0-9])?_{_PART}(?:_MAK)?"
_PRO: Final = rf"{_VLSC}_Pro_{_W}_{_RELEASE}(?:\.[0-9]{{1,2}})?_{_ARCH}_{LANGUAGE_WORD}"

FAMILIES: Final = (
    Family(
        "consumer-download",  # microsoft.com/software-download
        rf"Win{_W}(?:_{_RELEASE})?(?:_v[0-9])?_{LANGUAGE_WORD}_{_ARCH}",
        edition="consumer",
    ),
    Family(
        "msdn-business",  # Visual Studio subscriptions, and the next four
        rf"{_CODE}_windows_{_W}_business_editions{_VERSION}{_UPDATED}_{_ARCH}{_DVD}",
        edition="business",
        documented=True,
    ),
    Family(
        "msdn-consumer",
        rf"{_CODE}_windows_{_W}_consumer_editions{_VERSION}{_UPDATED}_{_ARCH}{_DVD}",
        edition="consumer",
    ),
    Family(
        "msdn-iot-ltsc",
        rf"{_CODE}_windows_{_W}_(?P<edition>(?:iot_)?enterprise(?:_n)?(?:_lts[bc])?)"
        rf"_(?:(?P<ltsc>20[0-9]{{2}})|version_{_RELEASE}){_UPDATED}_{_ARCH}{_DVD}",
    ),
    Family(
        "windows-server",
        rf"{_CODE}_windows_server_(?P<release>20[0-9]{{2}}){_UPDATED}_{_ARCH}{_DVD}",
        windows="server",
        edition="server",
    ),
    Family(
        "not-an-os-image",
        rf"mul_(?P<edition>[a-z_]{{3,80}}?)_for_windows_(?:10|11|server)"
        rf"{_VERSION}{_UPDATED}_{_ARCH}{_DVD}",
        windows="none",
        language="mul",
    ),
    Family(
        "evaluation-center",  # microsoft.com/evalcenter: the build lab's own names
        rf"{_LAB}CLIENT_?(?P<edition>[A-Z_]{{0,30}}EVAL[A-Z_]{{0,10}}){_LAB_END}",
    ),
    Family(
        "windows-server",
        rf"{_LAB}SERVER[A-Z_]{{0,40}}{_LAB_END}",
        windows="server",
        edition="server",
    ),
    Family(
        "uup-dump",
        rf"{_LAB}CLIENT(?P<edition>(?:PRO|CORE|EDUCATION|MULTI)?)N?(?:_OEMRET)?{_LAB_END}",
    ),
    Family("oem-buildstring", rf"{_LAB}CLIENT_?(?P<edition>[A-Z_]{{0,40}}){_LAB_END}"),
    Family(
        "not-an-os-image",
        rf"{_BUILD}{_BRANCH}{_ARCH}_(?P<edition>Inbox_?Apps|(?:CLIENT|SERVER)_LOF_PACKAGES)(?:_OEM)?",
        windows="none",
        language="mul",
    ),
    Family(
        "insider-preview",
        rf"Windows{_W}_InsiderPreview_Client_{_ARCH}_{_CODE}"
        r"_{1,2}(?P<build>[0-9]{5})(?:[._](?P<revision>[0-9]{1,5}))?",
        edition="consumer",
    ),
    Family(
        "insider-preview",
        rf"Windows{_W}_InsiderPreview_(?P<edition>[A-Za-z]{{2,30}})_{_ARCH}_{_CODE}"
        r"_{1,2}(?P<build>[0-9]{5})(?:[._](?P<revision>[0-9]{1,5}))?",
    ),
    Family(
        "windows-server",
        rf"Windows_InsiderPreview_Server[A-Za-z_]{{0,30}}_{_CODE}(?:_VHDX)?"
        r"_(?P<build>[0-9]{5})(?:[._](?P<revision>[0-9]{1,5}))?",
        windows="server",
        edition="server",
    ),
    Family(
        "vlsc-admin-center",  # admin.microsoft.com, formerly the Volume Licensing Service Center
        rf"{_PRO}_(?P<edition>[A-Za-z_]{{2,24}}?){_VLSC_END}",
        documented=True,
    ),
    Family(
        "vlsc-admin-center",  # the order of words until 2018
        rf"{_VLSC}_Pro_Ent_Edu_N_{_W}_{_RELEASE}(?:\.[0-9]{{1,2}})?_{_ARCH}_{LANGUAGE_WORD}"
        rf"(?:_-?[0-9])?{_VLSC_END}",
        edition="business",
    ),
    Family(
        "vlsc-admin-center-custom",
        rf"[A-Z]{{2}}_{_PRO}_(?P<edition>[A-Za-z_]{{2,24}}?){_VLSC_END}",
        documented=True,
    ),
    Family(
        "vlsc-admin-center-ltsc",
        rf"{_VLSC}_Ent_(?P<edition>LTS[BC])_(?:10_)?(?P<ltsc>20[0-9]{{2}})_{_ARCH}_{LANGUAGE_WORD}"
        rf"{_VLSC_END}",
    ),
    Family(
        "vlsc-admin-center-ltsc",
        rf"{_VLSC}_?{_W}_(?P<edition>IoT_Enterprise_LTS[BC])_(?P<ltsc>[0-9]{{2}}H2|[0-9]{{4}})"
        rf"_{_ARCH}(?:_EMB)?_{LANGUAGE_WORD}(?:_OEM)?_{_PART}",
    ),
    Family(
        "windows-server",
        rf"{_VLSC}_Server_[A-Z_]{{0,20}}?_?(?P<release>20[0-9]{{2}})_[0-9H.]{{2,8}}"
        rf"_{_ARCH}_{LANGUAGE_WORD}_[A-Z_]{{2,20}}?{_VLSC_END}",
        windows="server",
        edition="server",
    ),
    Family(
        "not-an-os-image",
        r"SW_DVD[0-9]_NTRL_Win_(?:10|11)_(?P<release>[0-9]{2}H[12]|[0-9]{4})_[A-Za-z0-9_]{0,40}"
        r"(?P<edition>LangPack|FOD|Feat_on_Demand|Inbox_?Apps|App_Update)[A-Za-z0-9_-]{0,60}",
        windows="none",
        language="mul",
    ),
    Family(
        "not-an-os-image",
        r"virtio-win(?:-[0-9.]{1,20})?(?:-[0-9]{1,3})?",
        windows="none",
        edition="drivers",
    ),
)
