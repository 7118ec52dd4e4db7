"""Image Builder's resources that contain settings: for builds, distributions and lifecycles."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.model import StructureShape

from isodrop_local.image_builder.shapes import service_model
from isodrop_local.image_builder.values import (
    Json,
    ServiceError,
    invalid,
    normalize_name,
    not_found,
    timestamp,
)

_RESERVED_TAGS: Final = frozenset({"CreatedBy", "Ec2ImageBuilderArn", "Name", "Tags"})
_PERMANENT_FIELDS: Final = ("arn", "name", "dateCreated", "tags")
BUILD_DATE: Final = re.compile(r"\{\{\s*imagebuilder:buildDate\s*\}\}")
_TIMEOUT_MINUTES: Final = 720
"""The model requires ``timeoutMinutes``, "a property that Image Builder doesn't use"; which number
it returns is not documented."""


@dataclass(frozen=True, slots=True)
class ResourceType:
    """The properties of one type of resource.

    Attributes
    ----------
    name, plural : str
        As in the names of its operations.
    check : callable
        Refuses what the documentation forbids, but the service model allows.
    defaults : callable
        Returns the default properties of a resource.
    filters : tuple of str
        The filters of its list.
    """

    name: str
    plural: str
    check: Callable[[Mapping[str, Any]], None]
    defaults: Callable[[Mapping[str, Any]], Json]
    filters: tuple[str, ...] = ("name",)

    @property
    def member(self) -> str:
        """Its name in requests and responses."""
        return self.name[0].lower() + self.name[1:]

    @property
    def arn_member(self) -> str:
        """The name of its ARN in requests and responses."""
        return f"{self.member}Arn"

    @property
    def segment(self) -> str:
        """Its name in ARNs."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", self.name).lower()


@dataclass(slots=True)
class Resources:
    """The account's resources of one type, by ARN.

    Attributes
    ----------
    type : ResourceType
        The type of the resources.
    prefix : str
        The beginning of their ARNs.
    clock : callable
        Seconds since the epoch.
    """

    type: ResourceType
    prefix: str
    clock: Callable[[], float]
    stored: dict[str, Json] = field(default_factory=dict)

    def create(self, request: Mapping[str, Any]) -> Json:
        """Create one; its name must be new.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateInfrastructureConfiguration.html
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateDistributionConfiguration.html
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateLifecyclePolicy.html
        """
        arn = f"{self.prefix}{normalize_name(str(request['name']))}"
        if arn in self.stored:
            raise ServiceError("ResourceAlreadyExistsException", f"'{arn}' already exists.")
        self.type.check(request)
        if request.get("dryRun"):
            raise ServiceError("DryRunOperationException", "The request would have succeeded.")
        permanent = {"arn": arn, "dateCreated": self._now(), "tags": dict(request.get("tags", {}))}
        self.stored[arn] = self._stored(request) | permanent
        return self._respond(request, arn)

    def update(self, request: Mapping[str, Any]) -> Json:
        """Replace all settings except name and tags.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_UpdateInfrastructureConfiguration.html
        """
        before = self.of(request)
        self.type.check(request)
        permanent = {k: v for k, v in before.items() if k in _PERMANENT_FIELDS}
        self.stored[before["arn"]] = (
            self._stored(request) | permanent | {"dateUpdated": self._now()}
        )
        return self._respond(request, before["arn"])

    def delete(self, request: Mapping[str, Any]) -> Json:
        """Delete one. Running builds keep the settings with which they were started.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DeleteInfrastructureConfiguration.html
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DeleteDistributionConfiguration.html
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DeleteLifecyclePolicy.html
        """
        arn = self.of(request)["arn"]
        del self.stored[arn]
        return {self.type.arn_member: arn}

    def get(self, request: Mapping[str, Any]) -> Json:
        """Return a resource.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetInfrastructureConfiguration.html
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetDistributionConfiguration.html
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetLifecyclePolicy.html
        """
        return {self.type.member: _public_fields(self.of(request), self._shape)}

    def summaries(self) -> list[Json]:
        """List summaries of all.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListInfrastructureConfigurations.html
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListDistributionConfigurations.html
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListLifecyclePolicies.html
        """
        summary = _structure(f"{self.type.name}Summary")
        return [_public_fields(each, summary) for each in self.stored.values()]

    def of(self, request: Mapping[str, Any]) -> Json:
        """Return the resource that a request names."""
        arn = str(request[self.type.arn_member])
        if arn not in self.stored:
            raise not_found(arn)
        return self.stored[arn]

    @property
    def _shape(self) -> StructureShape:
        return _structure(self.type.name)

    def _now(self) -> str | float:
        """Return the time in the type's format: policies have timestamps, the others strings."""
        is_timestamp = self._shape.members["dateCreated"].type_name == "timestamp"
        return self.clock() if is_timestamp else timestamp(self.clock())

    def _stored(self, request: Mapping[str, Any]) -> Json:
        transient = ("clientToken", "dryRun", self.type.arn_member)
        kept = {name: value for name, value in request.items() if name not in transient}
        return self.type.defaults(request) | kept

    def _respond(self, request: Mapping[str, Any], arn: str) -> Json:
        return {"clientToken": request["clientToken"], self.type.arn_member: arn}


