"""``isodrop inspect``: show what is on an ISO, and how it would be imported."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from isodrop.codes import Code, Rejection
from isodrop.domain.allow_list import AllowListMode
from isodrop.domain.content_hash import PARALLEL, ContentHashes, compute_hashes
from isodrop.domain.model import ImportPlan, ImportSettings, Upload
from isodrop.domain.overrides import merge_overrides
from isodrop.domain.planning import plan_import
from isodrop.errors import RejectedError
from isodrop.iso.model import IsoContents, WimImage
from isodrop.iso.reader import read_iso
from isodrop.text import printable
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.iso_source import Source, open_source
from isodrop_cli.output.console import (
    build_number,
    console,
    format_size,
    print_fields,
    print_json,
    print_pairs,
    print_table,
)
from isodrop_cli.override_args import add_set
from isodrop_cli.stack import add_stack_options, open_stack

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from rich.console import Console

    from isodrop.aws.allow_list import AllowListSource
    from isodrop_cli.stack import Stack

# The settings of a stack with default parameters.
DEFAULT_SETTINGS: Final = ImportSettings(stack="isodrop", infrastructure_configuration_arn="")

_HEADINGS: Final = ("Index", "Edition", "Name", "Arch", "Build", "Languages")
_EPILOG: Final = """\
The decision is that of a stack with default parameters; with --stack it is that
of your stack, and AWS credentials are required. In a pipe each line is a name
and its values, separated by tabs. Programs should use --json.

examples:
  isodrop inspect Win11.iso
  isodrop inspect Win11.iso --key isos/Win11_23H2_English_x64.iso
  isodrop inspect Win11.iso --set edition=EnterpriseN
  isodrop inspect Win11.iso --sha256 --stack isodrop
  isodrop inspect s3://my-bucket/Win11.iso --json | jq .plan

