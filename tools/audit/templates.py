"""Runs checkov on the templates, as they are written and as CloudFormation resolves them.

checkov does not evaluate most conditions, and passes what depends on them. So it
reads the resolved template, too: with every parameter's default, and with every option in use.
https://www.checkov.io/5.Policy%20Index/cloudformation.html
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from isodrop_local.template import ROOT, read_template, transform
from tools.audit.findings import AuditError, Exemption, Finding, Outcome, apply_exemptions
from tools.audit.programs import read_report
from tools.inlined_stacks import inline_stacks
from tools.resolved_template import resolve_plain

_ARN: Final = "arn:aws:{}:eu-central-1:123456789012:{}"
OPTIONS: Final[Mapping[str, str]] = {
    "AlarmTopicArn": _ARN.format("sns", "alarms"),
    "AllowListMode": "enforce",
    "AllowListUri": "s3://lists/isos.sha256",
    "BuildLogGroupName": "/builds",
    "CreateDashboard": "true",
    "ImageExpirationDays": "30",
    "CreateEventBus": "true",
    "DistributionConfigurationArn": _ARN.format("imagebuilder", "distribution-configuration/ours"),
    "ImportIsoConcurrency": "5",
    "ImportedIsoExpirationDays": "30",
    "KmsKeyArn": _ARN.format("kms", "key/1b2c3d4e-0000-1111-2222-333344445555"),
    "MalwareScan": "GuardDuty",
    "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
    "RegisterSchemas": "true",
    "SecurityGroupIds": "sg-0123456789abcdef0",
    "SubnetId": "subnet-0123456789abcdef0",
    "UefiDataUri": "s3://uefi/data",
}
"""Parameters that create every optional resource, and use a key of the operator."""
WRITTEN: Final = ("template.yaml", "monitoring.yaml")


def variants() -> dict[str, dict[str, Any]]:
    """Resolve the template with its nested stacks, by the variant's name."""
    plain = transform(inline_stacks(read_template(), lambda name: read_template(ROOT / name)))
    return {
        name: {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Resources": resolve_plain(plain, parameters).resources,
        }
        for name, parameters in (("defaults", {}), ("options", OPTIONS))
    }


def check(exemptions: list[Exemption]) -> Outcome:
    """Run checkov on all of them.

    Raises
    ------
    AuditError
        Checkov could not be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        resolved = {Path(folder, f"{name}.json"): made for name, made in variants().items()}
        for path, made in resolved.items():
            path.write_text(json.dumps(made, default=str, indent=1))
        files = [*WRITTEN, *map(str, resolved)]
        report = read_report(
            *("checkov", "--framework", "cloudformation", "--output", "json"),
            *("--skip-download", "--compact", *(part for name in files for part in ("-f", name))),
        )
    findings = list(read(report))
    count = report["summary"]["passed"] + len(findings)
    return apply_exemptions(findings, exemptions, f"{count} checks of {len(files)} templates")


def read(report: Any) -> Iterator[Finding]:
    """Read the report of checkov.

    Raises
    ------
    AuditError
        It read nothing or not everything, or a template makes an exemption.
    """
    if not isinstance(report, dict) or not report.get("summary", {}).get("passed"):
        raise AuditError("checkov checked nothing")
    if report["summary"]["parsing_errors"]:
        raise AuditError(f"checkov could not read {report['results'].get('parsing_errors')}")
    if report["summary"]["skipped"]:
        raise AuditError(
            "a template suppresses a finding itself; exemptions belong in exemptions.toml"
        )
    for found in report["results"]["failed_checks"]:
        name = Path(found["file_path"]).name
        resource = found["resource"].rpartition(".")[2]
        yield Finding(
            rule=found["check_id"],
            place=resource,
            where=resource,
            message=found["check_name"],
            variant=name if name in WRITTEN else Path(name).stem,
        )
