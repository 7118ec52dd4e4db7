"""What a rule passes to its targets: patches of the emulator's EventBridge."""

import json
import re
from types import SimpleNamespace
from typing import Any

from ministack.services import eventbridge

_apply_input_transformer = eventbridge._apply_input_transformer


class _Indexed(dict[str, Any]):
    """An object whose members ``name[0]`` are the elements of its member ``name``."""

    def __missing__(self, step: str) -> Any:
        """Return the element; KeyError as for any other missing member."""
        indexed = re.fullmatch(r"([^\[\]]+)\[(\d+)\]", step)
        if not indexed:
            raise KeyError(step)
        return self[indexed[1]][int(indexed[2])]


def apply_input_transformer(transformer: dict[str, Any], rule: Any, view: Any) -> Any:
    """Support elements of arrays in the paths of an input transformer.

    EventBridge supports dot notation and "array indices" of JSON path; the emulator looks up a
    member named ``amis[0]``.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    """
    event = json.loads(json.dumps(view.event_with_detail()), object_hook=_Indexed)
    event_view = SimpleNamespace(event_with_detail=lambda: event, envelope=view.envelope)
    return _apply_input_transformer(transformer, rule, event_view)


def apply() -> None:
    """Apply the patches."""
    eventbridge._apply_input_transformer = apply_input_transformer
