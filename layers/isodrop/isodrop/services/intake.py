"""Processes an upload until it has a build: claim, inspect, decide, copy, submit.

Each step first reads what is recorded, and records its result before the next step starts. So the
function can be interrupted at any point and run again with the same result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.aws.s3 import get_size, open_object, read_scan_tag, read_text
from isodrop.codes import Code, Rejection
from isodrop.domain.build import Build
from isodrop.domain.build_requests import UEFI_DATA_LIMIT, Request, import_request
from isodrop.domain.content import Content
from isodrop.domain.ids import import_key
from isodrop.domain.model import FIRST_RUN, ImportPlan, ImportSettings, RunRequest, Upload
from isodrop.domain.overrides import merge_overrides
from isodrop.domain.planning import plan_import
from isodrop.domain.run import CANCELLED, Attempt, BuildKind, Failure, Run
from isodrop.errors import PermanentError, RejectedError
from isodrop.iso.reader import read_iso
from isodrop.services.allow_list import AllowListGate
from isodrop.services.staging import Stager, copy_key
from isodrop.services.submission import BuildSubmitter
from isodrop.text import single_line, timestamp

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


_CLEAN: Final = "NO_THREATS_FOUND"


class NextStep(StrEnum):
    """What the state machine does next with an upload."""

    TRACK = "track"
    """There is a build: track it until it ends."""
    ANSWER = "answer"
    """There is nothing to track: publish the answer."""
    SKIP = "skip"
    """Do nothing: another execution has claimed the run, the key does not end in ``.iso``, or the
    object is in another bucket or prefix."""


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """The next step for an upload, and the build to track if there is one."""

    next_step: NextStep
    build_arn: str | None = None


@dataclass(frozen=True, slots=True)
class ImportTask:
    """The import of a run's copy; see :class:`~isodrop.services.submission.BuildTask`.

    Attributes
    ----------
    run : Run
        The run after its copy was made.
    plan : ImportPlan
    content : Content
    stager : Stager
    builder : ImageBuilder
    read_settings : callable
        Reads the stack's settings, which apply to all imports; called only for a new request.
    is_copy_verified : bool
        Whether this invocation made the copy or checked that it exists.
    """

    run: Run
    plan: ImportPlan
    content: Content
    stager: Stager
    builder: ImageBuilder
    read_settings: Callable[[], ImportSettings]
    is_copy_verified: bool
    kind: BuildKind = BuildKind.IMPORT

    @property
    def key(self) -> str:
        """The import key."""
        return import_key(self.plan, self.content.id)

    @property
    def source(self) -> Upload:
        """The run's upload."""
        return self.run.upload

    @property
    def title(self) -> str:
        """For messages."""
        return f"builds of {self.plan.name} {self.plan.semantic_version}"

    def make_request(self, token: str, tags: Mapping[str, str]) -> Request:
        """Make an ImportDiskImage request for the run's copy."""
        content_tags = {"isodrop:content": self.content.id}
        if self.run.sha256 is not None:
            content_tags["isodrop:sha256"] = self.run.sha256
        uri = self.stager.bucket.uri(copy_key(self.run))
        return import_request(self.plan, uri, self.read_settings(), token, {**tags, **content_tags})

    def send(self, request: Request) -> str:
        """Call ImportDiskImage."""
        return self.builder.import_disk_image(request)

    def ensure_ready(self, attempt: Attempt) -> bool:
        """Whether the copy exists; a run's own copy is made if it does not."""
        if self.is_copy_verified and attempt.belongs_to(self.run):
            return True
        return self.stager.ensure_ready(self.run, attempt)

    def has_result(self, build: Build) -> bool:
        """Whether EC2 returns the image's AMIs."""
        return self.builder.amis_exist(build)


