"""Deterministic ids of uploads, imports and distributions, and client tokens. Pure."""

import hashlib
import json
from typing import Final

from isodrop.domain.model import ImportPlan, Upload

ID_LENGTH: Final = 32
TOKEN_LENGTH: Final = 36  # the current API allows 64 characters, an older API reference 36


def upload_id(upload: Upload) -> str:
    """Return the id of an upload, which is one write of one object.

    In a versioned bucket, S3 gives each write a version id. So a repeated delivery of an event
    results in the same id, and another write of the same bytes in a different id. Listings of the
    bucket contain the version id as well, so the sweep derives the same id as the event. Without
    versioning, the id is derived from the event's sequencer, which is also unique per write.

    Parameters
    ----------
    upload : Upload
        The upload, from S3's event or a listing of the bucket.

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
    'f9129832946f89208b0d25346fca5755'
    """
    version = upload.unique_version_id
    write = ("sequencer", upload.sequencer) if version is None else ("version", version)
    return _digest("upload", upload.bucket, upload.key, *write)[:ID_LENGTH]


def import_key(plan: ImportPlan, content_id: str) -> str:
    """Return the key of an import: its content, name, version, image index and rebuild token.

    Bucket, key and ETag are not part of it: the same bytes uploaded under another key or with
    another part size are the same import. The metadata on the ISO would not be sufficient, because
    another ISO may contain the same metadata.

    Parameters
    ----------
    plan : ImportPlan
    content_id : str
        :attr:`isodrop.domain.content.Content.id` of the copy.

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
    """Return the key of a distribution: its image and its distribution configuration.

    Parameters
    ----------
    build_arn : str
        The ARN of the image build version.
    configuration_arn : str
        The ARN of the distribution configuration. Later changes of the configuration do not change
        the key.

    Returns
    -------
    str
        32 hexadecimal characters.
    """
    return _digest("distribution", build_arn, configuration_arn)[:ID_LENGTH]


def client_token(etag: str, task_key: str, stack: str, attempt: int) -> str:
    """Make the client token with which Image Builder runs an attempt's request at most once.

    Parameters
    ----------
    etag : str
        The ETag of the upload for which the attempt is made, without quotes.
    task_key : str
        :func:`import_key` of its plan, or :func:`distribution_key` of its image.
    stack : str
        The stack's name: two stacks in one account import separately.
    attempt : int
        Counted from 0. Image Builder keeps returning the failed build for the token of a failed
        attempt, so each attempt has its own token.

    Returns
    -------
    str
        36 hexadecimal characters.

    References
    ----------
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DistributeImage.html
    """
    return _digest("token", etag, task_key, stack, attempt)[:TOKEN_LENGTH]


def _fold_name(name: str) -> str:
    """Normalize a name as Image Builder does: case, spaces and underscores."""
    return name.lower().replace(" ", "-").replace("_", "-")


def _digest(*parts: str | int | None) -> str:
    # JSON separates the parts ("ab", "c" differs from "a", "bc"), and its ASCII form can encode
    # any string, including lone surrogates, which UTF-8 cannot.
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()
