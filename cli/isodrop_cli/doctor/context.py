"""The stack that is checked, and the read-only calls to AWS about it."""

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
from isodrop.domain.arn import Arn
from isodrop.errors import AccessDeniedError
from isodrop.text import printable, single_line
from isodrop_cli.doctor.results import CheckSkippedError, NotFoundError

if TYPE_CHECKING:
    from boto3 import Session

Response = Mapping[str, Any]
ApiCall = Callable[[str, str, Mapping[str, Any]], Response]
"""Calls an operation of a service by its API name; raises botocore's errors."""

_NOT_FOUND: Final = frozenset(
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
# Operations whose IAM action has another name:
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
    """The stack that is checked.

    Attributes
    ----------
    call_api : ApiCall
        Calls AWS; read-only operations only.
    stack : mapping
        The stack as ``DescribeStacks`` returns it.
    now : datetime.datetime
        With a time zone.
    profile : str or None
        The profile for the commands in remedies.
    """

    call_api: ApiCall
    stack: Response
    now: datetime
    profile: str | None = None

    @property
    def name(self) -> str:
        """The stack's name."""
        return str(self.stack["StackName"])

    @property
    def _stack_id(self) -> Arn:
        return Arn.parse(self.stack["StackId"])

    @property
    def partition(self) -> str:
        """The partition, such as ``aws``."""
        return self._stack_id.partition

    @property
    def region(self) -> str:
        """The stack's Region."""
        return self._stack_id.region

    @property
    def account(self) -> str:
        """The stack's account."""
        return self._stack_id.account

    def parameter(self, name: str) -> str:
        """Return a parameter of the stack; empty if there is none of that name."""
        found = self.stack.get("Parameters", ())
        return next((each["ParameterValue"] for each in found if each["ParameterKey"] == name), "")

    def output(self, name: str) -> str | None:
        """Return an output of the stack."""
        found = self.stack.get("Outputs", ())
        return next((each["OutputValue"] for each in found if each["OutputKey"] == name), None)

    @property
    def bucket(self) -> str:
        """The upload bucket.

        Raises
        ------
        NotFoundError
            The stack's deployment is incomplete.
        """
        named = self.output("UploadBucketName") or self.parameter("ExistingBucketName")
        if not named:
            raise NotFoundError("the stack has no output UploadBucketName")
        return named

    def resource(self, logical_id: str) -> str:
        """Find the physical id of a resource by its logical id.

        Raises
        ------
        NotFoundError, CheckSkippedError
            It is not in the stack, or the request to CloudFormation fails.
        """
        request: dict[str, Any] = {"StackName": self.name}
        while True:
            page = self.call("cloudformation", "ListStackResources", **request)
            for each in page["StackResourceSummaries"]:
                if each["LogicalResourceId"] == logical_id and each.get("PhysicalResourceId"):
                    return str(each["PhysicalResourceId"])
            if not page.get("NextToken"):
                raise NotFoundError(f"the stack has no {logical_id}")
            request["NextToken"] = page["NextToken"]

    def arn(self, service: str, resource: str) -> str:
        """Format an ARN of this account and Region."""
        return str(self._stack_id.sibling(service, resource))

    def call(self, service: str, operation: str, **parameters: Any) -> Response:
        """Call AWS.

        Parameters
        ----------
        service, operation : str
            The service as boto3 names it, and the operation as the API names it.
        **parameters
            The operation's parameters.

        Raises
        ------
        NotFoundError
            The resource does not exist.
        CheckSkippedError
            A permission is missing, or the request fails.
        """
        try:
            return self.call_api(service, operation, parameters)
        except ClientError as error:
            if error_code(error) in _NOT_FOUND:
                named = ", ".join(str(each) for each in parameters.values())
                raise NotFoundError(f"there is no {printable(named, limit=200)}") from error
            if isinstance(to_isodrop_error(error), AccessDeniedError):
                action = action_of(service, operation)
                raise CheckSkippedError(f"you lack the permission {action}", action) from error
            raise CheckSkippedError(str(to_isodrop_error(error))) from error
        except BotoCoreError as error:
            raise CheckSkippedError(single_line(f"{operation}: {error}")) from error

    def command(self, *words: str) -> str:
        """Format an AWS CLI command for this stack."""
        profile_options = ("--profile", self.profile) if self.profile else ()
        return shlex.join(("aws", *words, "--region", self.region, *profile_options))


def action_of(service: str, operation: str) -> str:
    """Return the IAM action that an operation requires.

    Examples
    --------
    >>> action_of("stepfunctions", "DescribeStateMachine")
    'states:DescribeStateMachine'
    """
    prefix = _PREFIXES.get(service, service)
    return _ACTIONS.get(operation, f"{prefix}:{operation}")


@dataclass(frozen=True, slots=True)
class CachingApi:
    """Calls AWS through a boto3 session, and caches the responses.

    Attributes
    ----------
    session : boto3.Session
    clients : dict of str to client
        By service; created when needed.
    """

    session: "Session"
    clients: dict[str, Any] = field(default_factory=dict)
    _responses: dict[str, Response | Exception] = field(default_factory=dict)

    def __call__(self, service: str, operation: str, parameters: Mapping[str, Any]) -> Response:
        """Call the operation, or return the cached response."""
        request_key = json.dumps([service, operation, parameters], sort_keys=True)
        if request_key not in self._responses:
            try:
                if service not in self.clients:
                    self.clients[service] = self.session.client(service, config=CONFIG)  # type: ignore[call-overload] # the stubs want a literal
                method = getattr(self.clients[service], xform_name(operation))
                self._responses[request_key] = method(**parameters)
            except (ClientError, BotoCoreError) as error:
                self._responses[request_key] = error
        response = self._responses[request_key]
        if isinstance(response, Exception):
            raise response
        return response
