"""isodrop upload with the settings of a stack."""

import json

from tests.integration.cli.conftest import Run
from tests.integration.conftest import BUCKET
from tests.support.harness import ImportHarness


def test_upload_without_access_to_the_settings_names_the_defaults(
    harness: ImportHarness, run: Run, refused: dict[str, str]
) -> None:
    refused["GetFunctionConfiguration"] = "AccessDeniedException"
    path = harness.folder / "Win11.iso"
    path.write_bytes(harness.iso())

    status, out, _ = run("upload", str(path), "--no-wait")
    _, shown, _ = run("upload", str(path), "--no-wait", "--json", "--force")

    looked = out.splitlines()[0].split("\t")
    assert (status, looked[1]) == (0, "inspect")
    assert looked[2].endswith("Enterprise (image index 5), according to default settings")
    assert json.loads(shown.splitlines()[0])["settings"] == "defaults"


def test_upload_with_unreadable_settings_sends_nothing(
    harness: ImportHarness, run: Run, refused: dict[str, str]
) -> None:
    refused["GetFunctionConfiguration"] = "TooManyRequestsException"
    path = harness.folder / "Win11.iso"
    path.write_bytes(harness.iso())

    status, out, err = run("upload", str(path), "--no-wait")

    assert (status, out) == (1, "")
    assert "GetFunctionConfiguration: TooManyRequestsException" in err
    assert "try again in a minute" in err
    assert "Contents" not in harness.client("s3").list_objects_v2(Bucket=BUCKET)


def test_credentials_that_expire_before_any_part_leave_no_resume(
    harness: ImportHarness, run: Run, refused: dict[str, str]
) -> None:
    refused |= {"GetFunctionConfiguration": "AccessDenied", "UploadPart": "ExpiredToken"}
    path = harness.folder / "Win11.iso"
    path.write_bytes(harness.iso())

    status, _, err = run("upload", str(path), "--no-wait")

    (why,) = err.splitlines()
    assert status == 1
    assert "UploadPart: ExpiredToken" in why
    assert "sign in" in why
