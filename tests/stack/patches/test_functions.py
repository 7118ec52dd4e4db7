"""Functions on the emulator behave as on Lambda, where it matters to isodrop."""

import json
from typing import Any

from isodrop_local.stack import EmulatedStack
from tests.support.emulator_calls import ROLE, make_function, run, task, zipped


def call(emulator: EmulatedStack, function: str, event: object = None) -> Any:
    response = emulator.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps(event).encode()
    )
    return json.load(response["Payload"])


class TestFunctions:
    def test_an_exception_is_reported_under_its_class_s_name(self, emulator: EmulatedStack) -> None:
        function = make_function(
            emulator, "class BusyError(Exception): pass\nraise BusyError('no')"
        )
        response = call(emulator, function)
        assert (response["errorType"], response["errorMessage"]) == ("BusyError", "no")
        assert response["stackTrace"]

    def test_step_functions_retries_and_catches_by_that_name(self, emulator: EmulatedStack) -> None:
        body = """\
import pathlib, tempfile
class BusyError(Exception): pass
class LostError(Exception): pass
mark = pathlib.Path(tempfile.gettempdir(), "mark")
if not mark.exists():
    mark.touch()
    raise BusyError()
raise LostError()"""
        state = task(
            make_function(emulator, body),
            Retry=[{"ErrorEquals": ["BusyError"], "MaxAttempts": 1}],
            Catch=[{"ErrorEquals": ["LostError"], "Output": "caught", "Next": "End"}],
        )
        states = {"Do": state, "End": {"Type": "Succeed"}}
        assert run(emulator, states, "Do") == "caught"

    def test_a_function_sees_its_code_and_the_standard_library_only(
        self, emulator: EmulatedStack
    ) -> None:
        body = """\
import importlib.util, os, sys
found = [n for n in ("botocore", "pytest", "isodrop", "pip") if importlib.util.find_spec(n)]
return {"found": found, "path": sys.path, "environ": sorted(os.environ)}"""
        response = call(emulator, make_function(emulator, body))
        assert response["found"] == []
        assert not [entry for entry in response["path"] if "site-packages" in entry]
        lambdas_own = ("AWS_", "LAMBDA_", "_X_AMZN_", "LANG", "LC_", "PATH", "TZ", "HOME", "TMPDIR")
        assert [name for name in response["environ"] if not name.startswith(lambdas_own)] == []

    def test_a_function_sees_its_layers(self, emulator: EmulatedStack) -> None:
        layer = emulator.client("lambda").publish_layer_version(
            LayerName="words", Content={"ZipFile": zipped({"python/words.py": "WORD = 'layer'"})}
        )["LayerVersionArn"]
        body = "import words\nreturn words.WORD"
        assert call(emulator, make_function(emulator, body, Layers=[layer])) == "layer"

    def test_a_function_that_dies_is_an_exit_error(self, emulator: EmulatedStack) -> None:
        function = make_function(
            emulator, "import os, signal\nif event: os.kill(os.getpid(), signal.SIGKILL)\nreturn 1"
        )
        assert call(emulator, function, 0) == 1
        response = call(emulator, function, 1)
        assert response["errorType"] == "Runtime.ExitError"
        assert response["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
        assert call(emulator, function, 0) == 1

    def test_a_function_that_takes_too_long_is_timed_out(self, emulator: EmulatedStack) -> None:
        function = make_function(emulator, "import time\ntime.sleep(event)\nreturn 1", Timeout=1)
        response = call(emulator, function, 5)
        assert response["errorType"] == "Sandbox.Timedout"
        assert response["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
        assert call(emulator, function, 0) == 1

    def test_a_function_that_cannot_be_imported_fails_with_a_reason(
        self, emulator: EmulatedStack
    ) -> None:
        function = emulator.client("lambda").create_function(
            FunctionName="broken",
            Runtime="python3.13",
            Role=ROLE,
            Handler="app.handler",
            Code={"ZipFile": zipped({"app.py": "import nowhere"})},
        )["FunctionArn"]
        assert call(emulator, function)["errorType"] == "Runtime.ImportModuleError"

    def test_a_result_that_is_not_json_is_an_error(self, emulator: EmulatedStack) -> None:
        response = call(emulator, make_function(emulator, "return object()"))
        assert response["errorType"] == "Runtime.MarshalError"

    def test_a_call_can_kill_its_caller_and_take_effect(self, emulator: EmulatedStack) -> None:
        """Like a crash after the call and before its response."""
        body = """\
import os, urllib.request
request = urllib.request.Request(
    os.environ["AWS_ENDPOINT_URL"] + "/ListInfrastructureConfigurations",
    b"{}",
    {
        "Authorization": "AWS4-HMAC-SHA256 Credential=123456789012/2/us-east-1/imagebuilder/"
        "aws4_request, SignedHeaders=host, Signature=0",
        "User-Agent": "app/isodrop app/" + os.environ["AWS_SDK_UA_APP_ID"],
    },
    method="POST",
)
return urllib.request.urlopen(request).status"""
        function = make_function(emulator, body)
        assert call(emulator, function) == 200
        operation = "ListInfrastructureConfigurations"
        how = {"code": "lost", "committed": True, "kill_caller": True}
        emulator.control("imagebuilder/fail_next", {"operation": operation, **how})
        assert call(emulator, function)["errorType"] == "Runtime.ExitError"
        assert emulator.control("imagebuilder/calls")[-1]["took_effect"]
        assert call(emulator, function) == 200

    def test_output_of_a_function_is_harmless(self, emulator: EmulatedStack) -> None:
        body = """\
import os
print('{"result": "not this"}', flush=True)
os.system("echo '{}'")
return "this" """
        assert call(emulator, make_function(emulator, body)) == "this"

    def test_output_of_a_function_is_in_its_log(self, emulator: EmulatedStack) -> None:
        function = make_function(emulator, "print('received', event)")
        call(emulator, function, 1)
        group = f"/aws/lambda/{function.rpartition(':')[2]}"
        events = emulator.client("logs").filter_log_events(logGroupName=group)["events"]
        assert "received 1" in [event["message"].strip() for event in events]
