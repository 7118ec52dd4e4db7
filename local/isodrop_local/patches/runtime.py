"""The program inside a function's process: a minimal Lambda runtime for Python.

This file is started by the base interpreter with ``-I -S``, so it may import the standard library
only, and the function that it loads sees the standard library, its own code and its layers.
It exchanges JSON lines with the emulator: set-up and invocations on stdin, responses on
the original stdout. What the function prints goes to stderr, which is its log.
"""

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Handler = Callable[[Any, "Context"], Any]
SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


class Context:
    """Lambda's context object, with the attributes that functions use."""

    def __init__(self, setup: Json, invocation: Json) -> None:
        self.function_name = setup["name"]
        self.function_version = "$LATEST"
        self.invoked_function_arn = setup["arn"]
        self.memory_limit_in_mb = str(setup["memory"])
        self.aws_request_id = invocation["request_id"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline = invocation["deadline"]

    def get_remaining_time_in_millis(self) -> int:
        """Return how much of the timeout is left."""
        return max(0, int((self._deadline - time.time()) * 1000))


def failure(error: Exception, request_id: str = "") -> Json:
    """Format an exception as Lambda reports it: ``errorType`` is the class."""
    frames = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": request_id,
        "stackTrace": frames,
    }


def load(setup: Json) -> Handler:
    """Import the handler as Lambda does: from the code first, then from the layers."""
    layers = [os.path.join(layer, "python", sub) for layer in setup["layers"] for sub in ("", SITE)]
    sys.path[:0] = [setup["code"], *(path.rstrip("/") for path in layers)]
    module, _, name = setup["handler"].replace("/", ".").rpartition(".")
    handler: Handler = getattr(importlib.import_module(module), name)
    return handler


def invoke(handler: Handler, setup: Json, invocation: Json) -> Json:
    """Run one invocation; return its response."""
    trace = invocation.get("trace_id")
    if trace:
        os.environ["_X_AMZN_TRACE_ID"] = trace
    try:
        result = handler(invocation["event"], Context(setup, invocation))
    except Exception as error:  # noqa: BLE001  # whatever it is, Lambda reports it
        traceback.print_exc()
        return {"error": failure(error, invocation["request_id"])}
    try:
        return {"result": json.loads(json.dumps(result))}
    except (TypeError, ValueError) as error:
        broken = f"Unable to marshal response: {error}"
        return {
            "error": failure(error) | {"errorType": "Runtime.MarshalError", "errorMessage": broken}
        }


def main() -> None:
    """Load the function, then handle invocations until stdin ends."""
    responses = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    setup = json.loads(sys.stdin.readline())
    os.chdir(setup["code"])
    try:
        handler: Handler | None = load(setup)
    except Exception as error:  # noqa: BLE001  # whatever it is, Lambda reports it
        traceback.print_exc()
        kind = "ImportModuleError" if isinstance(error, ImportError) else type(error).__name__
        reply: Json = {"error": failure(error) | {"errorType": f"Runtime.{kind}"}}
        handler = None
    else:
        reply = {"ready": True}
    while True:
        # Without a terminal, print() is buffered.
        sys.stdout.flush()
        sys.stderr.flush()
        responses.write(json.dumps(reply) + "\n")
        responses.flush()
        line = sys.stdin.readline()
        if not line or handler is None:
            return
        reply = invoke(handler, setup, json.loads(line))


if __name__ == "__main__":
    main()
