"""What AWS or the SDK has against a command, in a sentence, and the way out. Needs an SDK.

Imported where AWS is asked only: a look at a file starts in a tenth of the time.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import walk_tb
from typing import TYPE_CHECKING, Final

import boto3
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError
from urllib3 import exceptions as http

from isodrop.aws.config import CONFIG
from isodrop.aws.errors import SDK_ERRORS, error_code, to_isodrop_error
from isodrop.errors import AccessDeniedError, IsodropError, TransientError
from isodrop.text import single_line
from isodrop_cli.clock import CLOCK
from isodrop_cli.failures import ExplainedError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class Hints:
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


OBJECT: Final = Hints(
    sign_in="sign in (aws sso login, aws configure) or choose a profile (AWS_PROFILE);"
    " a file on this machine needs no credentials",
    region="set AWS_DEFAULT_REGION to the bucket's Region, such as eu-central-1",
    grant="s3:GetObject on it is needed, and kms:Decrypt where a KMS key encrypts it",
    gone="there is no such object; look with aws s3 ls, and mind the account and Region",
)
"""For an object in any bucket."""
STACK: Final = Hints(
    sign_in="sign in (aws sso login, aws configure) or name a profile with --profile",
    region="name the stack's Region with --region or AWS_DEFAULT_REGION, such as eu-central-1",
    grant="ask for that right, or name a profile with --profile",
)
"""For a stack of ours, and all that is in it."""

NETWORK: Final = "check the network, the Region, and AWS_ENDPOINT_URL if it is set"
_BUSY: Final = "AWS is busy: try again in a minute"
_PROFILE: Final = "correct the profile in AWS's config file (aws configure list shows which)"
_PORTAL: Final = (
    "what answers is not AWS: sign in to the network, or check HTTPS_PROXY and AWS_ENDPOINT_URL"
)
_CLOCK: Final = "set this machine's clock"
_TRUST: Final = "where a proxy looks into TLS, let AWS_CA_BUNDLE name a file with its certificate"
_MFA: Final = (
    "the profile asks for an MFA code, and there is no terminal: sign in first (aws sso login, or"
    " aws sts get-session-token), or run it in a terminal"
)
_PROCESS: Final = (
    "see what the profile's credential_process prints by itself, correct it, or name another"
    " profile"
)
_FILE: Final = (
    "correct what names that file (AWS_WEB_IDENTITY_TOKEN_FILE, or the profile), or sign in"
    " otherwise"
)
# Where the SDK looks for credentials, and may let through an error that is none of its own.
_CREDENTIALS: Final = frozenset({"botocore.credentials", "botocore.tokens"})
_FOREIGN: Final = (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError)

# The first that fits.
_KINDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (sdk.ProfileNotFound, "aws configure list-profiles names those that there are"),
    (sdk.ConfigParseError, "correct that file, or name another by AWS_CONFIG_FILE"),
    (sdk.ConfigNotFound, "correct AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE"),
    (sdk.InvalidConfigError, _PROFILE),
    (sdk.InfiniteLoopConfigError, _PROFILE),
    (sdk.UnknownCredentialError, _PROFILE),
    (sdk.SSLError, _TRUST),
    (sdk.ProxyConnectionError, "check HTTPS_PROXY and NO_PROXY"),
    (ResponseParserError, _PORTAL),
    (sdk.ConnectionError, NETWORK),
    (sdk.HTTPClientError, NETWORK),
)
_NO_CREDENTIALS: Final = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.SSOError,
    sdk.TokenRetrievalError,
    sdk.MetadataRetrievalError,
    sdk.RefreshWithMFAUnsupportedError,
)
_NO_REGION: Final = (sdk.InvalidRegionError, sdk.NoRegionError)
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CommonErrors.html
_NOT_VALID: Final = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
_SIGNATURE: Final = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})
_SKEWED: Final = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
_ELSEWHERE: Final = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect"})
_GONE: Final = frozenset({"404", "NoSuchBucket", "NoSuchKey", "NoSuchVersion"})
_BARE: Final = (
    "S3 says no more than that: most often the token has expired, so sign in anew (aws sso login);"
    " else the object is under a key that only its uploader has"
)
_BY_CODE: Final = {
    **dict.fromkeys(_SKEWED, _CLOCK),
    "InvalidObjectState": "restore it from its archive first",
}


def make_session(profile: str | None = None, region: str | None = None) -> boto3.Session:
    """Make a session by the environment, as the AWS CLI would, unless it is told otherwise.

    Its clients keep :data:`~isodrop_cli.clock.CLOCK` right, and take no web page for an answer.
    """
    session = boto3.Session(profile_name=profile, region_name=region)
    if session.region_name == "":
        raise sdk.NoRegionError
    session.events.register("after-call", _heed_answer)
    if not _has_terminal():
        providers = session._session.get_component("credential_provider")
        providers.get_provider("assume-role")._prompter = _refuse_to_prompt
    return session


def _has_terminal() -> bool:
    """Whether somebody can be asked for an MFA code; the SDK asks on /dev/tty if there is one."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return sys.stdin is not None and sys.stdin.isatty()
    return True


