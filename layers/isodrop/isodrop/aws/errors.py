"""Translates errors of AWS to isodrop's: one table defines which ones are retried."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's name
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
class ErrorGroup:
    """A group of AWS errors, and the isodrop error that they are translated to.

    Attributes
    ----------
    error_type : type of IsodropError
    why : str
        What they have in common, for the generated documentation.
    source : str
        The page of AWS's or the SDK's documentation that describes these errors.
    codes : tuple of str
        The AWS error codes.
    raised : tuple of type
        The exceptions that the SDK raises without a valid response.
    """

    error_type: type[IsodropError]
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

ERROR_GROUPS: Final = (
    ErrorGroup(
        TransientError,
        "throttling, for which each service has its own name",
        "https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html",
        codes=(
            "TooManyRequestsException",
            "CallRateLimitExceededException",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "Throttling",
            "ThrottlingException",
            "KmsThrottlingException",
            "SlowDown",
        ),
    ),
    ErrorGroup(
        TransientError,
        "the request timed out, or conflicted with another one on the same object or bucket",
        _S3_ERRORS,
        codes=("RequestTimeout", "OperationAborted"),
    ),
    ErrorGroup(
        TransientError,
        "another write or transaction on the same item was in progress",
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
        "transaction-apis.html#transaction-conflict-handling",
        codes=(
            "TransactionConflictException",
            "TransactionInProgressException",
            "ReplicatedWriteConflictException",
        ),
    ),
    ErrorGroup(
        TransientError,
        "another update of the same parameter was in progress",
        "https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html",
        codes=("TooManyUpdates",),
    ),
    ErrorGroup(
        TransientError,
        "another operation on the image is in progress",
        "https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DistributeImage.html",
        codes=("ResourceInUseException",),
    ),
    ErrorGroup(
        TransientError,
        "the function's token has expired: a warm function may keep it for up to an hour, and the"
        " next execution environment has a new one",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_sts.html",
        codes=("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
    ),
    ErrorGroup(
        TransientError,
        "the clock of the function's host is wrong",
        _S3_ERRORS,
        codes=("RequestTimeTooSkewed", "RequestInTheFuture"),
    ),
    ErrorGroup(
        TransientError,
        "there was no response, or only a part of one",
        f"{_BOTOCORE}/exceptions.py",
        raised=(HTTPClientError, ConnectionError, IncompleteReadError),
    ),
    ErrorGroup(
        TransientError,
        "the bytes received differ from those sent",
        f"{_BOTOCORE}/httpchecksum.py",
        codes=("BadDigest", "XAmzContentSHA256Mismatch"),
        raised=(FlexibleChecksumError, ChecksumError),
    ),
    ErrorGroup(
        TransientError,
        "the response is not the service's: a proxy sent it, or it was cut off",
        f"{_BOTOCORE}/parsers.py",
        raised=(ResponseParserError,),
    ),
    ErrorGroup(
        CredentialsError,
        "the credentials are unknown: the role was deleted, or has just been created",
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
    ErrorGroup(
        CredentialsError,
        "the signature is not valid; if the message begins with *Signature expired* or"
        " *Signature not yet current*, a clock is wrong or the request was late, and it is a"
        " TransientError",
        _COMMON_ERRORS,
        codes=("InvalidSignatureException", "SignatureDoesNotMatch"),
    ),
    ErrorGroup(
        CredentialsError,
        "a HEAD response has no code but its status: most often the token has expired; otherwise"
        " the object is encrypted with the uploader's own key (SSE-C)",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html",
        codes=("400",),
    ),
    ErrorGroup(
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
    ErrorGroup(
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
"""No code or exception is in two groups. Any other error is a TransientError if its HTTP status is
429, or 500 or above, and otherwise a PermanentError, which a repeated request would return again.
"""

# The service is derived from the operation, because a ClientError does not contain it.
# https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_Operations.html
_IMAGE_BUILDER_OPERATIONS: Final = frozenset(
    {
        "ImportDiskImage",
        "DistributeImage",
        "GetImage",
        "ListImageBuildVersions",
        "ListWorkflowExecutions",
        "CancelImageCreation",
    }
)
_BY_CODE: Final = {code: each.error_type for each in ERROR_GROUPS for code in each.codes}
_BY_TYPE: Final = tuple((kind, each.error_type) for each in ERROR_GROUPS for kind in each.raised)
# The text of a message matters in two cases only. AWS has the same code for a late request and for
# a wrong key, and ImportDiskImage has no code of its own for a used-up quota, only the generic one.
_CLOCK_MESSAGES: Final = ("Signature expired", "Signature not yet current")
_GENERIC_CODE: Final = "ClientException"
_MENTIONS_QUOTA: Final = re.compile(r"\b(quota|limit)s?\b", re.IGNORECASE)
_MENTIONS_LENGTH: Final = re.compile(r"\b(character|length|byte)s?\b", re.IGNORECASE)
_SERVER_ERROR: Final = 500
_TOO_MANY_REQUESTS: Final = 429

SDK_ERRORS: Final = (ClientError, BotoCoreError, ResponseParserError)
"""All exceptions that a call of the SDK raises."""


def error_code(error: ClientError) -> str:
    """Return the AWS code of an error, such as ``PreconditionFailed``."""
    return error.response.get("Error", {}).get("Code", "")


def to_isodrop_error(error: ClientError | BotoCoreError | ResponseParserError) -> IsodropError:
    """Translate an AWS error to an isodrop error, which defines whether it is retried.

    Parameters
    ----------
    error : ClientError, BotoCoreError or ResponseParserError
        The exception that boto3 raised after its own retries.

    Returns
    -------
    IsodropError
        The error that :data:`ERROR_GROUPS` defines, with the AWS code as ``aws_code``. A
        :class:`~isodrop.errors.PermanentError` has the code ``import-refused`` only if it is an
        error of Image Builder.
    """
    if not isinstance(error, ClientError):
        matching = (target for source, target in _BY_TYPE if isinstance(error, source))
        return next(matching, PermanentError)(single_line(f"{type(error).__name__}: {error}"))
    aws_code = error_code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    aws_message = error.response.get("Error", {}).get("Message", "")
    message = single_line(": ".join(filter(None, (error.operation_name, aws_code, aws_message))))
    error_type = QuotaError if _is_about_quota(aws_code, aws_message) else _BY_CODE.get(aws_code)
    if error_type is CredentialsError and aws_message.startswith(_CLOCK_MESSAGES):
        error_type = TransientError
    if aws_code == "400" and not error.operation_name.startswith("Head"):
        error_type = None  # a response that the SDK could not parse
    if error_type is not None:
        return error_type(message, aws_code=aws_code)
    if status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS:
        return TransientError(message, aws_code=aws_code)
    is_image_builder = error.operation_name in _IMAGE_BUILDER_OPERATIONS
    code = Code.IMPORT_REFUSED if is_image_builder else None
    return PermanentError(message, code=code, aws_code=aws_code)


def _is_about_quota(code: str, message: str) -> bool:
    """Whether Image Builder's generic error is about a used-up quota.

    ImportDiskImage has no specific error for this, so the message decides. A wrong guess costs
    time but no build, because the same request is sent again.
    """
    return (
        code == _GENERIC_CODE
        and _MENTIONS_QUOTA.search(message) is not None
        and _MENTIONS_LENGTH.search(message) is None
    )


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate the exceptions of boto3 in the block to isodrop's errors."""
    try:
        yield
    except SDK_ERRORS as error:
        raise to_isodrop_error(error) from error
