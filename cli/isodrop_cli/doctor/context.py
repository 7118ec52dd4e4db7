"""The stack that is looked at, and the one door through which AWS is asked about it."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from isodrop.aws.config import CONFIG
from isodrop.aws.errors import error_code, to_isodrop_error
from isodrop.errors import AccessDeniedError
from isodrop.text import printable, single_line
from isodrop_cli.doctor.results import CheckSkippedError, NotFoundError

if TYPE_CHECKING:
    from boto3 import Session

Response = Mapping[str, Any]
Asks = Callable[[str, str, Mapping[str, Any]], Response]
"""Asks a service for an operation by its name in the API; raises what botocore raises."""

_GONE: Final = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchKey",
        "ParameterNotFound",
        "NoSuchBucketPolicy",
        "NoSuchEntity",
        "NotFoundException",
        "ResourceNotFoundException",
        "StateMachineDoesNotExist",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "InvalidSubnetID.NotFound",
        "InvalidGroup.NotFound",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)
# Where the IAM action is not the service and the operation:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_ACTIONS: Final = {
    "HeadBucket": "s3:ListBucket",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "GetLayerVersionByArn": "lambda:GetLayerVersion",
}
_PREFIXES: Final = {"stepfunctions": "states", "service-quotas": "servicequotas"}


@dataclass(frozen=True, slots=True)
class CheckContext:
    """A stack, and who is asked about it.

    Attributes
    ----------
    asks : Asks
        How AWS is asked; nothing is ever changed.
    stack : mapping
        The stack as ``DescribeStacks`` has it.
    now : datetime.datetime
        With a time zone.
    profile : str or None
        The profile that commands are to name.
    """

    asks: Asks
    stack: Response
    now: datetime
    profile: str | None = None

    @property
    def name(self) -> str:
        """The stack's name."""
        return str(self.stack["StackName"])

    @property
    def partition(self) -> str:
        """Such as ``aws``."""
        return str(self.stack["StackId"]).split(":")[1]

    @property
    def region(self) -> str:
        """Where the stack is."""
        return str(self.stack["StackId"]).split(":")[3]

    @property
    def account(self) -> str:
        """Whose the stack is."""
        return str(self.stack["StackId"]).split(":")[4]

    def parameter(self, name: str) -> str:
        """Read one of the stack's parameters; empty where it has none of that name."""
        found = self.stack.get("Parameters", ())
        return next((each["ParameterValue"] for each in found if each["ParameterKey"] == name), "")

    def output(self, name: str) -> str | None:
        """Read one of the stack's outputs."""
        found = self.stack.get("Outputs", ())
        return next((each["OutputValue"] for each in found if each["OutputKey"] == name), None)

    @property
    def bucket(self) -> str:
        """Where ISOs are dropped.

        Raises
        ------
        GoneError
            The stack was not made far enough to say.
        """
        named = self.output("UploadBucketName") or self.parameter("ExistingBucketName")
        if not named:
            raise NotFoundError("the stack has no output UploadBucketName")
        return named

    def resource(self, logical: str) -> str:
        """Find a resource of the stack by its name in the template.

        Raises
        ------
        GoneError, UnseenError
            It is not in the stack, or CloudFormation does not say.
        """
        asked: dict[str, Any] = {"StackName": self.name}
        while True:
            page = self.call("cloudformation", "ListStackResources", **asked)
            for each in page["StackResourceSummaries"]:
                if each["LogicalResourceId"] == logical and each.get("PhysicalResourceId"):
                    return str(each["PhysicalResourceId"])
            if not page.get("NextToken"):
                raise NotFoundError(f"the stack has no {logical}")
            asked["NextToken"] = page["NextToken"]

    def arn(self, service: str, resource: str) -> str:
        """Write an ARN of this account and Region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def call(self, service: str, operation: str, **parameters: Any) -> Response:
        """Ask AWS.

        Parameters
        ----------
        service, operation : str
            As boto3 names the service, and the API the operation.
        **parameters
            The operation's.

        Raises
        ------
        GoneError
            There is no such thing.
        UnseenError
            It may not be seen, or AWS does not say.
        """
        try:
            return self.asks(service, operation, parameters)
        except ClientError as error:
            if error_code(error) in _GONE:
                named = ", ".join(str(each) for each in parameters.values())
                raise NotFoundError(f"there is no {printable(named, limit=200)}") from error
            if isinstance(to_isodrop_error(error), AccessDeniedError):
                action = action_of(service, operation)
                raise CheckSkippedError(f"you have no {action}", action) from error
            raise CheckSkippedError(str(to_isodrop_error(error))) from error
        except BotoCoreError as error:
            raise CheckSkippedError(single_line(f"{operation}: {error}")) from error

    def command(self, *words: str) -> str:
        """Write a command of the AWS CLI that reaches this stack."""
        whose = ("--profile", self.profile) if self.profile else ()
        return shlex.join(("aws", *words, "--region", self.region, *whose))


def action_of(service: str, operation: str) -> str:
    """Name the IAM action that an operation takes.

    Examples
    --------
    >>> action_of("stepfunctions", "DescribeStateMachine")
    'states:DescribeStateMachine'
    """
    prefix = _PREFIXES.get(service, service)
    return _ACTIONS.get(operation, f"{prefix}:{operation}")


@dataclass(frozen=True, slots=True)
class Aws:
    """A boto3 session that is asked every question once.

    Attributes
    ----------
    session : boto3.Session
    clients : dict of str to client
        By service; made as they are needed.
    """

    session: "Session"
    clients: dict[str, Any] = field(default_factory=dict)
    _known: dict[str, Response | Exception] = field(default_factory=dict)

    def __call__(self, service: str, operation: str, parameters: Mapping[str, Any]) -> Response:
        """Ask, or repeat what was answered."""
        question = json.dumps([service, operation, parameters], sort_keys=True)
        if question not in self._known:
            try:
                if service not in self.clients:
                    self.clients[service] = self.session.client(service, config=CONFIG)  # type: ignore[call-overload] # the stubs want a literal
                method = getattr(self.clients[service], xform_name(operation))
                self._known[question] = method(**parameters)
            except (ClientError, BotoCoreError) as error:
                self._known[question] = error
        answer = self._known[question]
        if isinstance(answer, Exception):
            raise answer
        return answer
