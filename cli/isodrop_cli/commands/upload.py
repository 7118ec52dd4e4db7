"""``isodrop upload``: inspect an ISO, upload it if it would be accepted, and follow its import."""

import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from isodrop.codes import Rejection
from isodrop.domain.content_hash import ContentHashes, compute_hashes
from isodrop.domain.model import ImportSettings, Upload
from isodrop.domain.overrides import RULES
from isodrop.domain.s3_uri import S3Uri
from isodrop.errors import AccessDeniedError
from isodrop_cli.clock import utc_now
from isodrop_cli.commands import inspect
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.iso_source import IsoSourceError, open_source
from isodrop_cli.output.console import format_size
from isodrop_cli.output.following import render_all
from isodrop_cli.output.progress import ProgressEvent, RateMeter, upload_event
from isodrop_cli.output.renderers import Renderer, make_renderer
from isodrop_cli.override_args import add_set
from isodrop_cli.stack import Stack, StackError, add_stack_options, open_stack

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from isodrop_cli.resumable_upload import Progress, ResumableUpload

_MAX_TRIES: Final = 3
"""How many times to try, if other uploads of the same file supersede this one."""
_SETTINGS_LABELS: Final = {"stack": "the stack's settings", "defaults": "default settings"}

_EPILOG: Final = f"""\
The ISO is inspected first with the stack's settings; one that would be rejected
is not uploaded. If the upload is interrupted, run the same command again, on
any machine: it resumes and sends only the missing parts, provided that
overrides, encryption and tags are the same. A file that is in the bucket
already is not uploaded again.
The overrides for --set are:
  {" ".join(RULES)}

In a pipe each line has these fields separated by tabs: time, stage, message.
With --json each line is an object with event, time, key, stage and message. The
events are inspected, note, uploading, uploaded, state, unclaimed (the import
has not started within a minute), and finally answer, which has all fields of
isodrop status --json.

examples:
  isodrop upload Win11.iso
  isodrop upload Win11.iso --set edition=EnterpriseN --set image-index=4
  isodrop upload Win11.iso --key lab/Win11_24H2.iso --no-wait
  isodrop upload Win11.iso --sse aws:kms --sse-kms-key-id KEY --tag team=x
  isodrop upload Win11.iso --json | jq -r 'select(.event == "answer") | .state'

exit status: the result: 0 succeeded, 3 rejected (also if it was not uploaded
for that reason), 4 failed; with --no-wait 0 uploaded; 1 could not upload or
follow it, 2 usage error, 130 interrupted
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "upload",
        help=summary,
        description="Inspect an ISO, upload it to the stack's bucket, and follow its import.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "file", metavar="FILE", type=Path, help="the ISO file, or an optical drive"
    )
    command.add_argument(
        "--key", help="the object's key (default: the stack's prefix and the file's name)"
    )
    add_set(command, "override a value that is read from the ISO; may be repeated")
    command.add_argument(
        "--sse",
        choices=("AES256", "aws:kms"),
        help="the object's encryption (default: the bucket's)",
    )
    command.add_argument(
        "--sse-kms-key-id", metavar="KMS_KEY", help="the KMS key to encrypt it with"
    )
    command.add_argument(
        "--tag",
        metavar="KEY=VALUE",
        type=_parse_tag,
        action="append",
        default=[],
        help="tag the object; may be repeated",
    )
    command.add_argument("--no-wait", action="store_true", help="exit after the upload")
    command.add_argument(
        "--force", action="store_true", help="upload even if it is in the bucket already"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object per line")
    add_stack_options(command)
    command.set_defaults(run=run, refuse=command.error)
    return command


def run(options: Namespace) -> ExitCode:
    """Inspect, upload and follow the file, and return the exit status."""
    object_options = _object_options(options)
    hint = ResumeHint()
    try:
        with open_stack(options) as stack:
            key = stack.resolve_key(options.file.name, options.key)
            key.encode()  # a key must be UTF-8
            file_upload = FileUpload(
                stack, options.file, key, dict(options.set), hint, object_options
            )
            title = f"{options.file.name} to {file_upload.uri}"
            with make_renderer(as_json=options.json, title=title) as renderer:
                return file_upload.upload_and_follow(
                    renderer, force=options.force, follow=not options.no_wait
                )
    except BaseException as error:
        if hint.text:
            error.add_note(hint.text)
        raise


def _object_options(options: Namespace) -> dict[str, str]:
    """Return the object's encryption and tags, as parameters of S3."""
    if options.sse_kms_key_id is not None and options.sse != "aws:kms":
        options.refuse("--sse-kms-key-id requires --sse aws:kms")
    settings = {
        "ServerSideEncryption": options.sse,
        "SSEKMSKeyId": options.sse_kms_key_id,
        "Tagging": urlencode(options.tag) or None,
    }
    return {name: value for name, value in settings.items() if value is not None}


