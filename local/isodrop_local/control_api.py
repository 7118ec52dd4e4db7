"""What the stack can be told and asked beside AWS's own interfaces: ``POST /_isodrop/…``."""

import asyncio
import json
from pathlib import Path
from typing import Any

from ministack.core.responses import set_request_account_id, set_request_region

from isodrop_local import registration
from isodrop_local.fault_injection import Post
from isodrop_local.faults import Fault
from isodrop_local.gate import allowed
from isodrop_local.image_builder import FakeImageBuilder, ServiceError, control
from isodrop_local.patches import multipart, policies, s3

PREFIX = "/_isodrop/"


async def handle(
    builder: FakeImageBuilder, post: Post, path: str, body: bytes, files: tuple[Path, ...]
) -> tuple[int, Any]:
    """Answer one request, which may name none but these files: the HTTP status and JSON."""
    asked = json.loads(body or b"{}")
    set_request_account_id(registration.ACCOUNT)
    set_request_region(registration.REGION)
    try:
        action = path.removeprefix(PREFIX).split("/")
        return 200, await _done(builder, post, action, asked, files)
    except LookupError as error:
        return 404, {"message": f"there is no {path}: {error}"}
    except PermissionError as error:
        return 403, {"message": str(error)}
    except (TypeError, ValueError, OSError, ServiceError) as error:
        return 400, {"message": f"{type(error).__name__}: {error}"}


async def _done(
    builder: FakeImageBuilder, post: Post, action: list[str], asked: Any, files: tuple[Path, ...]
) -> Any:
    match action:
        case ["objects"]:
            path = allowed(Path(asked["path"]), files)
            return s3.link(asked["bucket"], asked["key"], path, asked.get("metadata", {}))
        case ["objects", "reads"]:
            return s3.reads(asked["bucket"], asked["key"])
        case ["objects", "behaviour"]:
            multipart.behave(**asked)
        case ["faults"]:
            builder.controls.faults.add(Fault(**asked))
        case ["counts"]:
            return {"calls": dict(post.counts), "faults": builder.controls.faults.left()}
        case ["authorizations"]:
            return policies.recorded()
        case ["deliveries"]:
            post.plan(asked["delays"])
        case ["events"]:
            registration.publish_as_service(asked["source"], asked)
        case ["imagebuilder", name]:
            return await asyncio.to_thread(control, builder, name, asked)
        case _:
            raise LookupError("/".join(action))
    return None
