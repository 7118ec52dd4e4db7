"""Turn errors of AWS and the SDK into one sentence that says what to do. Needs boto3.

Imported only where AWS is called: a command that reads a file starts in a tenth of the time.
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
from isodrop.aws.errors import SDK_ERRORS, to_isodrop_error
from isodrop.errors import AccessDeniedError, CredentialsError, IsodropError, TransientError
from isodrop.text import single_line
from isodrop_cli.clock import CLOCK
from isodrop_cli.errors import ExplainedError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class Hints:
    """Remedies that depend on what was requested.

    Attributes
    ----------
    sign_in, region, grant : str
        For missing credentials, a missing Region, or a missing permission.
    not_found : str
        For a resource that does not exist.
    """

    sign_in: str
    region: str
    grant: str
    not_found: str = ""


OBJECT_HINTS: Final = Hints(
    sign_in="sign in (aws sso login, aws configure) or choose a profile (AWS_PROFILE);"
    " a file on this machine needs no credentials",
    region="set AWS_DEFAULT_REGION to the bucket's Region, such as eu-central-1",
    grant="s3:GetObject on it is required, and kms:Decrypt if a KMS key encrypts it",
    not_found="there is no such object; check with aws s3 ls, and check the account and Region",
)
"""For an object in any bucket."""
STACK_HINTS: Final = Hints(
    sign_in="sign in (aws sso login, aws configure) or choose a profile with --profile",
    region="set the stack's Region with --region or AWS_DEFAULT_REGION, such as eu-central-1",
    grant="request that permission, or choose another profile with --profile",
)
"""For an isodrop stack and its resources."""

NETWORK: Final = "check the network, the Region, and AWS_ENDPOINT_URL if it is set"
_BUSY: Final = "AWS is busy: try again in a minute"
_PROFILE_HINT: Final = (
    "correct the profile in the AWS config file (aws configure list shows which is used)"
)
_NOT_FROM_AWS: Final = (
    "the response is not from AWS: sign in to the network, or check HTTPS_PROXY and"
    " AWS_ENDPOINT_URL"
)
_CLOCK_HINT: Final = "set this machine's clock"
_CA_BUNDLE: Final = "if a proxy inspects TLS, set AWS_CA_BUNDLE to a file with its certificate"
_MFA_HINT: Final = (
    "the profile requires an MFA code, and there is no terminal to enter it: sign in first (aws sso"
    " login, or aws sts get-session-token), or run the command in a terminal"
)
_CREDENTIAL_PROCESS_HINT: Final = (
    "run the profile's credential_process by itself to see what it prints, correct it, or choose"
    " another profile"
)
_CREDENTIAL_FILE_HINT: Final = (
    "correct the setting that names that file (AWS_WEB_IDENTITY_TOKEN_FILE, or the profile), or"
    " sign in another way"
)
# The modules of the SDK that resolve credentials, and do not wrap all errors.
_CREDENTIAL_MODULES: Final = frozenset({"botocore.credentials", "botocore.tokens"})
_PYTHON_ERRORS: Final = (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError)

# The first match wins.
_HINTS_BY_TYPE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (sdk.ProfileNotFound, "aws configure list-profiles lists the profiles"),
    (sdk.ConfigParseError, "correct that file, or set AWS_CONFIG_FILE to another"),
    (sdk.ConfigNotFound, "correct AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE"),
    (sdk.InvalidConfigError, _PROFILE_HINT),
    (sdk.InfiniteLoopConfigError, _PROFILE_HINT),
    (sdk.UnknownCredentialError, _PROFILE_HINT),
    (sdk.SSLError, _CA_BUNDLE),
    (sdk.ProxyConnectionError, "check HTTPS_PROXY and NO_PROXY"),
    (ResponseParserError, _NOT_FROM_AWS),
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
_INVALID_CREDENTIALS: Final = frozenset(
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
_CLOCK_SKEW: Final = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
_WRONG_REGION: Final = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect"})
_NOT_FOUND: Final = frozenset({"404", "NoSuchBucket", "NoSuchKey", "NoSuchVersion"})
_HEAD_400: Final = (
    "S3 gives no reason: most often the token has expired, so sign in again (aws sso login);"
    " otherwise the object is encrypted with a key that only its uploader has"
)
_HINTS_BY_CODE: Final = {
    **dict.fromkeys(_CLOCK_SKEW, _CLOCK_HINT),
    "InvalidObjectState": "restore it from its archive first",
}


def make_session(profile: str | None = None, region: str | None = None) -> boto3.Session:
    """Create a session from the environment, as the AWS CLI does; arguments take precedence.

    Its clients synchronize :data:`~isodrop_cli.clock.CLOCK` and reject web pages as responses.
    """
    session = boto3.Session(profile_name=profile, region_name=region)
    if session.region_name == "":
        raise sdk.NoRegionError
    session.events.register("after-call", _check_response)
    if not _has_terminal():
        providers = session._session.get_component("credential_provider")
        providers.get_provider("assume-role")._prompter = _refuse_to_prompt
    return session


def _has_terminal() -> bool:
    """Whether an MFA code can be entered; the SDK prompts on /dev/tty if there is one."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return sys.stdin is not None and sys.stdin.isatty()
    return True


def _refuse_to_prompt(prompt: str) -> str:
    raise EOFError(prompt.rstrip(": "))


