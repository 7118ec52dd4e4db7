"""The way of one upload to its build: claim, look inside, decide, copy, submit once.

Each step writes what it did before the next one starts, and looks first for what is written,
so the whole may be killed anywhere and begun again: it comes to the same end.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.aws.s3 import open_object, read_text, size_of
from isodrop.codes import Code, Rejection
from isodrop.domain.build_requests import UEFI_DATA_LIMIT, import_request
from isodrop.domain.content import Content
from isodrop.domain.ids import import_key
from isodrop.domain.model import FIRST_RUN, ImportPlan, ImportSettings, RunRequest, Upload
from isodrop.domain.overrides import merge_overrides
from isodrop.domain.planning import plan_import
from isodrop.domain.run import CANCELLED, BuildKind, Failure, Run
from isodrop.errors import PermanentError, RejectedError
from isodrop.iso.reader import read_iso
from isodrop.services.allow_list import AllowListGate
from isodrop.services.staging import Stager, copy_key
from isodrop.services.submission import BuildSubmitter, BuildTask
from isodrop.text import single_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


_CLEAN: Final = "NO_THREATS_FOUND"


class NextStep(StrEnum):
    """What is to be done about an upload."""

    TRACK = "track"
    """There is a build: follow it to its end."""
    REPORT = "report"
    """There will be no build: answer."""
    SKIP = "skip"
    """Another execution has this upload and will answer; or it is no ISO, and nobody will."""


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """What came of an upload, and the build to follow if there is one."""

    next_step: NextStep
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
    submission : BuildSubmitter
        Sends the request, once.
    now : callable
        The time, ISO 8601.
    inspected : callable
        Told of each look inside an ISO how many ranges, and how many bytes, were read.
    """

    s3: "S3Client"
    builder: ImageBuilder
    ledger: Ledger
    settings: ImportSettings
    uefi_data_uri: str | None
    stager: Stager
    gate: AllowListGate
    submission: BuildSubmitter
    now: Callable[[], str]
    record_inspection: Callable[[int, int], None] = lambda _requests, _length: None

    def process(
        self,
        upload: Upload,
        execution: str,
        request: RunRequest = FIRST_RUN,
        malware_scan: str | None = None,
    ) -> IntakeResult:
        """Bring one upload to its build, or to the reason why there is none.

        Parameters
        ----------
        upload : Upload
            As S3's event told it.
        execution : str
            Who follows it. The same execution may come again; another one gets
            :attr:`NextStep.SKIP`, as everyone does for an object that is no ISO by its name:
            the rule cannot always tell.
        request : RunRequest, optional
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
        run = self.ledger.claim(upload, execution, self.now(), request) if upload.is_iso else None
        if run is None:
            return IntakeResult(NextStep.SKIP)
        if run.answer_json is None and run.build_arn is not None:
            return IntakeResult(NextStep.TRACK, run.build_arn)
        if run.answer_json is not None or run.failure is not None:
            # Answered already: while this execution was thought to be over, and then redriven.
            return IntakeResult(NextStep.REPORT)
        try:
            self._refuse_if_cancelled(run)
            plan = self._plan(run, malware_scan)
            if plan is None:
                return IntakeResult(NextStep.REPORT)
            content = self.stager.stage_upload(run, plan)
            sha256 = self.gate.check(run, content)
            self._refuse_if_cancelled(run)  # the copy may have taken minutes
            build_arn = self.submission.submit(run, self._import_task(run, plan, content, sha256))
        except (RejectedError, PermanentError) as error:
            self.ledger.record_failure(run, Failure(error.code, str(error)))
            self.stager.discard_copy(run)
            return IntakeResult(NextStep.REPORT)
        self.ledger.link_build(run, build_arn)
        self.stager.discard_copy(run)  # where it follows another's, whose copy is the one imported
        return IntakeResult(NextStep.TRACK, build_arn)

    def _refuse_if_cancelled(self, run: Run) -> None:
        """Go no further with a run that an operator wants cancelled."""
        if self.ledger.is_cancellation_requested(run):
            raise PermanentError(CANCELLED.message, code=CANCELLED.code)

    def _plan(self, run: Run, malware_scan: str | None) -> ImportPlan | None:
        """Decide, unless it was decided before; ``None`` for a rejection."""
        decision = run.decision
        if decision is None:
            refusal = check_malware_scan(malware_scan)
            decision = refusal or self._inspect(run.upload, run.request)
            self.ledger.record_decision(run, decision)
            # What stands is what was written first, perhaps by an earlier run of this very drop.
            status = self.ledger.get_run(run.upload_id, run.request.number)
            decision = decision if status is None else status.decision
        return decision if isinstance(decision, ImportPlan) else None

    def _inspect(self, upload: Upload, request: RunRequest) -> ImportPlan | Rejection:
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
            contents = read_iso(found.read, found.size, lambda _, length: ranges.append(length))
        except RejectedError as error:
            return error.rejection
        finally:
            if ranges:
                self.record_inspection(len(ranges), sum(ranges))
        metadata = merge_overrides(found.metadata, request.overrides)
        # What an operator asks wins over the metadata, so under these names nothing is left that an
        # uploader has set; and who may start executions is not held to what uploaders may.
        allowed = self.settings.allowed_overrides | request.overrides.keys()
        return plan_import(
            upload, contents, metadata, replace(self.settings, allowed_overrides=allowed)
        )

    def _import_task(
        self, run: Run, plan: ImportPlan, content: Content, sha256: str | None
    ) -> BuildTask:
        """Say what is to be done once for all drops of one import."""
        return BuildTask(
            stage=BuildKind.IMPORT,
            identity=import_key(plan, content.id),
            source=run.upload,
            title=f"builds of {plan.name} {plan.semantic_version}",
            request=lambda token, tags: import_request(
                plan,
                self.stager.bucket.uri(copy_key(run)),
                self._with_uefi_data(),
                token,
                {**tags, **_content_tags(content, sha256)},
            ),
            send=self.builder.import_disk_image,
            is_ready=lambda attempt: self.stager.is_ready(run, attempt),
            is_there=self.builder.amis_exist,
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
        Code.SCAN_NOT_PASSED,
        f"The malware scan of the object ended with {single_line(str(result))}.",
    )
