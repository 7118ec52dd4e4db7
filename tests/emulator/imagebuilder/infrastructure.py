"""Image Builder's infrastructure configurations: what a build's instance is to be like."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.emulator.imagebuilder.values import Json, ServiceError, folded, invalid, not_found, stamp

_RESERVED_TAGS: Final = frozenset({"CreatedBy", "Ec2ImageBuilderArn", "Name", "Tags"})
_LASTING: Final = ("arn", "name", "dateCreated", "tags")
_SUMMARY: Final = (
    "arn",
    "name",
    "description",
    "dateCreated",
    "dateUpdated",
    "resourceTags",
    "tags",
    "instanceTypes",
    "instanceProfileName",
    "placement",
)


@dataclass(slots=True)
class InfrastructureConfigurations:
    """The account's infrastructure configurations, by ARN, as GetInfrastructureConfiguration says.

    Attributes
    ----------
    prefix : str
        What their ARNs begin with.
    clock : callable
        Seconds since the epoch.
    """

    prefix: str
    clock: Callable[[], float]
    stored: dict[str, Json] = field(default_factory=dict)

    def create(self, asked: Mapping[str, object]) -> Json:
        """Create one; its name must be new, and a subnet needs a security group.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateInfrastructureConfiguration.html
        """
        arn = f"{self.prefix}{folded(str(asked['name']))}"
        if arn in self.stored:
            raise ServiceError("ResourceAlreadyExistsException", f"'{arn}' already exists.")
        _check(asked)
        if asked.get("dryRun"):
            raise ServiceError("DryRunOperationException", "The request would have succeeded.")
        self.stored[arn] = {**_kept(asked), "arn": arn, "dateCreated": stamp(self.clock())}
        return _answer(asked, arn)

    def update(self, asked: Mapping[str, object]) -> Json:
        """Put other settings in place of all that it had, but for its name and its tags.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_UpdateInfrastructureConfiguration.html
        """
        before = self.of(asked)
        _check(asked)
        lasting = {k: v for k, v in before.items() if k in _LASTING}
        self.stored[before["arn"]] = {
            **_kept(asked),
            **lasting,
            "dateUpdated": stamp(self.clock()),
        }
        return _answer(asked, before["arn"])

    def delete(self, asked: Mapping[str, object]) -> Json:
        """Delete one. Builds that run with it keep what they were started with.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DeleteInfrastructureConfiguration.html
        """
        arn = self.of(asked)["arn"]
        del self.stored[arn]
        return {"infrastructureConfigurationArn": arn}

    def get(self, asked: Mapping[str, object]) -> Json:
        """Say what one is.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetInfrastructureConfiguration.html
        """
        return {"infrastructureConfiguration": _shown(self.of(asked))}

    def summaries(self) -> list[Json]:
        """List them all, in short.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListInfrastructureConfigurations.html
        """
        return [
            {name: value for name, value in _shown(each).items() if name in _SUMMARY}
            for each in self.stored.values()
        ]

    def of(self, asked: Mapping[str, object]) -> Json:
        """Find the one that a request names."""
        arn = str(asked["infrastructureConfigurationArn"])
        if arn not in self.stored:
            raise not_found(arn)
        return self.stored[arn]


def _check(asked: Mapping[str, object]) -> None:
    if asked.get("subnetId") and not asked.get("securityGroupIds"):
        raise invalid("'subnetId' must come with 'securityGroupIds'.")
    tags = asked.get("resourceTags")
    if isinstance(tags, Mapping) and not _RESERVED_TAGS.isdisjoint(tags):
        raise invalid(f"'resourceTags' must not have {', '.join(sorted(_RESERVED_TAGS))}.")


def _kept(asked: Mapping[str, object]) -> Json:
    passing = ("clientToken", "dryRun", "infrastructureConfigurationArn")
    return {name: value for name, value in asked.items() if name not in passing}


def _shown(configuration: Json) -> Json:
    # The model wants at least one tag wherever there are tags.
    return {k: v for k, v in configuration.items() if k != "tags" or v}


def _answer(asked: Mapping[str, object], arn: str) -> Json:
    return {"clientToken": asked["clientToken"], "infrastructureConfigurationArn": arn}
