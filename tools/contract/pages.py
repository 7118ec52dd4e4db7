"""The contract in words: ``docs/events.md`` and ``docs/codes.md``, made of models and codes."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from isodrop.aws.errors import ERROR_CLASSES
from isodrop.codes import CODES, Code, OutcomeKind
from isodrop.events import DETAIL_TYPES, SCHEMA_VERSION
from tools.contract.schemas import Json, Property, path_of, properties, slug

MADE: Final = "<!-- Made by: make contract -->\n"
ANSWERS: Final = ("ISO Import Succeeded", "ISO Import Failed", "ISO Import Rejected")

_CLASSES: Final[dict[str, str]] = {kind: model.__name__ for model, kind in DETAIL_TYPES.items()}

_SHARED: Final = ("detail.data.source.", "detail.data.plan.")
"""What has a section of its own, being the same in several events."""

_EVENTS: Final = """\
# The events

isodrop publishes as `source: isodrop`: on the event bus that the stack's parameter `EventBusName`
names, on one of the stack's own with `CreateEventBus`, else on the account's `default`.
**Each upload gets exactly one answer**: `Succeeded`, `Failed` or `Rejected`. Notifications may come
before it.

| detail-type | kind | when and what | in Python | schema | samples |
|---|---|---|---|---|---|
{table}

## A subscriber

A rule for the detail-types you care for, and this function; with a template to deploy it by in
[examples/subscriber](../examples/subscriber):

```python
{subscriber}```

`parse` makes an `Event` of it. Its `metadata` and `data` have the fields below in snake case, times
are `datetime` and arrays are tuples. `data` is of the class that the table above names, so
`isinstance` tells the answers apart, to a type checker too: the package carries its types. What
is in the envelope only, such as `region`, stays in `event`. What is not isodrop's, or of another
major version, raises `UnknownEventError`.

- **The rule** stands on the bus that the output `EventBus` names; the output `EventPattern` hears
  every answer. Name the detail-types: a rule on `source` alone wakes you at each step of a build,
  and hands you what your copy of `parse` may not know yet. Where two stacks speak on one bus, the
  pattern may ask for `detail.metadata.stack`.
- **The package** comes with the stack's layer, the output `LayerArn`: for the runtime `python3.13`,
  on arm64 and x86_64. pydantic and boto3 are in it, and go before the runtime's own; what is in
  your function's code goes before both, and a pydantic there must be {pydantic}.
- **When isodrop is updated** the layer may become another version, and the old one is deleted. A
  function that has the old one runs on; to change it, deploy it with the new `LayerArn`. That is
  why the output is not exported: CloudFormation would not let it change.
- **In an editor and in tests** it is `pip install` of a checkout, with Python 3.11 or newer; it
  brings pydantic and nothing else. The [samples](../events/out) are whole events to call
  `handler` with.
- **When the function fails**, Lambda calls it twice more and drops the event, and no second answer
  comes. The template puts what was missed into a queue.

## Before you act on an AMI

Whoever has `events:PutEvents` on a bus can put an event there that looks like an answer. So call
`verify` in place of `parse` where something depends on it, and act on what it returns:

```python
import boto3

from isodrop.events import verify

ledger = boto3.resource("dynamodb").Table("the output LedgerTableName")
builder = boto3.client("imagebuilder")


def handler(event, _context):
    answer = verify(event, ledger, builder)
```

It compares the answer with the one that the stack wrote down before it published it, field by
field, then its AMIs with those that Image Builder names, and raises `UnverifiedEventError`, which
names the fields that differ. It needs `dynamodb:GetItem` on the ledger and `imagebuilder:GetImage`
on the stack's images, and `kms:Decrypt` on the `KmsKeyArn` if there is one. An answer that was true
once stays true: somebody may send it again, so what you do must bear a repeat.

Mail, a webhook, a state machine, WorkSpaces and a queue are in [examples](../examples/README.md).

## What holds

- **At least once.** EventBridge may deliver an event twice, and after a crash one may be published
  twice: `metadata.eventId` is the same then. Drop what you have seen.
- **An AMI in more than one answer.** Each upload of a disc has its answer, with the same AMI and
  another `eventId`. What is to be done once for an image goes by `amis[].id`.
