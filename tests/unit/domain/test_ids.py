"""What makes two uploads, imports and calls the same."""

import re
from dataclasses import replace
from typing import Any

import pytest

from isodrop.domain.ids import client_token, import_key, upload_id
from isodrop.domain.model import ImportPlan
from isodrop.domain.planning import plan_import
from isodrop.events import event_id
from tests.support.builders import CONTENT, a_business_iso, an_upload, some_settings


@pytest.fixture
def plan() -> ImportPlan:
    decided = plan_import(an_upload(), a_business_iso(), {}, some_settings())
    assert isinstance(decided, ImportPlan)
    return decided


def test_given_one_event_twice_when_named_then_it_is_one_drop() -> None:
    assert upload_id(an_upload()) == upload_id(an_upload())
    assert re.fullmatch(r"[0-9a-f]{32}", upload_id(an_upload()))


@pytest.mark.parametrize(
    "change", [{"bucket": "another"}, {"key": "another.iso"}, {"version_id": "another"}]
)
def test_given_another_write_when_named_then_it_is_another_drop(change: dict[str, str]) -> None:
    assert upload_id(an_upload(**change)) != upload_id(an_upload())


def test_given_a_listing_when_it_names_a_version_then_it_is_the_drop_of_s3s_event() -> None:
    assert upload_id(an_upload(sequencer="")) == upload_id(an_upload())


@pytest.mark.parametrize("version_id", [None, "", "null"])
def test_given_no_version_when_named_then_the_sequencer_tells_writes_apart(
    version_id: str | None,
) -> None:
    one, two = (an_upload(version_id=version_id, sequencer=each) for each in ("0A", "0B"))
    assert upload_id(one) != upload_id(two)
    assert upload_id(one) != upload_id(an_upload(version_id="0A"))


def test_given_parts_that_run_together_when_named_then_they_stay_apart() -> None:
    left = an_upload(bucket="ab", key="c.iso")
    right = an_upload(bucket="a", key="bc.iso")
    assert upload_id(left) != upload_id(right)


def test_given_a_key_that_utf_8_cannot_encode_when_named_then_nothing_breaks() -> None:
    assert len(upload_id(an_upload(key="\ud800.iso"))) == 32


def test_given_the_same_disc_under_another_key_when_planned_then_it_is_the_same_import(
    plan: ImportPlan,
) -> None:
    other = plan_import(
        an_upload("copy/other.iso", etag="b" * 32), a_business_iso(), {}, some_settings()
    )
    assert isinstance(other, ImportPlan)
    assert import_key(other, CONTENT.id) == import_key(plan, CONTENT.id)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another-name"},
        {"semantic_version": "11.26100.1743"},
        {"image_index": 4},
        {"rebuild": "again"},
    ],
)
def test_given_another_import_on_purpose_when_named_then_its_identity_differs(
    plan: ImportPlan, change: dict[str, Any]
) -> None:
    assert import_key(replace(plan, **change), CONTENT.id) != import_key(plan, CONTENT.id)


def test_other_bytes_are_another_import(plan: ImportPlan) -> None:
    twin = replace(CONTENT, checksum="x" + CONTENT.checksum[1:])
    assert import_key(plan, twin.id) != import_key(plan, CONTENT.id)


def test_given_names_that_image_builder_takes_for_one_when_named_then_they_are_one(
    plan: ImportPlan,
) -> None:
    alike = ("windows-11-x", "Windows 11 X", "WINDOWS_11-x")
    assert len({import_key(replace(plan, name=name), CONTENT.id) for name in alike}) == 1


def test_given_what_is_only_told_when_named_then_it_makes_no_other_import(plan: ImportPlan) -> None:
    told = replace(plan, description="else", tags={}, notes=("n",), release=None, languages=())
    assert import_key(told, CONTENT.id) == import_key(plan, CONTENT.id)


def test_given_an_attempt_when_a_token_is_made_then_all_versions_of_the_api_take_it() -> None:
    assert re.fullmatch(r"[0-9a-f]{36}", client_token("etag", "i" * 32, "isodrop", 0))


def test_given_another_object_import_stack_or_attempt_when_made_then_the_token_differs() -> None:
    tokens = {
        client_token(*arguments)
        for arguments in (
            ("etag", "identity", "stack", 0),
            ("etag", "identity", "stack", 1),
            ("etag", "identity", "stack-1", 0),
            ("etag", "identity-2", "stack", 0),
            ("etag-2", "identity", "stack", 0),
        )
    }
    assert len(tokens) == 5


def test_given_asks_and_notices_when_named_then_no_two_events_have_one_id() -> None:
    ids = {
        event_id("drop", request, *what)
        for request in (0, 1, 11)
        for what in ((), ("started",), ("run", "1"), ('{"run": 1}',))
    }
    assert len(ids) == 12


def test_given_the_ids_of_today_when_computed_tomorrow_then_they_are_the_same() -> None:
    """What is in ledgers and on images already must be found again by later versions."""
    assert upload_id(an_upload()) == "3532792dd623e0d90a895db612be6003"
    assert event_id("drop", 0) == "fac85a5bd9a9748b89144f834b4d5a56"
    assert client_token("etag", "identity", "stack", 0) == "5d07ab496bcbd90e7f1bc9dbfbeaaec64a1f"
