"""A small interpreter of the features of Amazon States Language that isodrop uses, and no others.

It runs the template's definition, and raises NotImplementedError for unknown features. The clock,
the random numbers and the tasks are arguments; the stack's tests run the same definition on the
emulator.
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any, Final

from jsonata.jsonata import Jsonata
from jsonata.utils import Utils

from isodrop_local.retries import retry_delay

Json = dict[str, Any]
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset({"Type", "Comment", *names.split()})
    for kind, names in {
        "Task": "Resource Arguments TimeoutSeconds Retry Catch Assign Output Next End",
        "Parallel": "Arguments Branches Catch Output Next End",
        "Choice": "Choices Default",
        "Wait": "Seconds Next",
        "Succeed": "",
    }.items()
}
_RETRY: Final = frozenset(
    [
        "Comment",
        "ErrorEquals",
        "IntervalSeconds",
        "BackoffRate",
        "MaxDelaySeconds",
        "MaxAttempts",
        "JitterStrategy",
    ]
)
LIMIT: Final = 256 * 1024
"""Bytes of JSON that go into a state or come out of one.

https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""
_TERMINAL: Final = frozenset({"States.DataLimitExceeded", "States.Runtime"})
"""What ``States.ALL`` does not match.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""
_CATCH: Final = frozenset({"Comment", "ErrorEquals", "Assign", "Output", "Next"})


class TaskError(Exception):
    """A state's work failed; Retry and Catch match ``error``."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


@dataclass(frozen=True, slots=True)
class _Scope:
    """What an expression can read: the context, the variables, the state's input."""

    execution: str
    variables: Json
    input: Any = None
    result: Any = None
    error: Json | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """A state machine.

    Attributes
    ----------
    definition : mapping
        In JSONata, with its substitutions made.
    perform : callable
        Performs a task: gets its ``Resource`` and arguments, returns its result or raises
        :class:`TaskError`.
    sleep : callable
        Lets seconds pass.
    random : random.Random
        For jitter.
    entered : callable
        Gets the name of each state that is entered.
    """

    definition: Mapping[str, Any]
    perform: Callable[[str, Any], Any]
    sleep: Callable[[float], None]
    random: Random = field(default_factory=Random)
    entered: Callable[[str], None] = lambda _name: None

    def run(self, given: Any, execution: str) -> Any:
        """Run one execution; return its output.

        Raises
        ------
        TaskError
            If the execution failed.
        NotImplementedError
            If the definition uses a feature that is not implemented here.
        """
        return self._walk(self.definition, _Scope(execution, {}, given))

    def _walk(self, level: Mapping[str, Any], scope: _Scope) -> Any:
        _check_known(level, {"Comment", "QueryLanguage", "StartAt", "States", "TimeoutSeconds"})
        name: str | None = level["StartAt"]
        while name is not None:
            state = level["States"][name]
            _check_known(state, _FIELDS[state["Type"]])
            self.entered(name)
            name, output = getattr(self, f"_{state['Type'].lower()}")(state, scope)
            scope = replace(scope, input=output)
        return scope.input

    def _succeed(self, _state: Json, scope: _Scope) -> tuple[str | None, Any]:
        return None, scope.input

    def _wait(self, state: Json, scope: _Scope) -> tuple[str | None, Any]:
        self.sleep(float(_fill(state["Seconds"], scope)))
        return state["Next"], scope.input

    def _choice(self, state: Json, scope: _Scope) -> tuple[str | None, Any]:
        for choice in state["Choices"]:
            _check_known(choice, {"Comment", "Condition", "Assign", "Next"})
            condition = _fill(choice["Condition"], scope)
            if not isinstance(condition, bool):
                raise TaskError("States.QueryEvaluationError", f"{condition!r} is no boolean")
            if condition:
                scope.variables.update(_fill(choice.get("Assign", {}), scope))
                return choice["Next"], scope.input
        return state["Default"], scope.input

    def _task(self, state: Json, scope: _Scope) -> tuple[str | None, Any]:
        def work() -> Any:
            arguments = json.dumps(_check_size(_fill(state["Arguments"], scope), "Arguments"))
            result = self.perform(state["Resource"], json.loads(arguments))
            return _check_size(result, state["Resource"])

        return self._run_with_retries(state, scope, work)

    def _parallel(self, state: Json, scope: _Scope) -> tuple[str | None, Any]:
        (branch,) = state["Branches"]

        def work() -> Any:
            given = _fill(state["Arguments"], scope)
            # "Variables that a branch assigns are its own and end with it."
            return [self._walk(branch, replace(scope, input=given, variables={**scope.variables}))]

        return self._run_with_retries(state, scope, work)

    def _run_with_retries(
        self, state: Json, scope: _Scope, work: Callable[[], Any]
    ) -> tuple[str | None, Any]:
        """Do a state's work, with the retries of Retry and then the handlers of Catch."""
        retried = [0] * len(state.get("Retry", ()))
        while True:
            try:
                result = work()
                return self._leave(state, replace(scope, result=result), result)
            except TaskError as error:
                seconds = self._retry_delay(state, error, retried)
                if seconds is None:
                    return self._catch(state, scope, error)
            self.sleep(seconds)

    def _retry_delay(self, state: Json, error: TaskError, retried: list[int]) -> float | None:
        for index, retry in enumerate(state.get("Retry", ())):
            _check_known(retry, _RETRY)
            if not _matches(retry, error):
                continue
            if retried[index] >= retry.get("MaxAttempts", 3):
                return None
            retried[index] += 1
            return retry_delay(retry, retried[index] - 1, self.random)
        return None

    def _catch(self, state: Json, scope: _Scope, error: TaskError) -> tuple[str | None, Any]:
        for catch in state.get("Catch", ()):
            _check_known(catch, _CATCH)
            if _matches(catch, error):
                output = {"Error": error.error, "Cause": error.cause}
                return self._leave(catch, replace(scope, error=output), output)
        raise error

    def _leave(self, part: Json, scope: _Scope, default: Any) -> tuple[str | None, Any]:
        """Leave a state as it, or its Catch, says: output, variables, next state."""
        output = (
            _check_size(_fill(part["Output"], scope), "Output") if "Output" in part else default
        )
        # "Assign" is evaluated with the old values of the variables.
        scope.variables.update(_fill(part.get("Assign", {}), scope))
        return part.get("Next"), output


