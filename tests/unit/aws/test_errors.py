"""AWS's errors made ours: what is waited out, and what is not asked again."""

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from isodrop.aws.errors import translate, translated
from isodrop.errors import DeniedError, QuotaError, RefusedError, TransientError


def said(code: str, status: int, message: str = "said") -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "ImportDiskImage")


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
        (said("AccessDeniedException", 403), DeniedError),
        (said("AccessDenied", 403), DeniedError),
        (said("403", 403), DeniedError),
        (said("ClientException", 400), RefusedError),
        (said("ClientException", 400, "You have reached the limit of 100 builds."), QuotaError),
        (said("ClientException", 400, "Service quota exceeded: concurrent builds"), QuotaError),
        (said("ClientException", 400, "The limit is 1024 characters."), RefusedError),
        (said("InvalidRequestException", 400, "No quota for that."), RefusedError),
        (said("ResourceInUseException", 400), TransientError),
        (said("SomethingNew", 418), RefusedError),
        (ReadTimeoutError(endpoint_url="x"), TransientError),
        (EndpointConnectionError(endpoint_url="x"), TransientError),
        (ResponseStreamingError(error="x"), TransientError),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientError),
        (NoCredentialsError(), RefusedError),
    ],
)
def test_each_error_is_either_waited_out_or_not(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as ours, translated():
        raise error

    assert type(ours.value) is kind
    assert ours.value.__cause__ is error


def test_what_aws_said_is_told_on_one_line_and_bounded() -> None:
    message = str(translate(said("ClientException", 400, "bad\n\x1b[31m" + "x" * 5000)))

    assert message.startswith("ImportDiskImage: ClientException: bad ")
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 1100


def test_an_error_without_words_ends_with_its_code() -> None:
    assert str(translate(said("Nothing", 400, ""))) == "ImportDiskImage: Nothing"


def test_what_is_no_error_of_aws_passes() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("ours")
