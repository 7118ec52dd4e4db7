"""Creates Image Builder's resources from a template's properties, as CloudFormation does."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final
from uuid import uuid4

from botocore.model import ListShape, MapShape, Shape, StructureShape

from isodrop_local.image_builder.models import FakeImageBuilder
from isodrop_local.image_builder.resources import TYPES, ResourceType
from isodrop_local.image_builder.shapes import service_model
from isodrop_local.image_builder.values import Json

_OTHER_NAMES: Final = {"LaunchPermissionConfiguration": "launchPermission"}
"""The properties whose names in templates differ from those of the API.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-imagebuilder-distributionconfiguration-amidistributionconfiguration.html
"""


def provisioners(builder: FakeImageBuilder) -> dict[str, dict[str, Callable[..., Any]]]:
    """Return the functions that create and delete resources, by their type in templates.

    ``Ref`` of each is its ARN, and so is its only attribute.
    """
    return {
        f"AWS::ImageBuilder::{each.name}": {
            "create": partial(_create, builder, each),
            "delete": partial(_delete, builder, each),
        }
        for each in TYPES
    }


def _create(
    builder: FakeImageBuilder,
    resource_type: ResourceType,
    _logical_id: str,
    properties: Json,
    _stack: str,
) -> tuple[str, dict[str, str]]:
    operation = service_model().operation_model(f"Create{resource_type.name}")
    # A new token: a stack that is deployed again must not get the response to the earlier request.
    request = parameters(operation.input_shape, properties) | {"clientToken": str(uuid4())}
    arn = str(builder.call(operation.name, request)[resource_type.arn_member])
    return arn, {"Arn": arn}


def _delete(
    builder: FakeImageBuilder, resource_type: ResourceType, arn: str, _properties: Json
) -> None:
    builder.call(f"Delete{resource_type.name}", {resource_type.arn_member: arn})


def parameters(shape: Shape | None, value: Any) -> Any:
    """Convert a template's properties to the API's parameters: in camel case, with typed scalars.

    Parameters of a template are strings, and CloudFormation converts them to a property's type.
    """
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        named = {_OTHER_NAMES.get(name, name[0].lower() + name[1:]): value[name] for name in value}
        return {name: parameters(shape.members.get(name), item) for name, item in named.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [parameters(shape.member, item) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: parameters(shape.value, item) for key, item in value.items()}
    if shape and isinstance(value, str):
        if shape.type_name == "boolean" and value in ("true", "false"):
            return value == "true"
        if shape.type_name == "integer" and value.isdecimal():
            return int(value)
    return value
