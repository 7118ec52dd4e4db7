"""The pages of the contract: ``docs/events.md`` and ``docs/codes.md``, from models and codes."""

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
"""The values with their own section, because several events have them."""

_EVENTS: Final = """\
# Events

isodrop publishes as `source: isodrop`: on the event bus that the stack's parameter `EventBusName`
names, on one of the stack's own with `CreateEventBus`, else on the account's `default`.
**Each upload gets exactly one answer**: `Succeeded`, `Failed` or `Rejected`. Notifications may come
before it.

| detail-type | kind | published when | in Python | schema | samples |
|---|---|---|---|---|---|
{table}

## A subscriber

A subscriber is a rule for the detail-types that you need, and this function; the template is in
[examples/subscriber](../examples/subscriber):

```python
{subscriber}```

`parse` returns an `Event`. Its `metadata` and `data` have the fields below in snake case; times are
`datetime` and arrays are tuples. `data` has the class in the table above, so `isinstance`
distinguishes the answers, also for type checkers. Fields of the envelope, such as `region`, stay in
`event`. An event of another source, or of another major version, raises `UnknownEventError`.

- **The rule** belongs on the bus in the output `EventBus`; the output `EventPattern` matches
  every answer. List the detail-types: a rule for `source` alone also matches each step of a build,
  and event types that your version of `parse` does not know. If two stacks publish on one bus,
  match `detail.metadata.stack`, too.
- **The package** is in the stack's layer, the output `LayerArn`: for the runtime `python3.13`,
  on arm64 and x86_64. The layer contains pydantic and boto3, which precede the runtime's own; your
  function's code precedes both, and a pydantic in it must be {pydantic}.
- **When isodrop is updated**, the layer may get a new version, and the old one is deleted. A
  function with the old one continues to run; to change it, deploy it with the new `LayerArn`. The
  output is not exported, because CloudFormation would not let it change.
- **In an editor and in tests**, `pip install` a checkout with Python 3.11 or newer; its only
  dependency is pydantic. The [samples](../events/out) are whole events to call
  `handler` with.
- **When the function fails**, Lambda retries it twice and then discards the event; there is no
  second answer. The template sends such events to a queue.

## Before you act on an AMI

Anybody with `events:PutEvents` on a bus can publish an event that looks like an answer. So call
`verify` instead of `parse` before you act on an AMI, and use the event that it returns:

```python
import boto3

from isodrop.events import verify

ledger = boto3.resource("dynamodb").Table("the output LedgerTableName")
builder = boto3.client("imagebuilder")


def handler(event, _context):
    answer = verify(event, ledger, builder)
```

It compares the answer, field by field, with the one that the stack wrote into the ledger before
publishing it, and its AMIs with those that Image Builder returns. If they differ, it raises
`UnverifiedEventError`, which lists the fields. It needs `dynamodb:GetItem` on the ledger and
`imagebuilder:GetImage` on the stack's images, and `kms:Decrypt` on the `KmsKeyArn` if there is one.
Somebody may publish a true answer again, so what you do must be idempotent.

[examples](../examples/README.md) has e-mail, a webhook, a state machine, WorkSpaces and a queue.

## Delivery and compatibility

- **At least once.** EventBridge may deliver an event twice, and after a crash one may be published
  twice, with the same `metadata.eventId`. Ignore repeats.
- **An AMI can be in several answers.** Each upload of the same ISO has its answer, with the same
  AMI and another `eventId`. To do something once per image, use `amis[].id`.
- **Not always every AMI.** An event is limited to 256 KB, about 1,000 AMIs. It contains the
  first ones, and `amisOmitted` counts the others; GetImage of `distributionArn` returns them.
  Excess notes are omitted, too.
- **In no particular order.** A notification can arrive after the answer; compare `metadata.time`.
  The last answer need not have the highest version: an older ISO may be uploaded later. The
  parameter `/isodrop/<name>/<build>/latest` names the highest version. It is written before the
  answer is published, or by the next sweep if a note in the answer says that it could not be.
- **One upload, one `metadata.uploadId`.** Uploads of the same bytes share one import:
  `metadata.importId` is the same, and `reused` is true for those that started no build.
- **Only additions within a major version.** Fields and codes may be added; none is removed, and
  none changes its type. Ignore what you do not know. Compare `detail-type` and `code`, no texts.
- *always* below means that every event of version {version} has the field. It may still be null if
  it says *or null*.

## The envelope

{envelope}

`detail` has two parts: `metadata`, with the same fields in all events, and `data`. `source` and
`plan` have the same fields in all data.

### metadata

{metadata}

### source

{source}

### plan

{plan}

{events}
## Schemas

The schemas are JSON Schema, Draft 4, of the whole event. The stack's parameter
`RegisterSchemas=true` registers them in an EventBridge schema registry, for code bindings in
consoles and IDEs; the template [events/registry.json](../events/registry.json) does only that.
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
    what = "**answer**" if kind in ANSWERS else "notification"
    link = f"[{SCHEMA_VERSION}](../{path_of(kind)})"
    meaning = _plain(schema["description"]).removeprefix("The answer: ")
    sentence = meaning[:1].upper() + meaning[1:]
    samples_of = _links(kind, samples)
    row = (f"[`{kind}`](#{slug(kind)})", what, sentence, f"`{_CLASSES[kind]}`", link, samples_of)
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
# Codes

Each `ISO Import Rejected` and `ISO Import Failed` has a `code`, a `message` about the upload, a
`remedy`, and in `docsPath` the path of its section here. Programs should compare codes, not
messages. Within a major version of the contract codes may be added, and none is removed.

{table}
{sections}"""


