"""How ISOs are named: where a name comes from, and the words in it. Tables only.

A name is read in two steps. A :class:`NamePattern` recognizes whose way of naming it is, by what
such names begin and end with; it says nothing about what is between. Each fact (release, build,
architecture, language, edition) is then read by one pattern that is the same for all sources, for
the words are the same wherever Microsoft puts them. What is on the disc tells the family then:
Server is a family of its own, whoever names it.

To know another way of naming, add one :class:`NamePattern`; to know another word, add it to its
table.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Windows = Literal["11", "10", "server", "none"]

# Patterns are text: they are compiled when the first name is read, and kept by re itself, because
# compiling them takes longer than starting everything else that only imports this.
FLAGS: Final = re.ASCII | re.IGNORECASE


@dataclass(frozen=True, slots=True)
class NamePattern:
    """One way of naming ISOs: a pattern, and what goes without saying in it.

    Attributes
    ----------
    name : str
        The family, unless the edition tells another.
    pattern : str
        Of the whole stem, for :data:`FLAGS`, with ``_`` for spaces.
    families : mapping of str to str
        The family by edition.
    edition : str or None
        What goes without saying.
    joints : str
        What may stand between a build and its revision: the characters of a class.
    documented : frozenset of str
        The editions of which AWS documents media of this source as importable.
    is_lab : bool
        Whether it is a name of Microsoft's build lab. The release in one is that of the branch,
        which need not be that of the build: 19h2_release became 1909.
    """

    name: str
    pattern: str
    families: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    edition: str | None = None
    joints: str = "."
    documented: frozenset[str] = frozenset()
    is_lab: bool = False


# What an underscore stands for may be missing in a name, or be a bracket: Chinese_Simplified,
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
# A bare language means the one of its tags that Windows has; where it has several, the likeliest
# by CLDR: https://github.com/unicode-org/cldr/blob/main/common/supplemental/likelySubtags.xml
# The others are countries, and codes of Microsoft's own.
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

# The first that is found in the words of a name tells the edition: what excludes an import comes
# before what allows it. CLIENTENTERPRISE with OEM is IoT Enterprise, the only Enterprise that
# Microsoft sells through manufacturers; ENTERPRISES is the EDITIONID EnterpriseS, so LTSC.
EDITIONS: Final = (
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
# Of a source that names nothing but Windows, the bare word is enough.
SERVER: Final = r"\b(?:server|svr)\b"
WITH_ENTERPRISE: Final = frozenset({"business", "enterprise"})
MAY_HAVE_ENTERPRISE: Final = WITH_ENTERPRISE | {"multi", None}
NO_WINDOWS: Final = frozenset({"languages", "inbox-apps", "kit", "drivers"})
IN_SEVERAL_LANGUAGES: Final = frozenset({"languages", "inbox-apps"})
LTSC: Final = frozenset({"ltsc", "ltsc-eval", "iot-ltsc"})

# One pattern for each fact, of the stem in lower case. All bounded, none nested in another
# repetition: a hostile name costs no more than a long one.
COPY: Final = r"_?\([0-9]{1,3}\)|_-_copy|_copy|(?<!win)(?<!windows)[_-][1-9]"
NUMBERS_OF_NOTHING: Final = (
    r"(?<![a-z0-9])x[0-9]{2}-[0-9]{5}(?![0-9])"  # a part number
    r"|(?<![a-z0-9.])10\.0\.(?=[0-9]{5})"  # of every Windows since 10
    r"|_dvd(?:_[a-z]{1,2})?(?:_[0-9a-f]{5,10})?(?![a-z0-9])"
)
LAB_TIME: Final = r"(?<=[0-9])\.[0-9]{6}-[0-9]{4}(?:\.|(?=_)|$)"
UPDATED: Final = r"_updated_(?P<month>[a-z]{3,9})_(?P<year>20[0-9]{2})(?![0-9])"
WINDOWS: Final = (
    r"\b(?:win(?:dows)?(?: (?:pro|ent|edu|enterprise|home|n|server|svr|for)){0,5} ?|w|tiny)"
    r"(10|11)(?![0-9])"
)
HALF_YEAR: Final = r"(?:(?<![a-z0-9])|(?<=v))([0-9]{2}h[12])(?![0-9])"
YEAR_AND_MONTH: Final = (
    r"(?<![a-z0-9.-])(1507|1511|1607|1703|1709|1803|1809|1903|1909|2004)(?![a-z0-9-])"
)
SERVER_YEAR: Final = r"\b(20[0-9]{2})(?:[_ ]?(r2))?(?![a-z0-9])"
LTSC_WORDS: Final = (
    r"(?P<kind>lts[bc])(?:[ _-]n)?[ _-]?(?P<year>20[0-9]{2}|[0-9]{2}h2)(?![0-9])"
    r"|(?<![0-9])(?P<year_before>20[0-9]{2})[ _-]?(?P<kind_behind>lts[bc])"
)
BUILD: Final = (
    r"(?<![a-z0-9])(?P<build>[0-9]{{5}}|9600)(?:[{joints}](?P<revision>[0-9]{{1,5}}))?(?![a-z0-9])"
)
ARCHITECTURE: Final = (
    r"x86[ _-]64|amd64|aarch64|arm64|64arm|(?<![0-9])(?:64|32)[ _-]?bit"
    r"|(?<!linu)(?<!uni)x(?:64|86|32)(?![0-9])"
    r"|(?<![a-z0-9.])(?:a64(?=fre)|64(?![a-z0-9.]))|(?<=tiny11)a64(?![a-z0-9])"
)
LANGUAGE_WORD: Final = r"(?<![a-z])(?:{})(?![a-z])".format(
    "|".join(word.replace("_", "[ _(-]?") for word in sorted(LANGUAGES, key=len, reverse=True))
)
LANGUAGE_CODE: Final = r"(?<![a-z0-9])[a-z]{2}[-_ ](?:[a-z]{4}[-_ ])?[a-z]{2}(?![a-z0-9])"
FIRST_CODE: Final = r"(?P<code>[a-z]{2,3}(?:-[a-z]{2,4}){0,2})_(?=win|hyper)"

# What may stand between the beginning and the end of a name of some source.
_ANY: Final = r"[A-Za-z0-9_.,&()\[\]-]{1,200}"
_CODE: Final = r"[a-z]{2,3}(?:-[a-z]{2,4}){0,2}"
_LAB: Final = r"(?:X[0-9]{2}-[0-9]{5}_)?"
_LAB_BUILD: Final = r"[0-9]{4,5}\.[0-9]{1,5}\.(?:[A-Z_]{1,30}\.)?[0-9]{6}-[0-9]{4}"
_EVALUATION: Final = {
    "enterprise-eval": "evaluation-center",
    "ltsc-eval": "evaluation-center",
}
# A lab's name with one edition that no disc of Microsoft's holds alone, or with none at all.
_UUP: Final = dict.fromkeys(("pro", "home", "education", "multi", ""), "uup-dump")

SOURCES: Final = (
    NamePattern(
        "consumer-download",  # microsoft.com/software-download
        r"Win(?:10|11)(?:_(?:[0-9]{2}H[12]|1[5-9][0-9]{2}|2004|v?[0-9]|Edu(?:cation)?|Pro|Home|K?N"
        r"|SingleLang(?:uage)?|China|GGK))*"
        rf"_(?:{LANGUAGE_WORD})\)?_(?:{ARCHITECTURE})(?:_?v[0-9]{{1,2}})?",
        edition="consumer",
    ),
    NamePattern(
        "vlsc-admin-center",  # admin.microsoft.com, formerly the Volume Licensing Service Center
        rf"SW_DVD[0-9]{{1,2}}_(?:NTRL_)?Win{_ANY}",
        dict.fromkeys(LTSC, "vlsc-admin-center-ltsc"),
        joints=".-",
        documented=WITH_ENTERPRISE,
    ),
    NamePattern(
        "vlsc-admin-center-custom",  # somebody's own word before it
        rf"[A-Z0-9]{{1,8}}_SW_DVD[0-9]{{1,2}}_(?:NTRL_)?Win{_ANY}",
        dict.fromkeys(LTSC, "vlsc-admin-center-ltsc"),
        joints=".-",
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
        "oem-buildstring",  # the build lab's own names, and what UUP dump makes after them
        rf"{_LAB}{_LAB_BUILD}[._]{_ANY}",
        {**_EVALUATION, **_UUP},
        is_lab=True,
    ),
    NamePattern(
        "oem-buildstring",  # the same, its beginning left out
        rf"{_LAB}(?:CLIENT|SERVER)[A-Z0-9_.]{{0,200}}_(?:x64|amd64|a64|x86)fre_{_CODE}(?:_[0-9a-f]{{8,40}})?",
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
        joints="._",
    ),
    NamePattern(
        "windows-server",  # of the evaluation center, by hand
        rf"Windows_Server_[A-Z0-9_]{{1,80}}_EVAL_{_CODE}_[0-9]{{5}}(?:_refresh)?",
        joints="._",
    ),
    NamePattern("not-an-os-image", rf"virtio-win(?:{_ANY})?"),
    NamePattern("not-an-os-image", rf"(?:Enterprise_?WDK|EWDK)_{_ANY}", edition="kit"),
)
