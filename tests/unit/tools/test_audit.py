"""How the audit reports findings, exceptions and failures of its programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.audit import __main__ as audit
from tools.audit import advisories, code, programs, templates
from tools.audit.findings import (
    AuditError,
    Exemption,
    Finding,
    Outcome,
    apply_exemptions,
    read_exemptions,
)

FINDING = Finding("CKV_AWS_18", "UploadBucket", "UploadBucket", "no access logs", "defaults")
SKIPPED = {"name": "boto3", "skip_reason": "Dependency not found on PyPI"}
CLEAN = {"name": "boto3", "version": "1.44.5", "vulns": []}


def excepted(rule: str = "CKV_AWS_18", place: str = "UploadBucket", *only: str) -> list[Exemption]:
    return [Exemption(rule, place, "a reason", frozenset(only))]


# Findings and exceptions


def test_a_finding_fails_and_is_named() -> None:
    outcome = apply_exemptions([FINDING], [], "all")
    assert not outcome.passed
    assert outcome.problems == ("CKV_AWS_18 UploadBucket (defaults): no access logs",)


@pytest.mark.parametrize(
    "exemptions",
    [excepted(), excepted(place="Upload*"), excepted("CKV_AWS_18", "UploadBucket", "defaults")],
)
def test_an_excepted_finding_passes_and_is_counted(exemptions: list[Exemption]) -> None:
    outcome = apply_exemptions([FINDING], exemptions, "all")
    assert outcome.passed
    assert outcome.summary == "all; 1 findings exempted"


@pytest.mark.parametrize(
    "exemptions",
    [
        excepted(rule="CKV_AWS_21"),
        excepted(place="StagingBucket"),
        excepted("CKV_AWS_18", "UploadBucket", "options"),
    ],
)
def test_an_exception_for_something_else_fails_twice(exemptions: list[Exemption]) -> None:
    finding, unused = apply_exemptions([FINDING], exemptions, "all").problems
    assert "no access logs" in finding
    assert "no longer found" in unused


def test_an_exception_without_a_finding_fails() -> None:
    (problem,) = apply_exemptions([], excepted(), "all").problems
    assert problem == "CKV_AWS_18 UploadBucket: exempted, and no longer found; remove the exemption"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[bandit]]\nrule = "B1"\nplaces = ["x"]\n', "B1 has no reason"),
        ('[[bandit]]\nrule = "B1"\nplaces = ["x"]\nreason = " "\n', "B1 has no reason"),
        ('[[bandit]]\nrule = "B1"\nplaces = []\nreason = "so"\n', "B1 needs rule, places"),
        ('[[bandit]]\nplaces = ["x"]\nreason = "so"\n', "without a rule needs"),
        ('[[bandit]]\nrule = "B1"\nplaces = ["x"]\nreason = "so"\npath = 1\n', "no other key"),
    ],
)
def test_an_exception_needs_a_reason_and_the_form(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "exemptions.toml"
    path.write_text(text)
    with pytest.raises(AuditError, match=message):
        read_exemptions("bandit", path)


@pytest.mark.parametrize("check", ["checkov", "bandit", "pip-audit"])
def test_the_exceptions_of_this_repository_have_reasons(check: str) -> None:
    assert all(each.reason.strip() for each in read_exemptions(check))


# checkov


def checkov(**summary: int) -> dict[str, Any]:
    found = {
        "check_id": "CKV_AWS_18",
        "check_name": "no access logs",
        "file_path": "/tmp/x/defaults.json",  # noqa: S108 - read as a name alone
        "resource": "AWS::S3::Bucket.UploadBucket",
    }
    return {
        "summary": {"passed": 1, "parsing_errors": 0, "skipped": 0, **summary},
        "results": {"failed_checks": [found]},
    }


def test_findings_of_checkov_are_read() -> None:
    assert list(templates.read(checkov())) == [FINDING]


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (checkov(passed=0), "checked nothing"),
        ([], "checked nothing"),
        ({"passed": 0, "failed": 0}, "checked nothing"),
        (checkov(parsing_errors=1), "could not read"),
        (checkov(skipped=1), "belong in exemptions.toml"),
    ],
)
def test_a_resource_skipped_by_checkov_does_not_pass(report: Any, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        list(templates.read(report))


def test_the_variants_have_all_resources_and_no_conditions() -> None:
    made = templates.variants()
    optional = {"ImageLifecyclePolicy", "EventSchemasRegistry", "MonitoringStackDashboard"}
    assert not optional & made["defaults"]["Resources"].keys()
    assert optional <= made["options"]["Resources"].keys()
    assert "Fn::If" not in json.dumps(made, default=str)


# bandit


def bandit(errors: list[str] | None = None, **totals: int) -> dict[str, Any]:
    found = {"test_id": "B101", "filename": "./cli/a.py", "line_number": 3, "issue_text": "assert"}
    return {
        "errors": errors or [],
        "metrics": {"_totals": {"loc": 9, "nosec": 0, "skipped_tests": 0, **totals}},
        "results": [found],
    }


def test_findings_of_bandit_are_read() -> None:
    (found,) = code.read(bandit())
    assert (found.rule, found.place, found.message) == ("B101", "cli/a.py", "assert")


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (bandit(["a.py"]), "could not read"),
        (bandit(loc=0), "read no code"),
        (bandit(nosec=1), "belong in exemptions.toml"),
        (bandit(skipped_tests=1), "belong in exemptions.toml"),
    ],
)
def test_a_file_skipped_by_bandit_does_not_pass(report: Any, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        list(code.read(report))


# pip-audit


def respond_with(monkeypatch: pytest.MonkeyPatch, *responses: Any) -> None:
    """Make pip-audit report these, one after the other."""
    left = list(responses)
    monkeypatch.setattr(advisories, "read_report", lambda *_: {"dependencies": left.pop(0)})


def vulnerable(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": "1.0",
        "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}],
    }


def test_packages_without_vulnerabilities_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    respond_with(monkeypatch, [vulnerable("urllib3")], [CLEAN])
    assert advisories.check([]).passed


def test_a_vulnerability_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    respond_with(monkeypatch, [vulnerable("urllib3")], [CLEAN, vulnerable("six")])
    assert advisories.check([]).problems == ("PYSEC-1 six 1.0: fixed in 1.1",)


def test_an_excepted_vulnerability_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    respond_with(monkeypatch, [vulnerable("urllib3")], [vulnerable("six")])
    assert advisories.check(excepted("PYSEC-1", "six")).passed


@pytest.mark.parametrize(
    "responses",
    [
        ([SKIPPED],),
        ([vulnerable("urllib3")], [CLEAN, SKIPPED]),
        ([vulnerable("urllib3")], []),
        ([CLEAN],),  # the index publishes no vulnerabilities
    ],
)
def test_a_package_that_was_not_checked_does_not_pass(
    monkeypatch: pytest.MonkeyPatch, responses: tuple[Any, ...]
) -> None:
    respond_with(monkeypatch, *responses)
    with pytest.raises(AuditError, match="could not audit"):
        advisories.check([])


# Programs


def program(folder: Path, name: str, text: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo 'no network' >&2; exit 2", "exit status 2.*no network"),
        ("echo 'no network' >&2; exit 1", "exit status 1.*no network"),
        ("exit 0", "exit status 0"),
    ],
)
def test_a_program_without_a_report_does_not_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str
) -> None:
    program(tmp_path, "pip-audit", text)
    monkeypatch.setattr(programs, "VENV", tmp_path)
    with pytest.raises(AuditError, match=message):
        programs.read_report("pip-audit")


@pytest.mark.parametrize("status", [0, 1])
def test_a_program_that_found_something_has_a_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int
) -> None:
    program(tmp_path, "bandit", f"echo '[1]'; exit {status}")
    monkeypatch.setattr(programs, "VENV", tmp_path)
    assert programs.read_report("bandit") == [1]


def test_a_missing_program_does_not_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "VENV", tmp_path)
    with pytest.raises(AuditError, match="could not be run"):
        programs.read_report("checkov")


# The command


def unable() -> Outcome:
    raise AuditError("could not audit: no network")


@pytest.mark.parametrize(
    ("check", "status", "line"),
    [
        (lambda: Outcome("9 packages"), 0, "bandit     passed  9 packages"),
        (lambda: Outcome("9 packages", ("a", "b")), 1, "bandit     FAILED  9 packages; 2 to fix"),
        (unable, 1, "bandit     FAILED  not audited; 1 to fix"),
    ],
)
def test_each_check_has_a_line_and_one_that_fails_fails_all(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    check: Any,
    status: int,
    line: str,
) -> None:
    passing = dict.fromkeys(audit.CHECKS, lambda: Outcome("fine"))
    monkeypatch.setattr(audit, "CHECKS", {**passing, "bandit": check})
    assert audit.main([]) == status
    lines = capsys.readouterr().out.splitlines()
    assert line in lines
    assert len([each for each in lines if "  fine" in each]) == len(passing) - 1


def test_one_check_runs_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = dict.fromkeys(audit.CHECKS, unable)
    monkeypatch.setattr(audit, "CHECKS", {**failing, "sbom": lambda: Outcome("fine")})
    assert audit.main(["--only", "sbom"]) == 0
    assert capsys.readouterr().out == "sbom       passed  fine\n"