@dataclass(slots=True)
class ResumeHint:
    """How to continue if the command ends here; empty if there is nothing to continue."""

    text: str = ""


@contextmanager
def hash_in_background(path: Path) -> Iterator[Callable[[], ContentHashes]]:
    """Hash a file in the background; hashing stops at the end of the block at the latest."""
    stopped = Event()
    with ThreadPoolExecutor(1) as pool, open_source(str(path)) as source:

        def read(start: int, length: int) -> bytes:
            if stopped.is_set():
                raise IsoSourceError(f"{path}: reading was stopped")
            return source.read(start, length)

        running = pool.submit(compute_hashes, read, source.size, parallel=1)
        try:
            yield running.result
        finally:
            stopped.set()
            wait([running])


@dataclass(frozen=True, slots=True)
class FileUpload:
    """One file to upload to one stack."""

    stack: Stack
    path: Path
    key: str
    metadata: Mapping[str, str]
    resume_hint: ResumeHint
    object_options: Mapping[str, str] = field(default_factory=dict)

    @property
    def bucket(self) -> str:
        """The upload bucket."""
        return self.stack.bucket

    @property
    def uri(self) -> str:
        """The object's URI."""
        return str(S3Uri(self.bucket, self.key))

    def upload_and_follow(self, renderer: Renderer, *, force: bool, follow: bool) -> ExitCode:
        """Inspect the file, upload it, and follow its import; return the exit status."""
        size = self._inspect(renderer)
        if size is None:
            return ExitCode.REJECTED
        transfer = self._make_transfer(size)
        existing_run = None if force else self._find_existing(transfer, renderer)
        if existing_run is None:
            with hash_in_background(
                self.path
            ) as hashes:  # in parallel: hashing 6 GB takes half a minute
                existing_run = self._send(transfer, renderer, hashes)
        upload_id, number = existing_run
        if not follow:
            return ExitCode.OK
        self.resume_hint.text = f"the import continues; follow it with isodrop watch {self.uri}"
        snapshots = self.stack.make_operations().follow_run(
            upload_id, number, time.sleep, time.monotonic
        )
        return render_all(renderer, snapshots, self.key)

    def _inspect(self, renderer: Renderer) -> int | None:
        """Inspect the file; return its size if it would be imported."""
        settings, origin = self._read_settings()
        with open_source(str(self.path)) as source:
            uploaded = replace(source, bucket=self.bucket)
            inspection = inspect.inspect_iso(uploaded, self.key, self.metadata, settings)
        data = {**inspect.as_json(inspection), "settings": origin}
        if isinstance(inspection.decision, Rejection):
            rejection = inspection.decision
            message = f"{rejection.code.value}\n{rejection.message}\n{rejection.remedy}"
            renderer.show(
                ProgressEvent(
                    "inspected", self.key, "inspect", message, utc_now(), data, severity="error"
                )
            )
            return None
        plan = inspection.decision
        message = (
            f"{plan.name} {plan.semantic_version}; {plan.edition} (image index {plan.image_index}),"
            f" according to {_SETTINGS_LABELS[origin]}"
        )
        renderer.show(ProgressEvent("inspected", self.key, "inspect", message, utc_now(), data))
        return source.size

    def _read_settings(self) -> tuple[ImportSettings, str]:
        """Read the stack's settings if permitted, else use the default ones."""
        try:
            return self.stack.read_settings(), "stack"
        except AccessDeniedError:
            return inspect.DEFAULT_SETTINGS, "defaults"

    def _make_transfer(self, size: int) -> "ResumableUpload":
        from isodrop_cli.resumable_upload import CONFIG, ResumableUpload, plan_parts  # noqa: PLC0415 - see stack.find_stack

        return ResumableUpload(
            s3=self.stack.session.client("s3", config=CONFIG),
            path=self.path,
            bucket=self.bucket,
            key=self.key,
            metadata=self.metadata,
            plan=plan_parts(size, {**self.metadata, **self.object_options}),
            object_options=self.object_options,
        )

    def _find_existing(
        self, transfer: "ResumableUpload", renderer: Renderer
    ) -> tuple[str, int] | None:
        """Find the latest run of an identical object with the same settings, if there is one."""
        head = transfer.head_object()
        if head is None or head["ContentLength"] != transfer.plan.size:
            return None
        if not self._matches_request(head):
            return None
        message = f"comparing {format_size(transfer.plan.size)} with the existing object"
        renderer.show(ProgressEvent("note", self.key, "upload", message, utc_now()))
        if not transfer.has_same_bytes(head):
            return None
        operations = self.stack.make_operations()
        history = operations.get_history(self.bucket, self.key)
        message = (
            "identical object exists; isodrop retry imports it again, --force uploads it again"
        )
        data = {**self._object(head.get("VersionId"), head["ETag"].strip('"')), "sent": False}
        renderer.show(ProgressEvent("uploaded", self.key, "upload", message, utc_now(), data))
        return history.upload_id, operations.find_latest_run(history)

    def _matches_request(self, head: Mapping[str, Any]) -> bool:
        """Whether the object has the same overrides, and the requested encryption."""
        from isodrop.aws.s3 import decode_metadata  # noqa: PLC0415 - see stack.find_stack

        existing = decode_metadata(head["Metadata"])
        key_id = self.object_options.get("SSEKMSKeyId", "").rpartition("/")[2]
        return (
            {name: existing[name] for name in RULES if name in existing} == self.metadata
            and self.object_options.get("ServerSideEncryption")
            in {None, head.get("ServerSideEncryption")}
            and str(head.get("SSEKMSKeyId", "")).endswith(key_id)
        )

    def _send(
        self, transfer: "ResumableUpload", renderer: Renderer, hashes: Callable[[], ContentHashes]
    ) -> tuple[str, int]:
        """Upload what is missing; return the upload's id and the number of its run."""
        from isodrop_cli.resumable_upload import SupersededError  # noqa: PLC0415 - see stack.find_stack

        for _ in range(_MAX_TRIES):
            try:
                return self._send_once(transfer, renderer, hashes), 0
            except SupersededError as error:
                last_error = error
            self.resume_hint.text = ""
            # Two commands resumed the same multipart upload, and the other one was faster.
            existing_run = self._find_existing(transfer, renderer)
            if existing_run is not None:
                return existing_run
        raise last_error

    def _send_once(
        self, transfer: "ResumableUpload", renderer: Renderer, hashes: Callable[[], ContentHashes]
    ) -> str:
        """Upload what is missing, once; return the upload's id."""
        from isodrop.domain.ids import upload_id  # noqa: PLC0415 - see stack.find_stack

        size, meter = transfer.plan.size, RateMeter()
        began = utc_now()

        def show_progress(progress: "Progress") -> None:
            if progress.parts_done:
                self.resume_hint.text = "run the same command again to resume the upload"
            meter.record(time.monotonic(), progress.sent)
            renderer.show(upload_event(self.key, utc_now(), progress, meter))

        result = transfer.send(transfer.find_pending(), show_progress)
        self.resume_hint.text = ""
        resumed = result.part_count - result.parts_sent
        message = (
            f"{format_size(size)} in {result.part_count} part"
            + ("" if result.part_count == 1 else "s")
            + (f", {resumed} of them uploaded before" if resumed else "")
        )
        file_hashes = hashes()
        message += f"; SHA-256 {file_hashes.sha256}"
        data = {
            **self._object(result.version_id, result.etag),
            "size": size,
            "parts": result.part_count,
            "partsSent": result.parts_sent,
            "seconds": round((utc_now() - began).total_seconds(), 1),
            "sent": True,
            **inspect.hashes_json(file_hashes),
        }
        renderer.show(ProgressEvent("uploaded", self.key, "upload", message, utc_now(), data))
        if result.version_id is None:
            raise StackError(
                f"{self.uri}: uploaded, but its import cannot be followed, because versioning"
                " is off for the bucket; the answer is published on EventBridge"
            )
        return upload_id(Upload(self.bucket, self.key, result.etag, size, "", result.version_id))

    def _object(self, version_id: str | None, etag: str) -> dict[str, Any]:
        return {"bucket": self.bucket, "versionId": version_id, "etag": etag}


def _parse_tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"'{text}' is not of the form KEY=VALUE")
    return key, value
