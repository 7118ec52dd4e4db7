"""Tags and parameters that an answer sets."""

import pytest

from isodrop.settings import ReportSettings
from tests.support.template_arguments import isos_below
from tools.resolved_template import resolve


@pytest.mark.parametrize(("value", "read"), [("true", True), ("false", False)])
def test_the_answering_functions_read_whether_one_latest_spans_all_builds(
    value: str, read: bool
) -> None:
    for function in ("ReportBuild", "Sweep"):
        made = resolve(LatestAcrossWindowsBuilds=value).properties(function)
        settings = ReportSettings.read(made["Environment"]["Variables"])
        assert settings.latest_across_windows_builds is read


def test_the_answering_roles_write_to_uploads_and_parameters_only() -> None:
    made = resolve(KeyPrefix="isos/")
    for role in ("ReportBuildRole", "SweepRole"):
        object_, parameter = (
            made.statement(role, sid) for sid in ("TagObjects", "PutLatestParameters")
        )
        assert object_
        assert set(object_["Resource"]) == isos_below("isos/")
        assert parameter
        assert parameter["Resource"].endswith(":parameter/isodrop/*")
    assert made.statement("ImportIsoRole", "TagObjects") is None
