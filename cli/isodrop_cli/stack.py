"""Find the stack that a command works on, by its name and boto3's own settings."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from isodrop.domain.s3_uri import S3Uri
from isodrop.text import printable, single_line
from isodrop_cli.errors import ExplainedError
from isodrop_cli.output.console import print_error

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

    from isodrop.aws.allow_list import AllowListSource
    from isodrop.domain.allow_list import AllowListMode
    from isodrop.domain.model import ImportSettings
    from isodrop.settings import IntakeSettings
    from isodrop_cli.operations import StackOperations

DEFAULT_NAME: Final = "isodrop"

_OUTPUTS: Final = ("UploadBucketName", "ImportStateMachineArn", "LedgerTableName")
_COMPLETE: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})


class StackError(ExplainedError):
    """The stack cannot be used; the message says why, and what to do about it."""


def add_stack_options(command: ArgumentParser, *, only_if_named: bool = False) -> None:
    """Add the options that choose the stack, the profile and the Region."""
    group = command.add_argument_group(
        "stack options", "AWS_ENDPOINT_URL and boto3's other settings are honored, too."
    )
    if only_if_named:
        group.add_argument("--stack", metavar="NAME", help="use this CloudFormation stack")
    else:
        group.add_argument(
            "--stack",
            metavar="NAME",
            default=os.environ.get("ISODROP_STACK") or DEFAULT_NAME,
            help=f"the CloudFormation stack's name (default: ISODROP_STACK, or {DEFAULT_NAME})",
        )
    group.add_argument("--profile", help="the AWS profile to use (default: AWS_PROFILE)")
    group.add_argument("--region", help="the stack's Region (default: AWS_DEFAULT_REGION)")


@dataclass(frozen=True, slots=True)
class Stack:
    """An isodrop stack: its outputs, and a session to call AWS with."""

    session: "Session"
    outputs: Mapping[str, str]

    def make_operations(self) -> "StackOperations":
        """Create the operations on the stack."""
        return _make_operations(self.session, self.outputs)

    @property
    def bucket(self) -> str:
        """The upload bucket."""
        return self.outputs["UploadBucketName"]

    def resolve_key(self, name: str, key: str | None) -> str:
        """Choose the key of a file: the given one, or the stack's prefix and the file's name.

        Raises
        ------
        StackError
            The given key does not begin with the stack's prefix.
        """
        prefix = self.outputs["UploadUri"].removeprefix(str(S3Uri(self.bucket, "")))
        key = f"{prefix}{name}" if key is None else key
        if not key.startswith(prefix):
            raise StackError(f"{key}: this stack imports only keys that begin with {prefix}")
        return key

    def read_settings(self) -> "ImportSettings":
        """Read the import settings of ImportIso.

        Raises
        ------
        AccessDeniedError
            The caller is not allowed to read them.
        TransientError, PermanentError
            The request to Lambda fails.
        """
        return self._read_intake_settings().import_settings()

    def read_allow_list_settings(self) -> tuple["AllowListMode", "AllowListSource"]:
        """Read the stack's allow-list mode, and where the list is.

        Raises
        ------
        TransientError, PermanentError
            The request to Lambda fails.
        """
        from isodrop.aws.allow_list import AllowListSource  # noqa: PLC0415 - see find_stack
        from isodrop.aws.config import CONFIG  # noqa: PLC0415 - see find_stack

        settings = self._read_intake_settings()
        return settings.allow_list_mode, AllowListSource(
            s3=lambda: self.session.client("s3", config=CONFIG),
            ssm=lambda: self.session.client("ssm", config=CONFIG),
            uri=settings.allow_list_source,
        )

    def _read_intake_settings(self) -> "IntakeSettings":
        from isodrop.settings import IntakeSettings  # noqa: PLC0415 - see find_stack

        settings: IntakeSettings = IntakeSettings.read(
            self.read_environment("ImportIsoFunctionName")
        )
        return settings

    def read_environment(self, output: str) -> Mapping[str, str]:
        """Read the environment of the function that an output names.

        Raises
        ------
        StackError
            The stack has no such output.
        AccessDeniedError
            The caller is not allowed to read the environment.
        TransientError, PermanentError
            The request to Lambda fails.
        """
        from isodrop.aws.config import CONFIG  # noqa: PLC0415 - see find_stack
        from isodrop.aws.errors import translate_errors  # noqa: PLC0415 - see find_stack

        if output not in self.outputs:
            raise StackError(
                f"the stack has no output {output}: it was deployed by an older isodrop; update it"
                " with sam build && sam deploy"
            )
        client = self.session.client("lambda", config=CONFIG)
        with translate_errors():
            response = client.get_function_configuration(FunctionName=self.outputs[output])
        environment = response.get("Environment", {})
        if "Error" in environment:
            raise StackError(
                f"the environment of {printable(response['FunctionName'])} cannot be decrypted:"
                f" {single_line(environment['Error'].get('Message', ''))}; request kms:Decrypt on"
                " the key, or choose another profile with --profile"
            )
        return dict(environment.get("Variables", {}))


@contextmanager
def open_operations(options: Namespace) -> Iterator["StackOperations"]:
    """Find the stack and create an operator for it.

    Raises
    ------
    StackError
        Any error of AWS or boto3, here or inside the block.
    """
    with open_stack(options) as stack:
        yield stack.make_operations()


@contextmanager
def open_stack(options: Namespace) -> Iterator[Stack]:
    """Find the stack and check that it is a complete isodrop stack.

    Raises
    ------
    StackError
        Any error of AWS or boto3, here or inside the block; or it is not an isodrop stack.
    """
    with find_stack(options) as (session, found):
        yield Stack(session, _read_outputs(found, options.stack))


@contextmanager
def find_stack(options: Namespace) -> Iterator[tuple["Session", "StackTypeDef"]]:
    """Find the stack in any state, complete or not, and the session to call AWS with.

    Raises
    ------
    StackError
        Any error of AWS or boto3, here or inside the block.
    """
    # Imported only here: a command without it starts in a tenth of the time.
    from isodrop_cli.aws_errors import (  # noqa: PLC0415 - see above
        STACK_HINTS,
        explain_errors,
        make_session,
    )

    with explain_errors(STACK_HINTS, StackError):
        session = make_session(options.profile, options.region)
        yield session, _describe_stack(session, options.stack)


def _describe_stack(session: "Session", stack: str) -> "StackTypeDef":
    """Describe the stack."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - see find_stack

    from isodrop.aws.config import CONFIG  # noqa: PLC0415 - see find_stack
    from isodrop.aws.errors import error_code  # noqa: PLC0415 - see find_stack

    client = session.client("cloudformation", config=CONFIG)
    try:
        found = client.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error_code(error) != "ValidationError":
            raise
        raise StackError(
            f"there is no stack {printable(stack)} in {client.meta.region_name}; choose yours with"
            " --stack or ISODROP_STACK, and its Region with --region"
        ) from None  # the message is complete
    outputs = {each["OutputKey"] for each in found.get("Outputs", [])}
    if found["StackStatus"] in _COMPLETE and outputs.isdisjoint(_OUTPUTS):
        raise StackError(
            f"the stack {printable(stack)} is {found['StackStatus']} and has none of isodrop's"
            " outputs: it is not an isodrop stack; choose yours with --stack or ISODROP_STACK"
        )
    return found


