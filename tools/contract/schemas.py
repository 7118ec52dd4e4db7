"""JSON Schemas of whole events, generated from the models of :mod:`isodrop.events`.

They are Draft 4, the newest version that EventBridge's schema registry accepts
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-schema-create.html): one file is what
a validator reads and what the registry shows, so there is no second form that could differ. Their
``id`` is a name and not an address, because the project has no address for them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from isodrop.events import MODELS, SCHEMA_VERSION, SOURCE, Event

Json = dict[str, Any]

DIALECT: Final = "http://json-schema.org/draft-04/schema#"
CONTENT_LIMIT: Final = 100_000
"""Characters of one schema in the registry: CreateSchema's ``Content``."""

_MANY: Final = frozenset({"items", "additionalProperties"})
"""Keywords for the elements of an array, or the values of a map."""

_ENVELOPE: Final[Json] = {
    "version": {"type": "string", "description": "EventBridge's version of its envelope."},
    "id": {
        "type": "string",
        "description": "EventBridge's id of this event. An answer that is published twice has two"
        " of these and one metadata.eventId.",
    },
    "source": {"type": "string", "enum": [SOURCE], "description": "The publisher: always isodrop."},
    "account": {"type": "string", "description": "The account that the stack is in."},
    "time": {
        "type": "string",
        "format": "date-time",
        "description": "When the event was made, UTC, in whole seconds.",
    },
    "region": {"type": "string", "description": "The Region that the stack is in."},
    "resources": {
        "type": "array",
        "items": {"type": "string"},
        "description": "The build version's ARN, once there is one.",
    },
}


def slug(detail_type: str) -> str:
    """Return the name of a detail type in paths: ``iso-import-started``."""
    return detail_type.lower().replace(" ", "-")


def path_of(detail_type: str, version: str = SCHEMA_VERSION) -> str:
    """Return the path of a schema, from the repository's root."""
    return f"events/schemas/{slug(detail_type)}/{version}.json"


def schema_of(detail_type: str, detail: type[Event], version: str = SCHEMA_VERSION) -> Json:
    """Make the schema of an event, with its envelope.

    A field with a default is not among ``required``: an event of an earlier minor version, which
    did not have the field yet, stays valid.

    Parameters
    ----------
    detail_type : str
        As in the event.
    detail : type
        The model of the event's ``detail``.
    version : str
        The contract's version.
    """
    made = _draft4(detail.model_json_schema(ref_template="#/definitions/{model}"))
    definitions = made.pop("definitions")
    data = definitions[made["properties"]["data"]["$ref"].rpartition("/")[2]]
    known = {"type": "string", "enum": [detail_type], "description": "Which event this is."}
    return {
        "$schema": DIALECT,
        "id": f"urn:isodrop:{slug(detail_type)}:{version}",
        "title": detail_type,
        "description": data["description"],
        "type": "object",
        "required": [*_ENVELOPE, "detail-type", "detail"],
        "properties": _ENVELOPE
        | {
            "detail-type": known,
            "detail": {
                "type": "object",
                "description": "The content: metadata and data.",
                "required": made["required"],
                "properties": made["properties"],
            },
        },
        "definitions": definitions,
    }


def _draft4(node: Any) -> Any:
    """Convert a schema from Draft 2020-12, which pydantic generates, to Draft 4."""
    if isinstance(node, list):
        return [_draft4(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {{"$defs": "definitions"}.get(name, name): _draft4(each) for name, each in node.items()}
    # In Draft 4 a reference stands alone: its siblings are ignored.
    return {"$ref": made["$ref"]} if "$ref" in made else made


def all_schemas() -> dict[str, Json]:
    """Make the schemas of all events, by detail type."""
    return {detail_type: schema_of(detail_type, model) for detail_type, model in MODELS.items()}


@dataclass(frozen=True, slots=True)
class Property:
    """One field of an event as a reader of the schema sees it.

    Attributes
    ----------
    path : str
        Where it is: ``detail.data.amis[].id``.
    type : str
        In words: ``string or null``, ``array of object``.
    required : bool
        Whether every event of this version has it.
    schema : dict
        Its part of the schema.
    """

    path: str
    type: str
    required: bool
    schema: Json


def properties(schema: Json) -> Iterator[Property]:
    """Walk through all fields of an event, the outer before the inner."""
    return _walk(schema, schema["definitions"], "")


def _walk(node: Json, definitions: Json, path: str) -> Iterator[Property]:
    node = _resolve(node, definitions)
    for branch in node.get("anyOf", ()):
        yield from _walk(branch, definitions, path)
    for many in _MANY & node.keys():
        yield from _walk(node[many], definitions, f"{path}[]")
    for name, inner in node.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        required = name in node.get("required", ())
        yield Property(
            here, _describe_type(inner, definitions), required, _resolve(inner, definitions)
        )
        yield from _walk(inner, definitions, here)


def _describe_type(node: Json, definitions: Json) -> str:
    """Describe a type in words; different types have different descriptions."""
    node = _resolve(node, definitions)
    if "anyOf" in node:
        return " or ".join(_describe_type(each, definitions) for each in node["anyOf"])
    inner = "".join(
        f" of {_describe_type(node[many], definitions)}" for many in _MANY & node.keys()
    )
    bounds = "".join(f" {name}={node[name]}" for name in ("enum", "format") if name in node)
    return f"{node['type']}{inner}{bounds}"


def _resolve(node: Json, definitions: Json) -> Json:
    found: Json = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    return found


def breaking_changes(old: Json, new: Json) -> Iterator[str]:
    """List the breaking changes since an earlier schema of the same major version.

    Only optional fields may be added: readers of the old fields can continue to read them, and
    stored events remain valid.
    """
    before = {each.path: each for each in properties(old)}
    after = {each.path: each for each in properties(new)}
    for path, was in before.items():
        now = after.get(path)
        if now is None:
            yield f"{path} was removed"
        elif now.type != was.type:
            yield f"{path} was {was.type}, and is {now.type}"
        elif now.required != was.required:
            yield f"{path} became {'required' if now.required else 'optional'}"
    for path, now in after.items():
        if path not in before and now.required and path.rpartition(".")[0] in before:
            yield f"{path} is new and required: older events lack it"


def registry(schemas: Mapping[str, Json]) -> Json:
    """Make the template that puts the schemas into a registry of EventBridge's."""
    resources: Json = {
        "Registry": {
            "Type": "AWS::EventSchemas::Registry",
            "Properties": {
                "RegistryName": {"Ref": "RegistryName"},
                "Description": "The events of isodrop.",
            },
        }
    }
    for detail_type, schema in schemas.items():
        name = detail_type.replace(" ", "")
        resources[name] = {
            "Type": "AWS::EventSchemas::Schema",
            "DependsOn": "Registry",
            "Properties": {
                "RegistryName": {"Ref": "RegistryName"},
                "SchemaName": f"{SOURCE}@{name}",
                "Description": schema["description"],
                "Type": "JSONSchemaDraft4",
                "Content": json.dumps(schema, separators=(",", ":")),
            },
        }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "A schema registry with isodrop's events. Generated by: make contract",
        "Parameters": {
            "RegistryName": {
                "Type": "String",
                "Description": "The name of the registry to create.",
                "Default": SOURCE,
                "AllowedPattern": "^[A-Za-z0-9._-]{1,64}$",
            }
        },
        "Resources": resources,
    }
