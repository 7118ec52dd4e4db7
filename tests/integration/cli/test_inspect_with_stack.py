"""isodrop inspect with the settings of a stack."""

import json

import pytest

from tests.integration.cli.conftest import ADDRESS, KEY, Run
from tests.integration.conftest import BUCKET
from tests.support.harness import ImportHarness


def test_inspect_uses_the_settings_of_the_stack(
    harness: ImportHarness, run: Run, stacks: dict[str, dict[str, str]], environment: dict[str, str]
) -> None:
    stacks["isodrop"]["UploadUri"] = f"s3://{BUCKET}/isos/"
    environment["IMAGE_NAME_TEMPLATE"] = "desk-{release}"
    path = harness.folder / KEY
    path.write_bytes(harness.iso())

    status, out, _ = run("inspect", str(path), "--stack", "isodrop")
    _, shown, _ = run("inspect", str(path), "--stack", "isodrop", "--json")
    _, elsewhere, _ = run("inspect", str(path))
    forbidden, refusal, _ = run("inspect", str(path), "--stack", "isodrop", "--set", "rebuild=2")

    look = json.loads(shown)
    assert (status, look["settings"], look["plan"]["name"]) == (0, "stack", "desk-24h2")
    assert look["plan"]["tags"]["isodrop:source"] == f"s3://{BUCKET}/isos/{KEY}"
    assert out.splitlines()[-1] == "settings\tstack isodrop"
    assert "name\twindows-11-enterprise-x64-en-us\n" in elsewhere
    assert elsewhere.splitlines()[-1] == "settings\tdefault"
    assert (forbidden, "invalid-override" in refusal) == (3, True)


def test_inspect_of_an_object_uses_the_stack_and_its_own_key(
    harness: ImportHarness, run: Run, environment: dict[str, str]
) -> None:
    environment["EDITION"] = "EnterpriseN"
    harness.upload("a.iso")

    status, out, _ = run("inspect", ADDRESS, "--stack", "isodrop", "--json")

    look = json.loads(out)
    assert (status, look["plan"]["edition"]) == (0, "EnterpriseN")
    assert look["plan"]["tags"]["isodrop:source"] == ADDRESS


@pytest.mark.parametrize(
    ("stack", "shown"),
    [
        ("isodrop", "AccessDeniedException; request that permission"),
        ("nobodys", "there is no stack nobodys in eu-central-1"),
    ],
)
def test_inspect_decides_nothing_without_the_stacks_settings(
    harness: ImportHarness, run: Run, refused: dict[str, str], stack: str, shown: str
) -> None:
    refused["GetFunctionConfiguration"] = "AccessDeniedException"
    path = harness.folder / KEY
    path.write_bytes(harness.iso())

    status, out, err = run("inspect", str(path), "--stack", stack)

    assert (status, out) == (1, "")
    assert shown in err
