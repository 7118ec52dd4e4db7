"""When ids of uploads, imports and requests are the same."""

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


def test_a_repeated_event_has_the_same_upload_id() -> None:
    assert upload_id(an_upload()) == upload_id(an_upload())
    assert re.fullmatch(r"[0-9a-f]{32}", upload_id(an_upload()))


@pytest.mark.parametrize(
    "change", [{"bucket": "another"}, {"key": "another.iso"}, {"version_id": "another"}]
)
def test_another_write_has_another_upload_id(change: dict[str, str]) -> None:
    assert upload_id(an_upload(**change)) != upload_id(an_upload())


def test_a_listed_version_has_the_upload_id_of_its_event() -> None:
    assert upload_id(an_upload(sequencer="")) == upload_id(an_upload())


@pytest.mark.parametrize("version_id", [None, "", "null"])
def test_without_a_version_the_sequencer_distinguishes_writes(
    version_id: str | None,
) -> None:
    one, two = (an_upload(version_id=version_id, sequencer=each) for each in ("0A", "0B"))
    assert upload_id(one) != upload_id(two)
    assert upload_id(one) != upload_id(an_upload(version_id="0A"))


def test_adjoining_parts_give_different_ids() -> None:
    left = an_upload(bucket="ab", key="c.iso")
    right = an_upload(bucket="a", key="bc.iso")
    assert upload_id(left) != upload_id(right)


def test_a_key_that_utf_8_cannot_encode_has_an_id() -> None:
    assert len(upload_id(an_upload(key="\ud800.iso"))) == 32


def test_an_iso_planned_under_another_key_is_the_same_import(
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
def test_a_deliberate_rebuild_has_another_import_key(
    plan: ImportPlan, change: dict[str, Any]
) -> None:
    assert import_key(replace(plan, **change), CONTENT.id) != import_key(plan, CONTENT.id)


def test_other_bytes_are_another_import(plan: ImportPlan) -> None:
    twin = replace(CONTENT, checksum="x" + CONTENT.checksum[1:])
    assert import_key(plan, twin.id) != import_key(plan, CONTENT.id)


def test_names_that_image_builder_folds_are_one_import(
    plan: ImportPlan,
) -> None:
    alike = ("windows-11-x", "Windows 11 X", "WINDOWS_11-x")
    assert len({import_key(replace(plan, name=name), CONTENT.id) for name in alike}) == 1


def test_descriptive_values_do_not_change_the_import(plan: ImportPlan) -> None:
    described = replace(plan, description="else", tags={}, notes=("n",), release=None, languages=())
    assert import_key(described, CONTENT.id) == import_key(plan, CONTENT.id)


def test_a_client_token_fits_all_versions_of_the_api() -> None:
    assert re.fullmatch(r"[0-9a-f]{36}", client_token("etag", "i" * 32, "isodrop", 0))


def test_the_token_depends_on_object_import_stack_and_attempt() -> None:
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


def test_no_two_events_of_any_runs_have_one_id() -> None:
    ids = {
        event_id("upload", request, *what)
        for request in (0, 1, 11)
        for what in ((), ("started",), ("run", "1"), ('{"run": 1}',))
    }
    assert len(ids) == 12


def test_known_ids_never_change() -> None:
    """Later versions must find what is already in ledgers and on images."""
    assert upload_id(an_upload()) == "b045a428eba360d91e11bda502de43f6"
    assert event_id("upload", 0) == "fea31a72c306aa53ff9879c2ae1d7230"
    assert client_token("etag", "identity", "stack", 0) == "5d07ab496bcbd90e7f1bc9dbfbeaaec64a1f"
