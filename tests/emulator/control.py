"""What the stack can be told and asked beside AWS's own interfaces: ``POST /_isodrop/…``."""

import asyncio
import json
from pathlib import Path
from typing import Any

from ministack.core.responses import set_request_account_id, set_request_region

from tests.emulator import mount
from tests.emulator.fixups import storage
from tests.emulator.imagebuilder import ImageBuilder, ServiceError, control

PREFIX = "/_isodrop/"


async def handle(builder: ImageBuilder, path: str, body: bytes) -> tuple[int, Any]:
    """Answer one request: the HTTP status and JSON."""
    asked = json.loads(body or b"{}")
    set_request_account_id(mount.ACCOUNT)
    set_request_region(mount.REGION)
    try:
        match path.removeprefix(PREFIX).split("/"):
            case ["objects"]:
                found = storage.link(
                    asked["bucket"], asked["key"], Path(asked["path"]), asked.get("metadata", {})
                )
                return 200, found
            case ["objects", "reads"]:
                return 200, storage.reads(asked["bucket"], asked["key"])
            case ["imagebuilder", action]:
                return 200, await asyncio.to_thread(control, builder, action, asked)
    except (KeyError, TypeError, ValueError, OSError, ServiceError) as error:
        return 400, {"message": f"{type(error).__name__}: {error}"}
    return 404, {"message": f"there is no {path}"}
