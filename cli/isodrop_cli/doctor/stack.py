"""The stack itself, and the program that looks at it."""

from typing import Final

import botocore
from botocore.exceptions import DataNotFoundError
from botocore.model import OperationNotFoundError
from botocore.session import get_session

from isodrop_cli.doctor.context import CheckContext
from isodrop_cli.doctor.results import CheckResult, failed, passed, warned

_GOOD: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})


def stack(context: CheckContext) -> CheckResult:
    """Whether all of the stack was made."""
    status = str(context.stack["StackStatus"])
    if status in _GOOD:
        return passed(f"{context.name} is {status} in {context.region}")
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return warned(
            f"{context.name}: its last update was taken back",
            "see why, and sam deploy: "
            + context.command(
                "cloudformation", "describe-stack-events", "--stack-name", context.name
            ),
        )
    if status.endswith("_IN_PROGRESS"):
        return warned(f"{context.name} is {status}", "wait until that is over")
    return failed(
        f"{context.name} is {status}",
        context.command("cloudformation", "describe-stack-events", "--stack-name", context.name)
        + " says why; then sam deploy",
    )


def sdk(_: CheckContext) -> CheckResult:
    """Whether the SDK here knows what the stack sends; of use to look at it, not to import."""
    try:
        model = get_session().get_service_model("imagebuilder")
        taken = model.operation_model("ImportDiskImage").input_shape
    except (DataNotFoundError, OperationNotFoundError):
        taken = None
    if taken is not None and "windowsConfiguration" in taken.members:
        return passed(f"botocore {botocore.__version__} here knows windowsConfiguration")
    return warned(
        f"botocore {botocore.__version__} here does not know windowsConfiguration",
        "pip install --upgrade boto3",
    )
