"""Step Functions: the executions of the state machine, one per run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from isodrop.aws.config import CONFIG
from isodrop.aws.errors import translate_errors
from isodrop.errors import PermanentError
from isodrop.text import single_line

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_stepfunctions.client import SFNClient

_RUNNING: Final = frozenset({"RUNNING", "PENDING_REDRIVE"})
_GONE: Final = "ExecutionDoesNotExist"
_TAKEN: Final = "ExecutionAlreadyExists"


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution, as DescribeExecution returns it.

    Attributes
    ----------
    arn : str
    status : str
        ``RUNNING``, ``SUCCEEDED``, ``FAILED``, ``TIMED_OUT``, ``ABORTED`` or ``PENDING_REDRIVE``.
    error : str
        The error and cause of an unsuccessful execution; escaped, of limited length, often empty.
    """

    arn: str
    status: str
    error: str

    @property
    def has_ended(self) -> bool:
        """Whether it has ended; it may still be redriven."""
        return self.status not in _RUNNING


@dataclass(frozen=True, slots=True)
class StepFunctions:
    """One state machine's executions."""

    client: "SFNClient"
    machine_arn: str

    @classmethod
    def connect(cls, session: "Session", machine_arn: str) -> "StepFunctions":
        """Make the client for a boto3 session's account and Region."""
        return cls(session.client("stepfunctions", config=CONFIG), machine_arn)

    def arn_for(self, name: str) -> str:
        """Return the ARN of an execution with that name, whether it exists or not."""
        return f"{self.machine_arn.replace(':stateMachine:', ':execution:')}:{name}"

    def start_execution(self, name: str, event: Mapping[str, Any]) -> str | None:
        """Start an execution under a name.

        Starting an execution with the same name and input while it is running has no effect.

        Returns
        -------
        str or None
            The execution's ARN; ``None`` if the name was used by an execution that has ended or
            has a different input. Names can be used again after 90 days.

        Raises
        ------
        TransientError, QuotaError, PermanentError
            Step Functions did not start it.

        See Also
        --------
        https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
        """
        try:
            with translate_errors():
                return self.client.start_execution(
                    stateMachineArn=self.machine_arn, name=name, input=json.dumps(event)
                )["executionArn"]
        except PermanentError as error:
            if error.aws_code == _TAKEN:
                return None
            raise

    def describe_execution(self, arn: str) -> Execution | None:
        """Describe an execution by its ARN; ``None`` if it does not exist or no longer exists.

        Raises
        ------
        TransientError, PermanentError
            The call to Step Functions failed.
        """
        try:
            with translate_errors():
                response = self.client.describe_execution(executionArn=arn)
        except PermanentError as error:
            if error.aws_code == _GONE:
                return None
            raise
        message = ": ".join(part for part in (response.get("error"), response.get("cause")) if part)
        return Execution(arn, response["status"], single_line(message))