def _refuse_to_prompt(prompt: str) -> str:
    raise EOFError(prompt.rstrip(": "))


def _heed_answer(http_response: "object", **_: object) -> None:
    headers = getattr(http_response, "headers", None)
    if not headers:
        return
    CLOCK.heed(headers)
    # A portal's page may pass for an answer without a body; AWS answers with XML, JSON or bytes.
    if headers.get("content-type", "").startswith("text/html"):
        raise ResponseParserError("a web page came instead of an answer")


def s3_client(profile: str | None = None, region: str | None = None) -> "S3Client":
    """Make a client of S3's."""
    return make_session(profile, region).client("s3", config=CONFIG)


def is_sdk_error(error: BaseException) -> bool:
    """Whether the SDK, or what it asks for credentials, has raised it."""
    return isinstance(error, (*SDK_ERRORS, http.HTTPError)) or _foreign_hint(error, STACK) != ""


def is_for_people(error: IsodropError) -> bool:
    """Whether it passes when somebody signs in or sets the clock, and not by waiting."""
    return error.aws_code in _NOT_VALID | _SKEWED


@contextmanager
def explained(ways: Hints, kind: type[ExplainedError], subject: str = "") -> Iterator[None]:
    """Raise what AWS or the SDK has against the block as a sentence with a way out.

    Parameters
    ----------
    ways : Ways
        For what is asked for inside.
    kind : type of ExplainedError
        What is raised.
    subject : str, optional
        What the sentence is about.
    """
    begin = f"{subject}: " if subject else ""
    try:
        yield
    except ExplainedError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, IsodropError) else error
        if cause is None or not is_sdk_error(cause):
            raise
        raise kind(f"{begin}{explain(error, ways)}") from error


def explain(error: BaseException, ways: Hints) -> str:
    """Say in a sentence what AWS or the SDK has against it, and what to do about that.

    Parameters
    ----------
    error : Exception
        As the SDK raised it, or as it was translated.
    ways : Ways
        For what was asked for.
    """
    is_ours = isinstance(error, IsodropError)
    cause = (error.__cause__ or error) if is_ours else error
    said = str(to_isodrop_error(error)) if isinstance(error, SDK_ERRORS) else _said(error)
    way = _hint(cause, ways)
    return single_line(f"{said.rstrip('.')}; {way}") if way else said


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return single_line(f"{error.filename}: {(error.strerror or '').lower()}")
    return single_line(str(error) or type(error).__name__)


def _hint(cause: BaseException, ways: Hints) -> str:
    """Say what to do; empty where that is not known."""
    if isinstance(cause, sdk.ClientError):
        is_bare = error_code(cause) == "400" and cause.operation_name.startswith("Head")
        return _BARE if is_bare else _by_code(error_code(cause), to_isodrop_error(cause), ways)
    if isinstance(cause, sdk.CredentialRetrievalError):
        return _PROCESS if "custom-process" in str(cause) else ways.sign_in
    if isinstance(cause, _NO_CREDENTIALS):
        return ways.sign_in
    if isinstance(cause, _NO_REGION):
        return ways.region
    if way := _foreign_hint(cause, ways):
        return way
    return next((words for kind, words in _KINDS if isinstance(cause, kind)), "")


def _by_code(code: str, ours: IsodropError, ways: Hints) -> str:
    by_code = {
        **dict.fromkeys(_NOT_VALID, ways.sign_in),
        **dict.fromkeys(_ELSEWHERE, ways.region),
        **dict.fromkeys(_GONE, ways.gone),
        **_BY_CODE,
    }
    if code in _SIGNATURE and type(ours) is TransientError:
        return _CLOCK
    if code in by_code:
        return by_code[code]
    if isinstance(ours, AccessDeniedError):
        return ways.grant
    return _BUSY if isinstance(ours, TransientError) else ""


def _foreign_hint(error: BaseException, ways: Hints) -> str:
    """Say what to do about an error that is none of the SDK's own, but was raised inside of it.

    botocore wraps few of these: a token file that is not there, a program that prints no JSON or a
    prompt without a terminal come as they are. What was going on is told by the traceback.

    Returns
    -------
    str
        Empty where it was not raised there.
    """
    if not isinstance(error, _FOREIGN) or isinstance(error, (UnicodeError, *SDK_ERRORS)):
        return ""
    places = {
        (str(frame.f_globals.get("__name__", "")), frame.f_code.co_name)
        for frame, _ in walk_tb(error.__traceback__)
    }
    modules = {module for module, _ in places}
    if modules & _CREDENTIALS:
        if isinstance(error, EOFError) or "getpass" in modules:
            return _MFA
        if ("botocore.credentials", "_retrieve_credentials_using") in places:
            return _PROCESS
        return _FILE if isinstance(error, OSError) else ways.sign_in
    if "botocore.endpoint" in modules and isinstance(error, ValueError):
        return NETWORK
    return _PROFILE if "botocore.configloader" in modules else ""
