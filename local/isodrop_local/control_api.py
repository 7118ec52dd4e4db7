"""The control API of the local stack, beside AWS's own APIs: ``POST /_isodrop/…``."""

import asyncio
import json
from pathlib import Path
from typing import Any

from ministack.core.responses import set_request_account_id, set_request_region

from isodrop_local import registration
from isodrop_local.fault_injection import EventDelivery
from isodrop_local.faults import Fault
from isodrop_local.gate import require_allowed_path
from isodrop_local.image_builder import FakeImageBuilder, ServiceError, control
from isodrop_local.patches import multipart, policies, s3

PREFIX = "/_isodrop/"


class UnknownActionError(Exception):
    """There is no such action."""


async def handle(
    builder: FakeImageBuilder,
    delivery: EventDelivery,
    path: str,
    body: bytes,
    files: tuple[Path, ...],
) -> tuple[int, Any]:
    """Handle a request, which may name only these files; return the HTTP status and JSON."""
    request = json.loads(body or b"{}")
    set_request_account_id(registration.ACCOUNT)
    set_request_region(registration.REGION)
    try:
        action = path.removeprefix(PREFIX).split("/")
        return 200, await _perform(builder, delivery, action, request, files)
    except UnknownActionError as error:
        return 404, {"message": f"there is no action {error}"}
    except LookupError as error:
        return 404, {"message": f"not found: {error}"}
    except PermissionError as error:
        return 403, {"message": str(error)}
    except (TypeError, ValueError, OSError, ServiceError) as error:
        return 400, {"message": f"{type(error).__name__}: {error}"}


async def _perform(
    builder: FakeImageBuilder,
    delivery: EventDelivery,
    action: list[str],
    request: Any,
    files: tuple[Path, ...],
) -> Any:
    match action:
        case ["objects"]:
            path = require_allowed_path(Path(request["path"]), files)
            return s3.link(request["bucket"], request["key"], path, request.get("metadata", {}))
        case ["objects", "reads"]:
            return s3.reads(request["bucket"], request["key"])
        case ["objects", "behavior"]:
            multipart.set_behavior(**request)
        case ["faults"]:
            builder.controls.faults.add(Fault(**request))
        case ["counts"]:
            return {"calls": dict(delivery.counts), "faults": builder.controls.faults.left()}
        case ["authorizations"]:
            return policies.recorded()
        case ["deliveries"]:
            delivery.plan(request["delays"])
        case ["events"]:
            registration.publish_as_service(request["source"], request)
        case ["imagebuilder", name]:
            return await asyncio.to_thread(control, builder, name, request)
        case _:
            raise UnknownActionError("/".join(action))
    return None
