"""isodrop env: the environment of each function."""

import json

import pytest

from tests.integration.cli.conftest import Run


@pytest.mark.usefixtures("harness")
def test_env_prints_the_settings_that_each_function_has(run: Run) -> None:
    status, out, _ = run("env")

    settings = json.loads(out)
    assert status == 0
    assert settings.keys() == {"ImportIso", "ReportBuild", "Sweep"}
    assert settings["ImportIso"]["STACK_NAME"] == "isodrop"
    assert {each["AWS_ENDPOINT_URL"] for each in settings.values()} == {""}


@pytest.mark.usefixtures("harness")
def test_env_points_the_functions_at_the_given_endpoint(run: Run) -> None:
    _, out, _ = run("env", "--endpoint-url", "http://10.0.0.1:4566")

    endpoints = {each["AWS_ENDPOINT_URL"] for each in json.loads(out).values()}
    assert endpoints == {"http://10.0.0.1:4566"}


@pytest.mark.usefixtures("harness")
def test_env_lets_the_importer_take_isos_of_another_bucket(run: Run) -> None:
    _, out, _ = run("env", "--bucket", "tries")

    settings = json.loads(out)
    assert settings["ImportIso"]["UPLOAD_BUCKET"] == "tries"
    assert settings["Sweep"].get("UPLOAD_BUCKET") != "tries"


@pytest.mark.usefixtures("harness")
def test_env_of_a_stack_without_the_output_suggests_a_remedy(
    stacks: dict[str, dict[str, str]], run: Run
) -> None:
    del stacks["isodrop"]["ReportBuildFunctionName"]

    status, out, err = run("env")

    assert (status, out) == (1, "")
    assert "no output ReportBuildFunctionName" in err
    assert "sam deploy" in err
