"""Checks of the functions: state, runtime, layer and environment."""

import re
from typing import Final

from isodrop.settings import IntakeSettings, ReportSettings, SettingsError, SweepSettings
from isodrop_cli.doctor.context import CheckContext, Response
from isodrop_cli.doctor.results import CheckResult, NotFoundError, failed, passed, warned

Settings = type[IntakeSettings] | type[ReportSettings] | type[SweepSettings]

RUNTIME: Final = "python3.13"
"""The Python version of the layer's wheels."""
BOTO3: Final = (1, 44)
"""The first boto3 that has all parameters of ImportDiskImage that isodrop sends."""

_BOTO3_VERSION: Final = re.compile(r"\bboto3 (\d+)\.(\d+)\.(\d+)")
_REDEPLOY: Final = "sam build && sam deploy"


def state(context: CheckContext, logical_id: str) -> CheckResult:
    """Check that a function's last update succeeded, and that its runtime matches the layer."""
    try:
        response = configuration(context, logical_id)
    except NotFoundError:
        return failed(
            f"the function {logical_id} does not exist",
            f"delete the stack {context.name} and deploy it again",
        )
    for name, wanted in (("State", "Active"), ("LastUpdateStatus", "Successful")):
        status = response.get(name, wanted)
        if status in ("Pending", "InProgress", "Inactive"):
            return warned(f"{logical_id}: its {name} is {status}", "check again in a minute")
        if status != wanted:
            reason = response.get(f"{name}Reason", "AWS gives no reason")
            return failed(f"{logical_id}: its {name} is {status} ({reason})", _REDEPLOY)
    if response.get("Runtime") != RUNTIME:
        return failed(
            f"{logical_id} runs on {response.get('Runtime')}, but the layer is built for {RUNTIME}",
            context.command(
                *("lambda", "update-function-configuration", "--function-name"),
                *(context.resource(logical_id), "--runtime", RUNTIME),
            ),
        )
    machine = ", ".join(response.get("Architectures", ["x86_64"]))
    return passed(f"{logical_id} is active: {RUNTIME}, {machine}")


def environment(context: CheckContext, logical_id: str, settings: Settings) -> CheckResult:
    """Check a function's environment by parsing it as the function does."""
    response = configuration(context, logical_id).get("Environment", {})
    if "Error" in response:
        reason = response["Error"].get("Message", "")
        return failed(f"{logical_id} cannot read its environment: {reason}", _REDEPLOY)
    try:
        settings.read(response.get("Variables", {}))
    except SettingsError as error:
        return failed(
            f"{logical_id}: {error}", "correct the parameter that sets it, and sam deploy"
        )
    return passed(f"the environment of {logical_id} is valid")


def layer(context: CheckContext) -> CheckResult:
    """Check that the layer's boto3 is recent enough, by the layer's description."""
    logical_id = "ImportIso"
    layers = configuration(context, logical_id).get("Layers", [])
    ours = next((each["Arn"] for each in layers if "IsodropLayer" in each["Arn"]), None)
    if ours is None:
        return failed(f"{logical_id} does not have the isodrop layer", _REDEPLOY)
    response = context.call("lambda", "GetLayerVersionByArn", Arn=ours)
    found = _BOTO3_VERSION.search(response.get("Description", ""))
    if found is None:
        return warned(
            f"the layer's description has no boto3 version: {response.get('Description')!r}",
            _REDEPLOY,
        )
    if tuple(int(part) for part in found.groups()[:2]) < BOTO3:
        needed = ".".join(map(str, BOTO3))
        return failed(
            f"the layer has {found[0]}; ImportDiskImage's windowsConfiguration requires {needed}",
            f"make lock && {_REDEPLOY}",
        )
    return passed(f"the layer has {found[0]}")


def configuration(context: CheckContext, logical_id: str) -> Response:
    """Read a function's configuration."""
    name = context.resource(logical_id)
    return context.call("lambda", "GetFunctionConfiguration", FunctionName=name)
