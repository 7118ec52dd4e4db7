"""The functions: whether they run, on the right layer, and can read what they are told."""

import re
from typing import Final

from isodrop.settings import IntakeSettings, ReportSettings, SettingsError, SweepSettings
from isodrop_cli.doctor.context import CheckContext, Response
from isodrop_cli.doctor.results import CheckResult, NotFoundError, failed, passed, warned

Settings = type[IntakeSettings] | type[ReportSettings] | type[SweepSettings]

RUNTIME: Final = "python3.13"
"""What the layer's wheels are made for."""
BOTO3: Final = (1, 44)
"""The first boto3 that is known to know all of ImportDiskImage that is sent."""

_BOTO3_IN_WORDS: Final = re.compile(r"\bboto3 (\d+)\.(\d+)\.(\d+)")
_REDEPLOY: Final = "sam build && sam deploy"


def state(context: CheckContext, logical: str) -> CheckResult:
    """Whether a function's last change went through, and whether its runtime fits its layer."""
    try:
        told = configuration(context, logical)
    except NotFoundError:
        return failed(
            f"the function {logical} is gone", f"delete and deploy the stack {context.name}"
        )
    for name, wanted in (("State", "Active"), ("LastUpdateStatus", "Successful")):
        is_so = told.get(name, wanted)
        if is_so in ("Pending", "InProgress", "Inactive"):
            return warned(f"{logical}: its {name} is {is_so}", "ask again in a minute")
        if is_so != wanted:
            reason = told.get(f"{name}Reason", "AWS gives no reason")
            return failed(f"{logical}: its {name} is {is_so} ({reason})", _REDEPLOY)
    if told.get("Runtime") != RUNTIME:
        return failed(
            f"{logical} runs on {told.get('Runtime')}, the layer is made for {RUNTIME}",
            context.command(
                *("lambda", "update-function-configuration", "--function-name"),
                *(context.resource(logical), "--runtime", RUNTIME),
            ),
        )
    machine = ", ".join(told.get("Architectures", ["x86_64"]))
    return passed(f"{logical} is active: {RUNTIME}, {machine}")


def environment(context: CheckContext, logical: str, settings: Settings) -> CheckResult:
    """Read a function's environment as the function itself does."""
    told = configuration(context, logical).get("Environment", {})
    if "Error" in told:
        said = told["Error"].get("Message", "")
        return failed(f"{logical} cannot read its environment: {said}", _REDEPLOY)
    try:
        settings.read(told.get("Variables", {}))
    except SettingsError as error:
        return failed(f"{logical}: {error}", "correct the parameter that it comes from; sam deploy")
    return passed(f"{logical} can read its environment")


def layer(context: CheckContext) -> CheckResult:
    """Whether the layer is there and its boto3 recent enough; its description tells which."""
    logical = "ImportIso"
    layers = configuration(context, logical).get("Layers", [])
    ours = next((each["Arn"] for each in layers if "IsodropLayer" in each["Arn"]), None)
    if ours is None:
        return failed(f"{logical} has no layer of isodrop's", _REDEPLOY)
    told = context.call("lambda", "GetLayerVersionByArn", Arn=ours)
    found = _BOTO3_IN_WORDS.search(told.get("Description", ""))
    if found is None:
        return warned(
            f"the layer does not say which boto3 it ships: {told.get('Description')!r}", _REDEPLOY
        )
    if tuple(int(part) for part in found.groups()[:2]) < BOTO3:
        needed = ".".join(map(str, BOTO3))
        return failed(
            f"the layer ships {found[0]}; ImportDiskImage's windowsConfiguration needs {needed}",
            f"make lock && {_REDEPLOY}",
        )
    return passed(f"the layer ships {found[0]}")


def configuration(context: CheckContext, logical: str) -> Response:
    """Read a function's configuration."""
    name = context.resource(logical)
    return context.call("lambda", "GetFunctionConfiguration", FunctionName=name)