def _structure(name: str) -> StructureShape:
    shape = service_model().shape_for(name)
    assert isinstance(shape, StructureShape)
    return shape


def _public_fields(resource: Json, shape: StructureShape) -> Json:
    """Return the fields of a resource that a shape has."""
    shown = {name: value for name, value in resource.items() if name in shape.members}
    # The model requires at least one tag if the member is present.
    return {name: value for name, value in shown.items() if name != "tags" or value}


def _check_infrastructure(request: Mapping[str, Any]) -> None:
    """Refuse a subnet without a security group, and tags that the service reserves."""
    if request.get("subnetId") and not request.get("securityGroupIds"):
        raise invalid("'subnetId' must come with 'securityGroupIds'.")
    if not _RESERVED_TAGS.isdisjoint(request.get("resourceTags", {})):
        raise invalid(f"'resourceTags' must not have {', '.join(sorted(_RESERVED_TAGS))}.")


def _check_distribution(request: Mapping[str, Any]) -> None:
    """Refuse a repeated Region, and a name that all AMIs would share.

    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_AmiDistributionConfiguration.html
    """
    for region, times in Counter(each["region"] for each in request["distributions"]).items():
        if times > 1:
            raise invalid(f"The Region '{region}' appears {times} times in 'distributions'.")
    for each in request["distributions"]:
        name = each.get("amiDistributionConfiguration", {}).get("name")
        if name is not None and not BUILD_DATE.search(name):
            raise invalid(f"The name '{name}' must include {{{{ imagebuilder:buildDate }}}}.")


def _check_lifecycle_policy(request: Mapping[str, Any]) -> None:
    """Refuse rules that contradict each other or themselves.

    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_LifecyclePolicyDetailFilter.html
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_LifecyclePolicyDetailAction.html
    """
    if len({"recipes", "tagMap"} & request["resourceSelection"].keys()) != 1:
        raise invalid("'resourceSelection' must have either 'recipes' or 'tagMap'.")
    actions = [rule["action"]["type"] for rule in request["policyDetails"]]
    if len(set(actions)) != len(actions):
        raise invalid("A policy can have only one rule of each action.")
    if request["resourceType"] == "CONTAINER_IMAGE" and set(actions) != {"DELETE"}:
        raise invalid("A policy for container images can only DELETE.")
    for rule in request["policyDetails"]:
        action, chosen = rule["action"]["type"], rule["filter"]
        included = {k for k, v in rule["action"].get("includeResources", {}).items() if v}
        if chosen["type"] == "AGE" and "unit" not in chosen:
            raise invalid("A filter by AGE needs a 'unit'.")
        if chosen["type"] == "COUNT" and action != "DELETE":
            raise invalid("A filter by COUNT goes with the action DELETE only.")
        if action != "DELETE" and not included <= {"amis"}:
            raise invalid(f"The action {action} can include 'amis' only.")
        if "snapshots" in included and "amis" not in included:
            raise invalid("'snapshots' can only be included together with 'amis'.")


INFRASTRUCTURE: Final = ResourceType(
    "InfrastructureConfiguration",
    "InfrastructureConfigurations",
    _check_infrastructure,
    lambda _: {"terminateInstanceOnFailure": True},
)
DISTRIBUTION_CONFIGURATION: Final = ResourceType(
    "DistributionConfiguration",
    "DistributionConfigurations",
    _check_distribution,
    lambda request: {
        "timeoutMinutes": _TIMEOUT_MINUTES,
        "regions": [each["region"] for each in request["distributions"]],
    },
)
LIFECYCLE_POLICY: Final = ResourceType(
    "LifecyclePolicy",
    "LifecyclePolicies",
    _check_lifecycle_policy,
    lambda _: {"status": "ENABLED"},
    ("name", "resourceType", "status"),
)
TYPES: Final = (INFRASTRUCTURE, DISTRIBUTION_CONFIGURATION, LIFECYCLE_POLICY)
