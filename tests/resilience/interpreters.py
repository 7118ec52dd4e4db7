"""Three interpreters follow the same paths: the resilience tests' own, the emulator's, and sfnx.

The first runs the simulations, the second the local stack. The third is another project's, whose
author verified it on AWS (``sfnx.testing``). Where they differ, one of them is wrong, or the
difference is explained here.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as File
from typing import Any, Final

from sfnx import testing as sfnx

from tests.resilience.paths import PATHS, UPLOAD, CallError, Path, Script, kind_of, make_definition
from tests.resilience.state_machine import Machine, TaskError

EXECUTION: Final = "arn:aws:states:us-east-1:123456789012:execution:machine:execution"
"""The ARN that sfnx gives every execution."""
OURS, EMULATOR, SFNX = "simulation", "MiniStack", "sfnx"
EVALUATION: Final = "States.QueryEvaluationError"
Run = dict[str, Any]
"""The result of a run: calls, states, output or error, as JSON."""

DIFFERENCES: Final[Mapping[tuple[str, str], str]] = {
    (
        "a next step of more than 256 KiB",
        SFNX,
    ): "sfnx has no limit of 256 KiB; it continues, and fails because the build's ARN is missing",
}
"""The explained differences from the simulation, by path and interpreter."""


def simulated(path: Path) -> Run:
    """Run a path with the interpreter of the resilience tests."""
    script, states = Script(path), list[str]()

    def perform(resource: str, arguments: Any) -> Any:
        try:
            return script.respond(resource, arguments)
        except CallError as error:
            raise TaskError(error.error, error.cause) from error

    machine = Machine(make_definition(), perform, lambda _seconds: None, entered=states.append)
    try:
        output, error, cause = machine.run(UPLOAD, EXECUTION), None, None
    except TaskError as failed:
        output, error, cause = None, failed.error, failed.cause
    return _run(script, states, output, error, cause)


def with_sfnx(path: Path) -> Run:
    """Run a path with sfnx."""
    script = Script(path)

    def respond(call: sfnx.Call) -> object:
        try:
            return script.respond(call.resource, call.arguments)
        except CallError as error:
            raise sfnx.Failure(error.error, error.cause) from error

    ran = sfnx.run(make_definition(), UPLOAD, respond)
    output = None if ran.error else ran.output
    return _run(script, ran.states, output, ran.error, ran.cause)


def on_the_emulator(names: Sequence[str]) -> dict[str, Run]:
    """Run paths with the patched emulator's interpreter, in its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.resilience.interpreters"],
        input=json.dumps(names),
        capture_output=True,
        text=True,
        check=False,
        cwd=File(__file__).resolve().parents[2],
    )
    if done.returncode:
        raise RuntimeError(f"the emulator's interpreter failed:\n{done.stderr[-3000:]}")
    runs: dict[str, Run] = json.loads(done.stdout)
    return runs


def _run(
    script: Script, states: Sequence[str], output: Any, error: str | None, cause: str | None
) -> Run:
    """Convert the result of a run to JSON, with 1.0 as 1."""
    made = {
        "calls": script.calls,
        "states": list(states),
        "output": output,
        "error": error,
        "cause": cause,
    }
    run: Run = json.loads(
        json.dumps(made),
        parse_float=lambda text: int(float(text)) if float(text) % 1 == 0 else float(text),
    )
    return run


def counted(run: Run) -> Counter[str]:
    """Count a run's calls by kind."""
    return Counter(kind_of(resource, arguments) for resource, arguments in run["calls"])


def without_messages(value: Any) -> Any:
    """Leave out the messages of expressions that could not be evaluated."""
    if isinstance(value, dict):
        kept = {key: without_messages(each) for key, each in value.items()}
        for error, cause in (("Error", "Cause"), ("error", "cause")):
            if kept.get(error) == EVALUATION:
                kept[cause] = ""
        return kept
    return [without_messages(each) for each in value] if isinstance(value, list) else value


def differs(run: Run, other: Run) -> str:
    """List the parts in which two runs differ, apart from messages."""
    run, other = without_messages(run), without_messages(other)
    return ", ".join(part for part in run if run[part] != other[part])


# ------------------------------------------------------------------------- the emulator's process


def _main() -> None:
    names = set(json.load(sys.stdin))
    with tempfile.TemporaryDirectory(prefix="isodrop-paths-") as home:
        follow = _emulator(File(home))
        runs = {path.name: follow(path) for path in PATHS if path.name in names}
    json.dump(runs, sys.stdout)


def _emulator(home: File) -> Callable[[Path], Run]:
    """Load the emulator's patched Step Functions, with a script that answers its tasks."""
    from isodrop_local import server  # noqa: PLC0415 # the import reads what is set here

    server.configure(home, 1, 0.0, "ERROR")

    from ministack.services import stepfunctions  # noqa: PLC0415 # likewise

    from isodrop_local import patches  # noqa: PLC0415 # likewise

    patches.apply_patches()
    from isodrop_local.patches import step_functions  # noqa: PLC0415 # likewise

    scripts: list[Script] = []
    states: list[str] = []

    def respond(resource: str, arguments: Any) -> Any:
        try:
            return scripts[-1].respond(resource, json.loads(json.dumps(arguments)))
        except CallError as error:
            raise stepfunctions._ExecutionError(error.error, error.cause) from error

    def recording(execute: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(state: Any, given: Any, *rest: Any) -> Any:
            states.append(rest[-1]["State"]["Name"])
            return execute(state, given, *rest)

        return recorded

    for kind in ("pass", "task", "choice", "wait", "parallel"):
        name = f"_execute_{kind}"
        setattr(stepfunctions, name, recording(getattr(stepfunctions, name)))
    original_apply_input_path = stepfunctions._apply_input_path

    def apply_input_path(state: Any, given: Any, ctx: Any = None) -> Any:
        if state.get("Type") == "Succeed":
            states.append(ctx["State"]["Name"])
        return original_apply_input_path(state, given, ctx)

    stepfunctions._apply_input_path = apply_input_path
    step_functions._invoke_resource = respond
    step_functions.authorize = lambda *_: None  # paths have no roles
    stepfunctions._emit_execution_status_event = lambda _execution: None
    machine = EXECUTION.replace(":execution:", ":stateMachine:", 1).rpartition(":")[0]
    stepfunctions._state_machines[machine] = {
        "name": "machine",
        "definition": json.dumps(make_definition()),
    }

    def follow(path: Path) -> Run:
        states.clear()
        scripts.append(script := Script(path))
        execution: dict[str, Any] = {
            "stateMachineArn": machine,
            "name": "execution",
            "startDate": "2026-01-01T00:00:00.000Z",
            "input": json.dumps(UPLOAD),
            "status": "RUNNING",
            "events": [],
        }
        stepfunctions._executions[EXECUTION] = execution
        stepfunctions._run_execution(EXECUTION)
        succeeded = execution["status"] == "SUCCEEDED"
        output = json.loads(execution["output"]) if succeeded else None
        return _run(script, states, output, execution.get("error"), execution.get("cause"))

    return follow


if __name__ == "__main__":
    _main()
