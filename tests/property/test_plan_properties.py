"""Whatever the strings: a plan that the service model takes, or a rejection from the table."""

import re
from dataclasses import replace
from typing import Any

import botocore.session
import pytest
from botocore.model import MapShape, Shape, StructureShape
from botocore.validate import ParamValidator
from hypothesis import event, given, settings
from hypothesis import strategies as st

from isodrop.codes import CODES, AnswerKind, Code, Rejection
from isodrop.domain.content import staging_key
from isodrop.domain.ids import TOKEN_LENGTH, client_token, import_key, upload_id
from isodrop.domain.image_naming import MAX_TAGS, RESERVED_TAGS, check_template
from isodrop.domain.model import ImportPlan, ImportSettings, Upload
from isodrop.domain.overrides import RULES
from isodrop.domain.planning import plan_import
from isodrop.iso.model import IsoContents, WimImage
from tests.support.builders import BUSINESS, CONTENT, INFRASTRUCTURE, a_business_iso, an_upload

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
LONG_TEXT = st.one_of(ANY_TEXT, st.text(st.sampled_from("aZ9-_. é日\n{}"), max_size=2000))
WORDS = st.sampled_from(
    [*BUSINESS, "enterprise", "EnterpriseEval", "EnterpriseS", "ServerStandard", "Core", ""]
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 10, 1742, 19045, 22000, 22621, 22631, 26100, 26200, 28000, 2**31]),
    st.integers(),
)
FILE_NAMES = st.sampled_from(
    ["windows.iso", "Win11_22H2_English_x64.iso", "Win11_23H2_German_Arm64.ISO", "win10.Iso"]
)
NAMED_TEXT = LONG_TEXT.map(lambda text: f"in/{text}.iso")
SOUND_KEYS = st.one_of(FILE_NAMES, st.from_regex(r"[ -~¡-ÿ]{1,200}\.iso", fullmatch=True))
KEYS = st.one_of(FILE_NAMES, NAMED_TEXT, LONG_TEXT)

EDITIONS = st.builds(
    WimImage,
    index=NUMBERS,
    name=ANY_TEXT,
    edition_id=st.one_of(st.none(), WORDS, ANY_TEXT),
    installation_type=st.one_of(st.just("Client"), st.none(), st.just("Server Core"), ANY_TEXT),
    architecture=st.one_of(st.just("x64"), st.none(), st.just("arm64"), ANY_TEXT),
    major=st.one_of(st.just(10), st.none(), NUMBERS),
    minor=st.none(),
    build=st.one_of(st.none(), NUMBERS),
    revision=st.one_of(st.none(), NUMBERS),
    branch=st.none(),
    languages=st.lists(st.one_of(st.just("en-US"), ANY_TEXT), max_size=4).map(tuple),
    default_language=st.one_of(st.none(), ANY_TEXT),
)
ISOS = st.builds(
    IsoContents,
    label=ANY_TEXT,
    kind=st.just("wim"),
    images=st.lists(EDITIONS, max_size=4).map(tuple),
    size=st.just(5_000_000_000),
    requests=st.just(3),
    bytes_read=st.just(500_000),
)
SOUND_ISOS = st.builds(
    a_business_iso,
    name=ANY_TEXT,
    build=st.sampled_from([22621, 22631, 26100, 26200]),
    revision=st.one_of(st.none(), st.integers(0, 99_999)),
    languages=st.lists(ANY_TEXT, max_size=4).map(tuple),
    default_language=st.one_of(st.none(), ANY_TEXT),
)
GOOD_VALUES = {
    "image-name": "golden-image",
    "semantic-version": "1.2.3",
    "edition": "EnterpriseN",
    "image-index": "3",
    "description": "=?UTF-8?B?RsO8cg==?=",
    "rebuild": "again_1.0",
}
METADATA = st.dictionaries(
    st.one_of(st.sampled_from([*RULES, "image_name", "isodrop-edition"]), ANY_TEXT),
    st.one_of(st.sampled_from([*GOOD_VALUES.values()]), LONG_TEXT, st.just("=?x?B?=?=")),
    max_size=4,
)
GOOD_METADATA = st.sets(st.sampled_from([*GOOD_VALUES.keys() - {"edition"}])).map(
    lambda keys: {key: GOOD_VALUES[key] for key in keys}
)
SETTINGS = st.builds(
    ImportSettings,
    stack=LONG_TEXT,
    infrastructure_configuration_arn=st.just(INFRASTRUCTURE),
    edition=st.one_of(st.just("Enterprise"), ANY_TEXT),
    image_name_template=st.one_of(st.just("windows-11-{edition}-{release}"), LONG_TEXT),
    supported_windows_builds=st.one_of(
        st.just(frozenset({22621, 22631, 26100, 26200})), st.frozensets(NUMBERS, max_size=3)
    ),
    description=st.one_of(st.none(), LONG_TEXT),
    tags=st.dictionaries(st.one_of(ANY_TEXT, st.integers(0, 99).map(str)), LONG_TEXT, max_size=60),
)
SOUND_SETTINGS = st.builds(
    replace,
    SETTINGS,
    edition=st.sampled_from(BUSINESS),
    supported_windows_builds=st.just(frozenset({22621, 22631, 26100, 26200})),
    allowed_overrides=st.just(frozenset(RULES)),
)
UPLOADS = st.builds(
    an_upload, key=st.one_of(SOUND_KEYS, SOUND_KEYS, KEYS), etag=ANY_TEXT, sequencer=ANY_TEXT
)


