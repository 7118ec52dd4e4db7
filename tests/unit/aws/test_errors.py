"""How AWS's errors are translated: which are retried, and which are not."""

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
from botocore.session import get_session

from isodrop.aws.errors import ERROR_GROUPS, to_isodrop_error, translate_errors
from isodrop.codes import Code
from isodrop.errors import (
    AccessDeniedError,
    CredentialsError,
    PermanentError,
    QuotaError,
    TransientError,
)


def client_error(
    code: str, status: int, message: str = "refused", operation: str = "ImportDiskImage"
) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, operation)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (client_error("ServiceException", 500), TransientError),
        (client_error("ServiceUnavailableException", 503), TransientError),
        (client_error("TooManyRequestsException", 429), TransientError),
        (client_error("CallRateLimitExceededException", 429), TransientError),
        (client_error("SlowDown", 503), TransientError),
        (client_error("ThrottlingException", 400), TransientError),
        (client_error("ProvisionedThroughputExceededException", 400), TransientError),
        (client_error("SomethingNew", 599), TransientError),
        (client_error("ServiceQuotaExceededException", 402), QuotaError),
        (client_error("AccessDeniedException", 403), AccessDeniedError),
        (client_error("AccessDenied", 403), AccessDeniedError),
        (client_error("403", 403), AccessDeniedError),
        (client_error("ClientException", 400), PermanentError),
        (
            client_error("ClientException", 400, "You have reached the limit of 100 builds."),
            QuotaError,
        ),
        (
            client_error("ClientException", 400, "Service quota exceeded: concurrent builds"),
            QuotaError,
        ),
        (client_error("ClientException", 400, "The limit is 1024 characters."), PermanentError),
        (client_error("InvalidRequestException", 400, "No quota for that."), PermanentError),
        (client_error("ResourceInUseException", 400), TransientError),
        (client_error("SomethingNew", 418), PermanentError),
        (ReadTimeoutError(endpoint_url="x"), TransientError),
        (EndpointConnectionError(endpoint_url="x"), TransientError),
        (ResponseStreamingError(error="x"), TransientError),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientError),
        (NoCredentialsError(), PermanentError),
        # Reported for warm functions: token or clock; the next execution environment is fine.
        (client_error("ExpiredToken", 400), TransientError),
        (client_error("ExpiredTokenException", 400), TransientError),
        (client_error("RequestExpired", 400), TransientError),
        (client_error("RequestTimeTooSkewed", 403), TransientError),
        (
            client_error("InvalidSignatureException", 400, "Signature expired: 20261124T0900"),
            TransientError,
        ),
        (
            client_error("SignatureDoesNotMatch", 403, "Signature not yet current: 2026"),
            TransientError,
        ),
        (client_error("SignatureDoesNotMatch", 403, "The request signature"), CredentialsError),
        (client_error("InvalidClientTokenId", 403), CredentialsError),
        (client_error("UnrecognizedClientException", 400), CredentialsError),
        (client_error("400", 400, "Bad Request", "HeadObject"), CredentialsError),
        (client_error("400", 400, "Bad Request", "GetFunction"), PermanentError),
        (FlexibleChecksumError(error_msg="x"), TransientError),
        (ResponseParserError("Unable to parse response, invalid XML received"), TransientError),
        (client_error("KMS.DisabledException", 400, "refused", "GetObject"), PermanentError),
    ],
)
def test_each_error_is_either_transient_or_permanent(
    error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as ours, translate_errors():
        raise error

    assert type(ours.value) is kind
    assert ours.value.__cause__ is error


def test_the_message_of_aws_is_kept_on_one_bounded_line() -> None:
    message = str(
        to_isodrop_error(client_error("ClientException", 400, "bad\n\x1b[31m" + "x" * 5000))
    )

    assert message.startswith("ImportDiskImage: ClientException: bad ")
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 1100


def test_an_error_without_a_message_ends_with_its_code() -> None:
    assert str(to_isodrop_error(client_error("Nothing", 400, ""))) == "ImportDiskImage: Nothing"


def test_an_error_of_another_kind_passes_through() -> None:
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
def test_only_a_refusal_of_image_builder_is_import_refused(operation: str, code: Code) -> None:
    assert (
        to_isodrop_error(client_error("KMS.NotFoundException", 400, "refused", operation)).code
        == code
    )


CALLS = {
    "dynamodb": (
        *("BatchGetItem", "DescribeTable", "GetItem", "PutItem", "Query", "TransactWriteItems"),
        "UpdateItem",
    ),
    "events": ("PutEvents",),
    "imagebuilder": (
        *("DistributeImage", "GetImage", "ImportDiskImage", "ListImageBuildVersions"),
        "ListWorkflowExecutions",
    ),
    "ssm": ("GetParameter", "PutParameter"),
    "stepfunctions": ("DescribeExecution", "StartExecution"),
}
PERMANENT = {
    # Handled where they are expected.
    *("ConditionalCheckFailedException", "TransactionCanceledException", "ParameterNotFound"),
    *("ExecutionAlreadyExists", "ExecutionDoesNotExist", "ResourceNotFoundException"),
    # The request is wrong, or what it names does not exist.
    *("ClientException", "IdempotentParameterMismatchException", "InvalidRequestException"),
    *("InvalidPaginationTokenException", "ItemCollectionSizeLimitExceededException"),
    *("InvalidArn", "InvalidExecutionInput", "InvalidName", "ValidationException"),
    *("StateMachineDeleting", "StateMachineDoesNotExist", "KmsInvalidStateException"),
    *("InvalidKeyId", "ParameterAlreadyExists", "ParameterPatternMismatchException"),
    *("HierarchyLevelLimitExceededException", "HierarchyTypeMismatchException"),
    *("IncompatiblePolicyException", "InvalidAllowedPatternException"),
    *("InvalidPolicyAttributeException", "InvalidPolicyTypeException"),
    *("ParameterVersionNotFound", "UnsupportedParameterType"),
    # Somebody has to delete or allow something.
    *("ParameterLimitExceeded", "ParameterMaxVersionLimitExceeded"),
    *("PoliciesLimitExceededException", "KmsAccessDeniedException"),
}
"""Errors of these calls for which a later retry of the same request is of no use."""


@pytest.mark.parametrize("service", CALLS)
def test_each_error_that_the_sdk_knows_is_retried_or_known_to_be_permanent(service: str) -> None:
    model = get_session().get_service_model(service)
    shapes = [
        shape
        for operation in CALLS[service]
        for shape in model.operation_model(operation).error_shapes
    ]
    permanent = {
        code
        for code, status in map(code_and_status, shapes)
        if type(to_isodrop_error(client_error(code, status))) is PermanentError
    }

    assert shapes
    assert permanent <= PERMANENT


def code_and_status(shape: Any) -> tuple[str, int]:
    declared = shape.metadata.get("error", {})
    code = declared.get("code", shape.name)
    # The models of some services do not have the status of a fault of the service.
    return code, declared.get("httpStatusCode") or (500 if code.startswith("Internal") else 400)


def test_each_of_awss_codes_is_in_the_table_once() -> None:
    codes = [code for each in ERROR_GROUPS for code in each.codes]
    assert len(codes) == len(set(codes))
