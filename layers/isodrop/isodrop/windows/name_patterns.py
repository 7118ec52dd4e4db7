"""The naming schemes of ISOs, and the words in their names. Tables only.

A name is parsed in two steps. First, a :class:`NamePattern` recognizes the naming scheme by the
beginning and end of the name. Then each fact (release, build, architecture, language, kind of ISO)
is found with one pattern that is the same for all schemes, because Microsoft uses the same words
everywhere. The kind of ISO may then determine the family: Server is a family of its own in every
scheme.

To support another scheme, add a :class:`NamePattern`; to support another word, add it to its table.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

WindowsKind = Literal["11", "10", "server", "none"]

# Patterns are strings: re compiles them when the first name is parsed, and caches them. Compiling
# them on import would slow down the start of everything that imports this module.
FLAGS: Final = re.ASCII | re.IGNORECASE


@dataclass(frozen=True, slots=True)
class NamePattern:
    """One naming scheme of ISOs: a regular expression, and facts that the scheme implies.

    Attributes
    ----------
    name : str
        The family, unless the kind of ISO implies another.
    regex : str
        Matches the whole stem with :data:`FLAGS`; ``_`` stands for spaces.
    families : mapping of str to str
        The family by kind of ISO.
    iso_kind : str or None
        The kind of ISO that the scheme implies.
    revision_separators : str
        The characters between a build and its revision, as in a character class.
    documented : frozenset of str
        The kinds of ISO in this scheme that AWS documents as importable.
    is_lab : bool
        Whether Microsoft's build lab uses the scheme. Such names contain the release of the
        branch, which may differ from that of the build: 19h2_release became 1909.
    """

    name: str
    regex: str
    families: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    iso_kind: str | None = None
    revision_separators: str = "."
    documented: frozenset[str] = frozenset()
    is_lab: bool = False


# The underscores may be missing in a name, or be parentheses: Chinese_Simplified,
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
    "simplified_chinese": "zh-CN",
    "traditional_chinese": "zh-TW",
    "croatian": "hr-HR",
    "czech": "cs-CZ",
    "danish": "da-DK",
    "dutch": "nl-NL",
    "eng_intl": "en-GB",
    "english": "en-US",
    "english_international": "en-GB",
    "english_intl": "en-GB",
    "estonian": "et-EE",
    "finnish": "fi-FI",
    "french": "fr-FR",
    "canadian_french": "fr-CA",
    "french_canada": "fr-CA",
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
    "multi_lang": "mul",
    "multi_language": "mul",
    "multilingual": "mul",
    "norwegian": "nb-NO",
    "polish": "pl-PL",
    "portuguese": "pt-PT",
    "portuguese_brazil": "pt-BR",
    "portuguese_portugal": "pt-PT",
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
# A language without a region stands for the tag that Windows supports; if there are several, for
# the likeliest one according to CLDR:
# https://github.com/unicode-org/cldr/blob/main/common/supplemental/likelySubtags.xml
# The other codes are countries, or Microsoft's own codes.
LANGUAGE_CODES: Final = {
    **{tag.partition("-")[0]: tag for tag in reversed(LANGUAGE_TAGS.values())},
    "en": "en-US",
    "es": "es-ES",
    "fr": "fr-FR",
    "pt": "pt-BR",
    "sr": "sr-Latn-RS",
    "sr-latn": "sr-Latn-RS",
    "zh": "zh-CN",
    "ar": "ar",
    "cn": "zh-CN",
    "ct": "zh-TW",
    "tw": "zh-TW",
    "hk": "zh-HK",
    "jp": "ja-JP",
    "kr": "ko-KR",
    "pp": "pt-PT",
    "mu": "mul",
    "mul": "mul",
}

ARCHITECTURES: Final = {
    "x64": "x64",
    "amd64": "x64",
    "x8664": "x64",
    "64bit": "x64",
    "64": "x64",
    "arm64": "arm64",
    "aarch64": "arm64",
    "a64": "arm64",
    "64arm": "arm64",
    "x86": "x86",
    "x32": "x86",
    "32bit": "x86",
}

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

# The first pattern that matches the words of a name determines the kind of ISO, so more specific
# patterns come first. CLIENTENTERPRISE with OEM is IoT Enterprise, the only Enterprise that
# Microsoft sells through manufacturers; ENTERPRISES is the EDITIONID EnterpriseS, which is LTSC.
ISO_KINDS: Final = (
    (
        "languages",
        (
            r"\blang(?:uage)? ?packs?(?:all|dvd)?\b|\bfod\b|\bfeat(?:ures?)? ?on ?demand\b"
            r"|\boptional features\b|\blof\b|\blip\b"
        ),
    ),
    ("inbox-apps", r"\binbox ?apps?\b|\bapp update\b"),
    ("kit", r"\b(?:e?wdk|hlk|hck|adk|sdk)\b"),
    ("drivers", r"\bvirtio win\b"),
    ("server", r"\bwin(?:dows)? ?(?:server|svr)\b"),
    ("ltsc-eval", r"lts[bc](?:20[0-9]{2})?\b.*\beval|\benterprisesn? ?eval"),
    ("enterprise-eval", r"\b(?:enterprisen?)?eval(?:uation)?\b"),
    ("iot-ltsc", r"\biot.*lts[bc]|lts[bc].*\biot|\biot ?enterprises"),
    ("ltsc", r"\blts[bc](?:20[0-9]{2})?\b|\benterprisesn? (?:oem|vol)"),
    ("iot", r"\biot(?:enterprise)?\b|\benterprise oem\b"),
    ("cloud", r"\bcloud(?:edition|e)?n?\b"),
    ("business", r"\bbusiness\b|\bpro ent edu\b"),
    ("consumer", r"\bconsumer\b|\binsiderpreview client\b"),
    ("multi", r"\bmulti(?:ple)?\b|\bcombined\b"),
    ("enterprise-n", r"\b(?:enterprise|ent) ?n\b"),
    ("enterprise", r"\benterprise(?:vl)?\b|\bent\b"),
    ("pro", r"\b(?:ppi)?pro(?:fessional|workstation|education)?n?\b"),
    ("education", r"\bedu(?:cation)?n?\b"),
    ("home", r"\b(?:home|core(?:singlelanguage|countryspecific)?|china)n?\b"),
)
# In a scheme that is used for Windows only, this word alone is sufficient.
SERVER: Final = r"\b(?:server|svr)\b"
WITH_ENTERPRISE: Final = frozenset({"business", "enterprise"})
MAY_HAVE_ENTERPRISE: Final = WITH_ENTERPRISE | {"multi", None}
NOT_WINDOWS: Final = frozenset({"languages", "inbox-apps", "kit", "drivers"})
MULTILINGUAL: Final = frozenset({"languages", "inbox-apps"})
LTSC: Final = frozenset({"ltsc", "ltsc-eval", "iot-ltsc"})

# One pattern for each fact, for the stem or its words. All repetitions are bounded, so that no name
# causes catastrophic backtracking.
COPY_SUFFIX: Final = r"_?\([0-9]{1,3}\)|_-_copy|_copy|(?<!win)(?<!windows)[_-][1-9]"
IGNORED_NUMBERS: Final = (
    r"(?<![a-z0-9])x[0-9]{2}-[0-9]{5}(?![0-9])"  # a part number
    r"|(?<![a-z0-9.])10\.0\.(?=[0-9]{5})"  # the same in every Windows since 10
    r"|_dvd(?:_[a-z]{1,2})?(?:_[0-9a-f]{5,10})?(?![a-z0-9])"
)
LAB_TIME: Final = r"(?<=[0-9])\.[0-9]{6}-[0-9]{4}(?:\.|(?=_)|$)"
UPDATE_MONTH: Final = r"_updated_(?P<month>[a-z]{3,9})_(?P<year>20[0-9]{2})(?![0-9])"
WINDOWS_NUMBER: Final = (
    r"\b(?:win(?:dows)?(?: (?:pro|ent|edu|enterprise|home|n|server|svr|for)){0,5} ?|w|tiny)"
    r"(10|11)(?![0-9])"
)
HALF_YEAR: Final = r"(?:(?<![a-z0-9])|(?<=v))([0-9]{2}h[12])(?![0-9])"
YEAR_AND_MONTH: Final = (
    r"(?<![a-z0-9.-])(1507|1511|1607|1703|1709|1803|1809|1903|1909|2004)(?![a-z0-9-])"
)
SERVER_YEAR: Final = r"\b(20[0-9]{2})(?:[_ ]?(r2))?(?![a-z0-9])"
LTSC_RELEASE: Final = (
    r"(?P<kind>lts[bc])(?:[ _-]n)?[ _-]?(?P<year>20[0-9]{2}|[0-9]{2}h2)(?![0-9])"
    r"|(?<![0-9])(?P<year_before>20[0-9]{2})[ _-]?(?P<kind_after>lts[bc])"
)
BUILD: Final = (
    r"(?<![a-z0-9])(?P<build>[0-9]{{5}}|9600)"
    r"(?:[{revision_separators}](?P<revision>[0-9]{{1,5}}))?(?![a-z0-9])"
)
ARCHITECTURE: Final = (
    r"x86[ _-]64|amd64|aarch64|arm64|64arm|(?<![0-9])(?:64|32)[ _-]?bit"
    r"|(?<!linu)(?<!uni)x(?:64|86|32)(?![0-9])"
    r"|(?<![a-z0-9.])(?:a64(?=fre)|64(?![a-z0-9.]))|(?<=tiny11)a64(?![a-z0-9])"
)
LANGUAGE_WORD: Final = r"(?<![a-z])(?:{})(?![a-z])".format(
    "|".join(word.replace("_", "[ _(-]?") for word in sorted(LANGUAGES, key=len, reverse=True))
)
LANGUAGE_TAG: Final = r"(?<![a-z0-9])[a-z]{2}[-_ ](?:[a-z]{4}[-_ ])?[a-z]{2}(?![a-z0-9])"
LEADING_LANGUAGE_CODE: Final = r"(?P<code>[a-z]{2,3}(?:-[a-z]{2,4}){0,2})_(?=win|hyper)"

# Matches what is between the beginning and the end of a name.
_ANY: Final = r"[A-Za-z0-9_.,&()\[\]-]{1,200}"
_CODE: Final = r"[a-z]{2,3}(?:-[a-z]{2,4}){0,2}"
_PART_NUMBER: Final = r"(?:X[0-9]{2}-[0-9]{5}_)?"
_LAB_BUILD: Final = r"[0-9]{4,5}\.[0-9]{1,5}\.(?:[A-Z_]{1,30}\.)?[0-9]{6}-[0-9]{4}"
_EVALUATION: Final = {
    "enterprise-eval": "evaluation-center",
    "ltsc-eval": "evaluation-center",
}
# Microsoft publishes no ISO with only Pro, Home or Education, and its build lab puts an edition
# into every name. So names in the lab's scheme with these editions, or with none, are UUP dump's.
_UUP: Final = dict.fromkeys(("pro", "home", "education", "multi", ""), "uup-dump")

NAME_PATTERNS: Final = (
    NamePattern(
        "consumer-download",  # microsoft.com/software-download
        r"Win(?:10|11)(?:_(?:[0-9]{2}H[12]|1[5-9][0-9]{2}|2004|v?[0-9]|Edu(?:cation)?|Pro|Home|K?N"
        r"|SingleLang(?:uage)?|China|GGK))*"
        rf"_(?:{LANGUAGE_WORD})\)?_(?:{ARCHITECTURE})(?:_?v[0-9]{{1,2}})?",
        iso_kind="consumer",
    ),
    NamePattern(
        "vlsc-admin-center",  # admin.microsoft.com, formerly the Volume Licensing Service Center
        rf"SW_DVD[0-9]{{1,2}}_(?:NTRL_)?Win{_ANY}",
        dict.fromkeys(LTSC, "vlsc-admin-center-ltsc"),
        revision_separators=".-",
        documented=WITH_ENTERPRISE,
    ),
    NamePattern(
        "vlsc-admin-center-custom",  # with a prefix
        rf"[A-Z0-9]{{1,8}}_SW_DVD[0-9]{{1,2}}_(?:NTRL_)?Win{_ANY}",
        dict.fromkeys(LTSC, "vlsc-admin-center-ltsc"),
        revision_separators=".-",
        documented=WITH_ENTERPRISE,
    ),
    NamePattern(
        "msdn-business",  # Visual Studio subscriptions, formerly MSDN
        rf"{_CODE}_(?:[a-z_]{{1,60}}_)?(?:windows|hyper-v)_{_ANY}_dvd(?:_[a-z]{{1,2}})?_[0-9a-f]{{5,10}}",
        {
            **dict.fromkeys(LTSC | {"iot"}, "msdn-iot-ltsc"),
            **dict.fromkeys(("consumer", "multi", "home", "pro"), "msdn-consumer"),
        },
        documented=frozenset({"business"}),
    ),
    NamePattern(
        "oem-buildstring",  # names of the build lab, which UUP dump copies
        rf"{_PART_NUMBER}{_LAB_BUILD}[._]{_ANY}",
        {**_EVALUATION, **_UUP},
        is_lab=True,
    ),
    NamePattern(
        "oem-buildstring",  # the same without its beginning
        rf"{_PART_NUMBER}(?:CLIENT|SERVER)[A-Z0-9_.]{{0,200}}_(?:x64|amd64|a64|x86)fre_{_CODE}(?:_[0-9a-f]{{8,40}})?",
        {**_EVALUATION, **_UUP},
        is_lab=True,
    ),
    NamePattern(
        "uup-dump",  # its converter for Linux
        rf"[0-9]{{5}}\.[0-9]{{1,5}}_[A-Z0-9_.]{{1,200}}_(?:x64|amd64|arm64|x86)_{_CODE}",
        is_lab=True,
    ),
    NamePattern(
        "insider-preview",
        rf"Windows(?:10|11)?_(?:InsiderPreview|Preview)_{_ANY}",
        revision_separators="._",
    ),
    NamePattern(
        "windows-server",  # of the evaluation center
        rf"Windows_Server_[A-Z0-9_]{{1,80}}_EVAL_{_CODE}_[0-9]{{5}}(?:_refresh)?",
        revision_separators="._",
    ),
    NamePattern("not-an-os-image", rf"virtio-win(?:{_ANY})?"),
    NamePattern("not-an-os-image", rf"(?:Enterprise_?WDK|EWDK)_{_ANY}", iso_kind="kit"),
)
