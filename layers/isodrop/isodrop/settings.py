"""The functions' settings, read from their environment variables and validated."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from isodrop.domain.allow_list import AllowListMode
from isodrop.domain.build_limits import BuildLimits
from isodrop.domain.image_naming import check_template
from isodrop.domain.model import DistributionSettings, ImportSettings
from isodrop.errors import IsodropError


class SettingsError(IsodropError):
    """An environment variable is missing or invalid; the message names it."""


def _split_items(value: object) -> object:
    """Split a comma-separated list, as CloudFormation joins it."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def _split_pairs(value: object) -> object:
    """Split ``key=value,key=value``."""
    if isinstance(value, str):
        return dict(word.split("=", 1) for word in _split_items(value) if "=" in word)  # type: ignore[attr-defined] # for a string it is a list
    return value


CommaSeparated = BeforeValidator(_split_items)
KeyValuePairs = BeforeValidator(_split_pairs)


class _Environment(BaseModel):
    """Settings from environment variables in uppercase; an empty variable counts as missing."""

    model_config = ConfigDict(
        frozen=True, alias_generator=str.upper, populate_by_name=True, defer_build=True
    )

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Any:
        """Read the settings from an environment.

        Raises
        ------
        SettingsError
            Names each variable that is missing or invalid, and the reason.
        """
        try:
            return cls.model_validate({name: value for name, value in environ.items() if value})
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
            )
            raise SettingsError(f"the function's environment is invalid: {problems}") from None


class ReportSettings(_Environment):
    """The settings of the function that publishes events."""

    stack_name: str
    ledger_table: str
    staging_bucket: str
    event_bus: str
    latest_across_windows_builds: bool = False
    distribution_configuration_arn: str | None = None
    execution_role: str | None = None
    build_log_group_name: str | None = None
    max_consecutive_failures: int = Field(ge=1, le=100)
    run_retention_days: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _check_distribution_role(self) -> Self:
        if self.distribution_configuration_arn and not self.execution_role:
            raise ValueError("DISTRIBUTION_CONFIGURATION_ARN needs an EXECUTION_ROLE")
        return self

    def run_retention(self) -> timedelta | None:
        """Return how long a run is kept after its answer; ``None`` means forever."""
        return timedelta(days=self.run_retention_days) if self.run_retention_days else None

    def distribution_settings(self) -> DistributionSettings | None:
        """Return how images are distributed; ``None`` if they are not."""
        if self.distribution_configuration_arn is None or self.execution_role is None:
            return None
        return DistributionSettings(
            self.distribution_configuration_arn, self.execution_role, self.build_log_group_name
        )


class SweepSettings(ReportSettings):
    """The settings of the sweep function."""

    state_machine_arn: str
    upload_bucket: str
    key_prefix: str = ""
    malware_scan: Literal["none", "GuardDuty"] = "none"
    tracking_hours: int = Field(ge=1)


class IntakeSettings(_Environment):
    """The settings of the function that processes uploads."""

    stack_name: str
    ledger_table: str
    staging_bucket: str
    upload_bucket: str | None = None
    key_prefix: str = ""
    malware_scan: Literal["none", "GuardDuty"] = "none"
    infrastructure_configuration_arn: str
    edition: str = "Enterprise"
    image_name_template: str = "windows-11-{edition}-{architecture}-{language}"
    supported_windows_builds: Annotated[frozenset[int], CommaSeparated] = Field(min_length=1)
    allow_esd: bool = False
    allowed_overrides: Annotated[frozenset[str], CommaSeparated] = frozenset()
    execution_role: str | None = None
    build_log_group_name: str | None = None
    secure_boot: bool | None = None
    uefi_data_uri: str | None = None
    image_description: str | None = None
    image_tags: Annotated[dict[str, str], KeyValuePairs] = Field(default_factory=dict)
    max_consecutive_failures: int = Field(ge=1, le=100)
    max_builds_at_once: int | None = Field(None, ge=1)
    max_builds_per_day: int | None = Field(None, ge=1)
    min_iso_megabytes: int = Field(0, ge=0)
    max_iso_gigabytes: int | None = Field(None, ge=1)
    allow_list_mode: AllowListMode = AllowListMode.OFF
    allow_list_source: str | None = Field(None, pattern=r"^(s3://[^/]+/.+|ssm:.+)$")

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if (self.max_builds_at_once is None) != (self.max_builds_per_day is None):
            raise ValueError("MAX_BUILDS_AT_ONCE and MAX_BUILDS_PER_DAY must be set together")
        return self

    def build_limits(self) -> BuildLimits | None:
        """Return how many builds are allowed; ``None`` means no limit."""
        if self.max_builds_at_once is None or self.max_builds_per_day is None:
            return None
        return BuildLimits(self.max_builds_at_once, self.max_builds_per_day)

    @field_validator("image_name_template")
    @classmethod
    def _check_name_template(cls, template: str) -> str:
        problem = check_template(template)
        if problem is not None:
            raise ValueError(problem)
        return template

    def import_settings(self) -> ImportSettings:
        """Return the settings that apply to every import."""
        return ImportSettings(
            stack=self.stack_name,
            infrastructure_configuration_arn=self.infrastructure_configuration_arn,
            edition=self.edition,
            image_name_template=self.image_name_template,
            supported_windows_builds=self.supported_windows_builds,
            allow_esd=self.allow_esd,
            allowed_overrides=self.allowed_overrides,
            execution_role=self.execution_role,
            log_group_name=self.build_log_group_name,
            secure_boot=self.secure_boot,
            description=self.image_description,
            tags=self.image_tags,
            min_iso_megabytes=self.min_iso_megabytes,
            max_iso_gigabytes=self.max_iso_gigabytes,
        )
