"""The private copy: made once the plan is accepted, imported instead of the upload, then deleted.

What lies under the upload's key may be renamed, overwritten or deleted from then on. Each step is
written before the next one, so that whoever was killed goes on where it was: the multipart upload's
id before the first part, what the bytes are before the copy is completed.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from isodrop.aws.image_builder import Builder
from isodrop.aws.ledger import Ledger
from isodrop.aws.s3 import object_gone, open_object
from isodrop.aws.staging import NoUploadError, StagingBucket, content_of
from isodrop.domain.build import Phase
from isodrop.domain.content import PART_SIZE, Content, plan_parts, staging_key
from isodrop.domain.ids import import_identity
from isodrop.domain.model import ImportPlan
from isodrop.domain.run import Attempt, Drop, Standing
from isodrop.errors import RefusedError, RejectedError, TransientError
from isodrop.services.submission import is_just_submitted

_ROUNDS: Final = 3
"""How often a copy is begun anew before it waits: each time somebody else has ended it."""


@dataclass(frozen=True, slots=True)
class Stager:
    """Everything that it takes.

    Attributes
    ----------
    bucket : StagingBucket
    builder, ledger
        What it talks to.
    now : callable
        The time, with a time zone.
    part_size : int
        Another one makes other content ids.
    """

    bucket: StagingBucket
    builder: Builder
    ledger: Ledger
    now: Callable[[], datetime]
    part_size: int = PART_SIZE

    def stage(self, drop: Drop, plan: ImportPlan) -> Content:
        """Copy an accepted upload, unless that was done before; say what its bytes are.

        Raises
        ------
        RejectedError
            ``object-gone``: it was replaced or deleted before its copy was made.
        TransientError
            Not now; come again, and it goes on.
        RefusedError
            S3 does not copy it.
        """
        if drop.content is not None and drop.attempt is not None:
            return drop.content
        content = self.ensure_copy(drop)
        if drop.upload.version is None:
            self._look_again(drop, plan)
        return content

    def ensure_copy(self, drop: Drop) -> Content:
        """See that the copy is there, or make it: likewise."""
        key = key_of(drop)
        if drop.content is not None and self.bucket.holds(key, drop.content):
            return drop.content
        upload_id = drop.staging or self._begin(drop, key, None)
        for _ in range(_ROUNDS):
            try:
                return self._copy(drop, key, upload_id)
            except NoUploadError:
                upload_id = self._begin(drop, key, upload_id)
        raise TransientError("the copy was ended by others meanwhile; it is made again")

    def _begin(self, drop: Drop, key: str, instead_of: str | None) -> str:
        """Begin to copy, together with whoever else does so for this very run."""
        upload_id = self.bucket.begin(key)
        standing = self.ledger.record_staging(drop, upload_id, instead_of)
        if standing != upload_id:
            self.bucket.abort(key, upload_id)
        return standing

    def _copy(self, drop: Drop, key: str, upload_id: str) -> Content:
        upload = drop.upload
        parts = plan_parts(upload.size, self.part_size)
        copied = self.bucket.copy(upload, key, upload_id, parts)
        content = content_of(copied, upload.size, self.part_size)
        if self.ledger.record_content(drop, content) != content:
            # One ETag, other bytes: only where there are no versions, and not by chance.
            raise object_gone(upload.bucket, upload.key, "replaced")
        self.bucket.complete(key, upload_id, copied, content)
        return content

    def _look_again(self, drop: Drop, plan: ImportPlan) -> None:
        """See that what was copied is what was decided about.

        Without versions the ETag alone ties the copy to the look, and of an object that came in
        one piece that is an MD5, to which a second file can be made.
        """
        from isodrop.iso.reader import read_media  # noqa: PLC0415 - who only publishes reads no ISO

        copy = open_object(self.bucket.client, self.bucket.bucket, key_of(drop))
        try:
            is_the_same = plan.is_of(read_media(copy.read, copy.size))
        except RejectedError:
            is_the_same = False
        if not is_the_same:
            raise object_gone(drop.upload.bucket, drop.upload.key, "replaced")

    def is_ready(self, drop: Drop, attempt: Attempt) -> bool:
        """Whether the copy that an attempt's request names is there; a drop's own is made anew.

        ``False`` if it is not, and is not to be had any more.
        """
        if attempt.is_of(drop):
            try:
                self.ensure_copy(self.ledger.drop(drop.id, drop.ask.number) or drop)
            except RejectedError:
                return False
            return True
        owner = self.ledger.drop(attempt.drop_id, attempt.ask)
        if owner is None or owner.content is None:
            return False
        return self.bucket.holds(key_of(owner), owner.content)

    # ------------------------------------------------------------------ when it is over

    def discard(self, drop: Drop) -> None:
        """Delete a run's copy if nobody needs it any more; the sweep does it if this cannot."""
        with suppress(TransientError, RefusedError):
            found = self.ledger.drop(drop.id, drop.ask.number)
            if found is None or found.staging is None or not self.is_over(found):
                return
            if found.content is None:
                self.bucket.abort(key_of(found), found.staging)
            else:
                self.bucket.delete(key_of(found))

    def is_over(self, drop: Drop, *, search: bool = False) -> bool:
        """Whether it is certain that no import reads a run's copy, now or later.

        Parameters
        ----------
        drop : Drop
            As the ledger has it.
        search : bool
            Whether to look for the build of a request that may have been sent.

        Raises
        ------
        TransientError, RefusedError
            When AWS does not say.
        """
        is_settled = drop.trouble is not None or drop.answer is not None
        attempt = self._attempt_of(drop)
        if attempt is None:
            return is_settled or drop.attempt is not None
        standing = attempt.standing
        if standing is Standing.OPEN and is_settled:
            # Before the copy goes: who joins now must not send a request that names it.
            standing = self.ledger.stand(attempt, Standing.LOST)
        if standing is Standing.OPEN:
            return False
        if standing is not Standing.SENT:
            return True
        build_arn = attempt.build_arn
        if build_arn is None and search:
            build_arn = self.builder.find(attempt.request)
            if build_arn is not None:
                self.ledger.built(attempt, build_arn, self.now().isoformat(timespec="milliseconds"))
        if build_arn is None:
            return False
        build = self.builder.describe(build_arn)
        if build is None:
            return not is_just_submitted(attempt, self.now())
        return build.phase is not Phase.RUNNING

    def _attempt_of(self, drop: Drop) -> Attempt | None:
        """Find the attempt whose request names a run's copy."""
        identity = drop.identity
        if isinstance(drop.verdict, ImportPlan) and drop.content is not None:
            identity = import_identity(drop.verdict, drop.content.id)
        if identity is None:
            return None
        own = [each for each in self.ledger.attempts(identity) if each.is_of(drop)]
        return own[-1] if own else None


def key_of(drop: Drop) -> str:
    """Name a run's copy."""
    return staging_key(drop.id, drop.ask.number)