def codes_page() -> str:
    """Write the page on which each code has its section, with its name as the anchor."""
    return MADE + _CODES.format(
        table="\n".join(_kind(kind) for kind in OutcomeKind),
        sections="\n".join(_section(code) for code in Code),
    )


def _kind(kind: OutcomeKind) -> str:
    sentence = {
        OutcomeKind.REJECTED: "**Rejected**: found before anything was spent. What is found later"
        " leads to an `ISO Import Failed`.",
        OutcomeKind.FAILED: "**Failed**: the ISO was accepted, but its import failed.",
    }[kind]
    links = ", ".join(f"[`{code}`](#{code})" for code in Code if CODES[code].kind is kind)
    return f"{sentence} {links}.\n"


def _section(code: Code) -> str:
    entry = CODES[code]
    again = "can succeed" if entry.retryable else "has the same result"
    return (
        f"## {code}\n\n"
        f"`ISO Import {entry.kind.capitalize()}`. {entry.meaning}\n\n"
        f"**Why.** {entry.why}\n\n"
        f"**What to do.** {entry.remedy}\n\n"
        f"Uploading the same file again, with nothing else changed, {again}.\n"
    )


_AWS_ERRORS: Final = """\
# AWS errors

This table alone decides how isodrop classifies each error of AWS:

- `TransientError`: retried with growing delays, for about four hours.
- `QuotaError`: retried for about twelve hours.
- `CredentialsError`: retried for about six minutes.
- `AccessDeniedError` and `PermanentError`: not retried.

In any case there is an answer: [`service-unavailable`](codes.md#service-unavailable)
when the retries have ended, [`access-denied`](codes.md#access-denied) for credentials and
permissions, [`unreadable-object`](codes.md#unreadable-object) if S3 denies reading the ISO,
[`import-refused`](codes.md#import-refused) if Image Builder refused, and
[`request-refused`](codes.md#request-refused) if another service did.

| AWS's code, or the SDK's exception | becomes | because | source |
|---|---|---|---|
{rows}
| any other, with HTTP status 429 or from 500 on | `TransientError` | unavailable now | {aws} |
| any other | `PermanentError` | a repeated request would fail, too | |

The commands of `isodrop` use the same table, and print a remedy with each error.
"""
_RETRIES: Final = "https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"


def aws_errors_page() -> str:
    """Return the page on how AWS's errors are translated."""
    rows = []
    for each in ERROR_CLASSES:
        names = [*each.codes, *(kind.__name__ for kind in each.raised)]
        host = each.source.split("/")[2]
        source = f"[{'AWS' if host.endswith('amazon.com') else 'botocore'}]({each.source})"
        cells = (", ".join(f"`{name}`" for name in names), f"`{each.becomes.__name__}`", each.why)
        rows.append(f"| {' | '.join((*cells, source))} |")
    return MADE + _AWS_ERRORS.format(rows="\n".join(rows), aws=f"[AWS]({_RETRIES})")
