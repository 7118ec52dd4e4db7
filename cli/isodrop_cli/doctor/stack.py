"""Checks of the stack itself, and of the local SDK."""

from typing import Final

import botocore
from botocore.exceptions import DataNotFoundError
from botocore.model import OperationNotFoundError
from botocore.session import get_session

from isodrop_cli.doctor.context import CheckContext
from isodrop_cli.doctor.results import CheckResult, failed, passed, warned

_COMPLETE: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})


def stack(context: CheckContext) -> CheckResult:
    """Check that the stack is complete."""
    status = str(context.stack["StackStatus"])
    if status in _COMPLETE:
        return passed(f"{context.name} is {status} in {context.region}")
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return warned(
            f"{context.name}: its last update was rolled back",
            "fix the cause and redeploy with sam deploy: "
            + context.command(
                "cloudformation", "describe-stack-events", "--stack-name", context.name
            ),
        )
    if status.endswith("_IN_PROGRESS"):
        return warned(f"{context.name} is {status}", "wait until it has finished")
    return failed(
        f"{context.name} is {status}",
        context.command("cloudformation", "describe-stack-events", "--stack-name", context.name)
        + " shows why; then redeploy with sam deploy",
    )


def sdk(_: CheckContext) -> CheckResult:
    """Check that the local SDK has the parameters that the stack sends; imports do not need it."""
    try:
        model = get_session().get_service_model("imagebuilder")
        input_shape = model.operation_model("ImportDiskImage").input_shape
    except (DataNotFoundError, OperationNotFoundError):
        input_shape = None
    if input_shape is not None and "windowsConfiguration" in input_shape.members:
        return passed(
            f"botocore {botocore.__version__} on this machine supports windowsConfiguration"
        )
    return warned(
        f"botocore {botocore.__version__} on this machine does not support windowsConfiguration",
        "pip install --upgrade boto3",
    )
