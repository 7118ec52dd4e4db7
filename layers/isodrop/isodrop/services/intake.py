"""The way of one upload to its build: claim, look inside, decide, copy, submit once.

Each step writes what it did before the next one starts, and looks first for what is written,
so the whole may be killed anywhere and begun again: it comes to the same end.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from isodrop.aws.image_builder import Builder
from isodrop.aws.ledger import Ledger
from isodrop.aws.s3 import open_object, read_text, size_of
from isodrop.codes import Code, Rejection
from isodrop.domain.build_requests import UEFI_DATA_LIMIT, import_request
from isodrop.domain.content import Content
from isodrop.domain.ids import import_identity
from isodrop.domain.model import FIRST_ASK, Ask, ImportPlan, ImportSettings, Upload
from isodrop.domain.overrides import merged
from isodrop.domain.planning import decide
from isodrop.domain.run import Drop, Stage, Trouble
from isodrop.errors import RefusedError, RejectedError
from isodrop.iso.reader import read_media
from isodrop.services.allow_list import AllowListGate
from isodrop.services.staging import Stager, key_of
from isodrop.services.submission import Submission, Task
from isodrop.text import one_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


_CLEAN: Final = "NO_THREATS_FOUND"


class Decision(StrEnum):
    """What is to be done about an upload."""

    FOLLOW = "follow"
    """There is a build: follow it to its end."""
    ANSWER = "answer"
    """There will be no build: answer."""
    NOTHING = "nothing"
    """Another execution has this upload and will answer; or it is no ISO, and nobody will."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an upload, and the build to follow if there is one."""

    decision: Decision
    build_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """Everything that one upload needs on its way.

    Attributes
    ----------
    s3, builder, ledger
        What it talks to.
    settings : ImportSettings
        What the stack's parameters say.
    uefi_data_uri : str or None
        The object that holds the stack's UEFI data: a parameter is too small for it.
    stager : Stager
        Makes the copy that is imported.
    gate : AllowListGate
        Lets in what is on the allow-list, where there is one.
    submission : Submission
        Sends the request, once.
    now : callable
        The time, ISO 8601.
    inspected : callable
        Told of each look inside an ISO how many ranges, and how many bytes, were read.
    """

    s3: "S3Client"
    builder: Builder
    ledger: Ledger
    settings: ImportSettings
    uefi_data_uri: str | None
    stager: Stager
    gate: AllowListGate
    submission: Submission
    now: Callable[[], str]
    inspected: Callable[[int, int], None] = lambda _requests, _length: None

    def take(
        self,
        upload: Upload,
        execution: str,
        ask: Ask = FIRST_ASK,
        malware_scan: str | None = None,
    ) -> Outcome:
        """Bring one upload to its build, or to the reason why there is none.

        Parameters
        ----------
        upload : Upload
            As S3's event told it.
        execution : str
            Who follows it. The same execution may come again; another one gets
            :attr:`Decision.NOTHING`, as everyone does for an object that is no ISO by its name:
            the rule cannot always tell.
        ask : Ask, optional
            Which asking for it this is, and with what overrides.
        malware_scan : str, optional
            How the malware scan of it ended, where it was waited for.

        Raises
        ------
        TransientError, QuotaError
            Ask again later; nothing is lost.
        """
        if upload.is_iso and malware_scan is not None and not upload.size:
            upload = replace(upload, size=size_of(self.s3, upload))
        drop = self.ledger.claim(upload, execution, self.now(), ask) if upload.is_iso else None
        if drop is None:
            return Outcome(Decision.NOTHING)
        if drop.answer is None and drop.build_arn is not None:
            return Outcome(Decision.FOLLOW, drop.build_arn)
        if drop.answer is not None or drop.trouble is not None:
            # Answered already: while this execution was thought to be over, and then redriven.
            return Outcome(Decision.ANSWER)
        try:
            plan = self._plan(drop, malware_scan)
            if plan is None:
                return Outcome(Decision.ANSWER)
            content = self.stager.stage(drop, plan)
            sha256 = self.gate.check(drop, content)
            build_arn = self.submission.submit(drop, self._task(drop, plan, content, sha256))
        except (RejectedError, RefusedError) as error:
            self.ledger.hinder(drop, Trouble(error.code, str(error)))
            self.stager.discard(drop)
            return Outcome(Decision.ANSWER)
        self.ledger.followed(drop, build_arn)
        self.stager.discard(drop)  # where it follows another's, whose copy is the one imported
        return Outcome(Decision.FOLLOW, build_arn)

    def _plan(self, drop: Drop, malware_scan: str | None) -> ImportPlan | None:
        """Decide, unless it was decided before; ``None`` for a rejection."""
        verdict = drop.verdict
        if verdict is None:
            refusal = check_malware_scan(malware_scan)
            verdict = refusal or self._look(drop.upload, drop.ask)
            self.ledger.decide(drop, verdict)
            # What stands is what was written first, perhaps by an earlier run of this very drop.
            standing = self.ledger.drop(drop.id, drop.ask.number)
            verdict = verdict if standing is None else standing.verdict
        return verdict if isinstance(verdict, ImportPlan) else None

    def _look(self, upload: Upload, ask: Ask) -> ImportPlan | Rejection:
        ranges: list[int] = []
        try:
            found = open_object(
                self.s3,
                upload.bucket,
                upload.key,
                etag=upload.etag,
                size=upload.size,
                version=upload.version,
            )
            media = read_media(found.read, found.size, lambda _, length: ranges.append(length))
        except RejectedError as error:
            return error.rejection
        finally:
            if ranges:
                self.inspected(len(ranges), sum(ranges))
        metadata = merged(found.metadata, ask.overrides)
        # What an operator asks wins over the metadata, so under these names nothing is left that an
        # uploader has set; and who may start executions is not held to what uploaders may.
        allowed = self.settings.allowed_overrides | ask.overrides.keys()
        return decide(upload, media, metadata, replace(self.settings, allowed_overrides=allowed))

    def _task(self, drop: Drop, plan: ImportPlan, content: Content, sha256: str | None) -> Task:
        """Say what is to be done once for all drops of one import."""
        return Task(
            stage=Stage.IMPORT,
            identity=import_identity(plan, content.id),
            source=drop.upload,
            title=f"builds of {plan.name} {plan.semantic_version}",
            request=lambda token, tags: import_request(
                plan,
                self.stager.bucket.uri(key_of(drop)),
                self._with_uefi_data(),
                token,
                {**tags, **_content_tags(content, sha256)},
            ),
            send=self.builder.submit,
            is_ready=lambda attempt: self.stager.is_ready(drop, attempt),
            is_there=self.builder.has_its_amis,
        )

    def _with_uefi_data(self) -> ImportSettings:
        if self.uefi_data_uri is None:
            return self.settings
        return replace(
            self.settings, uefi_data=read_text(self.s3, self.uefi_data_uri, UEFI_DATA_LIMIT)
        )


def _content_tags(content: Content, sha256: str | None) -> dict[str, str]:
    """Name the bytes on the image."""
    flat = {} if sha256 is None else {"isodrop:sha256": sha256}
    return {"isodrop:content": content.id, **flat}


def check_malware_scan(result: str | None) -> Rejection | None:
    """Say why an upload is not even looked at whose malware scan did not end well."""
    if result in {None, _CLEAN}:
        return None
    return Rejection.of(
        Code.SCAN_NOT_PASSED, f"The malware scan of the object ended with {one_line(str(result))}."
    )