def _read_outputs(found: "StackTypeDef", stack: str) -> Mapping[str, str]:
    """Read the outputs of an isodrop stack."""
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    missing = [name for name in _OUTPUTS if name not in outputs]
    if missing:
        raise StackError(
            f"the stack {printable(stack)} has no output {missing[0]}: it is not an isodrop stack,"
            f" or its deployment is incomplete ({found['StackStatus']})"
        )
    return outputs


def _make_operations(session: "Session", outputs: Mapping[str, str]) -> "StackOperations":
    from isodrop.aws.config import CONFIG  # noqa: PLC0415 - see find_stack
    from isodrop.aws.image_builder import ImageBuilder  # noqa: PLC0415 - see find_stack
    from isodrop.aws.ledger import Ledger  # noqa: PLC0415 - see find_stack
    from isodrop.aws.step_functions import StepFunctions  # noqa: PLC0415 - see find_stack
    from isodrop_cli.operations import StackOperations  # noqa: PLC0415 - see find_stack

    return StackOperations(
        s3=session.client("s3", config=CONFIG),
        builder=ImageBuilder.connect(session),
        ledger=Ledger.connect(session, outputs["LedgerTableName"]),
        executions=StepFunctions.connect(session, outputs["ImportStateMachineArn"]),
        bucket=outputs["UploadBucketName"],
        on_unreadable=lambda error: print_error(str(error)),
    )