@pytest.fixture(scope="module")
def service_model() -> Shape:
    model = botocore.session.get_session().get_service_model("imagebuilder")
    shape = model.operation_model("ImportDiskImage").input_shape
    assert shape is not None
    return shape


def request(upload: Upload, plan: ImportPlan) -> dict[str, Any]:
    token = client_token(upload.etag, import_key(plan, CONTENT.id), "stack", 0)
    assert len(token) == TOKEN_LENGTH
    return {
        "name": plan.name,
        "semanticVersion": plan.semantic_version,
        "description": plan.description,
        "platform": "Windows",
        "osVersion": "Microsoft Windows 11",
        "infrastructureConfigurationArn": INFRASTRUCTURE,
        "uri": f"s3://staging/{staging_key(upload_id(upload), 0)}",
        "windowsConfiguration": {"imageIndex": plan.image_index},
        "tags": plan.tags,
        "clientToken": token,
    }


def violations(shape: Shape, value: Any, where: str = "") -> list[str]:
    """Find what botocore's own validator passes over: patterns and the upper limits."""
    found = []
    size = value if isinstance(value, int) else len(value)
    if not shape.metadata.get("min", size) <= size <= shape.metadata.get("max", size):
        found.append(f"{where} has {size}")
    pattern = shape.metadata.get("pattern")
    if pattern is not None and not re.fullmatch(pattern, value, re.ASCII):
        found.append(f"{where} is {value!r}")
    if isinstance(shape, StructureShape):
        for key, item in value.items():
            found += violations(shape.members[key], item, f"{where}.{key}")
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            found += violations(shape.key, key, f"{where} key")
            found += violations(shape.value, item, f"{where}[{key}]")
    return found


def check_plan(upload: Upload, plan: ImportPlan, model: Shape) -> None:
    parameters = request(upload, plan)
    assert not ParamValidator().validate(parameters, model).has_errors()
    assert violations(model, parameters) == []
    assert upload.uri.encode()
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{1,126}[a-z0-9]", plan.name)
    assert all(int(node) <= 1073741823 for node in plan.semantic_version.split("."))
    assert len(plan.tags) <= MAX_TAGS - RESERVED_TAGS
    assert not any(key.lower().startswith("aws:") for key in plan.tags)
    assert plan.description.isprintable()
    assert all(note.isprintable() and len(note) < 1000 for note in plan.notes)


def check_rejection(rejection: Rejection) -> None:
    assert CODES[rejection.code].kind is AnswerKind.REJECTED
    for sentence in (rejection.message, rejection.remedy):
        assert sentence.isprintable()
        assert sentence.endswith(".")
        assert len(sentence) < 1000


@settings(max_examples=400)
@given(UPLOADS, st.one_of(ISOS, SOUND_ISOS), METADATA, st.one_of(SETTINGS, SOUND_SETTINGS))
def test_any_input_gives_a_valid_plan_or_a_listed_rejection(
    service_model: Shape,
    upload: Upload,
    contents: IsoContents,
    metadata: dict[str, str],
    stack: ImportSettings,
) -> None:
    decided = plan_import(upload, contents, metadata, stack)
    event(decided.code if isinstance(decided, Rejection) else "plan")
    if isinstance(decided, Rejection):
        check_rejection(decided)
    else:
        check_plan(upload, decided, service_model)


@settings(max_examples=400)
@given(SOUND_KEYS, SOUND_ISOS, GOOD_METADATA, SOUND_SETTINGS)
def test_a_sound_iso_gives_a_plan_that_fits_the_service(
    service_model: Shape,
    key: str,
    contents: IsoContents,
    metadata: dict[str, str],
    stack: ImportSettings,
) -> None:
    upload = an_upload(key)
    decided = plan_import(upload, contents, metadata, stack)
    event(decided.code if isinstance(decided, Rejection) else "plan")
    if isinstance(decided, Rejection):
        # Only what a key can do, or a build and its revision: be 22H2.
        assert decided.code is Code.UNSUPPORTED_RELEASE
    else:
        check_plan(upload, decided, service_model)


@given(UPLOADS, ISOS, METADATA, SETTINGS)
def test_the_same_input_gives_the_same_decision(
    upload: Upload, contents: IsoContents, metadata: dict[str, str], stack: ImportSettings
) -> None:
    assert plan_import(upload, contents, metadata, stack) == plan_import(
        upload, contents, metadata, stack
    )


@given(LONG_TEXT)
def test_a_valid_template_fills_to_a_valid_name(template: str) -> None:
    wrong = check_template(template)
    assert wrong is None or (wrong.isprintable() and wrong.endswith("."))


@given(UPLOADS)
def test_any_upload_has_an_upload_id(upload: Upload) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", upload_id(upload))