- **Not always every AMI.** An event of EventBridge's holds less than 256 KB, some 1,000 AMIs. The
  first are told, and `amisOmitted` counts the others: GetImage of `distributionArn` names them.
  Notes that are too many are left out likewise.
- **In no certain order.** A notice can come after the answer; `metadata.time` tells. The last
  answer need not bring the highest version: an older ISO may be dropped later. The parameter
  `/isodrop/<name>/<build>/latest` names the highest, and is written before the answer goes out, or
  by the next sweep, where a note in the answer says that it could not be.
- **One upload, one `metadata.uploadId`.** Uploads of the same bytes share one import:
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
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return MADE + _EVENTS.format(
        version=SCHEMA_VERSION,
        table="\n".join(_kind_row(kind, schema, samples) for kind, schema in schemas.items()),
        subscriber=(root / "examples/subscriber/app.py").read_text(),
        pydantic=f"`{next(each for each in project['dependencies'] if 'pydantic' in each)}`",
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
    samples_of = _links(kind, samples)
    row = (f"[`{kind}`](#{slug(kind)})", what, said, f"`{_CLASSES[kind]}`", link, samples_of)
    return f"| {' | '.join(row)} |"


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
        table="\n".join(_kind(kind) for kind in OutcomeKind),
        sections="\n".join(_section(code) for code in Code),
    )


def _kind(kind: OutcomeKind) -> str:
    said = {
        OutcomeKind.REJECTED: "**Rejected**: said before anything was spent. What is found out"
        " only after that comes with an `ISO Import Failed`.",
        OutcomeKind.FAILED: "**Failed**: the upload was good, its import did not come to its end.",
    }[kind]
    links = ", ".join(f"[`{code}`](#{code})" for code in Code if CODES[code].kind is kind)
    return f"{said} {links}.\n"


def _section(code: Code) -> str:
    entry = CODES[code]
    again = "can end well" if entry.retryable else "ends the same way"
    return (
        f"## {code}\n\n"
        f"`ISO Import {entry.kind.capitalize()}`. {entry.meaning}\n\n"
        f"**Why.** {entry.why}\n\n"
        f"**What to do.** {entry.remedy}\n\n"
        f"The very same file again, with nothing else changed, {again}.\n"
    )


_AWS_ERRORS: Final = """\
# What AWS says, and what isodrop makes of it

Each error of AWS's becomes one of isodrop's, by this table and nothing else. What becomes of it
then:

- `TransientError`: waited out, with growing pauses, for about four hours.
- `QuotaError`: waited out more patiently, for about twelve hours.
- `CredentialsError`: waited out for about six minutes.
- `DeniedError` and `RefusedError`: not asked again.

In the end there is an answer either way: [`service-unavailable`](codes.md#service-unavailable)
where patience has ended, [`access-denied`](codes.md#access-denied) for credentials and rights,
[`unreadable-object`](codes.md#unreadable-object) where S3 does not let the ISO be read,
[`import-refused`](codes.md#import-refused) where Image Builder refused, and
[`request-refused`](codes.md#request-refused) where another service did.

| AWS's code, or what the SDK raises | becomes | because | source |
|---|---|---|---|
{rows}
| any other, with HTTP status 429 or from 500 on | `TransientError` | it cannot answer now | {aws} |
| any other | `RefusedError` | it would be refused again | |

The commands of `isodrop` go by the same table, and say with each error what to do about it.
"""
_RETRIES: Final = "https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"


def aws_errors_page() -> str:
    """Write the page of AWS's errors and of what they become."""
    rows = []
    for each in ERROR_CLASSES:
        names = [*each.codes, *(kind.__name__ for kind in each.raised)]
        host = each.source.split("/")[2]
        source = f"[{'AWS' if host.endswith('amazon.com') else 'botocore'}]({each.source})"
        cells = (", ".join(f"`{name}`" for name in names), f"`{each.becomes.__name__}`", each.why)
        rows.append(f"| {' | '.join((*cells, source))} |")
    return MADE + _AWS_ERRORS.format(rows="\n".join(rows), aws=f"[AWS]({_RETRIES})")
