"""S3's events are parsed to uploads."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from isodrop.aws.s3_events import (
    InvalidEventError,
    make_object_created_event,
    parse_event,
)
from isodrop.domain.arn import Arn
from isodrop.domain.ids import upload_id
from isodrop.domain.model import FIRST_RUN, RunRequest
from tests.support.builders import an_upload

EVENTS = Path(__file__).parents[3] / "events" / "in"
WHEN = datetime(2026, 11, 24, 9, tzinfo=UTC)
MACHINE = Arn.parse("arn:aws:states:eu-central-1:123456789012:stateMachine:Import")


def event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return found


def test_an_upload_is_parsed_from_the_event_of_s3() -> None:
    upload = parse_event(event("good")).upload

    assert upload.bucket == "isodrop-uploadbucket-1a2b3c4d5e6f"
    assert upload.key == "en-us_windows_11_business_editions_version_24h2_x64_dvd_59a1851e.iso"
    assert upload.etag == "9b2cf535f27731c974343645a3985328-704"
    assert upload.size == 5_901_000_000
    assert upload.version_id == "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"


def test_a_key_is_not_decoded() -> None:
    assert (
        parse_event(event("odd-key")).upload.key == "Drücke/Windows 11 + Büro (日本語) 100%41.ISO"
    )


def test_a_repeated_delivery_is_the_same_upload_and_another_file_is_not() -> None:
    assert event("good")["id"] != event("repeat")["id"]
    assert upload_id(parse_event(event("good")).upload) == upload_id(
        parse_event(event("repeat")).upload
    )
    assert upload_id(parse_event(event("good")).upload) != upload_id(
        parse_event(event("arm64")).upload
    )


@pytest.mark.parametrize("kind", ["started", "progressed", "answer", "answer-broken"])
def test_a_report_is_of_an_upload(kind: str) -> None:
    assert parse_event(event(f"report-{kind}")).upload == parse_event(event("good")).upload


@pytest.mark.parametrize("one", ["version-id", "sequencer"])
def test_a_version_or_a_sequencer_is_enough_to_distinguish_uploads(one: str) -> None:
    less = event("good")
    del less["detail"]["object"][one]

    assert parse_event(less).upload.etag == parse_event(event("good")).upload.etag


@pytest.mark.parametrize("version_id", [None, "null"])
def test_an_event_with_neither_is_refused(version_id: str | None) -> None:
    broken = event("good")
    broken["detail"]["object"] |= {"version-id": version_id, "sequencer": None}

    with pytest.raises(InvalidEventError):
        parse_event(broken)


def test_the_event_of_s3_is_run_zero() -> None:
    assert parse_event(event("good")).run_request == FIRST_RUN


def test_a_retry_event_is_parsed_with_its_overrides() -> None:
    asked = event("retry")

    assert parse_event(asked).run_request == RunRequest(1, {"edition": "EnterpriseN"})
    assert upload_id(parse_event(asked).upload) == upload_id(parse_event(event("good")).upload)


@pytest.mark.parametrize(
    "run",
    [None, {}, {"number": -1}, {"number": 1, "override": {}}, {"number": 1, "overrides": 2}],
)
def test_an_invalid_retry_event_is_refused(run: Any) -> None:
    with pytest.raises(InvalidEventError, match=r"missing or invalid: run\b"):
        parse_event({**event("good"), "run": run})


@pytest.mark.parametrize("run", [FIRST_RUN, RunRequest(3, {"rebuild": "x"})])
def test_an_event_made_for_an_upload_parses_as_that_upload(run: RunRequest) -> None:
    upload = an_upload("Drücke/a + b.ISO", sequencer="")

    made = make_object_created_event(upload, WHEN, MACHINE, "isodrop sweep", run)

    assert (parse_event(made).upload, parse_event(made).run_request) == (upload, run)
    assert (made["account"], made["region"]) == ("123456789012", "eu-central-1")
    assert made["time"] == "2026-11-24T09:00:00Z"
    assert made == make_object_created_event(upload, WHEN, MACHINE, "isodrop sweep", run)


@pytest.mark.parametrize("missing", ["key", "etag", "size"])
def test_an_event_without_the_fields_of_an_upload_is_refused(missing: str) -> None:
    broken = event("good")
    del broken["detail"]["object"][missing]

    with pytest.raises(InvalidEventError, match=rf"missing or invalid: detail\.object\.{missing}"):
        parse_event(broken)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ({}, "missing or invalid: detail$"),
        ({"detail": None}, "missing or invalid: detail$"),
        ({**event("good"), "detail-type": "Object Deleted"}, "not an event of type Object Created"),
    ],
)
def test_another_event_is_refused(broken: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidEventError, match=problem):
        parse_event(broken)


@pytest.mark.parametrize("left_out", ["request-id", "requester", "source-ip-address", "reason"])
def test_an_unused_field_may_be_missing(left_out: str) -> None:
    less = event("good")
    less["detail"].pop(left_out, None)
    for name in ("version", "account", "time", "region", "resources"):
        less.pop(name)

    assert parse_event(less).upload == parse_event(event("good")).upload


def test_a_scan_result_names_the_same_upload_without_its_size() -> None:
    scanned = parse_event(event("scanned")).upload

    assert upload_id(scanned) == upload_id(parse_event(event("good")).upload)
    assert (scanned.etag, scanned.size) == (parse_event(event("good")).upload.etag, 0)
    assert parse_event(event("scanned")).malware_scan == "NO_THREATS_FOUND"


def test_without_versions_a_repeated_scan_result_is_the_same_upload() -> None:
    scanned = event("scanned")
    scanned["detail"]["s3ObjectDetails"]["versionId"] = "null"
    another = {**scanned, "id": "another"}

    assert upload_id(parse_event(scanned).upload) == upload_id(parse_event(scanned).upload)
    assert upload_id(parse_event(scanned).upload) != upload_id(parse_event(another).upload)


@pytest.mark.parametrize("part", ["s3ObjectDetails", "scanResultDetails"])
def test_a_scan_result_without_a_required_field_is_refused(part: str) -> None:
    broken = event("scanned")
    del broken["detail"][part]

    with pytest.raises(InvalidEventError, match=part):
        parse_event(broken)


def test_only_guardduty_reports_a_scan() -> None:
    good = event("good")

    assert parse_event(good).malware_scan is None
    assert parse_event({**good, "malwareScan": "NO_THREATS_FOUND"}).malware_scan is None


@pytest.mark.parametrize("requester", ["123456789012", "s3.amazonaws.com"])
def test_the_uploader_is_parsed_and_does_not_change_the_run(requester: str) -> None:
    good = event("good")
    good["detail"]["requester"] = requester

    assert parse_event(good).run_request.uploader == requester
    assert parse_event(good).run_request == FIRST_RUN


@pytest.mark.parametrize("requester", [None, 5, "", "x" * 257, ["a"], {}])
def test_the_uploader_is_left_out_where_the_field_is_invalid(requester: Any) -> None:
    good = event("good")
    good["detail"]["requester"] = requester

    assert parse_event(good).run_request.uploader is None


def test_an_event_made_by_isodrop_does_not_name_the_uploader() -> None:
    for reason in ("isodrop sweep", "isodrop retry"):
        made = make_object_created_event(an_upload(), WHEN, MACHINE, reason)
        assert parse_event(made).run_request.uploader is None


JUNK: tuple[Any, ...] = (
    None,
    1,
    -1,
    1.5,
    True,
    "",
    "x" * 256 * 1024,
    [],
    {},
    [{}],
    {"name": {}},
    10**40,
    "\ud800",
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    for name, each in value.items() if isinstance(value, dict) else ():
        yield from places(each, (*path, name))


@pytest.mark.parametrize("name", ["good", "scanned", "retry"])
def test_any_field_of_a_wrong_type_is_refused_by_name_or_harmless(name: str) -> None:
    refused = []
    for path in places(event(name)):
        for junk in JUNK:
            broken: Any = event(name) if path else junk
            place = broken
            for step in path[:-1]:
                place = place[step]
            if path:
                place[path[-1]] = junk
            try:
                upload = parse_event(broken).upload
                assert isinstance(upload.key, str)
                assert isinstance(upload.size, int)
                assert upload.size >= 0
            except InvalidEventError as error:
                refused.append(str(error))
    assert len(refused) > 50
    assert max(map(len, refused)) < 1000
