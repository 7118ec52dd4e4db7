"""``isodrop drop``: upload an ISO, once it is known to be wanted, and follow it to its answer."""

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
from isodrop.domain.content_hash import ContentHashes, hashes_of
from isodrop.domain.model import ImportSettings, Upload
from isodrop.domain.overrides import RULES
from isodrop.errors import AccessDeniedError
from isodrop_cli.clock import utc_now
from isodrop_cli.commands import inspect
from isodrop_cli.exit_codes import REJECTED
from isodrop_cli.iso_source import IsoSourceError, open_source
from isodrop_cli.output.console import format_size
from isodrop_cli.output.following import render_all
from isodrop_cli.output.progress import ProgressEvent, RateMeter, sending
from isodrop_cli.output.renderers import Renderer, make_renderer
from isodrop_cli.override_args import add_set
from isodrop_cli.stack import Stack, StackError, add_options, stack

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from isodrop_cli.resumable_upload import Progress, ResumableUpload

_ROUNDS: Final = 3
"""How often an upload may be overtaken by other drops of the file."""
_WHOSE: Final = {"stack": "the stack's settings", "defaults": "default settings"}

_EPILOG: Final = f"""\
Looks first, with the stack's own settings: what would be rejected is not sent.
What was broken off, by Ctrl-C or a lost network, is taken up by the same
command again, from any machine: only what is missing is sent, and only if
overrides, encryption and tags are the same; parts of another file are sent
anew. A file that is there already is not sent again.
To be set are:
  {" ".join(RULES)}

In a pipe each line has these fields separated by tabs: time, step, what is
new. With --json each line is an object with event, time, key, step and message;
the events are looked, note, uploading, uploaded, state, late (nobody has taken
it for a minute), and at last answer, which has all that isodrop status --json
tells.

examples:
  isodrop drop Win11.iso
  isodrop drop Win11.iso --set edition=EnterpriseN --set image-index=4
  isodrop drop Win11.iso --key lab/Win11_24H2.iso --no-wait
  isodrop drop Win11.iso --sse aws:kms --sse-kms-key-id KEY --tag team=desktop
  isodrop drop Win11.iso --json | jq -r 'select(.event == "answer") | .state'

exit status: that of the answer: 0 succeeded, 3 rejected (perhaps before it was
sent), 4 failed; 0 uploaded, with --no-wait; 1 could not, 2 wrong usage,
130 interrupted
"""


def add_to(commands: "_SubParsersAction[ArgumentParser]", summary: str) -> ArgumentParser:
    """Add the command to the parser."""
    command = commands.add_parser(
        "drop",
        help=summary,
        description="Look inside an ISO, upload it, and follow it to its answer.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", type=Path, help="the ISO, or a disc drive")
    command.add_argument("--key", help="the object's key (the stack's prefix and the file's name)")
    add_set(command, "override what the ISO says; may be repeated")
    command.add_argument(
        "--sse",
        choices=("AES256", "aws:kms"),
        help="encrypt it so, other than the bucket does by itself",
    )
    command.add_argument("--sse-kms-key-id", metavar="KEY", help="under this key of KMS's")
    command.add_argument(
        "--tag",
        metavar="KEY=VALUE",
        type=_tag,
        action="append",
        default=[],
        help="tag the object; may be repeated",
    )
    command.add_argument("--no-wait", action="store_true", help="upload, and do not follow")
    command.add_argument("--force", action="store_true", help="upload even if it is there already")
    command.add_argument("--json", action="store_true", help="print one JSON object a line")
    add_options(command)
    command.set_defaults(run=run, refuse=command.error)
    return command


def run(options: Namespace) -> int:
    """Look, send, follow, and answer with the exit status."""
    how = _how(options)
    way = Way()
    try:
        with stack(options) as found:
            key = found.key(options.file.name, options.key)
            key.encode()  # a name that is not UTF-8 can be no key
            run = FileDrop(found, options.file, key, dict(options.set), way, how)
            title = f"{options.file.name} to {run.address}"
            with make_renderer(as_json=options.json, title=title) as telling:
                return run.go(telling, force=options.force, follow=not options.no_wait)
    except BaseException as error:
        if way.on:
            error.add_note(way.on)
        raise


