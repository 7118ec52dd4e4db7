"""S3's events, as S3 sends them, made uploads."""

import json
from pathlib import Path
from typing import Any

import pytest

from isodrop.identity import drop_id
from isodrop.uploads import NotAnUploadError, read_upload

EVENTS = Path(__file__).parents[2] / "events" / "in"


def event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return found


def test_an_upload_is_read_as_s3_tells_it() -> None:
    upload = read_upload(event("good"))

    assert upload.bucket == "isodrop-uploadbucket-1a2b3c4d5e6f"
    assert upload.key == "en-us_windows_11_business_editions_version_24h2_x64_dvd_59a1851e.iso"
    assert upload.etag == "9b2cf535f27731c974343645a3985328-704"
    assert upload.size == 5_901_000_000
    assert upload.version_id == "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"


def test_a_key_stays_raw() -> None:
    assert read_upload(event("odd-key")).key == "Drücke/Windows 11 + Büro (日本語) 100%41.ISO"


def test_a_repeated_delivery_is_the_same_upload_and_another_file_is_not() -> None:
    assert event("good")["id"] != event("repeat")["id"]
    assert drop_id(read_upload(event("good"))) == drop_id(read_upload(event("repeat")))
    assert drop_id(read_upload(event("good"))) != drop_id(read_upload(event("arm64")))


@pytest.mark.parametrize("kind", ["started", "progressed", "answer", "answer-broken"])
def test_a_report_is_of_an_upload(kind: str) -> None:
    assert read_upload(event(f"report-{kind}")) == read_upload(event("good"))


@pytest.mark.parametrize("missing", ["key", "etag", "size", "sequencer"])
def test_an_event_that_lacks_what_tells_uploads_apart_is_refused(missing: str) -> None:
    broken = event("good")
    del broken["detail"]["object"][missing]

    with pytest.raises(NotAnUploadError):
        read_upload(broken)


@pytest.mark.parametrize(
    "broken", [{}, {"detail": None}, {**event("good"), "detail-type": "Object Deleted"}]
)
def test_another_event_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(NotAnUploadError):
        read_upload(broken)