exit status: 0 accepted, 1 could not read the ISO, 2 usage error, 3 rejected,
130 interrupted
"""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result: the ISO's contents if they could be read, and the decision.

    Attributes
    ----------
    hashes : ContentHashes or None
        Hashes of the whole ISO, if requested.
    """

    contents: IsoContents | None
    decision: ImportPlan | Rejection
    hashes: ContentHashes | None = None


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "inspect",
        help=summary,
        description="Read an ISO's metadata in a few short reads, and show how it would be\n"
        "imported. Without --stack a local file needs no AWS credentials.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "file", metavar="FILE", help="a file, an optical drive, or s3://bucket/key"
    )
    command.add_argument("--key", help="inspect as if uploaded under this key")
    add_set(
        command,
        "override a value that is read from the ISO, as isodrop upload --set does; may be repeated",
    )
    command.add_argument(
        "--metadata",
        metavar="KEY=VALUE",
        type=_parse_pair,
        action="append",
        default=[],
        help="inspect as if uploaded with this metadata entry; may be repeated",
    )
    command.add_argument(
        "--sha256",
        action="store_true",
        help="read the whole ISO and print its SHA-256 and contentId; with --stack,\n"
        "check the stack's allow-list",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.add_argument("--trace", action="store_true", help="print each read to stderr")
    add_stack_options(command, only_if_named=True)
    command.set_defaults(run=run)
    return command


def run(options: Namespace) -> ExitCode:
    """Inspect the ISO, print the result, and return the exit status."""
    inspection = _inspect(options)
    if options.json:
        print_json({**as_json(inspection), "settings": "stack" if options.stack else "defaults"})
    elif screen := console():
        _print_tables(screen, inspection, options.stack)
    else:
        _print_lines(inspection, options.stack)
    return ExitCode.OK if isinstance(inspection.decision, ImportPlan) else ExitCode.REJECTED


def _inspect(options: Namespace) -> Inspection:
    """Inspect the ISO with the settings of the chosen stack, or with default settings."""
    opened = open_source(
        options.file, trace=options.trace, profile=options.profile, region=options.region
    )
    with opened as source:
        metadata = {**source.metadata, **dict(options.metadata)}
        uploaded = replace(source, metadata=merge_overrides(metadata, dict(options.set)))
        hashes = _hash(source) if options.sha256 else None
        if options.stack is None:
            return replace(inspect_iso(uploaded, options.key, {}), hashes=hashes)
        with open_stack(options) as stack:
            if not source.etag:  # not in a bucket yet
                key = stack.resolve_key(source.key, options.key)
                uploaded = replace(uploaded, bucket=stack.bucket, key=key)
            inspection = inspect_iso(uploaded, options.key, {}, stack.read_settings())
            return _apply_allow_list(replace(inspection, hashes=hashes), stack)


def _hash(source: Source) -> ContentHashes:
    # A file is read by one thread, an object by as many as the function uses.
    parallel = PARALLEL if source.etag else 1
    return compute_hashes(source.read, source.size, parallel=parallel)


def _apply_allow_list(inspection: Inspection, stack: "Stack") -> Inspection:
    """Apply the stack's allow-list, if the hash is known."""
    mode, source = stack.read_allow_list_settings()
    plan = inspection.decision
    if mode is AllowListMode.OFF or isinstance(plan, Rejection):
        return inspection
    if inspection.hashes is None:
        note = (
            f"The stack's AllowListMode is {mode}; use --sha256 to check the ISO against its list."
        )
        return replace(inspection, decision=replace(plan, notes=(*plan.notes, note)))
    refusal = _find_refusal(inspection.hashes.sha256, source)
    if refusal is None:
        return inspection
    if mode is AllowListMode.ENFORCE:
        return replace(inspection, decision=Rejection.of(Code.UNKNOWN_ISO, refusal))
    return replace(inspection, decision=replace(plan, notes=(*plan.notes, refusal)))


def _find_refusal(sha256: str, source: "AllowListSource") -> str | None:
    """Return why the list does not allow the ISO; ``None`` if it does."""
    allowed = source.read()
    return None if sha256 in allowed else allowed.describe_missing(sha256)


def inspect_iso(
    source: Source,
    key: str | None,
    metadata: Mapping[str, str],
    settings: ImportSettings = DEFAULT_SETTINGS,
) -> Inspection:
    """Read the ISO and decide as a stack with those settings would."""
    upload = Upload(
        bucket=source.bucket,
        key=source.key if key is None else key,
        etag=source.etag,
        size=source.size,
        sequencer="",
        version_id=source.version_id,
    )
    try:
        contents = read_iso(source.read, source.size)
    except RejectedError as error:
        return Inspection(None, error.rejection)
    return Inspection(
        contents, plan_import(upload, contents, {**source.metadata, **metadata}, settings)
    )


def as_json(inspection: Inspection) -> dict[str, Any]:
    """Convert the result to the documented JSON of ``inspect --json``."""
    plan = inspection.decision if isinstance(inspection.decision, ImportPlan) else None
    rejection = inspection.decision if isinstance(inspection.decision, Rejection) else None
    return {
        "iso": None if inspection.contents is None else _contents_json(inspection.contents),
        "decision": "rejected" if plan is None else "accepted",
        "rejection": None
        if rejection is None
        else {
            "code": rejection.code.value,
            "message": rejection.message,
            "remedy": rejection.remedy,
        },
        "plan": None if plan is None else _plan_json(plan),
        **({} if inspection.hashes is None else hashes_json(inspection.hashes)),
    }


def hashes_json(hashes: ContentHashes) -> dict[str, Any]:
    """Return the hashes under the names that the events use."""
    return {"sha256": hashes.sha256, "contentId": hashes.content.id}


def _contents_json(contents: IsoContents) -> dict[str, Any]:
    return {
        "label": contents.label,
        "kind": contents.kind,
        "images": [
            {
                "index": image.index,
                "name": image.name,
                "editionId": image.edition_id,
                "architecture": image.architecture,
                "build": image.build,
                "revision": image.shown_revision,
                "languages": list(image.languages),
            }
            for image in contents.images
        ],
        "requests": contents.requests,
        "bytesRead": contents.bytes_read,
    }


def _plan_json(plan: ImportPlan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "semanticVersion": plan.semantic_version,
        "imageIndex": plan.image_index,
        "description": plan.description,
        "edition": plan.edition,
        "release": plan.release,
        "architecture": plan.architecture,
        "windowsBuild": plan.windows_build,
        "revision": plan.revision,
        "languages": list(plan.languages),
        "rebuild": plan.rebuild,
        "tags": dict(plan.tags),
        "notes": list(plan.notes),
    }


def _print_tables(screen: "Console", inspection: Inspection, stack: str | None) -> None:
    plan = inspection.decision if isinstance(inspection.decision, ImportPlan) else None
    if inspection.contents is not None:
        screen.print(_headline(inspection.contents))
        print_table(
            screen,
            _HEADINGS,
            map(_row, inspection.contents.images),
            chosen=lambda row: plan is not None and row[0] == plan.image_index,
        )
    if isinstance(inspection.decision, Rejection):
        screen.print("REJECTED", inspection.decision.code.value, style="bold red")
        print_pairs(
            screen,
            [
                *_rejection_pairs(inspection.decision),
                *_hash_pairs(inspection),
                _settings_pair(stack),
            ],
        )
    else:
        screen.print("ACCEPTED", style="bold green")
        print_pairs(
            screen,
            [*_plan_pairs(inspection.decision), *_hash_pairs(inspection), _settings_pair(stack)],
        )


def _print_lines(inspection: Inspection, stack: str | None) -> None:
    if inspection.contents is not None:
        print_fields("label", inspection.contents.label)
        for image in inspection.contents.images:
            print_fields("image", *_row(image))
    if isinstance(inspection.decision, Rejection):
        print_fields("decision", "rejected", inspection.decision.code.value)
        for name, value in _rejection_pairs(inspection.decision):
            print_fields(name, value)
    else:
        print_fields("decision", "accepted")
        for name, value in _plan_pairs(inspection.decision):
            print_fields(name, value)
    for name, value in _hash_pairs(inspection):
        print_fields(name, value)
    print_fields(*_settings_pair(stack))


def _headline(contents: IsoContents) -> str:
    requests = f"{contents.requests} request{'' if contents.requests == 1 else 's'}"
    return (
        f"{printable(contents.label)}: install.{contents.kind} on an ISO of"
        f" {format_size(contents.size)}; read {format_size(contents.bytes_read)} of it in"
        f" {requests}"
    )


def _hash_pairs(inspection: Inspection) -> list[tuple[str, object]]:
    if inspection.hashes is None:
        return []
    return [("sha256", inspection.hashes.sha256), ("content", inspection.hashes.content.id)]


def _settings_pair(stack: str | None) -> tuple[str, str]:
    return ("settings", "default" if stack is None else f"stack {stack}")


def _rejection_pairs(rejection: Rejection) -> list[tuple[str, object]]:
    return [("reason", rejection.message), ("remedy", rejection.remedy)]


def _plan_pairs(plan: ImportPlan) -> list[tuple[str, object]]:
    return [
        ("name", plan.name),
        ("version", plan.semantic_version),
        ("image index", plan.image_index),
        ("edition", plan.edition),
        ("release", plan.release or "unknown"),
        ("languages", " ".join(plan.languages)),
        ("description", plan.description),
        *(("tag", f"{key} = {value}") for key, value in plan.tags.items()),
        *(("note", note) for note in plan.notes),
    ]


def _row(image: WimImage) -> tuple[object, ...]:
    return (
        image.index,
        image.edition_id,
        image.name,
        image.architecture,
        build_number(image.build, image.shown_revision),
        " ".join(image.languages),
    )


def _parse_pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"'{text}' is not of the form KEY=VALUE")
    return key, value