def _how(options: Namespace) -> dict[str, str]:
    """Say what the object is made with, beside its metadata."""
    if options.sse_kms_key_id is not None and options.sse != "aws:kms":
        options.refuse("--sse-kms-key-id needs --sse aws:kms")
    how = {
        "ServerSideEncryption": options.sse,
        "SSEKMSKeyId": options.sse_kms_key_id,
        "Tagging": urlencode(options.tag) or None,
    }
    return {name: value for name, value in how.items() if value is not None}


@dataclass(slots=True)
class Way:
    """How to go on if it ends here; empty where there is nothing to go on with."""

    on: str = ""


@contextmanager
def hashing(path: Path) -> Iterator[Callable[[], ContentHashes]]:
    """Hash a file in the background; it ends with the block, if not before."""
    stopped = Event()
    with ThreadPoolExecutor(1) as pool, open_source(str(path)) as source:

        def read(start: int, length: int) -> bytes:
            if stopped.is_set():
                raise IsoSourceError(f"{path}: it is not read any more")
            return source.read(start, length)

        running = pool.submit(hashes_of, read, source.size, parallel=1)
        try:
            yield running.result
        finally:
            stopped.set()
            wait([running])


@dataclass(frozen=True, slots=True)
class FileDrop:
    """One file to be dropped into one stack."""

    stack: Stack
    path: Path
    key: str
    metadata: Mapping[str, str]
    way: Way
    how: Mapping[str, str] = field(default_factory=dict)

    @property
    def bucket(self) -> str:
        """Where it goes."""
        return self.stack.bucket

    @property
    def address(self) -> str:
        """Where it will lie."""
        return f"s3://{self.bucket}/{self.key}"

    def go(self, telling: Renderer, *, force: bool, follow: bool) -> int:
        """Go the whole way."""
        size = self._look(telling)
        if size is None:
            return REJECTED
        transfer = self._transfer(size)
        there = None if force else self._was_there(transfer, telling)
        if there is None:
            with hashing(self.path) as hashes:  # meanwhile: a file of 6 GB takes half a minute
                there = self._send(transfer, telling, hashes)
        named, request = there
        if not follow:
            return 0
        self.way.on = f"the drop goes on by itself; isodrop watch {self.address} follows it"
        sights = self.stack.operator().follow(named, request, time.sleep, time.monotonic)
        return render_all(telling, sights, self.key)

    def _look(self, telling: Renderer) -> int | None:
        """Look at the file; its size if it would be imported."""
        settings, whose = self._settings()
        with open_source(str(self.path)) as source:
            here = replace(source, bucket=self.bucket)
            inspection = inspect.inspect_iso(here, self.key, self.metadata, settings)
        facts = {**inspect.as_json(inspection), "settings": whose}
        if isinstance(inspection.decision, Rejection):
            found = inspection.decision
            words = f"{found.code.value}\n{found.message}\n{found.remedy}"
            telling.show(
                ProgressEvent("looked", self.key, "look", words, utc_now(), facts, severity="bad")
            )
            return None
        plan = inspection.decision
        words = (
            f"{plan.name} {plan.semantic_version}; {plan.edition} is image {plan.image_index};"
            f" by {_WHOSE[whose]}"
        )
        telling.show(ProgressEvent("looked", self.key, "look", words, utc_now(), facts))
        return source.size

    def _settings(self) -> tuple[ImportSettings, str]:
        """Read what the stack's function is told, where that is permitted."""
        try:
            return self.stack.settings(), "stack"
        except AccessDeniedError:
            return inspect.SETTINGS, "defaults"

    def _transfer(self, size: int) -> "ResumableUpload":
        from isodrop_cli.resumable_upload import CONFIG, ResumableUpload, plan_parts  # noqa: PLC0415 - see stacks.stack

        return ResumableUpload(
            s3=self.stack.session.client("s3", config=CONFIG),
            path=self.path,
            bucket=self.bucket,
            key=self.key,
            metadata=self.metadata,
            parts=plan_parts(size, {**self.metadata, **self.how}),
            how=self.how,
        )

    def _was_there(self, transfer: "ResumableUpload", telling: Renderer) -> tuple[str, int] | None:
        """Find the last ask for an object that is there already, with the same overrides."""
        head = transfer.head()
        if head is None or head["ContentLength"] != transfer.parts.size:
            return None
        if not self._is_made_alike(head):
            return None
        words = f"compares {format_size(transfer.parts.size)} with what is there"
        telling.show(ProgressEvent("note", self.key, "upload", words, utc_now()))
        if not transfer.is_there(head):
            return None
        asking = self.stack.operator()
        history = asking.history(self.bucket, self.key)
        words = "is there already, byte for byte; isodrop retry asks anew, --force sends it again"
        facts = {**self._object(head.get("VersionId"), head["ETag"].strip('"')), "sent": False}
        telling.show(ProgressEvent("uploaded", self.key, "upload", words, utc_now(), facts))
        return history.id, asking.latest(history)

    def _is_made_alike(self, head: Mapping[str, Any]) -> bool:
        """Whether what is there has the same overrides, and the encryption that is asked for."""
        from isodrop.aws.s3 import decode_metadata  # noqa: PLC0415 - see stacks.stack

        theirs = decode_metadata(head["Metadata"])
        key_id = self.how.get("SSEKMSKeyId", "").rpartition("/")[2]
        return (
            {name: theirs[name] for name in RULES if name in theirs} == self.metadata
            and self.how.get("ServerSideEncryption") in {None, head.get("ServerSideEncryption")}
            and str(head.get("SSEKMSKeyId", "")).endswith(key_id)
        )

    def _send(
        self, transfer: "ResumableUpload", telling: Renderer, hashes: Callable[[], ContentHashes]
    ) -> tuple[str, int]:
        """Send what is missing of it; the id of the drop that comes of it, and of which ask."""
        from isodrop_cli.resumable_upload import OvertakenError  # noqa: PLC0415 - see stacks.stack

        for _ in range(_ROUNDS):
            try:
                return self._send_once(transfer, telling, hashes), 0
            except OvertakenError as error:
                overtaken = error
            self.way.on = ""
            # Two drops of one file go on with one upload, and the other one was faster.
            there = self._was_there(transfer, telling)
            if there is not None:
                return there
        raise overtaken

    def _send_once(
        self, transfer: "ResumableUpload", telling: Renderer, hashes: Callable[[], ContentHashes]
    ) -> str:
        """Send what is missing of it, once."""
        from isodrop.domain.ids import upload_id  # noqa: PLC0415 - see stacks.stack

        size, pace = transfer.parts.size, RateMeter()
        began = utc_now()

        def tell(progress: "Progress") -> None:
            if progress.parts:
                self.way.on = "the same command goes on where it stopped"
            pace.saw(time.monotonic(), progress.sent)
            telling.show(sending(self.key, utc_now(), progress, pace))

        sent = transfer.send(transfer.unfinished(), tell)
        self.way.on = ""
        kept = sent.parts - sent.parts_sent
        words = f"{format_size(size)} in {sent.parts} part{'' if sent.parts == 1 else 's'}" + (
            f", {kept} of them sent before" if kept else ""
        )
        named = hashes()
        words += f"; SHA-256 {named.sha256}"
        facts = {
            **self._object(sent.version_id, sent.etag),
            "size": size,
            "parts": sent.parts,
            "partsSent": sent.parts_sent,
            "seconds": round((utc_now() - began).total_seconds(), 1),
            "sent": True,
            **inspect.hashes_json(named),
        }
        telling.show(ProgressEvent("uploaded", self.key, "upload", words, utc_now(), facts))
        if sent.version_id is None:
            raise StackError(
                f"{self.address}: it is uploaded, but cannot be followed, because the bucket's"
                " versioning is off; the answer comes on EventBridge"
            )
        return upload_id(Upload(self.bucket, self.key, sent.etag, size, "", sent.version_id))

    def _object(self, version_id: str | None, etag: str) -> dict[str, Any]:
        return {"bucket": self.bucket, "versionId": version_id, "etag": etag}


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"'{text}' is not of the form KEY=VALUE")
    return key, value
