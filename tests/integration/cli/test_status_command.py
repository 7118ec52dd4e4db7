"""isodrop status: the runs of one upload."""

import json

import pytest

from isodrop.domain.model import RunRequest
from isodrop_local.iso_maker import server_editions
from tests.integration.cli.conftest import ADDRESS, Run, rejected
from tests.support.harness import ImportHarness, refuse


def test_status_shows_every_run_of_an_upload(harness: ImportHarness, run: Run) -> None:
    upload = harness.upload("a.iso", harness.iso(server_editions()))
    harness.follow(upload, "execution-1")
    harness.follow(upload, "execution-2", RunRequest(1, {"edition": "EnterpriseN"}))

    status, out, _ = run("status", ADDRESS)

    facts = [line.split("\t", 1) for line in out.splitlines()]
    assert status == 0
    assert [value for name, value in facts if name == "run"] == ["0", "1"]
    assert ["set", "edition=EnterpriseN"] in facts
    assert [value for name, value in facts if name == "code"] == ["server-iso"] * 2


def test_status_shows_each_note_of_an_answer_on_a_line(harness: ImportHarness, run: Run) -> None:
    refuse(harness.client("s3"), "GetObjectTagging")
    rejected(harness)

    _, out, _ = run("status", ADDRESS)
    _, shown, _ = run("status", ADDRESS, "--json")

    notes = [line.split("\t", 1)[1] for line in out.splitlines() if line.startswith("note\t")]
    assert len(notes) == 1
    assert "AccessDenied" in notes[0]
    assert json.loads(shown)[0]["answer"]["detail"]["data"]["notes"] == notes


def test_status_of_an_unclaimed_upload_suggests_a_remedy(harness: ImportHarness, run: Run) -> None:
    harness.upload("a.iso")

    status, out, err = run("status", ADDRESS)

    assert (status, out) == (1, "")
    assert "isodrop retry" in err


@pytest.mark.parametrize("command", ["status", "retry", "cancel", "watch"])
@pytest.mark.usefixtures("harness")
def test_status_of_a_deleted_object_names_the_command_for_it(run: Run, command: str) -> None:
    status, out, err = run(command, ADDRESS)
    assert (status, out) == (1, "")
    assert "isodrop status --version-id shows a deleted one" in err