def _check_response(http_response: "object", **_: object) -> None:
    headers = getattr(http_response, "headers", None)
    if not headers:
        return
    CLOCK.synchronize(headers)
    # The page of a captive portal could pass for a response without a body; AWS sends no HTML.
    if headers.get("content-type", "").startswith("text/html"):
        raise ResponseParserError("received a web page instead of a response")


def s3_client(profile: str | None = None, region: str | None = None) -> "S3Client":
    """Create an S3 client."""
    return make_session(profile, region).client("s3", config=CONFIG)


def get_sdk_error(error: BaseException) -> BaseException | None:
    """Return the error as the SDK, or a credential provider that it calls, raised it.

    Returns
    -------
    BaseException or None
        The error itself, or what it was translated from; ``None`` if it is not from the SDK.
    """
    raised = error.__cause__ if isinstance(error, IsodropError) else error
    if isinstance(raised, (*SDK_ERRORS, http.HTTPError)):
        return raised
    return raised if raised is not None and _python_error_hint(raised, STACK_HINTS) else None


def needs_operator(error: IsodropError) -> bool:
    """Whether only signing in or setting the clock helps, and waiting does not."""
    return error.aws_code in _INVALID_CREDENTIALS | _CLOCK_SKEW


@contextmanager
def explain_errors(hints: Hints, kind: type[ExplainedError], subject: str = "") -> Iterator[None]:
    """Translate errors of AWS or the SDK that the block raises to a sentence with a remedy.

    Parameters
    ----------
    hints : Hints
        Remedies for what the block requests.
    kind : type of ExplainedError
        The class to raise.
    subject : str, optional
        What the sentence is about.
    """
    prefix = f"{subject}: " if subject else ""
    try:
        yield
    except ExplainedError:
        raise
    except Exception as error:
        if get_sdk_error(error) is None:
            raise
        raise kind(f"{prefix}{explain(error, hints)}") from error


def explain(error: BaseException, hints: Hints) -> str:
    """Describe an error of AWS or the SDK in a sentence, and say what to do about it.

    Parameters
    ----------
    error : Exception
        As the SDK raised it, or translated.
    hints : Hints
        Remedies for what was requested.
    """
    translated = to_isodrop_error(error) if isinstance(error, SDK_ERRORS) else error
    reason = _describe(translated)
    raised = get_sdk_error(error) or error
    if isinstance(translated, IsodropError) and isinstance(raised, sdk.ClientError):
        hint = _hint_by_code(translated, hints)
    else:
        hint = _hint_by_type(raised, hints)
    return single_line(f"{reason.rstrip('.')}; {hint}") if hint else reason


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return single_line(f"{error.filename}: {(error.strerror or '').lower()}")
    return single_line(str(error) or type(error).__name__)


def _hint_by_type(error: BaseException, hints: Hints) -> str:
    """Return the remedy for an error without a code; empty if none is known."""
    if isinstance(error, sdk.CredentialRetrievalError):
        return _CREDENTIAL_PROCESS_HINT if "custom-process" in str(error) else hints.sign_in
    if isinstance(error, _NO_CREDENTIALS):
        return hints.sign_in
    if isinstance(error, _NO_REGION):
        return hints.region
    if hint := _python_error_hint(error, hints):
        return hint
    return next((hint for kind, hint in _HINTS_BY_TYPE if isinstance(error, kind)), "")


def _hint_by_code(error: IsodropError, hints: Hints) -> str:
    """Return the remedy for an error with AWS's code; empty if none is known."""
    code = error.aws_code
    if code == "400" and isinstance(error, CredentialsError):
        return _HEAD_400
    by_code = {
        **dict.fromkeys(_INVALID_CREDENTIALS, hints.sign_in),
        **dict.fromkeys(_WRONG_REGION, hints.region),
        **dict.fromkeys(_NOT_FOUND, hints.not_found),
        **_HINTS_BY_CODE,
    }
    if code in _SIGNATURE and not isinstance(error, CredentialsError):
        return _CLOCK_HINT
    if code in by_code:
        return by_code[code]
    if isinstance(error, AccessDeniedError):
        return hints.grant
    return _BUSY if isinstance(error, TransientError) else ""


def _python_error_hint(error: BaseException, hints: Hints) -> str:
    """Return the remedy for a built-in exception that was raised inside the SDK.

    botocore does not wrap the errors of a missing token file, of a program that prints no JSON or
    of a prompt without a terminal. The traceback shows what the SDK was doing.

    Returns
    -------
    str
        Empty if it was raised elsewhere.
    """
    if not isinstance(error, _PYTHON_ERRORS) or isinstance(error, (UnicodeError, *SDK_ERRORS)):
        return ""
    places = {
        (str(frame.f_globals.get("__name__", "")), frame.f_code.co_name)
        for frame, _ in walk_tb(error.__traceback__)
    }
    modules = {module for module, _ in places}
    if modules & _CREDENTIAL_MODULES:
        if isinstance(error, EOFError) or "getpass" in modules:
            return _MFA_HINT
        if ("botocore.credentials", "_retrieve_credentials_using") in places:
            return _CREDENTIAL_PROCESS_HINT
        return _CREDENTIAL_FILE_HINT if isinstance(error, OSError) else hints.sign_in
    if "botocore.endpoint" in modules and isinstance(error, ValueError):
        return NETWORK
    return _PROFILE_HINT if "botocore.configloader" in modules else ""
