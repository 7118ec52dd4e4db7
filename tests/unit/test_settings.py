"""The settings from the functions' environment, and the messages for invalid ones."""

import pytest

from isodrop.domain.model import DistributionSettings
from isodrop.settings import IntakeSettings, ReportSettings, SettingsError, SweepSettings

ENVIRONMENT = {
    "STACK_NAME": "isodrop",
    "LEDGER_TABLE": "ledger",
    "STAGING_BUCKET": "staging",
    "INFRASTRUCTURE_CONFIGURATION_ARN": "arn:infra",
    "SUPPORTED_WINDOWS_BUILDS": "22621, 26100",
    "ALLOWED_OVERRIDES": "edition,rebuild",
    "IMAGE_TAGS": "team=desktop,cost center=42=b",
    "MAX_CONSECUTIVE_FAILURES": "5",
    "SECURE_BOOT": "true",
    "EXECUTION_ROLE": "",
    "PATH": "/bin",
}


def test_the_environment_becomes_the_settings_of_every_import() -> None:
    read = IntakeSettings.read(ENVIRONMENT)
    settings = read.import_settings()

    assert settings.supported_windows_builds == {22621, 26100}
    assert settings.allowed_overrides == {"edition", "rebuild"}
    assert settings.tags == {"team": "desktop", "cost center": "42=b"}
    assert settings.secure_boot is True
    assert settings.allow_esd is False
    assert settings.execution_role is None, "an empty parameter is one that is not there"
    assert read.max_consecutive_failures == 5


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"STACK_NAME": ""}, "STACK_NAME"),
        ({"SUPPORTED_WINDOWS_BUILDS": "newest"}, "SUPPORTED_WINDOWS_BUILDS"),
        ({"SUPPORTED_WINDOWS_BUILDS": ""}, "SUPPORTED_WINDOWS_BUILDS"),
        ({"MAX_CONSECUTIVE_FAILURES": "0"}, "MAX_CONSECUTIVE_FAILURES"),
        ({"SECURE_BOOT": "perhaps"}, "SECURE_BOOT"),
        ({"ALLOW_ESD": "perhaps"}, "ALLOW_ESD"),
        ({"IMAGE_NAME_TEMPLATE": "windows-{color}"}, "IMAGE_NAME_TEMPLATE"),
    ],
)
def test_a_wrong_variable_is_named(changes: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        IntakeSettings.read({**ENVIRONMENT, **changes})


def test_reports_need_a_bus() -> None:
    assert ReportSettings.read({**ENVIRONMENT, "EVENT_BUS": "default"}).event_bus == "default"
    with pytest.raises(SettingsError, match="EVENT_BUS"):
        ReportSettings.read(ENVIRONMENT)


def test_images_are_distributed_in_the_name_of_a_role() -> None:
    environment = {
        **ENVIRONMENT,
        "EVENT_BUS": "default",
        "DISTRIBUTION_CONFIGURATION_ARN": "arn:distribution",
        "BUILD_LOG_GROUP_NAME": "/ours",
    }
    role = {"EXECUTION_ROLE": "arn:role"}

    distribution = ReportSettings.read(environment | role).distribution_settings()

    assert distribution == DistributionSettings("arn:distribution", "arn:role", "/ours")
    with pytest.raises(SettingsError, match="EXECUTION_ROLE"):
        ReportSettings.read(environment)


def test_sweeps_need_the_machine_the_bucket_and_the_times() -> None:
    environment = {
        **ENVIRONMENT,
        "EVENT_BUS": "default",
        "STATE_MACHINE_ARN": "arn:machine",
        "UPLOAD_BUCKET": "bucket",
        "TRACKING_HOURS": "16",
    }

    read = SweepSettings.read(environment)

    assert read.tracking_hours == 16
    with pytest.raises(SettingsError, match="UPLOAD_BUCKET"):
        SweepSettings.read({**environment, "UPLOAD_BUCKET": ""})
