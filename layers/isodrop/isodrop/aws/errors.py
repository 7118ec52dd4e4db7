"""How AWS is asked, and how its errors become ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own name for it
    HTTPClientError,
    IncompleteReadError,
)

from isodrop.errors import DeniedError, IsodropError, QuotaError, RefusedError, TransientError
from isodrop.text import one_line

_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "Forbidden",
        "ForbiddenException",
        "UnauthorizedOperation",
        "403",
    }
)
_QUOTA: Final = frozenset(
    {"ServiceQuotaExceededException", "LimitExceededException", "ExecutionLimitExceeded"}
)
_TRANSIENT: Final = frozenset(
    {
        # Image Builder's two names for a throttle, DynamoDB's, S3's, EC2's, EventBridge's
        "TooManyRequestsException",
        "CallRateLimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "SlowDown",
        "RequestTimeout",
        "TransactionInProgressException",
        # DistributeImage's, of an image that something else is being done with: "retry later".
        "ResourceInUseException",
    }
)
_MAY_BE_QUOTA: Final = "ClientException"
_SPEAKS_OF_QUOTA: Final = re.compile(r"\b(quota|limit)s?\b", re.IGNORECASE)
_SPEAKS_OF_LENGTH: Final = re.compile(r"\b(character|length|byte)s?\b", re.IGNORECASE)
_LOST: Final = (HTTPClientError, ConnectionError, IncompleteReadError)
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429


def error_code(error: ClientError) -> str:
    """AWS's own code for an error, such as ``PreconditionFailed``."""
    return error.response.get("Error", {}).get("Code", "")


def translate(error: ClientError | BotoCoreError) -> IsodropError:
    """Make an AWS error one of ours: to be waited out, or not to be asked again.

    Parameters
    ----------
    error : ClientError or BotoCoreError
        What boto3 raised after its own quick retries.

    Returns
    -------
    IsodropError
        :class:`~isodrop.errors.TransientError` for throttles, server errors and lost
        connections, :class:`~isodrop.errors.QuotaError` for quotas,
        :class:`~isodrop.errors.DeniedError` for missing permissions,
        :class:`~isodrop.errors.RefusedError` for all else.
    """
    if not isinstance(error, ClientError):
        kind = TransientError if isinstance(error, _LOST) else RefusedError
        return kind(one_line(f"{type(error).__name__}: {error}"))
    code = error_code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = error.response.get("Error", {}).get("Message", "")
    message = one_line(": ".join(filter(None, (error.operation_name, code, said))))
    if code in _QUOTA or _is_about_quota(code, said):
        return QuotaError(message)
    if code in _TRANSIENT or status >= _SERVER_ERROR or status == _TOO_MANY:
        return TransientError(message)
    if code in _DENIED:
        return DeniedError(message)
    return RefusedError(message)


def _is_about_quota(code: str, said: str) -> bool:
    """Whether Image Builder's error for everything is about a quota that is used up.

    ImportDiskImage has no error of its own for that, so this is the one place where a message
    decides. A wrong guess costs time and no build: what is waited out is sent again as it was.
    """
    return (
        code == _MAY_BE_QUOTA
        and _SPEAKS_OF_QUOTA.search(said) is not None
        and _SPEAKS_OF_LENGTH.search(said) is None
    )


@contextmanager
def translated() -> Iterator[None]:
    """Raise what boto3 raises inside the block as one of isodrop's own errors."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate(error) from error
