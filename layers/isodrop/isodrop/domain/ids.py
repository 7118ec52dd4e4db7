"""What makes two uploads, imports or calls the same: digests of what they are. Pure."""

import hashlib
import json
from typing import Final

from isodrop.domain.model import ImportPlan, Upload

ID_LENGTH: Final = 32
TOKEN_LENGTH: Final = 36  # the newer API takes 64, the older API reference said 36


def upload_id(upload: Upload) -> str:
    """Name one upload: one write of one object.

    S3 gives each write in a versioned bucket a version id, so a repeated delivery of one event
    has the same id and the same bytes written again have another. A listing of the bucket knows
    it, too, so who finds an upload there names it as S3's own event does. The event's sequencer,
    of which there is also one per write, does that only where there are no versions.

    Parameters
    ----------
    upload : Upload
        As S3's event or a listing of its bucket told it.

    Returns
    -------
    str
        32 hexadecimal characters.

    References
    ----------
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html

    Examples
    --------
    >>> upload_id(Upload("bucket", "win11.iso", "d41d8-700", 5_900_000_000, "0062E99A88DC407460"))
    '993be1855845687488d88a3c63909586'
    """
    version = upload.version
    write = ("sequencer", upload.sequencer) if version is None else ("version", version)
    return _digest("drop", upload.bucket, upload.key, *write)[:ID_LENGTH]


def import_key(plan: ImportPlan, content_id: str) -> str:
    """Name one import: which bytes, and what makes another import of them on purpose.

    Neither bucket, key nor ETag are in it: the same bytes uploaded under another name or with
    another part size are the same import. What the disc says of itself is not enough: another
    one may say the same.

    Parameters
    ----------
    plan : ImportPlan
        What is to be imported.
    content_id : str
        :attr:`isodrop.domain.content.Content.upload_id` of the copy.

    Returns
    -------
    str
        32 hexadecimal characters.
    """
    return _digest(
        "import",
        content_id,
        _fold_name(plan.name),
        plan.semantic_version,
        plan.image_index,
        plan.rebuild,
    )[:ID_LENGTH]


def distribution_key(build_arn: str, configuration_arn: str) -> str:
    """Name one distribution: of which image, and as which configuration says.

    Parameters
    ----------
    build_arn : str
        The image build version's.
    configuration_arn : str
        The distribution configuration's. What is changed in it later makes no other distribution.

    Returns
    -------
    str
        32 hexadecimal characters.
    """
    return _digest("distribution", build_arn, configuration_arn)[:ID_LENGTH]


def client_token(etag: str, identity: str, stack: str, attempt: int) -> str:
    """Make the token that lets Image Builder run one attempt's request no more than once.

    The ETag is in it because whose import it is began with one object; what its bytes are is in
    the identity.

    Parameters
    ----------
    etag : str
        Of the upload that made the import, without quotes.
    identity : str
        :func:`import_key` of its plan, or :func:`distribution_key` of its image.
    stack : str
        The stack's name: two stacks in one account each import for themselves.
    attempt : int
        Counted from 0; a token whose build failed would answer with that failed build for ever.

    Returns
    -------
    str
        36 hexadecimal characters.

    References
    ----------
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DistributeImage.html
    """
    return _digest("token", etag, identity, stack, attempt)[:TOKEN_LENGTH]


def _fold_name(name: str) -> str:
    """Fold what Image Builder folds: case, spaces and underscores."""
    return name.lower().replace(" ", "-").replace("_", "-")


def _digest(*parts: str | int | None) -> str:
    # JSON keeps the parts apart ("ab", "c" is not "a", "bc"), and its ASCII form takes any
    # string, lone surrogates too, which UTF-8 does not.
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()
