"""The ledger's table: its protection, and how long it keeps runs."""

import pytest

from tools.resolved_template import resolve


@pytest.mark.parametrize(
    ("wish", "protected"), [({}, "false"), ({"LedgerDeletionProtection": "true"}, "true")]
)
def test_the_ledger_is_protected_on_request(wish: dict[str, str], protected: str) -> None:
    assert resolve(**wish).properties("LedgerTable")["DeletionProtectionEnabled"] == protected


@pytest.mark.parametrize("function", ["ReportBuild", "Sweep"])
def test_with_a_retention_the_answering_roles_write_the_expiry(function: str) -> None:
    made = resolve(RunRetentionDays=365)
    assert made.properties(function)["Environment"]["Variables"]["RUN_RETENTION_DAYS"] == "365"
    assert made.properties("LedgerTable")["TimeToLiveSpecification"] == {
        "AttributeName": "expiresAt",
        "Enabled": True,
    }
