"""The stack itself, and the program that looks at it."""

from typing import Final

import botocore
from botocore.exceptions import DataNotFoundError
from botocore.model import OperationNotFoundError
from botocore.session import get_session

from isodrop_cli.doctor.context import Ground
from isodrop_cli.doctor.results import Verdict, broken, doubtful, well

_GOOD: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})


def stack(ground: Ground) -> Verdict:
    """Whether all of the stack was made."""
    status = str(ground.stack["StackStatus"])
    if status in _GOOD:
        return well(f"{ground.name} is {status} in {ground.region}")
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return doubtful(
            f"{ground.name}: its last update was taken back",
            "see why, and sam deploy: "
            + ground.command(
                "cloudformation", "describe-stack-events", "--stack-name", ground.name
            ),
        )
    if status.endswith("_IN_PROGRESS"):
        return doubtful(f"{ground.name} is {status}", "wait until that is over")
    return broken(
        f"{ground.name} is {status}",
        ground.command("cloudformation", "describe-stack-events", "--stack-name", ground.name)
        + " says why; then sam deploy",
    )


def sdk(_: Ground) -> Verdict:
    """Whether the SDK here knows what the stack sends; of use to look at it, not to import."""
    try:
        model = get_session().get_service_model("imagebuilder")
        taken = model.operation_model("ImportDiskImage").input_shape
    except (DataNotFoundError, OperationNotFoundError):
        taken = None
    if taken is not None and "windowsConfiguration" in taken.members:
        return well(f"botocore {botocore.__version__} here knows windowsConfiguration")
    return doubtful(
        f"botocore {botocore.__version__} here does not know windowsConfiguration",
        "pip install --upgrade boto3",
    )
