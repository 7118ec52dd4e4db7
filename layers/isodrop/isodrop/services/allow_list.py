"""Checks whether an uploaded ISO is on the operator's allow-list.

The hash is computed from the staging copy, so it is the hash of the bytes that are imported. It is
stored by content id, so the same bytes are hashed only once. After an interruption the next
invocation starts the hash again, because the state of a hash cannot be stored. The function's
timeout is long enough for the largest ISO that ``MaxIsoGigabytes`` allows.
"""

from collections.abc import Callable
from dataclasses import dataclass

from isodrop.aws.ledger import Ledger
from isodrop.aws.staging import StagingBucket
from isodrop.codes import Code
from isodrop.domain.allow_list import AllowList, AllowListMode
from isodrop.domain.content import Content
from isodrop.domain.content_hash import CHUNK_SIZE, compute_sha256
from isodrop.domain.run import Run
from isodrop.errors import PermanentError, RejectedError, TransientError
from isodrop.services.staging import copy_key


@dataclass(frozen=True, slots=True)
class AllowListGate:
    """Checks copies against the allow-list.

    Attributes
    ----------
    bucket : StagingBucket
        Contains the copies.
    ledger : Ledger
    mode : AllowListMode
    read_list : callable
        Reads the list.
    chunk_size : int
        The number of bytes of a copy to read per request.
    """

    bucket: StagingBucket
    ledger: Ledger
    mode: AllowListMode
    read_list: Callable[[], AllowList]
    chunk_size: int = CHUNK_SIZE

    def check(self, run: Run, content: Content) -> Run:
        """Check whether an upload may be imported, before a request is made for it.

        Returns
        -------
        Run
            The updated run, with the SHA-256 of its content if there is an allow-list.

        Raises
        ------
        RejectedError
            ``unknown-iso``.
        TransientError
            In the mode ``enforce`` the list cannot be read; or another temporary error.
        """
        if self.mode is AllowListMode.OFF:
            return run
        if run.sha256 is not None and run.import_build.attempt is not None:
            return run  # it was checked before
        sha256 = self.ledger.get_sha256(content.id) or self._hash(run, content)
        note = self._describe_problem(sha256)
        if note is not None and self.mode is AllowListMode.ENFORCE:
            self.ledger.record_sha256(run, sha256, None)  # for the answer
            raise RejectedError(Code.UNKNOWN_ISO, note)
        return self.ledger.record_sha256(run, sha256, note)

    def _describe_problem(self, sha256: str) -> str | None:
        """Return what is wrong with an ISO that has this hash, or ``None``."""
        try:
            allowed = self.read_list()
        except (TransientError, PermanentError) as error:
            problem = f"The stack's allow-list cannot be read: {error}"
            if self.mode is AllowListMode.ENFORCE:
                raise TransientError(
                    f"{problem}; nothing is imported until it can be read"
                ) from error
            return f"{problem}."
        if sha256 in allowed:
            return None
        return allowed.describe_missing(sha256)

    def _hash(self, run: Run, content: Content) -> str:
        key = copy_key(run)
        etag = self.bucket.get_etag(key)
        sha256 = compute_sha256(
            lambda start, length: self.bucket.read(key, etag, start, length),
            content.size,
            chunk_size=self.chunk_size,
        )
        self.ledger.record_content_sha256(content.id, sha256)
        return sha256
