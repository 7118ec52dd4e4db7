"""The contract of the events: schemas, samples, pages, and compatible changes."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from jsonschema import Draft4Validator
from pydantic import Field, create_model

from isodrop.codes import Code, docs_path
from isodrop.events import (
    DETAIL_TYPES,
    MODELS,
    ContractAmi,
    Event,
    FailedData,
    SucceededData,
    UnknownEventError,
    parse,
)
from isodrop_local.image_builder.shapes import violations
from tools.contract.__main__ import ROOT, find_breaking_changes, find_drift, make_files
from tools.contract.samples import SAMPLES, find_errors, read
from tools.contract.schemas import (
    CONTENT_LIMIT,
    all_schemas,
    breaking_changes,
    properties,
    registry,
    schema_of,
)

PAST = ROOT / "tests/data/contract"
SCHEMAS = all_schemas()
NOW = {f"{SAMPLES}/{name}": event for name, event in read(ROOT / SAMPLES).items()}
EARLIER = {
    f"{folder.name}/{name}": event
    for folder in sorted(PAST.iterdir())
    for name, event in read(folder).items()
}
SUCCEEDED = NOW["events/out/iso-import-succeeded"]


def changed(event: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(dict(event)), **{k.replace("_", "-"): v for k, v in fields.items()}}


class TestSchemasAndSamples:
    def test_schemas_and_samples_are_up_to_date(self) -> None:
        assert list(find_drift()) == []

    def test_the_subscriber_in_the_events_page_is_the_tested_one(
        self,
    ) -> None:
        code = (ROOT / "examples/subscriber/app.py").read_text()
        assert f"```python\n{code}```" in (ROOT / "docs/events.md").read_text()

    @pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
    def test_a_schema_is_valid_in_its_dialect(self, schema: Any) -> None:
        Draft4Validator.check_schema(schema)
        assert schema["id"].startswith("urn:isodrop:iso-import-")

    @pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
    def test_every_field_has_a_description(self, schema: Any) -> None:
        for each in properties(schema):
            assert each.schema.get("description", "").endswith("."), each.path

    @pytest.mark.parametrize("event", [*NOW.values(), *EARLIER.values()], ids=[*NOW, *EARLIER])
    def test_old_and_new_samples_fit_schema_and_model(self, event: Any) -> None:
        assert list(find_errors(event, SCHEMAS[event["detail-type"]])) == []

    def test_each_event_has_a_sample_and_its_variants(
        self,
    ) -> None:
        assert {event["detail-type"] for event in NOW.values()} == set(MODELS)
        assert NOW["events/out/iso-import-succeeded-reused"]["detail"]["data"]["reused"] is True
        assert NOW["events/out/iso-import-failed"]["detail"]["data"]["failedStep"]
        assert NOW["events/out/iso-import-failed-no-build"]["detail"]["data"]["buildArn"] is None
        everywhere = NOW["events/out/iso-import-succeeded-distribution"]["detail"]["data"]
        assert len({(ami["region"], ami["account"]) for ami in everywhere["amis"]}) == 3
        nowhere_else = NOW["events/out/iso-import-failed-distribution"]["detail"]["data"]
        assert nowhere_else["code"] == "distribution-failed"
        assert len(nowhere_else["amis"]) == 1

    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (lambda e: e["detail"]["data"].pop("amis"), "'amis' is a required property"),
            (lambda e: e["detail"]["data"].update(amis=[]), "[] should be non-empty"),
            (lambda e: e["detail"]["data"].update(attempt="0"), "'0' is not of type 'integer'"),
            (lambda e: e.update(source="somebody"), "'somebody' is not one of"),
            (lambda e: e["detail"]["data"].update(more=1), "detail.data.more is not in the model"),
        ],
    )
    def test_a_damaged_sample_is_reported_with_its_location(
        self, spoil: Any, expected: str
    ) -> None:
        event = copy.deepcopy(SUCCEEDED)
        spoil(event)
        assert expected in "\n".join(find_errors(event, SCHEMAS["ISO Import Succeeded"]))


def doctored(kind: type[Any], **fields: Any) -> Any:
    """The schema of an event with other fields in its data; ``None`` removes one."""
    gone = {name for name, field in fields.items() if field is None}
    kept = {
        name: (field.annotation, field)
        for name, field in kind.model_fields.items()
        if name not in gone
    }
    new = {name: field for name, field in fields.items() if field is not None}
    data = create_model("Doctored", __base__=Event.__base__, **{**kept, **new})
    data.__doc__ = kind.__doc__
    model = create_model("DoctoredEvent", __base__=Event, data=(data, ...))
    return schema_of(DETAIL_TYPES[kind], model)


class TestCompatibility:
    def test_published_schemas_are_compatible(self) -> None:
        assert list(find_breaking_changes()) == []

    def test_an_unchanged_model_is_compatible(self) -> None:
        assert list(breaking_changes(SCHEMAS["ISO Import Failed"], doctored(FailedData))) == []

    @pytest.mark.parametrize(
        ("kind", "fields", "expected"),
        [
            (SucceededData, {"amis": None}, "detail.data.amis was removed"),
            (FailedData, {"status": None}, "detail.data.status was removed"),
            (
                SucceededData,
                {"attempt": (str, Field(description="A."))},
                "detail.data.attempt was integer, and is string",
            ),
            (
                SucceededData,
                {"attempt": (int | None, Field(description="A."))},
                "detail.data.attempt was integer, and is integer or null",
            ),
            (
                SucceededData,
                {"amis": (ContractAmi, Field(description="A."))},
                "detail.data.amis was array of object, and is object",
            ),
            (
                FailedData,
                {"status": (str | None, Field(description="S."))},
                "detail.data.status became required",
            ),
            (
                FailedData,
                {"code": (str, Field("", description="C."))},
                "detail.data.code became optional",
            ),
            (
                FailedData,
                {"ticket": (str, Field(description="T."))},
                "detail.data.ticket is new and required: older events lack it",
            ),
        ],
    )
    def test_an_incompatible_model_is_reported_with_the_fields_it_removes(
        self, kind: Any, fields: dict[str, Any], expected: str
    ) -> None:
        assert expected in list(
            breaking_changes(SCHEMAS[DETAIL_TYPES[kind]], doctored(kind, **fields))
        )

    def test_an_addition_is_allowed_and_old_samples_stay_valid(
        self,
    ) -> None:
        new = doctored(FailedData, ticket=(str | None, Field(None, description="T.")))
        assert list(breaking_changes(SCHEMAS["ISO Import Failed"], new)) == []
        assert list(Draft4Validator(new).iter_errors(EARLIER["1.0/iso-import-failed"])) == []

    def test_an_incompatible_schema_is_reported_and_nothing_is_written(
        self, tmp_path: Path
    ) -> None:
        for name, content in make_files().items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        path = tmp_path / "events/schemas/iso-import-started/1.0.json"
        promised = json.loads(path.read_text())
        promised["definitions"]["Plan"]["properties"]["color"] = {"type": "string"}
        path.write_text(json.dumps(promised))
        assert list(find_breaking_changes(tmp_path)) == [
            "ISO Import Started 1.0: detail.data.plan.color was removed"
        ]


class TestParse:
    def test_the_data_of_an_event_has_the_model_of_its_detail_type(self) -> None:
        answer = parse(SUCCEEDED).data
        assert isinstance(answer, SucceededData)
        assert answer.amis[0].id == SUCCEEDED["detail"]["data"]["amis"][0]["id"]

    def test_fields_of_later_versions_are_ignored(self) -> None:
        later = copy.deepcopy(SUCCEEDED)
        later["detail"]["metadata"]["schemaVersion"] = "1.7"
        later["detail"]["data"]["amis"][0]["platform"] = "windows"
        later["detail"]["more"] = later["more"] = {"any": "thing"}
        assert parse(later).data == parse(SUCCEEDED).data

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            ({}, "not an event of isodrop: None, None"),
            (changed(SUCCEEDED, source="aws.s3"), "aws.s3, ISO Import Succeeded"),
            (changed(SUCCEEDED, detail_type="ISO Import Imagined"), "ISO Import Imagined"),
            (changed(SUCCEEDED, detail_type=["ISO Import Succeeded"]), "not an event of isodrop"),
            (changed(SUCCEEDED, detail={}), "not a valid ISO Import Succeeded event"),
            (changed(SUCCEEDED, detail=None), "not a valid ISO Import Succeeded event"),
        ],
    )
    def test_a_foreign_event_is_refused_with_a_reason(
        self, event: dict[str, Any], expected: str
    ) -> None:
        with pytest.raises(UnknownEventError, match=re.escape(expected)):
            parse(event)

    def test_another_major_version_is_refused(self) -> None:
        later = copy.deepcopy(SUCCEEDED)
        later["detail"]["metadata"]["schemaVersion"] = "2.0"
        with pytest.raises(UnknownEventError, match=r"version 2\.0; this is 1\.0"):
            parse(later)

    def test_a_subscriber_needs_pydantic_only(
        self,
    ) -> None:
        code = "import sys, isodrop.events; print(*{name.split('.')[0] for name in sys.modules})"
        loaded = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        assert "pydantic" in loaded
        assert not {"boto3", "botocore", "aws_lambda_powertools", "rich"} & set(loaded)


class TestCodes:
    @pytest.mark.parametrize("code", Code)
    def test_the_link_of_a_code_leads_to_its_section(self, code: Code) -> None:
        page, _, anchor = docs_path(code).partition("#")
        headings = re.findall(r"^## (.*)$", (ROOT / page).read_text(), re.MULTILINE)
        assert anchor in headings  # a heading of lower case and hyphens is its own anchor

    def test_samples_of_failures_have_the_link_of_their_code(self) -> None:
        unhappy = [e["detail"]["data"] for e in NOW.values() if "code" in e["detail"]["data"]]
        assert len(unhappy) == 4
        assert all(data["docsPath"] == docs_path(Code(data["code"])) for data in unhappy)


class TestRegistry:
    def test_the_registry_template_fits_the_model_of_the_service(
        self,
    ) -> None:
        """The emulator has no schema registry."""
        model = botocore.session.get_session().get_service_model("schemas")
        template = registry(SCHEMAS)["Resources"]
        schemas = [r for r in template.values() if r["Type"] == "AWS::EventSchemas::Schema"]
        assert len(schemas) == len(MODELS)
        shape = model.operation_model("CreateSchema").input_shape
        assert shape
        for resource in schemas:
            asked = {**resource["Properties"], "RegistryName": "isodrop"}
            assert list(violations(shape, asked)) == []
            assert re.fullmatch(r"isodrop@[A-Za-z]+", asked["SchemaName"])
            assert json.loads(asked["Content"]) in SCHEMAS.values()
            assert len(asked["Content"]) <= CONTENT_LIMIT
