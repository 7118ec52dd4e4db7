"""Caches for what botocore and moto compute again for each client and call.

A test creates a few clients and makes about a hundred calls; without these caches, a fourth of its
time goes into reading the same models, building the same classes and listing the same names. They
change no result: each cached value depends only on what is constant while a process runs.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import botocore.client
import botocore.hooks
import botocore.regions
import botocore.session
import botocore.useragent
import moto.core.responses
from botocore.model import ServiceModel
from moto.core import serialize
from moto.core.utils import get_value as moto_value

_CREATOR: Final[Any] = botocore.client.ClientCreator
_ALIASER: Final[Any] = botocore.hooks.EventAliaser
_SERIALIZER: Final[Any] = serialize.ResponseSerializer
_REGIONS: Final[Any] = botocore.regions
_SESSION: Final[Any] = botocore.session
_USER_AGENT: Final[Any] = botocore.useragent
_RESPONSES: Final[Any] = moto.core.responses
_MISSING: Final = object()


def apply() -> None:
    """Apply the caches, once per process."""
    if _CREATOR._load_service_model is _service_model:
        return
    _SESSION.create_loader = cache(_SESSION.create_loader)
    _CREATOR._load_service_model = _service_model
    _CREATOR._create_client_class = _client_class
    _REGIONS.EndpointProvider = _endpoint_provider
    _ALIASER.__init__, _ALIASER.__copy__ = _aliaser, _copied_aliaser
    _USER_AGENT.sanitize_user_agent_string_component = cache(
        _USER_AGENT.sanitize_user_agent_string_component
    )
    _RESPONSES.method_names_from_class = cache(_RESPONSES.method_names_from_class)
    _SERIALIZER.get_value = cached_get_value


_cache: Final[dict[tuple[Any, ...], tuple[Any, Any]]] = {}
"""By the identities of the inputs, which are stored, too, so that their ids are not reused."""


def _cached(kind: object, parts: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    key = (kind, *map(id, parts))
    if key not in _cache:
        _cache[key] = parts, make()
    return _cache[key][1]


def _service_model(self: Any, service_name: str, api_version: str | None = None) -> Any:
    read = self._loader.load_service_model(service_name, "service-2", api_version=api_version)
    return _cached("model", (read,), lambda: ServiceModel(read, service_name))


_create_client_class: Final = _CREATOR._create_client_class


def _client_class(self: Any, service_name: str, service_model: Any) -> Any:
    """Create a service's class; boto3 and botocore add the same to it in all sessions."""
    event = f"creating-client-class.{service_model.service_id.hyphenize()}"
    added = self._event_emitter._emitter._handlers.prefix_search(event)
    names = tuple(getattr(each, "__qualname__", repr(each)) for each in added)
    return _cached(
        names, (service_model,), lambda: _create_client_class(self, service_name, service_model)
    )


_EndpointProvider: Final = _REGIONS.EndpointProvider


def _endpoint_provider(ruleset_data: Any, partition_data: Any, excluded_params: Any = None) -> Any:
    return _cached(
        "rules",
        (ruleset_data, partition_data, excluded_params),
        lambda: _EndpointProvider(ruleset_data, partition_data, excluded_params),
    )


_make_aliaser: Final = _ALIASER.__init__
_copy_aliaser: Final = _ALIASER.__copy__
_aliases: Final[dict[str, str]] = {}


def _aliaser(self: Any, event_emitter: Any, event_aliases: Any = None) -> None:
    _make_aliaser(self, event_emitter, event_aliases)
    if event_aliases is None:
        self._alias_name_cache = _aliases


def _copied_aliaser(self: Any) -> Any:
    """Copy it with its cached names: the copy has the same aliases."""
    copied = _copy_aliaser(self)
    copied._alias_name_cache = self._alias_name_cache
    return copied


get_value: Final = _SERIALIZER.get_value


def cached_get_value(self: Any, value: Any, key: str, shape: Any) -> Any:
    """Find a member's value as moto does, by the names that it may have.

    The names depend on the shape, its parent, and the class of the value.
    """
    picker = self._value_picker
    own = getattr(picker, "alias_providers", None) is not serialize.DEFAULT_ALIAS_PROVIDERS
    if own or shape is None or hasattr(value, "Meta"):
        return get_value(self, value, key, shape)
    names = shape.__dict__.setdefault("_remembered_names", {})
    cache_key = (type(picker), value.__class__, key, id(getattr(shape, "parent", None)))
    if cache_key not in names:
        context = serialize.AttributePickerContext(obj=value, key=key, shape=shape)
        names[cache_key] = list(dict.fromkeys(picker.get_possible_keys(context)))
    for name in names[cache_key]:
        found = moto_value(value, name, _MISSING)
        if found is not _MISSING:
            break
    else:
        found = None
    if picker.response_transformers:
        path = ".".join([*self.path, key])
        for end, transform in picker.response_transformers.items():
            if path.endswith(end):
                return transform(found)
    return found
