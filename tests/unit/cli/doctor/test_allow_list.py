"""The check of the allow-list."""

from io import BytesIO
from typing import Any

import pytest

from isodrop_cli.doctor.allow_list import allow_list
from isodrop_cli.doctor.results import Level
from tests.support.doctor_responses import context, refusal, with_parameters

ENTRY = "0" * 64
LIST = "s3://lists/isos.txt"


def check_list(
    text: str, *, mode: str = "enforce", uri: str = LIST, **answers: Any
) -> tuple[Level, str]:
    where = "AllowListParameter" if uri.startswith("ssm:") else "AllowListUri"
    stack = with_parameters(AllowListMode=mode, **{where: uri.removeprefix("ssm:")})
    found = {"Body": BytesIO(text.encode())}
    at = context(
        stack, **{"GetObject": found, "GetParameter": {"Parameter": {"Value": text}}, **answers}
    )
    decision = allow_list(at)
    return decision.level, decision.message


@pytest.mark.parametrize("uri", [LIST, "ssm:/isos"])
def test_a_readable_list_is_ok_and_counted(uri: str) -> None:
    assert check_list(f"{ENTRY}  a.iso\n", uri=uri) == (
        Level.OK,
        f"{uri} has 1 entry; the mode is enforce",
    )


def test_in_mode_off_no_list_is_needed() -> None:
    assert check_list("", mode="off", uri="")[0] is Level.OK


def test_in_mode_enforce_without_a_list_everything_is_rejected() -> None:
    level, message = check_list("", uri="")
    assert (level, "every ISO is rejected" in message) == (Level.ERROR, True)


def test_a_list_without_entries_rejects_everything_too() -> None:
    level, message = check_list("# none yet\n<html>")
    assert (level, "every ISO is rejected" in message) == (Level.ERROR, True)
    assert "line 2 cannot be read" in message


@pytest.mark.parametrize("mode", ["warn", "enforce"])
def test_a_missing_list_is_reported(mode: str) -> None:
    level, message = check_list("", mode=mode, GetObject=refusal("NoSuchKey", 404))
    assert (level, LIST in message) == (Level.ERROR, True)


def test_a_wrong_line_is_named_by_its_number() -> None:
    level, message = check_list(f"{ENTRY}\nWin11.iso\n")
    assert (level, "line 2 cannot be read" in message) == (Level.WARNING, True)


def test_a_list_that_uploaders_can_write_is_an_error() -> None:
    level, message = check_list(ENTRY, uri="s3://uploads/isos.txt")
    assert (level, "uploaders can overwrite the list" in message) == (Level.ERROR, True)


def test_a_list_without_versioning_is_a_warning() -> None:
    level, message = check_list(ENTRY, GetBucketVersioning={})
    assert (level, "is not versioned" in message) == (Level.WARNING, True)
