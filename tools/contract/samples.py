"""Captures a sample of each event, and of each important variant, from the local stack."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft4Validator

from isodrop.events import UnknownEventError, parse
from isodrop_local.deploy import deploy
from isodrop_local.iso_maker import business_editions, make_iso, server_editions
from isodrop_local.stack import PARAMETERS, EmulatedStack
from tools.contract.schemas import Json, slug

SAMPLES: Final = Path("events/out")
KEY: Final = "en-us_windows_11_business_editions_version_24h2_x64_dvd_59a1851e.iso"
DENIED: Final = (
    "User: arn:aws:sts::123456789012:assumed-role/isodrop-ImportIsoRole/isodrop-ImportIso is not"
    " authorized to perform: imagebuilder:ImportDiskImage"
)


def capture(folder: Path) -> dict[str, Json]:
    """Cause each event on the local stack, and return the events with their envelopes.

    Accounts, times and ids are those of the stack. It runs faster than AWS, so the minutes
    are close to zero.

    Parameters
    ----------
    folder : pathlib.Path
        The folder for the ISOs.

    Returns
    -------
    dict
        Events by the sample's name: ``iso-import-succeeded-reused``.
    """
    with EmulatedStack() as stack:
        stack.deploy()
        iso = make_iso(folder / KEY, editions=business_editions())
        stack.wait_for_answer(stack.upload(iso))
        stack.wait_for_answer(stack.upload(iso, "again.iso"))
        stack.image_builder.fail_next_build(message="Windows Setup found no install image.")
        failing = make_iso(folder / "Win11_24H2_v2.iso", editions=business_editions(revision=2033))
        stack.wait_for_answer(stack.upload(failing))
        stack.image_builder.fail_next(
            "ImportDiskImage", code="AccessDeniedException", status=403, message=DENIED
        )
        refused = make_iso(folder / "Win11_24H2_v3.iso", editions=business_editions(revision=3155))
        stack.wait_for_answer(stack.upload(refused))
        server = make_iso(folder / "Server2025.iso", editions=server_editions())
        stack.wait_for_answer(stack.upload(server))
        _run_distribution(stack, folder)
        events = stack.events()
    found: dict[str, Json] = {}
    for event in events:
        # The first of a kind; of the progress events, one with completed steps.
        if event["detail-type"] != "ISO Import Progressed" or event["detail"]["data"]["stepsDone"]:
            found.setdefault(name_of(event), event)
    return found


def _run_distribution(stack: EmulatedStack, folder: Path) -> None:
    """Record the events of a second stack, which distributes its images."""
    configuration = stack.client("imagebuilder").create_distribution_configuration(
        name="elsewhere",
        distributions=[
            {"region": "us-west-2", "amiDistributionConfiguration": {}},
            {
                "region": "eu-central-1",
                "amiDistributionConfiguration": {"targetAccountIds": ["210987654321"]},
            },
        ],
        clientToken="elsewhere",
    )
    parameters = PARAMETERS | {
        "DistributionConfigurationArn": configuration["distributionConfigurationArn"]
    }
    clients = stack.client("cloudformation"), stack.client("s3")
    bucket = deploy(*clients, "isodrop-elsewhere", parameters)["UploadBucketName"]

    def upload_and_wait(name: str, revision: int) -> None:
        iso = make_iso(folder / name, editions=business_editions(revision=revision))
        stack.client("s3").upload_file(str(iso), bucket, name)
        stack.wait_for_answer(name)

    upload_and_wait("Win11_24H2_v4.iso", 3476)
    stack.image_builder.fail_next_build(
        kind="distribution", message="The role EC2ImageBuilderDistributionCrossAccountRole is gone."
    )
    upload_and_wait("Win11_24H2_v5.iso", 3775)


def name_of(event: Json) -> str:
    """Return the name of the sample that an event belongs to."""
    data = event["detail"]["data"]
    name = slug(event["detail-type"])
    if data.get("distributionArn"):
        return f"{name}-distribution"
    if data.get("reused"):
        return f"{name}-reused"
    return f"{name}-no-build" if data.get("buildArn", "") is None else name


def read(folder: Path) -> dict[str, Json]:
    """Read the samples of a folder, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def find_errors(event: Any, schema: Json) -> Iterator[str]:
    """List where an event differs from its schema and its model, one sentence each."""
    for error in Draft4Validator(schema).iter_errors(event):
        yield f"{error.json_path}: {error.message}"
    try:
        parsed = json.loads(parse(event).detail())
    except UnknownEventError as error:
        yield str(error)
    else:
        yield from _find_missing(event["detail"], parsed, "detail")


def _find_missing(event: Any, parsed: Any, path: str) -> Iterator[str]:
    """List the fields of an event that its model lacks, or parses to another value."""
    if isinstance(event, dict) and isinstance(parsed, dict):
        for name, value in event.items():
            if name in parsed:
                yield from _find_missing(value, parsed[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} is not in the model"
    elif event != parsed:
        yield f"{path} is {event!r}, and the model says {parsed!r}"
