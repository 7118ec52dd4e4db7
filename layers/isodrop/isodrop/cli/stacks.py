"""The stack that a command asks: found by its name, spoken to with boto3's own settings."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from isodrop.codes import IsodropError
from isodrop.wording import one_line, shown

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

    from isodrop.asks import Operator

COULD_NOT: Final = 1
STACK: Final = "isodrop"

_OUTPUTS: Final = ("UploadBucketName", "ImportMachineArn", "LedgerTable")
_WHOLE: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})
_NOT_VALID: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class CannotAskError(IsodropError):
    """The stack cannot be asked; the message says why, and what to do about it."""


def add_options(command: ArgumentParser) -> None:
    """Let the stack be named, and whose it is."""
    group = command.add_argument_group(
        "where the stack is", "AWS_ENDPOINT_URL and all else that boto3 reads is read, too."
    )
    group.add_argument(
        "--stack",
        default=os.environ.get("ISODROP_STACK") or STACK,
        help=f"the CloudFormation stack's name (ISODROP_STACK, or {STACK})",
    )
    group.add_argument("--profile", help="a profile of your AWS configuration (AWS_PROFILE)")
    group.add_argument("--region", help="the Region that it is in (AWS_DEFAULT_REGION)")


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack of ours that was found: how to speak to it, and what it says of itself."""

    session: "Session"
    outputs: Mapping[str, str]

    def operator(self) -> "Operator":
        """Let an operator ask it."""
        return _connect(self.session, self.outputs)


@contextmanager
def operator(options: Namespace) -> Iterator["Operator"]:
    """Find the stack, and let an operator ask it.

    Raises
    ------
    CannotAskError
        For whatever AWS or boto3 has against it, here or inside the block.
    """
    with stack(options) as found:
        yield found.operator()


@contextmanager
def stack(options: Namespace) -> Iterator[Stack]:
    """Find the stack, deployed whole.

    Raises
    ------
    CannotAskError
        As :func:`described`, and where it is not isodrop's.
    """
    with described(options) as (session, found):
        yield Stack(session, _outputs(found, options.stack))


@contextmanager
def described(options: Namespace) -> Iterator[tuple["Session", "StackTypeDef"]]:
    """Find the stack, however far it was made, and the session that it can be asked with.

    Raises
    ------
    CannotAskError
        For whatever AWS or boto3 has against it, here or inside the block.
    """
    # Only here does the command need an SDK; without it, it starts in a tenth of the time.
    import boto3  # noqa: PLC0415 - see above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above

    try:
        session = boto3.Session(profile_name=options.profile, region_name=options.region)
        yield session, _describe(session, options.stack)
    except (BotoCoreError, ClientError) as error:
        raise CannotAskError(explain(error)) from error
    except IsodropError as error:
        cause = error.__cause__
        if isinstance(cause, BotoCoreError | ClientError):
            raise CannotAskError(explain(cause)) from error
        raise


def _describe(session: "Session", stack: str) -> "StackTypeDef":
    """Read what CloudFormation says of a stack."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - see described

    from isodrop.aws import CONFIG, error_code  # noqa: PLC0415 - see described

    client = session.client("cloudformation", config=CONFIG)
    try:
        found = client.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error_code(error) != "ValidationError":
            raise
        raise CannotAskError(
            f"there is no stack {shown(stack)} in {client.meta.region_name}; name yours with"
            " --stack or ISODROP_STACK, and its Region with --region"
        ) from None  # it is explained
    outputs = {each["OutputKey"] for each in found.get("Outputs", [])}
    if found["StackStatus"] in _WHOLE and outputs.isdisjoint(_OUTPUTS):
        raise CannotAskError(
            f"the stack {shown(stack)} is {found['StackStatus']} and has none of isodrop's outputs:"
            " it is not isodrop's; name yours with --stack or ISODROP_STACK"
        )
    return found


def _outputs(found: "StackTypeDef", stack: str) -> Mapping[str, str]:
    """Read the outputs of a stack of ours."""
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    missing = [name for name in _OUTPUTS if name not in outputs]
    if missing:
        raise CannotAskError(
            f"the stack {shown(stack)} has no output {missing[0]}: it is not isodrop's, or is not"
            f" deployed whole ({found['StackStatus']})"
        )
    return outputs


def _connect(session: "Session", outputs: Mapping[str, str]) -> "Operator":
    from isodrop.asks import Operator  # noqa: PLC0415 - see described
    from isodrop.aws import CONFIG  # noqa: PLC0415 - see described
    from isodrop.builder import Builder  # noqa: PLC0415 - see described
    from isodrop.executions import Executions  # noqa: PLC0415 - see described
    from isodrop.ledger import Ledger  # noqa: PLC0415 - see described

    return Operator(
        s3=session.client("s3", config=CONFIG),
        builder=Builder.connect(session),
        ledger=Ledger.connect(session, outputs["LedgerTable"]),
        executions=Executions.connect(session, outputs["ImportMachineArn"]),
        bucket=outputs["UploadBucketName"],
    )


def explain(error: Exception) -> str:
    """Say in a sentence what AWS or boto3 has against it, and what to do about that."""
    from botocore import exceptions as boto  # noqa: PLC0415 - see described

    from isodrop.aws import error_code, translate  # noqa: PLC0415 - see described
    from isodrop.codes import DeniedError, TransientError  # noqa: PLC0415 - see described

    ways: tuple[tuple[tuple[type[Exception], ...], Callable[[Any], str]], ...] = (
        (
            (boto.ProfileNotFound,),
            lambda e: f"{e}; aws configure list-profiles lists those that there are",
        ),
        (
            (boto.NoRegionError,),
            lambda _: "no Region is set; name it with --region or AWS_DEFAULT_REGION",
        ),
        (
            (
                *(boto.NoCredentialsError, boto.PartialCredentialsError),
                *(boto.CredentialRetrievalError, boto.SSOError, boto.TokenRetrievalError),
            ),
            lambda _: (
                "there are no AWS credentials to be had; run aws configure or aws sso login,"
                " or name a profile with --profile"
            ),
        ),
        (
            (boto.HTTPClientError, boto.ConnectionError),
            lambda e: (
                f"AWS cannot be reached: {e}; check the network, the Region and AWS_ENDPOINT_URL"
            ),
        ),
    )
    for kinds, words in ways:
        if isinstance(error, kinds):
            return one_line(words(error))
    if not isinstance(error, boto.ClientError | boto.BotoCoreError):
        return one_line(f"{type(error).__name__}: {error}")
    if isinstance(error, boto.ClientError) and error_code(error) in _NOT_VALID:
        return one_line(
            f"AWS does not take your credentials ({error_code(error)}); log in again, or name"
            " another profile with --profile"
        )
    ours = translate(error)
    if isinstance(ours, DeniedError):
        return f"you may not do that: {ours}; ask for the right, or name a profile with --profile"
    if isinstance(ours, TransientError):
        return f"AWS is busy: {ours}; try again in a minute"
    return str(ours)