def _check_known(part: Mapping[str, Any], names: Any) -> None:
    unknown = set(part) - set(names)
    if unknown:
        raise NotImplementedError(f"this interpreter does not know {', '.join(sorted(unknown))}")


def _matches(rule: Mapping[str, Any], error: TaskError) -> bool:
    named = error.error in rule["ErrorEquals"]
    return named or ("States.ALL" in rule["ErrorEquals"] and error.error not in _TERMINAL)


def _check_size(payload: Any, what: str) -> Any:
    if len(json.dumps(payload, ensure_ascii=False).encode()) > LIMIT:
        raise TaskError(
            "States.DataLimitExceeded",
            f"The state/task '{what}' returned a result with a size exceeding the maximum number of"
            " bytes service limit.",
        )
    return payload


def _fill(template: Any, scope: _Scope) -> Any:
    """Fill a template, in which ``{% %}`` contains JSONata."""
    if isinstance(template, dict):
        return {name: _fill(item, scope) for name, item in template.items()}
    if isinstance(template, list):
        return [_fill(item, scope) for item in template]
    if not (isinstance(template, str) and template.startswith("{%")):
        return template
    bound = {name: _null(value) for name, value in scope.variables.items()}
    bound["states"] = {
        "input": _null(scope.input),
        "result": _null(scope.result),
        "errorOutput": scope.error,
        "context": {"Execution": {"Id": scope.execution}},
    }
    expression = template[2:-2].strip()
    try:
        value = _compiled(expression).evaluate(None, bound)
        defined = value is not None or _compiled(f"$exists({expression})").evaluate(None, bound)
    except Exception as error:
        raise TaskError("States.QueryEvaluationError", f"{expression}: {error}") from error
    if not defined:
        raise TaskError("States.QueryEvaluationError", f"{expression} is undefined")
    return _plain(value)


@cache
def _compiled(expression: str) -> Jsonata:
    return Jsonata.jsonata(expression)


def _null(value: Any) -> Any:
    """Mark null, because this JSONata has ``None`` for both null and undefined."""
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, dict):
        return {name: _null(item) for name, item in value.items()}
    return [_null(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if value is Utils.NULL_VALUE:
        return None
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
