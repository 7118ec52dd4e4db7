"""The functions: whether they run, on the right layer, and can read what they are told."""

import re
from typing import Final

from isodrop.settings import IntakeSettings, ReportSettings, SettingsError, SweepSettings
from isodrop_cli.doctor.context import Answer, Ground
from isodrop_cli.doctor.results import GoneError, Verdict, broken, doubtful, well

Settings = type[IntakeSettings] | type[ReportSettings] | type[SweepSettings]

RUNTIME: Final = "python3.13"
"""What the layer's wheels are made for."""
BOTO3: Final = (1, 44)
"""The first boto3 that is known to know all of ImportDiskImage that is sent."""

_BOTO3_IN_WORDS: Final = re.compile(r"\bboto3 (\d+)\.(\d+)\.(\d+)")
_REDEPLOY: Final = "sam build && sam deploy"


def state(ground: Ground, logical: str) -> Verdict:
    """Whether a function's last change went through, and whether its runtime fits its layer."""
    try:
        told = configuration(ground, logical)
    except GoneError:
        return broken(
            f"the function {logical} is gone", f"delete and deploy the stack {ground.name}"
        )
    for name, wanted in (("State", "Active"), ("LastUpdateStatus", "Successful")):
        is_so = told.get(name, wanted)
        if is_so in ("Pending", "InProgress", "Inactive"):
            return doubtful(f"{logical}: its {name} is {is_so}", "ask again in a minute")
        if is_so != wanted:
            reason = told.get(f"{name}Reason", "AWS gives no reason")
            return broken(f"{logical}: its {name} is {is_so} ({reason})", _REDEPLOY)
    if told.get("Runtime") != RUNTIME:
        return broken(
            f"{logical} runs on {told.get('Runtime')}, the layer is made for {RUNTIME}",
            ground.command(
                *("lambda", "update-function-configuration", "--function-name"),
                *(ground.resource(logical), "--runtime", RUNTIME),
            ),
        )
    machine = ", ".join(told.get("Architectures", ["x86_64"]))
    return well(f"{logical} is active: {RUNTIME}, {machine}")


def environment(ground: Ground, logical: str, settings: Settings) -> Verdict:
    """Read a function's environment as the function itself does."""
    told = configuration(ground, logical).get("Environment", {})
    if "Error" in told:
        said = told["Error"].get("Message", "")
        return broken(f"{logical} cannot read its environment: {said}", _REDEPLOY)
    try:
        settings.read(told.get("Variables", {}))
    except SettingsError as error:
        return broken(f"{logical}: {error}", "correct the parameter that it comes from; sam deploy")
    return well(f"{logical} can read its environment")


def layer(ground: Ground) -> Verdict:
    """Whether the layer is there and its boto3 recent enough; its description tells which."""
    logical = "ImportIso"
    layers = configuration(ground, logical).get("Layers", [])
    ours = next((each["Arn"] for each in layers if "IsodropLayer" in each["Arn"]), None)
    if ours is None:
        return broken(f"{logical} has no layer of isodrop's", _REDEPLOY)
    told = ground.ask("lambda", "GetLayerVersionByArn", Arn=ours)
    found = _BOTO3_IN_WORDS.search(told.get("Description", ""))
    if found is None:
        return doubtful(
            f"the layer does not say which boto3 it ships: {told.get('Description')!r}", _REDEPLOY
        )
    if tuple(int(part) for part in found.groups()[:2]) < BOTO3:
        needed = ".".join(map(str, BOTO3))
        return broken(
            f"the layer ships {found[0]}; ImportDiskImage's windowsConfiguration needs {needed}",
            f"make lock && {_REDEPLOY}",
        )
    return well(f"the layer ships {found[0]}")


def configuration(ground: Ground, logical: str) -> Answer:
    """Read a function's configuration."""
    name = ground.resource(logical)
    return ground.ask("lambda", "GetFunctionConfiguration", FunctionName=name)
