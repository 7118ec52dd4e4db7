"""What the stack can be told and asked beside AWS's own interfaces: ``POST /_isodrop/…``."""

import asyncio
import json
from pathlib import Path
from typing import Any

from ministack.core.responses import set_request_account_id, set_request_region

from isodrop_local import registration
from isodrop_local.fault_injection import Post
from isodrop_local.faults import Fault
from isodrop_local.image_builder import ImageBuilder, ServiceError, control
from isodrop_local.patches import multipart, s3

PREFIX = "/_isodrop/"


async def handle(builder: ImageBuilder, post: Post, path: str, body: bytes) -> tuple[int, Any]:
    """Answer one request: the HTTP status and JSON."""
    asked = json.loads(body or b"{}")
    set_request_account_id(registration.ACCOUNT)
    set_request_region(registration.REGION)
    try:
        return 200, await _done(builder, post, path.removeprefix(PREFIX).split("/"), asked)
    except LookupError as error:
        return 404, {"message": f"there is no {path}: {error}"}
    except (TypeError, ValueError, OSError, ServiceError) as error:
        return 400, {"message": f"{type(error).__name__}: {error}"}


async def _done(builder: ImageBuilder, post: Post, action: list[str], asked: Any) -> Any:
    match action:
        case ["objects"]:
            return s3.link(
                asked["bucket"], asked["key"], Path(asked["path"]), asked.get("metadata", {})
            )
        case ["objects", "reads"]:
            return s3.reads(asked["bucket"], asked["key"])
        case ["objects", "behaviour"]:
            multipart.behave(**asked)
        case ["faults"]:
            builder.controls.faults.add(Fault(**asked))
        case ["counts"]:
            return {"calls": dict(post.counts), "faults": builder.controls.faults.left()}
        case ["deliveries"]:
            post.plan(asked["delays"])
        case ["events"]:
            registration.publish_as_service(asked["source"], asked)
        case ["imagebuilder", name]:
            return await asyncio.to_thread(control, builder, name, asked)
        case _:
            raise LookupError("/".join(action))
    return None