@dataclass(frozen=True, slots=True)
class Intake:
    """Processes uploads.

    Attributes
    ----------
    s3, builder, ledger
        The clients and adapters that it uses.
    settings : ImportSettings
        The stack's settings for every import.
    uefi_data_uri : str or None
        The object that contains the stack's UEFI data, which is too long for a parameter.
    stager : Stager
        Makes the copy that is imported.
    gate : AllowListGate
        Checks the upload against the allow-list, if there is one.
    submitter : BuildSubmitter
        Starts the import's build exactly once.
    now : callable
        Returns the current time, with a time zone.
    record_inspection : callable
        Called with the number of ranges and bytes that an inspection read.
    bucket, prefix : str or None, and str
        The location of uploads. An execution may be started for an object elsewhere; it is skipped.
    requires_malware_scan : bool
        Whether to import only objects that GuardDuty found clean.
    """

    s3: "S3Client"
    builder: ImageBuilder
    ledger: Ledger
    settings: ImportSettings
    uefi_data_uri: str | None
    stager: Stager
    gate: AllowListGate
    submitter: BuildSubmitter
    now: Callable[[], datetime]
    record_inspection: Callable[[int, int], None] = lambda _requests, _bytes_read: None
    bucket: str | None = None
    prefix: str = ""
    requires_malware_scan: bool = False

    def process(
        self,
        upload: Upload,
        execution: str,
        run_request: RunRequest = FIRST_RUN,
        malware_scan: str | None = None,
    ) -> IntakeResult:
        """Process an upload until it has a build, or a recorded reason why there is none.

        Parameters
        ----------
        upload : Upload
            The upload from the S3 event.
        execution : str
            The execution that handles it. The same execution may call again. Any other execution
            gets :attr:`NextStep.SKIP`, as does any object whose key does not end in ``.iso``
            (the event rule cannot filter all of them) or that is in another bucket or prefix.
        run_request : RunRequest, optional
            Which run of the upload this is, and its overrides.
        malware_scan : str, optional
            The result of its malware scan, if the stack waited for one.

        Raises
        ------
        TransientError, QuotaError
            Temporary; try again later.
        """
        is_relevant = upload.is_iso and self._is_in_upload_location(upload)
        if is_relevant and malware_scan is not None and not upload.size:
            upload = replace(upload, size=get_size(self.s3, upload))
        run = (
            self.ledger.claim(upload, execution, timestamp(self.now()), run_request)
            if is_relevant
            else None
        )
        if run is None:
            return IntakeResult(NextStep.SKIP)
        if run.answer_json is None and run.import_build.arn is not None:
            return IntakeResult(NextStep.TRACK, run.import_build.arn)
        if run.answer_json is not None or run.import_build.failure is not None:
            # An earlier invocation recorded the failure, or the sweep answered before a redrive.
            return IntakeResult(NextStep.ANSWER)
        try:
            multipart_id = None
            if run.decision is None:
                run, multipart_id = self._decide(run, malware_scan)
            elif self.ledger.is_cancellation_requested(run):
                # record_decision checks this, too, but is not called for an existing decision.
                raise PermanentError(CANCELLED.message, code=CANCELLED.code)
            if not isinstance(run.decision, ImportPlan):
                return IntakeResult(NextStep.ANSWER)
            return IntakeResult(NextStep.TRACK, self._import(run, run.decision, multipart_id))
        except (RejectedError, PermanentError) as error:
            run = self.ledger.record_failure(run, Failure(error.code, str(error)))
            self.stager.discard_copy(run)
            return IntakeResult(NextStep.ANSWER)

    def _import(self, run: Run, plan: ImportPlan, multipart_id: str | None) -> str | None:
        """Stage and submit an accepted upload; returns the ARN of its build."""
        staged = self.stager.stage_upload(run, plan, multipart_id)
        run = self.gate.check(staged.run, staged.content)
        task = ImportTask(
            run=run,
            plan=plan,
            content=staged.content,
            stager=self.stager,
            builder=self.builder,
            read_settings=self._read_settings,
            is_copy_verified=staged.is_verified,
        )
        run = self.submitter.submit(run, task)
        if run.import_build.reused:
            self.stager.discard_copy(run)  # another run's copy is imported
        return run.import_build.arn

    def _decide(self, run: Run, malware_scan: str | None) -> tuple[Run, str | None]:
        """Inspect the upload and record the decision.

        Returns
        -------
        Run and str or None
            The updated run, and the id of the multipart upload that was started for its copy.
        """
        rejection = self._check_malware_scan(run.upload, malware_scan)
        decision = rejection or self._inspect(run.upload, run.run_request)
        if isinstance(decision, ImportPlan):
            return self.stager.begin_copy(run, decision)
        return self.ledger.record_decision(run, decision), None

    def _is_in_upload_location(self, upload: Upload) -> bool:
        """Whether an upload is in the stack's bucket and prefix."""
        bucket = self.bucket or upload.bucket
        return upload.bucket == bucket and upload.key.startswith(self.prefix)

    def _check_malware_scan(self, upload: Upload, result: str | None) -> Rejection | None:
        """Reject an object that is not clean. Without a result in the event, its tag is read."""
        if result is None and self.requires_malware_scan:
            result = read_scan_tag(self.s3, upload)
            if result is None:
                return Rejection.of(
                    Code.SCAN_NOT_PASSED, "The object has not been scanned for malware yet."
                )
        return reject_unless_clean(result)

    def _inspect(self, upload: Upload, run_request: RunRequest) -> ImportPlan | Rejection:
        ranges: list[int] = []
        try:
            iso_object = open_object(
                self.s3,
                upload.bucket,
                upload.key,
                etag=upload.etag,
                size=upload.size,
                version=upload.unique_version_id,
            )
            contents = read_iso(
                iso_object.read, iso_object.size, lambda _, length: ranges.append(length)
            )
        except RejectedError as error:
            return error.rejection
        finally:
            if ranges:
                self.record_inspection(len(ranges), sum(ranges))
        metadata = merge_overrides(iso_object.metadata, run_request.overrides)
        # An operator's override replaces the metadata entry with that key, so these keys never have
        # an uploader's value. Operators are not limited to AllowedOverrides.
        allowed = self.settings.allowed_overrides | run_request.overrides.keys()
        return plan_import(
            upload, contents, metadata, replace(self.settings, allowed_overrides=allowed)
        )

    def _read_settings(self) -> ImportSettings:
        if self.uefi_data_uri is None:
            return self.settings
        uefi_data = read_text(self.s3, self.uefi_data_uri, UEFI_DATA_LIMIT)
        return replace(self.settings, uefi_data=uefi_data)


def reject_unless_clean(result: str | None) -> Rejection | None:
    """Make the rejection of an upload that the malware scan did not find clean, if it has ended."""
    if result in {None, _CLEAN}:
        return None
    return Rejection.of(
        Code.SCAN_NOT_PASSED,
        f"The malware scan of the object ended with {single_line(str(result))}.",
    )
