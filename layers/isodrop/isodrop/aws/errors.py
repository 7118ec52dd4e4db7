"""How AWS's errors become ours: one table says which are waited out, and which are not."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own name for it
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.parsers import ResponseParserError

from isodrop.codes import Code
from isodrop.errors import (
    AccessDeniedError,
    CredentialsError,
    IsodropError,
    PermanentError,
    QuotaError,
    TransientError,
)
from isodrop.text import single_line


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """Some of AWS's errors, and which of ours they become.

    Attributes
    ----------
    becomes : type of IsodropError
    why : str
        What they have in common, for the page of all of them.
    source : str
        Where AWS or the SDK documents them, or who reported what they do.
    codes : tuple of str
        AWS's codes.
    raised : tuple of type
        What the SDK raises without an answer of AWS's.
    """

    becomes: type[IsodropError]
    why: str
    source: str
    codes: tuple[str, ...] = ()
    raised: tuple[type[Exception], ...] = ()


_S3_ERRORS: Final = "https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"
_COMMON_ERRORS: Final = "https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html"
_DYNAMODB_ERRORS: Final = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html"
)
_BOTOCORE: Final = "https://github.com/boto/botocore/blob/develop/botocore"

ERROR_CLASSES: Final = (
    ErrorClass(
        TransientError,
        "throttling, under the names that the services use",
        "https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html",
        codes=(
            "TooManyRequestsException",
            "CallRateLimitExceededException",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "Throttling",
            "ThrottlingException",
            "SlowDown",
        ),
    ),
    ErrorClass(
        TransientError,
        "the request timed out, or conflicted with another on the same item",
        _S3_ERRORS,
        codes=("RequestTimeout", "TransactionInProgressException", "OperationAborted"),
    ),
    ErrorClass(
        TransientError,
        "another operation on the image is in progress",
        "https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DistributeImage.html",
        codes=("ResourceInUseException",),
    ),
    ErrorClass(
        TransientError,
        "the function's token has expired: a warm function may hold it for up to an hour, and the"
        " next one has a fresh one",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_sts.html",
        codes=("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
    ),
    ErrorClass(
        TransientError,
        "the clock of the function's host is wrong",
        _S3_ERRORS,
        codes=("RequestTimeTooSkewed", "RequestInTheFuture"),
    ),
    ErrorClass(
        TransientError,
        "there was no response, or only a part of one",
        f"{_BOTOCORE}/exceptions.py",
        raised=(HTTPClientError, ConnectionError, IncompleteReadError),
    ),
    ErrorClass(
        TransientError,
        "the bytes received differ from those sent",
        f"{_BOTOCORE}/httpchecksum.py",
        codes=("BadDigest", "XAmzContentSHA256Mismatch"),
        raised=(FlexibleChecksumError, ChecksumError),
    ),
    ErrorClass(
        TransientError,
        "the response is not the service's: a proxy sent it, or it was cut off",
        f"{_BOTOCORE}/parsers.py",
        raised=(ResponseParserError,),
    ),
    ErrorClass(
        CredentialsError,
        "the credentials are unknown, or not known yet: the role was deleted, or has just been"
        " created",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
        "troubleshoot.html#troubleshoot_general_eventual-consistency",
        codes=(
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "InvalidAccessKeyId",
            "InvalidToken",
            "AuthFailure",
        ),
    ),
    ErrorClass(
        CredentialsError,
        "the signature is not valid; if the message begins with *Signature expired* or"
        " *Signature not yet current*, a clock is wrong or the request was late, and it is a"
        " TransientError",
        _COMMON_ERRORS,
        codes=("InvalidSignatureException", "SignatureDoesNotMatch"),
    ),
    ErrorClass(
        CredentialsError,
        "all that S3 returns to a HEAD: most often an expired token, else a key that only its owner"
        " has (SSE-C)",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html",
        codes=("400",),
    ),
    ErrorClass(
        QuotaError,
        "a quota is used up until other work ends; also a ClientException of Image Builder whose"
        " message mentions a quota or a limit",
        "https://docs.aws.amazon.com/general/latest/gr/imagebuilder.html",
        codes=(
            "ServiceQuotaExceededException",
            "LimitExceededException",
            "ExecutionLimitExceeded",
        ),
    ),
    ErrorClass(
        AccessDeniedError,
        "a permission is missing",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html",
        codes=(
            "AccessDenied",
            "AccessDeniedException",
            "Forbidden",
            "ForbiddenException",
            "UnauthorizedOperation",
            "403",
        ),
    ),
)
"""In the order in which an error is looked up. What is in none of them is a TransientError with an
HTTP status of 500 and above, or of 429, and else a RefusedError: it would be refused again."""

# Who says so is told by the operation: a ClientError does not name its service.
# https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_Operations.html
_OF_IMAGE_BUILDER: Final = frozenset(
    {
        "ImportDiskImage",
        "DistributeImage",
        "GetImage",
        "ListImageBuildVersions",
        "ListWorkflowExecutions",
        "CancelImageCreation",
    }
)
_BY_CODE: Final = {code: each.becomes for each in ERROR_CLASSES for code in each.codes}
_BY_TYPE: Final = tuple((kind, each.becomes) for each in ERROR_CLASSES for kind in each.raised)
# Words decide in two places only. AWS has one code for a late request and for a wrong key, and
# Image Builder one for everything that it refuses, a full quota included.
_LATE: Final = ("Signature expired", "Signature not yet current")
_MAY_BE_QUOTA: Final = "ClientException"
_SPEAKS_OF_QUOTA: Final = re.compile(r"\b(quota|limit)s?\b", re.IGNORECASE)
_SPEAKS_OF_LENGTH: Final = re.compile(r"\b(character|length|byte)s?\b", re.IGNORECASE)
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429

SDK_ERRORS: Final = (ClientError, BotoCoreError, ResponseParserError)
"""All that an SDK call raises because of AWS or the way there."""


def error_code(error: ClientError) -> str:
    """AWS's own code for an error, such as ``PreconditionFailed``."""
    return error.response.get("Error", {}).get("Code", "")


