"""AWS's errors made ours: what is waited out, and what is not asked again."""

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    FlexibleChecksumError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError

from isodrop.aws.errors import ERROR_CLASSES, to_isodrop_error, translate_errors
from isodrop.codes import Code
from isodrop.errors import (
    AccessDeniedError,
    CredentialsError,
    PermanentError,
    QuotaError,
    TransientError,
)


def said(
    code: str, status: int, message: str = "said", operation: str = "ImportDiskImage"
) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, operation)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (said("ServiceException", 500), TransientError),
        (said("ServiceUnavailableException", 503), TransientError),
        (said("TooManyRequestsException", 429), TransientError),
        (said("CallRateLimitExceededException", 429), TransientError),
        (said("SlowDown", 503), TransientError),
        (said("ThrottlingException", 400), TransientError),
        (said("ProvisionedThroughputExceededException", 400), TransientError),
        (said("SomethingNew", 599), TransientError),
        (said("ServiceQuotaExceededException", 402), QuotaError),
        (said("AccessDeniedException", 403), AccessDeniedError),
        (said("AccessDenied", 403), AccessDeniedError),
        (said("403", 403), AccessDeniedError),
        (said("ClientException", 400), PermanentError),
        (said("ClientException", 400, "You have reached the limit of 100 builds."), QuotaError),
        (said("ClientException", 400, "Service quota exceeded: concurrent builds"), QuotaError),
        (said("ClientException", 400, "The limit is 1024 characters."), PermanentError),
        (said("InvalidRequestException", 400, "No quota for that."), PermanentError),
        (said("ResourceInUseException", 400), TransientError),
        (said("SomethingNew", 418), PermanentError),
        (ReadTimeoutError(endpoint_url="x"), TransientError),
        (EndpointConnectionError(endpoint_url="x"), TransientError),
        (ResponseStreamingError(error="x"), TransientError),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientError),
        (NoCredentialsError(), PermanentError),
        # Reported of warm functions: the token or the clock, and well again in the next one.
        (said("ExpiredToken", 400), TransientError),
        (said("ExpiredTokenException", 400), TransientError),
        (said("RequestExpired", 400), TransientError),
        (said("RequestTimeTooSkewed", 403), TransientError),
        (
            said("InvalidSignatureException", 400, "Signature expired: 20261124T0900"),
            TransientError,
        ),
        (said("SignatureDoesNotMatch", 403, "Signature not yet current: 2026"), TransientError),
        (said("SignatureDoesNotMatch", 403, "The request signature"), CredentialsError),
        (said("InvalidClientTokenId", 403), CredentialsError),
        (said("UnrecognizedClientException", 400), CredentialsError),
        (said("400", 400, "Bad Request", "HeadObject"), CredentialsError),
        (said("400", 400, "Bad Request", "GetFunction"), PermanentError),
        (FlexibleChecksumError(error_msg="x"), TransientError),
        (ResponseParserError("Unable to parse response, invalid XML received"), TransientError),
        (said("KMS.DisabledException", 400, "said", "GetObject"), PermanentError),
    ],
)
def test_each_error_is_either_waited_out_or_not(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as ours, translate_errors():
        raise error

    assert type(ours.value) is kind
    assert ours.value.__cause__ is error


def test_what_aws_said_is_told_on_one_line_and_bounded() -> None:
    message = str(to_isodrop_error(said("ClientException", 400, "bad\n\x1b[31m" + "x" * 5000)))

    assert message.startswith("ImportDiskImage: ClientException: bad ")
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 1100


def test_an_error_without_words_ends_with_its_code() -> None:
    assert str(to_isodrop_error(said("Nothing", 400, ""))) == "ImportDiskImage: Nothing"


def test_what_is_no_error_of_aws_passes() -> None:
    with pytest.raises(KeyError), translate_errors():
        raise KeyError("ours")


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("ImportDiskImage", Code.IMPORT_REFUSED),
        ("DistributeImage", Code.IMPORT_REFUSED),
        ("GetObject", Code.REQUEST_REFUSED),
        ("PutItem", Code.REQUEST_REFUSED),
        ("StartExecution", Code.REQUEST_REFUSED),
    ],
)
def test_only_what_image_builder_refused_is_an_import_refused(operation: str, code: Code) -> None:
    assert to_isodrop_error(said("KMS.NotFoundException", 400, "said", operation)).code == code


def test_each_of_awss_codes_is_in_the_table_once() -> None:
    codes = [code for each in ERROR_CLASSES for code in each.codes]
    assert len(codes) == len(set(codes))
