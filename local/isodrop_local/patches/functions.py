"""How functions run: patches of the emulator's Lambda."""

import hashlib
import io
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any, Final

from ministack.core import lambda_runtime
from ministack.core.responses import new_uuid
from ministack.services import lambda_svc

from isodrop_local.interpreter import ROOT, interpreter

LAYERS: Final = ROOT / "build" / "emulator" / "layers"
RUNTIME: Final = Path(__file__).with_name("runtime.py")
INIT_SECONDS: Final = (
    10  # https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
)
PYTHON: Final = (interpreter().path, "-I", "-S")
"""Without its own site-packages."""

_INVOCATIONS: Final = threading.BoundedSemaphore(8)
"""The number of concurrent invocations; others wait, where Lambda would start more environments."""
MAX_WAIT_SECONDS: Final = 60
"""How long they wait before they are throttled: less than the timeout of any task that invokes a
function, after which the state machine would invoke it again."""

# Identifies an environment in the user agent of its calls.
MARK: Final = "environment-"

Json = dict[str, Any]
_closing = threading.Event()
_layers_lock = threading.Lock()


class FunctionError(Exception):
    """An invocation that failed; contains Lambda's response."""

    def __init__(self, body: Json) -> None:
        super().__init__(body["errorMessage"])
        self.body = body


