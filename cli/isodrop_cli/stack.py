"""The stack that a command asks: found by its name, spoken to with boto3's own settings."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from isodrop.text import printable, single_line
from isodrop_cli.failures import ExplainedError
from isodrop_cli.output.console import print_error

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

    from isodrop.aws.allow_list import AllowListSource
    from isodrop.domain.allow_list import AllowListMode
    from isodrop.domain.model import ImportSettings
    from isodrop.settings import IntakeSettings
    from isodrop_cli.operations import Operator

STACK: Final = "isodrop"

_OUTPUTS: Final = ("UploadBucketName", "ImportStateMachineArn", "LedgerTableName")
_WHOLE: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})


class StackError(ExplainedError):
    """The stack cannot be asked; the message says why, and what to do about it."""


def add_options(command: ArgumentParser, *, only_if_named: bool = False) -> None:
    """Let the stack be named, and whose it is."""
    group = command.add_argument_group(
        "where the stack is", "AWS_ENDPOINT_URL and all else that boto3 reads is read, too."
    )
    if only_if_named:
        group.add_argument("--stack", metavar="NAME", help="ask this CloudFormation stack")
    else:
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

    @property
    def bucket(self) -> str:
        """Where uploads go."""
        return self.outputs["UploadBucketName"]

    def key(self, name: str, wanted: str | None) -> str:
        """Choose a file's key: the one that is wanted, else where the stack listens.

        Raises
        ------
        CannotAskError
            Where the stack does not listen to what is wanted.
        """
        home = self.outputs["UploadUri"].partition("://")[2].partition("/")[2]
        key = f"{home}{name}" if wanted is None else wanted
        if not key.startswith(home):
            raise StackError(f"{key}: this stack hears only of keys that begin with {home}")
        return key

    def settings(self) -> "ImportSettings":
        """Read what the stack's function is told of every import.

        Raises
        ------
        DeniedError
            Where that may not be read.
        TransientError, RefusedError
            When AWS does not say.
        """
        return self._intake_settings().for_imports()

    def allow_list(self) -> tuple["AllowListMode", "AllowListSource"]:
        """Say what the stack does about ISOs that are not on its list, and where that is.

        Raises
        ------
        TransientError, RefusedError
            Lambda does not say.
        """
        from isodrop.aws.allow_list import AllowListSource  # noqa: PLC0415 - see described
        from isodrop.aws.config import CONFIG  # noqa: PLC0415 - see described

        settings = self._intake_settings()
        return settings.allow_list_mode, AllowListSource(
            s3=lambda: self.session.client("s3", config=CONFIG),
            ssm=lambda: self.session.client("ssm", config=CONFIG),
            uri=settings.allow_list_uri,
        )

    def _intake_settings(self) -> "IntakeSettings":
        from isodrop.settings import IntakeSettings  # noqa: PLC0415 - see described

        read: IntakeSettings = IntakeSettings.read(self.variables("ImportFunction"))
        return read

    def variables(self, output: str) -> Mapping[str, str]:
        """Read the environment of the function that an output names.

        Raises
        ------
        CannotAskError
            Where the stack has no such output.
        DeniedError
            Where that may not be read.
        TransientError, RefusedError
            When AWS does not say.
        """
        from isodrop.aws.config import CONFIG  # noqa: PLC0415 - see described
        from isodrop.aws.errors import translate_errors  # noqa: PLC0415 - see described

        if output not in self.outputs:
            raise StackError(
                f"the stack has no output {output}: it was deployed by an older isodrop; deploy it"
                " anew with sam build && sam deploy"
            )
        client = self.session.client("lambda", config=CONFIG)
        with translate_errors():
            told = client.get_function_configuration(FunctionName=self.outputs[output])
        environment = told.get("Environment", {})
        if "Error" in environment:
            raise StackError(
                f"the environment of {printable(told['FunctionName'])} cannot be decrypted:"
                f" {single_line(environment['Error'].get('Message', ''))}; let yourself use the"
                " key, kms:Decrypt, or name another profile with --profile"
            )
        return dict(environment.get("Variables", {}))


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
        As :func:`describe_rule`, and where it is not isodrop's.
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
    from isodrop_cli.aws_errors import STACK as WAYS  # noqa: PLC0415 - see above
    from isodrop_cli.aws_errors import explained, make_session  # noqa: PLC0415 - see above

    with explained(WAYS, StackError):
        session = make_session(options.profile, options.region)
        yield session, _describe(session, options.stack)


def _describe(session: "Session", stack: str) -> "StackTypeDef":
    """Read what CloudFormation says of a stack."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - see described

    from isodrop.aws.config import CONFIG  # noqa: PLC0415 - see described
    from isodrop.aws.errors import error_code  # noqa: PLC0415 - see described

    client = session.client("cloudformation", config=CONFIG)
    try:
        found = client.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error_code(error) != "ValidationError":
            raise
        raise StackError(
            f"there is no stack {printable(stack)} in {client.meta.region_name}; name yours with"
            " --stack or ISODROP_STACK, and its Region with --region"
        ) from None  # it is explained
    outputs = {each["OutputKey"] for each in found.get("Outputs", [])}
    if found["StackStatus"] in _WHOLE and outputs.isdisjoint(_OUTPUTS):
        raise StackError(
            f"the stack {printable(stack)} is {found['StackStatus']} and has none of isodrop's"
            " outputs: it is not isodrop's; name yours with --stack or ISODROP_STACK"
        )
    return found


def _outputs(found: "StackTypeDef", stack: str) -> Mapping[str, str]:
    """Read the outputs of a stack of ours."""
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    missing = [name for name in _OUTPUTS if name not in outputs]
    if missing:
        raise StackError(
            f"the stack {printable(stack)} has no output {missing[0]}: it is not isodrop's, or is"
            f" not deployed whole ({found['StackStatus']})"
        )
    return outputs


def _connect(session: "Session", outputs: Mapping[str, str]) -> "Operator":
    from isodrop.aws.config import CONFIG  # noqa: PLC0415 - see described
    from isodrop.aws.image_builder import ImageBuilder  # noqa: PLC0415 - see described
    from isodrop.aws.ledger import Ledger  # noqa: PLC0415 - see described
    from isodrop.aws.step_functions import StepFunctions  # noqa: PLC0415 - see described
    from isodrop_cli.operations import Operator  # noqa: PLC0415 - see described

    return Operator(
        s3=session.client("s3", config=CONFIG),
        builder=ImageBuilder.connect(session),
        ledger=Ledger.connect(session, outputs["LedgerTableName"]),
        executions=StepFunctions.connect(session, outputs["ImportStateMachineArn"]),
        bucket=outputs["UploadBucketName"],
        unreadable=lambda error: print_error(str(error)),
    )
