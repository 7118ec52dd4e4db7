"""What AWS or the SDK has against a command, in a sentence, and the way out. Needs an SDK.

Imported where AWS is asked only: a look at a file starts in a tenth of the time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import boto3
from botocore import exceptions as sdk

from isodrop.aws.config import CONFIG
from isodrop.aws.errors import error_code, translate, translated
from isodrop.errors import DeniedError, IsodropError, RefusedError, TransientError
from isodrop.text import one_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class Ways:
    """What to do where it depends on what was asked for.

    Attributes
    ----------
    sign_in, region, grant : str
        Where credentials, the Region or a right are missing.
    gone : str
        Where there is no such thing.
    """

    sign_in: str
    region: str
    grant: str
    gone: str = ""


OBJECT: Final = Ways(
    sign_in="sign in (aws sso login, aws configure) or choose a profile (AWS_PROFILE);"
    " a file on this machine needs no credentials",
    region="set AWS_DEFAULT_REGION to the bucket's Region, such as eu-central-1",
    grant="s3:GetObject on it is needed, and kms:Decrypt where a KMS key encrypts it",
    gone="there is no such object; look with aws s3 ls, and mind the account and Region",
)
"""For an object in any bucket."""
STACK: Final = Ways(
    sign_in="sign in (aws sso login, aws configure) or name a profile with --profile",
    region="name the stack's Region with --region or AWS_DEFAULT_REGION, such as eu-central-1",
    grant="ask for that right, or name a profile with --profile",
)
"""For a stack of ours, and all that is in it."""

NETWORK: Final = "check the network, the Region, and AWS_ENDPOINT_URL if it is set"
_BUSY: Final = "AWS is busy: try again in a minute"
_NO_CREDENTIALS: Final = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.SSOError,
    sdk.TokenRetrievalError,
)
_NO_REGION: Final = (sdk.InvalidRegionError, sdk.NoRegionError)
_KINDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (sdk.ProfileNotFound, "aws configure list-profiles names those that there are"),
    (sdk.ConfigParseError, "correct that file, or name another by AWS_CONFIG_FILE"),
    (sdk.ConnectionError, NETWORK),
    (sdk.HTTPClientError, NETWORK),
    (ValueError, NETWORK),
)
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CommonErrors.html
_NOT_VALID: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_ELSEWHERE: Final = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect"})
_GONE: Final = frozenset({"404", "NoSuchBucket", "NoSuchKey", "NoSuchVersion"})
_ARCHIVED: Final = "InvalidObjectState"


def s3_client(profile: str | None = None, region: str | None = None) -> "S3Client":
    """Make a client by the environment, as the AWS CLI would, unless it is told otherwise.

    Raises
    ------
    RefusedError
        The environment names what there is not, or what is not well formed.
    """
    try:
        with translated():
            return boto3.Session(profile_name=profile, region_name=region).client(
                "s3", config=CONFIG
            )
    except ValueError as error:  # an endpoint that is no address
        raise RefusedError(str(error)) from error


def explain(error: IsodropError | sdk.ClientError | sdk.BotoCoreError, ways: Ways) -> str:
    """Say in a sentence what AWS or the SDK has against it, and what to do about that.

    Parameters
    ----------
    error : IsodropError, ClientError or BotoCoreError
        As the SDK raised it, or as it was translated.
    ways : Ways
        For what was asked for.
    """
    ours = error if isinstance(error, IsodropError) else translate(error)
    said = str(ours).rstrip(".")
    way = _way(ours, ours.__cause__ or error, ways)
    return one_line(f"{said}; {way}") if way else said


def _way(ours: IsodropError, cause: BaseException, ways: Ways) -> str:
    """Say what to do; empty where that is not known."""
    if isinstance(cause, sdk.ClientError):
        return _by_code(error_code(cause), ours, ways)
    if isinstance(cause, _NO_CREDENTIALS):
        return ways.sign_in
    if isinstance(cause, _NO_REGION):
        return ways.region
    return next((words for kind, words in _KINDS if isinstance(cause, kind)), "")


def _by_code(code: str, ours: IsodropError, ways: Ways) -> str:
    by_code = {
        **dict.fromkeys(_NOT_VALID, ways.sign_in),
        **dict.fromkeys(_ELSEWHERE, ways.region),
        **dict.fromkeys(_GONE, ways.gone),
        _ARCHIVED: "restore it from its archive first",
    }
    if code in by_code:
        return by_code[code]
    if isinstance(ours, DeniedError):
        return ways.grant
    return _BUSY if isinstance(ours, TransientError) else ""