class Process:
    """A function's process: requests on stdin, responses on stdout, its log on stderr."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._log = (folder / "log").open("w+b", buffering=0)
        self._popen = subprocess.Popen(
            [*PYTHON, str(RUNTIME)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environ,
            cwd=folder,
            start_new_session=True,
        )
        assert self._popen.stdin
        assert self._popen.stdout
        self._stdin, self._stdout = self._popen.stdin, self._popen.stdout
        # The interface that the emulator's own pool of workers expects of a process.
        self.poll, self.wait, self.pid = self._popen.poll, self._popen.wait, self._popen.pid
        self.kill = self.terminate = self._popen.kill

    def request(self, message: Json, deadline: float) -> tuple[Json, str]:
        """Send a message; return its response, and what was logged meanwhile.

        Raises
        ------
        TimeoutError
            There was no response in time.
        EOFError
            The process died; the message says how.
        """
        begin = os.lseek(self._log.fileno(), 0, os.SEEK_CUR)
        try:
            self._stdin.write(json.dumps(message).encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            pass  # the end of its output shows how it ended
        line = b""
        while not line.endswith(b"\n"):
            left = max(0.0, deadline - time.time())
            if not select.select([self._stdout], [], [], left)[0]:
                raise TimeoutError
            chunk = os.read(self._stdout.fileno(), 1 << 20)
            if not chunk:
                raise EOFError(_describe_exit(self._popen.wait()))
            line += chunk
        return json.loads(line), os.pread(self._log.fileno(), 1 << 20, begin).decode(
            errors="replace"
        )

    def end(self) -> None:
        """Kill it if necessary, and release its resources."""
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._stdin, self._stdout, self._log):
            pipe.close()


def _describe_exit(code: int) -> str:
    if code == -signal.SIGKILL:
        return "signal: killed"
    return f"exit status {code}" if code >= 0 else f"signal: {signal.strsignal(-code)}".lower()


class Environment(lambda_runtime.Worker):  # type: ignore[misc]  # ministack ships no types
    """One execution environment: a process with the function, its layers and nothing else.

    Lambda runs a function with its own code, its layers and the runtime
    (https://docs.aws.amazon.com/lambda/latest/dg/python-package.html). The emulator runs it with
    its own interpreter, so everything the emulator has installed, and the project itself, can be
    imported, and a layer without a required package is not noticed. This one runs the base
    interpreter, isolated, with only the variables that Lambda sets and those of the function.
    """

    _proc: Process | None

    def run(self, event: Any, request_id: str, trace_id: str | None) -> tuple[Any, str]:
        """Run one invocation; return its result and its log.

        Raises
        ------
        FunctionError
            With Lambda's own ``errorType``.
        """
        seconds = float(self.config.get("Timeout", 3))
        with self._lock:
            try:
                if self._proc is None or self._proc.poll() is not None:
                    self._start()
                assert self._proc
                invocation = {
                    "event": event,
                    "request_id": request_id,
                    "trace_id": trace_id,
                    "deadline": time.time() + seconds,
                }
                response, log = self._proc.request(invocation, invocation["deadline"])
            except TimeoutError:
                self._stop()
                message = (
                    f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
                )
                raise FunctionError(
                    {"errorType": "Sandbox.Timedout", "errorMessage": message}
                ) from None
            except EOFError as exited:
                self._stop()
                message = f"RequestId: {request_id} Error: Runtime exited with error: {exited}"
                raise FunctionError(
                    {"errorType": "Runtime.ExitError", "errorMessage": message}
                ) from None
        if "error" in response:
            raise FunctionError(response["error"])
        return response["result"], log

    def _start(self) -> None:
        """Unpack the code, start the process, load the function."""
        _refuse_if_closing()
        self._discard_tmpdir()
        self._tmpdir = tempfile.mkdtemp(prefix="function-")
        code = Path(self._tmpdir, "code")
        with zipfile.ZipFile(io.BytesIO(self.code_zip)) as archive:
            archive.extractall(code)
        self._proc = Process(Path(self._tmpdir), self._environ(code))
        try:
            _refuse_if_closing()  # again: close() could not end it before it existed
        except FunctionError:
            self._stop()
            raise
        setup = {
            "code": str(code),
            "layers": [str(layer_folder(ref)) for ref in self.config.get("Layers", [])],
            "handler": self.config["Handler"],
            "name": self.config["FunctionName"],
            "arn": self.config["FunctionArn"],
            "memory": self.config.get("MemorySize", 128),
        }
        loaded, _ = self._proc.request(setup, time.time() + INIT_SECONDS)
        if "error" in loaded:
            self._stop()
            raise FunctionError(loaded["error"])

    def _stop(self) -> None:
        if self._proc is not None:
            self._proc.end()
        self._proc = None

    def _environ(self, code: Path) -> dict[str, str]:
        _account, region = lambda_runtime._account_region_from_function_config(self.config)
        name = self.config["FunctionName"]
        log_group = (self.config.get("LoggingConfig") or {}).get("LogGroup")
        return {
            "PATH": os.defpath,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "HOME": str(self._tmpdir),
            "TMPDIR": str(self._tmpdir),
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{self.config.get('Runtime', '')}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.config.get("MemorySize", 128)),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": log_group or f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": new_uuid(),
            "LAMBDA_TASK_ROOT": str(code),
            # Identifies this environment in the user agent of its calls, for `kill`.
            "AWS_SDK_UA_APP_ID": self.mark,
            **(self.config.get("Environment") or {}).get("Variables", {}),
            # After the function's own: the template declares it empty, which is AWS itself.
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
            **lambda_runtime.execution_credentials(self.config),
        }

    @property
    def mark(self) -> str:
        """The mark by which its calls are recognized."""
        return f"{MARK}{id(self):x}"


def _refuse_if_closing() -> None:
    if _closing.is_set():
        raise FunctionError({"errorType": "ServiceException", "errorMessage": "closing down"})


def layer_folder(ref: Any) -> Path:
    """Unpack a layer once for all environments that use it, in this emulator and in later ones.

    Writing a layer's thousand files takes longer than the rest of a deployment.
    """
    archive = lambda_svc._resolve_layer_zip(ref)
    if not archive:
        message = f"the layer {ref} has no content"
        raise FunctionError({"errorType": "Runtime.LayerMissing", "errorMessage": message})
    folder = LAYERS / hashlib.sha256(archive).hexdigest()[:16]
    with _layers_lock:
        if folder.exists():
            folder.touch()
            return folder
        LAYERS.mkdir(parents=True, exist_ok=True)
        _remove_old_layers()
        unpacked = Path(tempfile.mkdtemp(dir=LAYERS, prefix="new-"))
        with zipfile.ZipFile(io.BytesIO(archive)) as layer:
            layer.extractall(unpacked)
        try:
            unpacked.rename(folder)
        except OSError:  # another emulator was faster
            shutil.rmtree(unpacked, ignore_errors=True)
    return folder


def _remove_old_layers() -> None:
    """Remove the layers that no emulator has used for a day."""
    for each in LAYERS.iterdir():
        if each.stat().st_mtime < time.time() - 24 * 3600:
            shutil.rmtree(each, ignore_errors=True)


def execute(func: Json, event: Any, request_id: str) -> Json:
    """Invoke a function, and respond as Lambda does.

    A raised exception's ``errorType`` is its class's name
    (https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html), and that name is what
    Step Functions matches in Retry and Catch. The emulator returns ``Runtime.HandlerError`` for
    all. A process that died is ``Runtime.ExitError``, one that ran too long ``Sandbox.Timedout``
    (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
    """
    if not _INVOCATIONS.acquire(timeout=MAX_WAIT_SECONDS):
        throttled: Json = lambda_svc._throttle_response(
            "ConcurrentInvocationLimitExceeded", "Rate Exceeded."
        )
        return throttled
    try:
        return _execute(func, event, request_id)
    finally:
        _INVOCATIONS.release()


def _execute(func: Json, event: Any, request_id: str) -> Json:
    config = func.get("config") or func
    environment, _ = lambda_runtime.acquire_worker(
        config["FunctionName"], config, func["code_zip"], qualifier=config.get("Version", "$LATEST")
    )
    try:
        trace = lambda_svc._xray_trace_id_for_invocation(config)
        result, log = environment.run(event, request_id, trace)
    except FunctionError as failed:
        return {"body": failed.body, "error": True, "log": json.dumps(failed.body)}
    finally:
        lambda_runtime.release_worker(environment)
    return {"body": result, "log": log}


def kill(mark: str) -> None:
    """Kill the environment whose calls have this mark, as Lambda does if it is out of memory."""
    with lambda_runtime._lock:
        environments = [each for pool in lambda_runtime._workers.values() for each in pool]
    for environment in environments:
        if environment.mark == mark and environment._proc is not None:
            environment._proc.kill()


def close() -> None:
    """End all environments, and start no more: running executions would retry forever."""
    _closing.set()
    _layers_lock.acquire()  # held until the end, so that no layer is written anymore
    lambda_runtime.reset()


def apply() -> None:
    """Apply the patches."""
    lambda_runtime._worker_class_for = lambda _config: Environment
    lambda_svc._execute_function_warm = execute
