"""Validates values by botocore's service model, more strictly than botocore.

botocore itself checks types, required members and minimum lengths of requests; it does not
check patterns, maxima or enumerations, and does not check responses at all. The fake checks all of
them, in both directions, so that neither isodrop nor the fake deviates from the documented
interface.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

from isodrop_local.faults import model_of

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
    "blob": (str, bytes),
}


def service_model() -> ServiceModel:
    """Return botocore's model of Image Builder."""
    return model_of("imagebuilder")


def violations(shape: Shape | None, value: object, path: str = "") -> Iterator[str]:
    """List the violations of the service model, one sentence each.

    Parameters
    ----------
    shape : botocore.model.Shape or None
        ``None`` for an operation without input or output.
    value : object
        As parsed from JSON.
    path : str
        The path of the value, for the sentences.
    """
    where = path or "the message"
    if shape is None:
        if value:
            yield f"{where} must be empty"
    elif isinstance(shape, StructureShape):
        yield from _structure(shape, value, path)
    elif isinstance(shape, ListShape):
        yield from _list(shape, value, path)
    elif isinstance(shape, MapShape):
        yield from _map(shape, value, path)
    else:
        yield from _scalar(shape, value, where)


def _structure(shape: StructureShape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path or 'the message'} must be an object, not {type(value).__name__}"
        return
    for name in shape.required_members:
        if name not in value:
            yield f"{_join(path, name)} is required"
    for name, member in value.items():
        if name in shape.members:
            yield from violations(shape.members[name], member, _join(path, name))
        else:
            yield f"{_join(path, name)} is not documented"


def _list(shape: ListShape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path} must be a list, not {type(value).__name__}"
        return
    yield from _bounds(shape, len(value), f"the length of {path}")
    for index, item in enumerate(value):
        yield from violations(shape.member, item, f"{path}[{index}]")


def _map(shape: MapShape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} must be an object, not {type(value).__name__}"
        return
    yield from _bounds(shape, len(value), f"the length of {path}")
    for key, item in value.items():
        yield from violations(shape.key, key, f"a key of {path}")
        yield from violations(shape.value, item, f"{path}[{key!r}]")


def _scalar(shape: Shape, value: object, where: str) -> Iterator[str]:
    wanted = _PYTHON_TYPES[shape.type_name]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        yield f"{where} must be a {shape.type_name}, not {type(value).__name__}"
        return
    if isinstance(value, str):
        yield from _bounds(shape, len(value), f"the length of {where}")
        allowed = shape.metadata.get("enum")
        if allowed and value not in allowed:
            yield f"{where} must be one of {', '.join(allowed)}, not {value!r}"
        pattern = shape.metadata.get("pattern")
        if pattern and not re.fullmatch(f"(?:{pattern})", value, re.ASCII):
            yield f"{where} must match {pattern}, and {value!r} does not"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _bounds(shape, value, where)


def _bounds(shape: Shape, size: float, what: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield f"{what} must be at least {least}, not {size}"
    if most is not None and size > most:
        yield f"{what} must be at most {most}, not {size}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def convert_case(shape: Shape | None, value: Any, case: Callable[[str], str]) -> Any:
    """Change the case of the first letter of members; the keys of maps are data."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        members = {name[0].lower() + name[1:]: member for name, member in shape.members.items()}
        return {
            case(name[0]) + name[1:]: convert_case(
                members.get(name[0].lower() + name[1:]), item, case
            )
            for name, item in value.items()
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [convert_case(shape.member, item, case) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: convert_case(shape.value, item, case) for key, item in value.items()}
    return value
