"""The staging copy of an upload: made when the plan is accepted, imported, then deleted.

Image Builder imports the copy, so the uploaded object may be overwritten or deleted from then on.
Each step is recorded before the next one, so the next invocation continues where one was
interrupted: the id of the multipart upload before the first part, and the checksum of the content
before the copy is completed.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.aws.s3 import object_gone, open_object
from isodrop.aws.staging import NoUploadError, StagingBucket, content_of
from isodrop.domain.build import BuildPhase
from isodrop.domain.content import PART_SIZE, Content, plan_parts, staging_key
from isodrop.domain.ids import import_key
from isodrop.domain.model import ImportPlan
from isodrop.domain.run import Attempt, AttemptStatus, Run
from isodrop.errors import PermanentError, RejectedError, TransientError
from isodrop.services.submission import is_just_submitted
from isodrop.text import timestamp

_ROUNDS: Final = 3
"""How often a copy is restarted in one invocation, if another one ended its multipart upload."""


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
        The size of a part in bytes. Another size results in other content ids.
    """

    bucket: StagingBucket
    builder: ImageBuilder
    ledger: Ledger
    now: Callable[[], datetime]
    part_size: int = PART_SIZE

    def stage_upload(self, run: Run, plan: ImportPlan) -> tuple[Run, Content]:
        """Copy an accepted upload, unless that was done before.

        Returns
        -------
        Run and Content
            The updated run, and the content of its copy.

        Raises
        ------
        RejectedError
            ``object-gone``: it was replaced or deleted before its copy was made.
        TransientError
            Temporary; the next call continues the copy.
        PermanentError
            S3 refuses to copy it.
        """
        if run.content is not None and run.import_build.attempt is not None:
            return run, run.content
        run, content = self.ensure_copy(run)
        if run.upload.version is None:
            self._inspect_copy(run, plan)
        return run, content

    def ensure_copy(self, run: Run) -> tuple[Run, Content]:
        """Make the copy if it does not exist; returns and raises as :meth:`stage_upload`."""
        key = copy_key(run)
        if run.content is not None and self.bucket.has_copy(key, run.content):
            return run, run.content
        is_new = run.staging is None
        if is_new:
            run, is_new = self._begin(run, key)
        for _ in range(_ROUNDS):
            try:
                return self._copy(run, key, is_new=is_new)
            except NoUploadError:
                run, is_new = self._begin(run, key)
        raise TransientError("another invocation ended the multipart upload; it is started again")

    def _begin(self, run: Run, key: str) -> tuple[Run, bool]:
        """Begin a multipart upload that replaces the run's, unless another invocation did.

        Returns
        -------
        Run and bool
            The updated run, and whether its multipart upload is the one begun here.
        """
        upload_id = self.bucket.create_upload(key)
        begun = self.ledger.record_staging(run, upload_id, run.staging)
        if begun.staging is None:
            raise TransientError("the ledger does not contain the new multipart upload")
        if begun.staging != upload_id:
            self.bucket.abort_upload(key, upload_id)
        return begun, begun.staging == upload_id

    def _copy(self, run: Run, key: str, *, is_new: bool) -> tuple[Run, Content]:
        upload, upload_id = run.upload, str(run.staging)
        parts = plan_parts(upload.size, self.part_size)
        copied = self.bucket.copy_parts(upload, key, upload_id, parts, is_new=is_new)
        content = content_of(copied, upload.size, self.part_size)
        run = self.ledger.record_content(run, content)
        if run.content != content:
            # Other bytes with the same ETag: without versions, and made on purpose.
            raise object_gone(upload.bucket, upload.key, "replaced")
        self.bucket.complete_upload(key, upload_id, copied, content)
        return run, content

    def _inspect_copy(self, run: Run, plan: ImportPlan) -> None:
        """Check that the copy is the ISO that was inspected.

        Without versions, only the ETag ties the copy to the inspection. For an object uploaded in
        one part the ETag is an MD5, for which a second file can be constructed.
        """
        from isodrop.iso.reader import read_iso  # noqa: PLC0415 - not needed to publish

        copy = open_object(self.bucket.client, self.bucket.bucket, copy_key(run))
        try:
            is_the_same = plan.matches(read_iso(copy.read, copy.size))
        except RejectedError:
            is_the_same = False
        if not is_the_same:
            raise object_gone(run.upload.bucket, run.upload.key, "replaced")

    def is_ready(self, run: Run, attempt: Attempt) -> bool:
        """Whether the copy that an attempt's request names exists.

        If the copy is this run's own and does not exist, it is made again. Returns ``False`` if
        there is no copy and it cannot be made again.
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

    def discard_copy(self, run: Run, attempt: Attempt | None = None) -> None:
        """Delete a run's copy if it is no longer needed; if this fails, the sweep deletes it.

        Parameters
        ----------
        run : Run
            The run as it is in the ledger.
        attempt : Attempt, optional
            The attempt whose request names the copy, if the caller has read it already.
        """
        if run.staging is None:
            return
        with suppress(TransientError, PermanentError):
            if not self.is_over(run, attempt):
                return
            if run.content is None:
                self.bucket.abort_upload(copy_key(run), run.staging)
            else:
                self.bucket.delete_copy(copy_key(run))

    def is_over(self, run: Run, attempt: Attempt | None = None, *, search: bool = False) -> bool:
        """Whether it is certain that no import reads, or will read, a run's copy.

        Parameters
        ----------
        run : Run
            The run as it is in the ledger.
        attempt : Attempt, optional
            The attempt whose request names the copy, if the caller has read it already.
        search : bool
            Whether to search Image Builder for the build of a request that may have been sent.

        Raises
        ------
        TransientError, PermanentError
            A call to AWS failed.
        """
        is_settled = run.import_build.failure is not None or run.answer_json is not None
        attempt = attempt or self._attempt_of(run)
        if attempt is None:
            return is_settled or run.import_build.attempt is not None
        status = attempt.status
        if status is AttemptStatus.PREPARED and is_settled:
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
            return not is_just_submitted(attempt, self.now())
        return build.phase is not BuildPhase.RUNNING

    def _attempt_of(self, run: Run) -> Attempt | None:
        """Find the attempt whose request names a run's copy."""
        bound = run.import_build.attempt
        key = None if bound is None else bound.import_key
        if isinstance(run.decision, ImportPlan) and run.content is not None:
            key = import_key(run.decision, run.content.id)
        if key is None:
            return None
        own = [each for each in self.ledger.list_attempts(key) if each.belongs_to(run)]
        return own[-1] if own else None


def copy_key(run: Run) -> str:
    """Return the key of a run's copy."""
    return staging_key(run.upload_id, run.request.number)
