"""The settings of an import, and what they allow."""

import pytest

from isodrop.settings import IntakeSettings
from tests.support.template_arguments import INFRASTRUCTURE, ROLE
from tools.resolved_template import resolve


@pytest.mark.parametrize(
    ("parameter", "value", "setting", "read"),
    [
        ("Edition", "EnterpriseN", "edition", "EnterpriseN"),
        (
            "SupportedWindowsBuilds",
            "26100,28000",
            "supported_windows_builds",
            frozenset({26100, 28000}),
        ),
        ("AllowEsd", "true", "allow_esd", True),
        ("AllowEsd", "false", "allow_esd", False),
        ("AllowedOverrides", "edition,rebuild", "allowed_overrides", {"edition", "rebuild"}),
        ("ImageNameTemplate", "w11-{release}", "image_name_template", "w11-{release}"),
        ("ImageDescription", "ours", "image_description", "ours"),
        ("ImageTags", "team=os,cost=42", "image_tags", {"team": "os", "cost": "42"}),
        (
            "InfrastructureConfigurationArn",
            INFRASTRUCTURE,
            "infrastructure_configuration_arn",
            INFRASTRUCTURE,
        ),
        ("ExecutionRoleArn", ROLE, "execution_role", ROLE),
        ("BuildLogGroupName", "/ours/builds", "build_log_group_name", "/ours/builds"),
        ("SecureBoot", "true", "secure_boot", True),
        ("UefiDataUri", "s3://ours/uefi.b64", "uefi_data_uri", "s3://ours/uefi.b64"),
        ("MaxConsecutiveFailures", 3, "max_consecutive_failures", 3),
        ("AllowListMode", "warn", "allow_list_mode", "warn"),
        ("AllowListUri", "s3://ours/list.txt", "allow_list_source", "s3://ours/list.txt"),
        ("AllowListParameter", "/isos", "allow_list_source", "ssm:/isos"),
        ("MaxBuildsAtOnce", 4, "max_builds_at_once", 4),
        ("MaxBuildsPerDay", 12, "max_builds_per_day", 12),
        ("MinIsoMegabytes", 0, "min_iso_megabytes", 0),
        ("MaxIsoGigabytes", 40, "max_iso_gigabytes", 40),
    ],
)
def test_the_importing_function_reads_each_setting(
    parameter: str, value: object, setting: str, read: object
) -> None:
    variables = resolve(**{parameter: value}).properties("ImportIso")["Environment"]["Variables"]
    assert getattr(IntakeSettings.read(variables), setting) == read


@pytest.mark.parametrize(
    ("where", "sid", "resource"),
    [
        ({"AllowListUri": "s3://ours/isos.txt"}, "ReadAllowListObject", ":ours/isos.txt"),
        ({"AllowListParameter": "/isos"}, "ReadAllowListParameter", ":parameter/isos"),
    ],
)
def test_only_the_given_allow_list_may_be_read(
    where: dict[str, str], sid: str, resource: str
) -> None:
    made = resolve(**where, AllowListMode="enforce")
    read = made.statement("ImportIsoRole", sid)
    assert read
    assert read["Resource"].endswith(resource)
    sids = ("ReadAllowListObject", "ReadAllowListParameter")
    assert [bool(made.statement("ImportIsoRole", each)) for each in sids].count(True) == 1
    assert not any(resolve().statement("ImportIsoRole", each) for each in sids)


def test_a_concurrency_is_reserved_for_the_importing_function() -> None:
    reserved = "ReservedConcurrentExecutions"
    assert resolve(ImportIsoConcurrency=5).properties("ImportIso")[reserved] == "5"
    assert reserved not in resolve().properties("ImportIso")
    assert reserved not in resolve(ImportIsoConcurrency=5).properties("ReportBuild")


def test_the_given_uefi_data_may_be_read_and_no_other_object() -> None:
    read = resolve(UefiDataUri="s3://ours/uefi.b64").statement("ImportIsoRole", "ReadUefiData")
    assert read
    assert read["Resource"] == "arn:aws:s3:::ours/uefi.b64"
    assert resolve().statement("ImportIsoRole", "ReadUefiData") is None
