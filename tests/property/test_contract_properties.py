"""Whatever comes over a bus: it is read, or refused with the one error that says so."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from isodrop.events import MODELS, SOURCE, Event, UnknownEventError, parse

SAMPLE = Path(__file__).parents[2] / "events/out/iso-import-succeeded.json"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


@given(detail_type=st.sampled_from(sorted(MODELS)) | anything, detail=anything)
def test_any_event_parses_or_raises_one_kind_of_error(detail_type: Any, detail: Any) -> None:
    with suppress(UnknownEventError):
        assert isinstance(
            parse({"source": SOURCE, "detail-type": detail_type, "detail": detail}), Event
        )


@given(data=st.data())
def test_a_valid_event_with_one_value_replaced_is_parsed_or_refused(
    data: st.DataObject,
) -> None:
    event = json.loads(SAMPLE.read_text())
    place = event["detail"]
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or data.draw(st.booleans()):
            break
        place = place[name]
    place[name] = data.draw(anything)
    with suppress(UnknownEventError):
        assert parse(event).detail_type == "ISO Import Succeeded"
