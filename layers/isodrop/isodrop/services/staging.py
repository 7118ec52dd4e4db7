"""The staging copy of an upload: made once its plan is recorded, imported, then deleted.

Image Builder imports the copy, so the uploaded object may be overwritten or deleted from then on.
Each step is recorded before the next one, so the next invocation continues where one was
interrupted: the id of the multipart upload before the first part, and the checksum of the content
before the copy is completed.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.aws.s3 import object_gone_error, open_object
from isodrop.aws.staging import NoMultipartUploadError, StagingBucket, make_content
from isodrop.domain.build import BuildPhase
from isodrop.domain.content import PART_SIZE, Content, plan_parts, staging_key
from isodrop.domain.model import ImportPlan
from isodrop.domain.run import Attempt, AttemptStatus, Run
from isodrop.errors import PermanentError, RejectedError, TransientError
from isodrop.services.submission import may_have_unseen_build
from isodrop.text import timestamp

_ROUNDS: Final = 3
"""How many times an invocation tries to make a copy while others end its multipart upload."""


class StagedUpload(NamedTuple):
    """An upload after its copy was made.

    Attributes
    ----------
    run : Run
        The updated run.
    content : Content
        The content of the copy.
    is_verified : bool
        Whether this invocation made the copy or checked that it exists.
    """

    run: Run
    content: Content
    is_verified: bool


@dataclass(frozen=True, slots=True)
class Stager:
    """Makes and deletes staging copies.

    Attributes
    ----------
    bucket : StagingBucket
    builder, ledger
        The adapters that it uses.
    now : callable
        Returns the current time, with a time zone.
    part_size : int
        The size of a part in bytes. A different size results in different content ids.
    """

    bucket: StagingBucket
    builder: ImageBuilder
    ledger: Ledger
    now: Callable[[], datetime]
    part_size: int = PART_SIZE

    def begin_copy(self, run: Run, plan: ImportPlan) -> tuple[Run, str | None]:
        """Begin the multipart upload that makes an upload's copy; record it with the plan.

        Returns
        -------
        Run and str or None
            The updated run, and the id of the multipart upload; ``None`` if another invocation has
            already recorded a decision.

        Raises
        ------
        PermanentError
            ``build-cancelled``, or S3 refuses the multipart upload; nothing is recorded.
        TransientError
            Temporary; the decision may have been recorded.
        """
        key = copy_key(run)
        multipart_id = self.bucket.create_multipart_upload(key)
        try:
            run = self.ledger.record_decision(run, plan, multipart_id)
        except PermanentError:
            self._abort(key, multipart_id)
            raise
        if run.multipart_id == multipart_id:
            return run, multipart_id
        self._abort(key, multipart_id)
        return run, None

    def _abort(self, key: str, multipart_id: str) -> None:
        """Abort a multipart upload that is not needed; if this fails, the sweep aborts it."""
        with suppress(TransientError, PermanentError):
            self.bucket.abort_multipart_upload(key, multipart_id)

    def stage_upload(
        self, run: Run, plan: ImportPlan, new_multipart_id: str | None = None
    ) -> StagedUpload:
        """Copy an accepted upload, unless that was done before.

        Parameters
        ----------
        run : Run
        plan : ImportPlan
        new_multipart_id : str, optional
            The multipart upload that this invocation has started, and that has no parts yet.

        Raises
        ------
        RejectedError
            It cannot be copied; for example, ``object-gone``: it was replaced or deleted before.
        TransientError
            Temporary; the next call continues the copy.
        PermanentError
            S3 refuses to copy it.
        """
        if run.content is not None and run.import_build.attempt is not None:
            return StagedUpload(run, run.content, is_verified=False)
        run, content = self.ensure_copy(run, new_multipart_id)
        if run.upload.unique_version_id is None:
            self._inspect_copy(run, plan)
        return StagedUpload(run, content, is_verified=True)

    def ensure_copy(self, run: Run, new_multipart_id: str | None = None) -> tuple[Run, Content]:
        """Make the copy if it does not exist; raises the same errors as :meth:`stage_upload`."""
        key = copy_key(run)
        if run.content is not None and self.bucket.has_copy(key, run.content):
            return run, run.content
        is_new = new_multipart_id is not None and run.multipart_id == new_multipart_id
        if run.multipart_id is None:
            run, is_new = self._replace_multipart_upload(run, key)
        for _ in range(_ROUNDS):
            try:
                return self._copy(run, key, is_new=is_new)
            except NoMultipartUploadError:
                run, is_new = self._replace_multipart_upload(run, key)
        raise TransientError(
            "another invocation keeps ending the multipart upload; the copy is made again later"
        )

    def _replace_multipart_upload(self, run: Run, key: str) -> tuple[Run, bool]:
        """Begin a multipart upload that replaces the run's, unless another invocation did.

        Returns
        -------
        Run and bool
            The updated run, and whether its multipart upload is the one started here.
        """
        multipart_id = self.bucket.create_multipart_upload(key)
        updated = self.ledger.record_multipart_id(run, multipart_id, run.multipart_id)
        if updated.multipart_id is None:
            raise TransientError("the ledger does not contain the new multipart upload")
        if updated.multipart_id != multipart_id:
            self.bucket.abort_multipart_upload(key, multipart_id)
        return updated, updated.multipart_id == multipart_id

    def _copy(self, run: Run, key: str, *, is_new: bool) -> tuple[Run, Content]:
        upload, multipart_id = run.upload, str(run.multipart_id)
        parts = plan_parts(upload.size, self.part_size)
        copied = self.bucket.copy_parts(upload, key, multipart_id, parts, is_new=is_new)
        content = make_content(copied, upload.size, self.part_size)
        run = self.ledger.record_content(run, content)
        if run.content != content:
            # Different bytes with the same ETag: a deliberate collision, in an unversioned bucket.
            raise object_gone_error(upload.bucket, upload.key, "replaced")
        self.bucket.complete_multipart_upload(key, multipart_id, copied, content)
        return run, content

    def _inspect_copy(self, run: Run, plan: ImportPlan) -> None:
        """Check that the copy is the ISO that was inspected.

        Without versioning, only the ETag ties the copy to the inspection. The ETag of an object
        that was uploaded in one part is an MD5, and two files with the same MD5 can be constructed.
        """
        from isodrop.iso.reader import read_iso  # noqa: PLC0415 - not needed to publish

        copy = open_object(self.bucket.client, self.bucket.name, copy_key(run))
        try:
            is_the_same = plan.matches(read_iso(copy.read, copy.size))
        except RejectedError:
            is_the_same = False
        if not is_the_same:
            raise object_gone_error(run.upload.bucket, run.upload.key, "replaced")

    def ensure_ready(self, run: Run, attempt: Attempt) -> bool:
        """Whether the copy that is named in an attempt's request exists.

        If it is this run's own copy and is missing, it is made again, if that is possible.
        """
        if attempt.belongs_to(run):
            try:
                self.ensure_copy(run)
            except RejectedError:
                return False
            return True
        owner = self.ledger.get_run(attempt.upload_id, attempt.run_number)
        if owner is None or owner.content is None:
            return False
        return self.bucket.has_copy(copy_key(owner), owner.content)

    # ------------------------------------------------------------------ deletion

    def discard_copy(self, run: Run, *, is_unused: bool = False) -> None:
        """Delete a run's copy if it is no longer needed; if this fails, the sweep deletes it.

        Parameters
        ----------
        run : Run
            The run as it is in the ledger.
        is_unused : bool
            Whether the caller knows that no import reads it; otherwise it is checked.
        """
        if run.multipart_id is None:
            return
        with suppress(TransientError, PermanentError):
            if not is_unused and not self.check_copy_unused(run):
                return
            if run.content is None:
                self.bucket.abort_multipart_upload(copy_key(run), run.multipart_id)
            else:
                self.bucket.delete_copy(copy_key(run))

    def check_copy_unused(self, run: Run, *, search: bool = False) -> bool:
        """Check that no import reads, or will read, a run's copy.

        Only the request of an attempt that the run created names the copy, and the run is linked to
        that attempt. If the run has ended and the request was never sent, the attempt is marked as
        lost; a build that is found is recorded.

        Parameters
        ----------
        run : Run
            The run as it is in the ledger.
        search : bool
            Whether to search Image Builder for the build of a request that may have been sent.

        Raises
        ------
        TransientError, PermanentError
            A call to AWS failed.
        """
        has_ended = run.import_build.failure is not None or run.answer_json is not None
        linked = run.import_build.attempt
        if linked is None or run.import_build.reused:
            return has_ended or linked is not None
        attempt = self.ledger.get_attempt(linked)
        status = attempt.status
        if status is AttemptStatus.PREPARED and has_ended:
            # Before the copy is deleted: another run must not send a request that names it.
            status = self.ledger.set_attempt_status(attempt, AttemptStatus.LOST).status
        if status is AttemptStatus.PREPARED:
            return False
        if status is not AttemptStatus.SUBMITTED:
            return True
        build_arn = attempt.build_arn
        if build_arn is None and search:
            build_arn = self.builder.find_build_by_tags(attempt.request)
            if build_arn is not None:
                self.ledger.record_build(attempt, build_arn, timestamp(self.now()))
        if build_arn is None:
            return False
        build = self.builder.get_build(build_arn)
        if build is None:
            return not may_have_unseen_build(attempt, self.now())
        return build.phase is not BuildPhase.RUNNING


def copy_key(run: Run) -> str:
    """Return the key of a run's copy."""
    return staging_key(run.upload_id, run.run_request.number)
