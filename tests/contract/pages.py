"""The contract in words: ``docs/events.md`` and ``docs/codes.md``, made of models and codes."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from isodrop.codes import TABLE, Code, Kind
from isodrop.events import SCHEMA_VERSION
from tests.contract.schemas import Json, Property, path_of, properties, slug

MADE: Final = "<!-- Made by: make contract -->\n"
ANSWERS: Final = ("ISO Import Succeeded", "ISO Import Failed", "ISO Import Rejected")

_SHARED: Final = ("detail.data.source.", "detail.data.plan.")
"""What has a section of its own, being the same in several events."""

_EVENTS: Final = """\
# The events

isodrop speaks on the event bus that the stack's parameter `EventBusName` names, as
`source: isodrop`. **Each upload gets exactly one answer**: `Succeeded`, `Failed` or `Rejected`.
Notices may come before it.

| detail-type | kind | when and what | schema | samples |
|---|---|---|---|---|
{table}

## A subscriber

A rule on `source: isodrop` and the detail-types you care for, and this function; deployable in
[examples/subscriber](../examples/subscriber):

```python
{subscriber}```

`parse` makes a Python value of the event, whose fields have the names below in snake case, and
raises `ForeignEventError` for what is not isodrop's. It comes with the stack's layer (the output
`LayerArn`), or with `pip install` of a checkout, and needs pydantic and nothing else.

Mail, a webhook, a state machine, WorkSpaces and a queue are in [examples](../examples/README.md).

## What holds

- **At least once.** EventBridge may deliver an event twice, and after a crash one may be published
  twice: `metadata.eventId` is the same then. Drop what you have seen.
- **In no certain order.** A notice can come after the answer; `metadata.time` tells.
- **One upload, one `metadata.dropId`.** Uploads of the same disc share one import:
  `metadata.importId` is the same, and `reused` is true for those that started nothing.
- **Within a major version only additions.** Fields and codes may be added; none goes, and none
  changes its type. Ignore what you do not know. Compare `detail-type` and `code`, never words.
- *always* below: every event of version {version} has the field. It may still be null where it
  says *or null*.

## The envelope

{envelope}

`detail` has two parts: `metadata`, the same in all events, and `data`. Of the data, `source` and
`plan` are the same wherever they are.

### metadata

{metadata}

### source

{source}

### plan

{plan}

{events}
## Schemas

The schemas are JSON Schema, Draft 4, of the whole event. The stack's parameter
`RegisterSchemas=true` puts them into a schema registry of EventBridge's, where consoles and IDEs
make code of them; [events/registry.json](../events/registry.json) does it by itself.
"""


def events_page(schemas: Mapping[str, Json], samples: Mapping[str, Json], root: Path) -> str:
    """Write the page of all events and their fields."""
    first = next(iter(schemas.values()))
    return MADE + _EVENTS.format(
        version=SCHEMA_VERSION,
        table="\n".join(_kind_row(kind, schema, samples) for kind, schema in schemas.items()),
        subscriber=(root / "examples/subscriber/app.py").read_text(),
        envelope=_table(each for each in properties(first) if "." not in each.path),
        metadata=_table(properties(first), "detail.metadata."),
        source=_table(properties(first), "detail.data.source."),
        plan=_table(properties(first), "detail.data.plan."),
        events="\n".join(_event(kind, schema) for kind, schema in schemas.items()),
    )


def _kind_row(kind: str, schema: Json, samples: Mapping[str, Json]) -> str:
    what = "**answer**" if kind in ANSWERS else "notice"
    link = f"[{SCHEMA_VERSION}](../{path_of(kind)})"
    said = _plain(schema["description"]).removeprefix("The answer: ").capitalize()
    return f"| [`{kind}`](#{slug(kind)}) | {what} | {said} | {link} | {_links(kind, samples)} |"


def _event(kind: str, schema: Json) -> str:
    fields = _table(
        (each for each in properties(schema) if not each.path.startswith(_SHARED)), "detail.data."
    )
    return f"## {kind}\n\n{schema['description']}\n\nFields of `data`:\n\n{fields}\n"


def _table(fields: Iterable[Property], prefix: str = "") -> str:
    head = "| field | type | | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(
        _row(each, each.path.removeprefix(prefix))
        for each in fields
        if each.path.startswith(prefix)
    )


def _row(each: Property, name: str) -> str:
    examples = each.schema.get("examples", [])
    like = f" Such as `{_json(examples[0])}`." if examples else ""
    kind = each.type.partition(" enum=")[0].replace(" format=date-time", " (date-time)")
    always = "always" if each.required else ""
    return f"| `{name}` | {kind} | {always} | {_plain(each.schema['description'])}{like} |"


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _links(kind: str, samples: Mapping[str, Json]) -> str:
    names = [name for name, sample in samples.items() if sample["detail-type"] == kind]
    return ", ".join(
        f"[{_variant(name, kind)}](../events/out/{name}.json)" for name in sorted(names, key=len)
    )


def _variant(name: str, kind: str) -> str:
    return name.removeprefix(slug(kind)).strip("-").replace("-", " ") or "sample"


_CODES: Final = """\
# The codes

Each `ISO Import Rejected` and each `ISO Import Failed` carries a `code`, a `message` about this
very upload, a `remedy`, and as `docs` the path of its section here. Compare codes, never words.
Within a major version of the contract codes may be added, and none goes.

{table}
{sections}"""


def codes_page() -> str:
    """Write the page on which each code has its section, with its name as the anchor."""
    return MADE + _CODES.format(
        table="\n".join(_kind(kind) for kind in Kind),
        sections="\n".join(_section(code) for code in Code),
    )


def _kind(kind: Kind) -> str:
    said = {
        Kind.REJECTED: "**Rejected**: said before anything was spent. What is found out"
        " only after that (`object-changed`) comes with an `ISO Import Failed`.",
        Kind.FAILED: "**Failed**: the upload was good, its import did not come to its end.",
    }[kind]
    links = ", ".join(f"[`{code}`](#{code})" for code in Code if TABLE[code].kind is kind)
    return f"{said} {links}.\n"


def _section(code: Code) -> str:
    entry = TABLE[code]
    again = "can end well" if entry.drop_again else "ends the same way"
    return (
        f"## {code}\n\n"
        f"`ISO Import {entry.kind.capitalize()}`. {entry.meaning}\n\n"
        f"**Why.** {entry.why}\n\n"
        f"**What to do.** {entry.remedy}\n\n"
        f"The very same file again, with nothing else changed, {again}.\n"
    )
