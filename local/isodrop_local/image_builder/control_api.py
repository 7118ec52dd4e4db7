"""The control API of the fake, with JSON: injects faults and returns records."""

from collections.abc import Mapping
from typing import Any, Final

from isodrop_local.image_builder.models import FakeImageBuilder

_CONTROLS_ACTIONS: Final = (
    "fail_next",
    "fail_next_build",
    "hold",
    "release",
    "pass_through",
    "reset",
)
_BUILDER_ACTIONS: Final = (
    "fail",
    "cancel",
    "delete",
    "set_status",
    "set_quota",
    "forget_tokens",
    "tick",
)


def control(builder: FakeImageBuilder, action: str, request: Mapping[str, Any]) -> Any:
    """Perform an action on a fake, or read one of its records.

    Parameters
    ----------
    builder : FakeImageBuilder
        The fake.
    action : str
        ``calls`` (of an ``operation``), ``violations``, ``builds`` (of a ``kind``); or a method of
        :class:`~isodrop_local.image_builder.controls.Controls` or of the fake, by name.
    request : mapping
        The method's arguments, by name.

    Returns
    -------
    list or None
        A record; ``None`` for a command.

    Raises
    ------
    KeyError
        There is no such action.
    TypeError, ValueError, ServiceError
        The method does not accept the arguments.

    Examples
    --------
    >>> control(builder, "fail_next_build", {"step": "WaitForSsmAgent"})
    """
    builder.tick()
    match action:
        case "calls":
            return builder.controls.calls_of(request.get("operation"))
        case "violations":
            return list(builder.controls.violations)
        case "builds":
            return builder.history(**request)
    if action not in (*_CONTROLS_ACTIONS, *_BUILDER_ACTIONS):
        raise KeyError(action)
    getattr(builder.controls if action in _CONTROLS_ACTIONS else builder, action)(**request)
    builder.tick()
    return None
