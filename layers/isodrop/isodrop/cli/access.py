"""The way to an object in S3: a client, and what to do where there is no way. Needs an SDK.

Imported by the first ``s3://`` address only: a look at a file starts in a tenth of the time.
"""

from typing import TYPE_CHECKING, Final

import boto3
from botocore import exceptions as sdk

from isodrop.aws import CONFIG, error_code, translated
from isodrop.codes import RefusedError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_SIGN_IN: Final = (
    "sign in (aws sso login, aws configure) or choose a profile (AWS_PROFILE);"
    " a file on this machine needs no credentials"
)
_REGION: Final = "set AWS_DEFAULT_REGION to the bucket's Region, such as eu-central-1"
_NETWORK: Final = "check the network, and AWS_ENDPOINT_URL if it is set"
_THERE: Final = "there is no such object; look with aws s3 ls, and mind the account and Region"
_GRANT: Final = "s3:GetObject on it is needed, and kms:Decrypt where a KMS key encrypts it"

_WAYS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (sdk.NoCredentialsError, _SIGN_IN),
    (sdk.PartialCredentialsError, _SIGN_IN),
    (sdk.CredentialRetrievalError, _SIGN_IN),
    (sdk.SSOError, _SIGN_IN),
    (sdk.TokenRetrievalError, _SIGN_IN),
    (sdk.ProfileNotFound, "aws configure list-profiles names those that there are"),
    (sdk.ConfigParseError, "correct that file, or name another by AWS_CONFIG_FILE"),
    (sdk.InvalidRegionError, _REGION),
    (sdk.NoRegionError, _REGION),
    (sdk.ConnectionError, _NETWORK),
    (sdk.HTTPClientError, _NETWORK),
    (ValueError, _NETWORK),
)
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_WAYS_BY_CODE: Final = {
    "ExpiredToken": _SIGN_IN,
    "InvalidToken": _SIGN_IN,
    "InvalidAccessKeyId": _SIGN_IN,
    "SignatureDoesNotMatch": _SIGN_IN,
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "404": _THERE,
    "NoSuchBucket": _THERE,
    "NoSuchKey": _THERE,
    "NoSuchVersion": _THERE,
    "AccessDenied": _GRANT,
    "403": _GRANT,
    "InvalidObjectState": "restore it from its archive first",
}


def s3_client() -> "S3Client":
    """Make a client by the environment, as the AWS CLI would.

    Raises
    ------
    RefusedError
        The environment names what there is not, or what is not well formed.
    """
    try:
        with translated():
            return boto3.Session().client("s3", config=CONFIG)
    except ValueError as error:  # an endpoint that is no address
        raise RefusedError(str(error)) from error


def way_out(error: Exception) -> str:
    """Say what to do about an error that S3 or the SDK met; empty where that is not known."""
    cause = error.__cause__
    if isinstance(cause, sdk.ClientError):
        return _WAYS_BY_CODE.get(error_code(cause), "")
    return next((words for kind, words in _WAYS if isinstance(cause, kind)), "")