def to_isodrop_error(error: ClientError | BotoCoreError | ResponseParserError) -> IsodropError:
    """Make an AWS error one of ours: to be waited out, or not to be asked again.

    Parameters
    ----------
    error : ClientError, BotoCoreError or ResponseParserError
        What boto3 raised after its own quick retries.

    Returns
    -------
    IsodropError
        As :data:`ERROR_CLASSES` has it, with AWS's own code as ``aws_code``. A
        :class:`~isodrop.errors.PermanentError` carries the code ``import-refused`` only where it
        was Image Builder that refused.
    """
    if not isinstance(error, ClientError):
        kind = next((ours for each, ours in _BY_TYPE if isinstance(error, each)), PermanentError)
        return kind(single_line(f"{type(error).__name__}: {error}"))
    code = error_code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = error.response.get("Error", {}).get("Message", "")
    message = single_line(": ".join(filter(None, (error.operation_name, code, said))))
    ours = QuotaError if _is_about_quota(code, said) else _BY_CODE.get(code)
    if ours is CredentialsError and said.startswith(_LATE):
        ours = TransientError
    if code == "400" and not error.operation_name.startswith("Head"):
        ours = None  # an answer that was not understood
    if ours is not None:
        return ours(message, aws_code=code)
    if status >= _SERVER_ERROR or status == _TOO_MANY:
        return TransientError(message, aws_code=code)
    refused = Code.IMPORT_REFUSED if error.operation_name in _OF_IMAGE_BUILDER else None
    return PermanentError(message, code=refused, aws_code=code)


def _is_about_quota(code: str, said: str) -> bool:
    """Whether Image Builder's error for everything is about a quota that is used up.

    ImportDiskImage has no error of its own for that, so here a message
    decides. A wrong guess costs time and no build: what is waited out is sent again as it was.
    """
    return (
        code == _MAY_BE_QUOTA
        and _SPEAKS_OF_QUOTA.search(said) is not None
        and _SPEAKS_OF_LENGTH.search(said) is None
    )


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise what boto3 raises inside the block as one of isodrop's own errors."""
    try:
        yield
    except SDK_ERRORS as error:
        raise to_isodrop_error(error) from error
