"""The check of Image Builder's quotas."""

from typing import Any

import pytest

from isodrop_cli.doctor.results import Level
from tests.support.doctor_responses import context, run_check


@pytest.mark.parametrize(
    ("quotas", "level", "words"),
    [
        ([("Concurrent builds", 3.0)], Level.OK, "allows 3 concurrent builds"),
        ([("Concurrent builds", 0.0)], Level.ERROR, "the quota for concurrent builds is 0"),
        ([("Components", 1000.0)], Level.WARNING, "lists no quota for concurrent builds"),
    ],
)
def test_the_quota_of_concurrent_builds_is_found_by_its_name(
    quotas: Any, level: Level, words: str
) -> None:
    listed = [{"QuotaName": name, "Value": value, "QuotaCode": "L-1"} for name, value in quotas]
    result = run_check("build-quota", context(ListServiceQuotas={"Quotas": listed}))
    assert result.level is level
    assert words in result.message
