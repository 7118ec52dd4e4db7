"""How executions run: patches of the emulator's Step Functions."""

import json
import threading
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

from botocore.serialize import create_serializer
from ministack import app
from ministack.core.responses import (
    error_response_json,
    get_account_id,
    get_region,
    json_response,
)
from ministack.services import stepfunctions

from isodrop_local.faults import error_name, model_of, service_cause
from isodrop_local.image_builder.shapes import convert_case
from isodrop_local.patches import policies
from isodrop_local.retries import retry_delay

_start_execution = stepfunctions._start_execution
_run_parallel_branches = stepfunctions._run_parallel_branches
_dispatch_rest_json = stepfunctions._dispatch_aws_sdk_rest_json
_call_lambda = stepfunctions._call_lambda
_add_event = stepfunctions._add_event
_fail_execution = stepfunctions._fail_execution
_apply_jsonata_arguments = stepfunctions._apply_jsonata_arguments
_apply_jsonata_output = stepfunctions._apply_jsonata_output
_invoke_resource = stepfunctions._invoke_resource
_error_matches = stepfunctions._error_matches
_find_matching_retrier = stepfunctions._find_matching_retrier
_random = Random()  # noqa: S311 # not secret
_task = threading.local()

INTEGRATION: Final = "arn:aws:states:::"
LIMIT: Final = 256 * 1024
"""The maximum size of the input or output of a state, in bytes of JSON.

https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""
TERMINAL: Final = frozenset({"States.DataLimitExceeded", "States.Runtime"})
"""The errors that ``States.ALL`` does not match.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""


def start_execution(data: dict[str, Any]) -> Any:
    """Respond to a repeated StartExecution as to the first.

    "StartExecution is idempotent for STANDARD workflows. […] if you call StartExecution with the
    same name and input as a running execution, the call succeeds and returns the same response as
    the original request." If it has ended, or with another input: ``ExecutionAlreadyExists``, which
    is the emulator's only response. An input of more than 256 KiB is refused.
    https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    """
    given = data.get("input", "{}")
    if len(given.encode()) > LIMIT:
        return error_response_json(
            "ValidationException",
            "1 validation error detected: Value at 'input' failed to satisfy constraint: Member"
            f" must have length less than or equal to {LIMIT}",
            400,
        )
    machine = stepfunctions._state_machines.get(data.get("stateMachineArn", ""))
    if machine is not None and data.get("name"):
        scope = f"{get_region()}:{get_account_id()}"
        arn = f"arn:aws:states:{scope}:execution:{machine['name']}:{data['name']}"
        known = stepfunctions._executions.get(arn)
        if known and known["status"] == "RUNNING" and known["input"] == given:
            return json_response({"executionArn": arn, "startDate": known["startDate"]})
    return _start_execution(data)


def run_parallel_branches(
    state: dict[str, Any], given: Any, execution: dict[str, Any], ctx: dict[str, Any]
) -> tuple[Any, str | None]:
    """Support Arguments, Output, Assign and scope of a JSONata Parallel; the emulator ignores them.

    "Arguments […] pass information to the branches", "Output […] transforms the output"; variables
    that a branch assigns are its own and end with it.
    https://docs.aws.amazon.com/step-functions/latest/dg/state-parallel.html
    https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html
    """
    if stepfunctions._state_query_language(state, ctx) != "JSONata":
        branches: tuple[Any, str | None] = _run_parallel_branches(state, given, execution, ctx)
        return branches
    bare = {name: state[name] for name in ("Type", "Branches", "Next", "End") if name in state}
    inner = {**ctx, "variables": dict(ctx.get("variables", {}))}
    arguments = stepfunctions._apply_jsonata_arguments(state, given, ctx)
    results, following = _run_parallel_branches(bare, arguments, execution, inner)
    output = stepfunctions._apply_jsonata_output(state, given, ctx, result=results, default=results)
    stepfunctions._apply_state_assign(state, given, ctx, result=results)
    return output, following


def call_rest_json(info: dict[str, Any], service: str, action: str, given: Any) -> Any:
    """Call a REST-JSON service as its model defines, and return its result in PascalCase.

    "Parameters and results of AWS SDK integrations are in PascalCase, even if the native service
    API is in camelCase"; errors are prefixed with the service's name, ``Imagebuilder.``, and their
    causes end with the service, the status and the request id. The emulator uses POST always, and
    changes the case of keys of maps (tags), too.
    https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
    """
    if service != "imagebuilder":
        return _dispatch_rest_json(info, service, action, given)
    operation = model_of(service).operation_model(action[0].upper() + action[1:])
    wire = convert_case(operation.input_shape, given or {}, str.lower)
    request = create_serializer("rest-json").serialize_to_request(wire, operation)
    status, headers, text = app.call_service_handler_sync(
        app.SERVICE_HANDLERS[service],
        request["method"],
        request["url_path"],
        request["headers"],
        request["body"],
        {name: [str(value)] for name, value in request["query_string"].items()},
    )
    try:
        response = json.loads(text or b"{}")
    except ValueError as error:
        raise stepfunctions._ExecutionError(
            "Imagebuilder.SdkClientException", "Unable to execute HTTP request"
        ) from error
    if status >= 400:
        lower = {name.lower(): value for name, value in headers.items()}
        code = lower.get("x-amzn-errortype", "").partition(":")[0]
        cause = service_cause(response.get("message", ""), "Imagebuilder", status)
        raise stepfunctions._ExecutionError(error_name(service, code), cause)
    return convert_case(operation.output_shape, response, str.upper)


def invoke_resource(resource: str, given: Any) -> Any:
    """Refuse a result of more than 256 KiB, which the emulator accepts.

    ``States.DataLimitExceeded`` is reported if the output of a connector or a state, or the input
    of one, is larger than the quota.
    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """
    return _limited(_invoke_resource(resource, given), resource)


def apply_jsonata_output(*given: Any, **named: Any) -> Any:
    """Refuse an output of more than 256 KiB, which the emulator accepts."""
    return _limited(_apply_jsonata_output(*given, **named), "Output")


def _limited(payload: Any, what: str) -> Any:
    if len(json.dumps(payload, ensure_ascii=False).encode()) > LIMIT:
        raise stepfunctions._ExecutionError(
            "States.DataLimitExceeded",
            f"The state/task '{what}' returned a result with a size exceeding the maximum number of"
            " bytes service limit.",
        )
    return payload


def error_matches(names: Sequence[str], error: str) -> bool:
    """Exclude terminal errors from ``States.ALL``.

    It cannot catch the terminal ``States.DataLimitExceeded``, nor ``States.Runtime``. In the
    emulator it catches them.
    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """
    if error in TERMINAL:
        return error in names
    matched: bool = _error_matches(names, error)
    return matched


def find_matching_retrier(
    retriers: Sequence[dict[str, Any]], error: str, retry_counts: Mapping[int, int]
) -> tuple[dict[str, Any] | None, int]:
    """Wait as long as the retrier says, and return it without a delay of its own.

    The emulator knows neither ``MaxDelaySeconds`` nor ``JitterStrategy``, and never waits for more
    than a minute: many executions that are throttled at once use up their retries too early.
    """
    retrier, index = _find_matching_retrier(retriers, error, retry_counts)
    if retrier is None:
        return None, index
    stepfunctions._scaled_sleep(retry_delay(retrier, retry_counts.get(index, 0), _random))
    return {**retrier, "IntervalSeconds": 0}, index


def apply_state_assign(
    state: dict[str, Any],
    given: Any,
    ctx: dict[str, Any],
    result: Any = None,
    error_output: Any = None,
) -> None:
    """Assign all variables of a state at once, each from the values before the assignment.

    First all new values are computed from the variables on entry; then they are
    assigned. In the emulator, each expression sees the previous assignment.
    https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html
    """
    assign = state.get("Assign")
    if stepfunctions._state_query_language(state, ctx) == "JSONata" and isinstance(assign, dict):
        template = stepfunctions._apply_jsonata_template
        fresh = {
            name: template(each, given, ctx, result=result, error_output=error_output)
            for name, each in assign.items()
        }
        ctx.setdefault("variables", {}).update(fresh)


def evaluate_choice(rule: dict[str, Any], given: Any, ctx: dict[str, Any]) -> bool:
    """Accept only a boolean as a condition; the emulator accepts what JSONata casts to one.

    A condition must be true or false; anything else is ``States.QueryEvaluationError``.
    https://docs.aws.amazon.com/step-functions/latest/dg/state-choice.html
    """
    held: bool = stepfunctions._jsonata_state_field(rule, "Condition", "boolean", given, ctx)
    return held


SET_DEFAULT_VERSION: Final = {
    ("ec2", "ModifyLaunchTemplate"): {"DefaultVersion": "SetDefaultVersion"}
}
"""A member with another name in the request; the emulator's table lacks it.

``DefaultVersion`` of ModifyLaunchTemplate is sent as ``SetDefaultVersion``: see botocore's model.
"""


def call_lambda(function: str, event: Any) -> Any:
    """Return ``Lambda.TooManyRequestsException`` for a throttled invocation.

    "As a best practice, ensure production code can handle AWS Lambda service exceptions
    (Lambda.ClientExecutionTimeoutException, […] Lambda.TooManyRequestsException)". The emulator
    returns ``Lambda.Unknown``, for which retries end much earlier.
    https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
    """
    try:
        return _call_lambda(function, event)
    except stepfunctions._ExecutionError as error:
        if error.error == "Lambda.Unknown" and "TooManyRequestsException" in error.cause:
            cause = service_cause("Rate Exceeded.", "Lambda", 429)
            name = "Lambda.TooManyRequestsException"
            raise stepfunctions._ExecutionError(name, cause) from error
        raise


class AbortedError(Exception):
    """The execution was stopped, so nothing else in it may run."""


def apply_jsonata_arguments(state: dict[str, Any], given: Any, ctx: dict[str, Any]) -> Any:
    """Record the input of a task for :func:`add_event`; refuse an input that is too large."""
    _task.arguments = _limited(_apply_jsonata_arguments(state, given, ctx), "Arguments")
    return _task.arguments


def add_event(execution: dict[str, Any], kind: str, details: Any = None) -> None:
    """End a stopped execution at once, and add the input of tasks to the history.

    StopExecution ends an execution at once, whatever state it is in; nothing catches it
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html). In the
    emulator the branches of a Parallel, and a state's retries, go on. A task's ``parameters``, "the
    JSON data passed to the resource", are missing in its history
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_TaskScheduledEventDetails.html).
    ``resourceType`` is "the service name of the resource" and ``resource`` its action; the emulator
    has the whole ARN of an integration as its resource
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_TaskSucceededEventDetails.html).
    """
    if kind == "TaskScheduled":
        if execution["status"] != "RUNNING":
            raise AbortedError(execution["status"])
        given = json.dumps(getattr(_task, "arguments", None))
        details["taskScheduledEventDetails"] |= {"parameters": given}
        authorize(execution, details["taskScheduledEventDetails"]["resource"])
    for detail in (details or {}).values():
        if isinstance(detail, dict) and str(detail.get("resource", "")).startswith(INTEGRATION):
            service, _, action = detail["resource"].removeprefix(INTEGRATION).rpartition(":")
            detail |= {"resourceType": service, "resource": action}
    _add_event(execution, kind, details)


def authorize(execution: dict[str, Any], resource: str) -> None:
    """Fail a task that the state machine's role does not allow; the emulator does not check it.

    https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
    """
    given = getattr(_task, "arguments", None) or {}
    service, _, action = resource.removeprefix(INTEGRATION).rpartition(":")
    if resource.startswith(INTEGRATION) and service == "lambda":
        check = policies.Check("lambda:InvokeFunction", given["FunctionName"])
        error = "Lambda.AWSLambdaException"
    elif service == "aws-sdk:imagebuilder":
        named = f"imagebuilder:{action[0].upper()}{action[1:]}"
        check = policies.Check(named, given.get("ImageBuildVersionArn", "*"))
        error = error_name("imagebuilder", "AccessDeniedException")
    else:
        return  # of other state machines, which tests deploy
    role = stepfunctions._state_machines[execution["stateMachineArn"]]["roleArn"]
    if not policies.may_act(role, check):
        cause = f"{role} is not authorized to perform: {check.action} on resource: {check.resource}"
        raise stepfunctions._ExecutionError(error, cause)


def fail_execution(execution: dict[str, Any], error: str, cause: str) -> None:
    """Leave an execution that has ended as it is."""
    if execution["status"] == "RUNNING":
        _fail_execution(execution, error, cause)


def apply() -> None:
    """Apply the patches."""
    stepfunctions._QUERY_PARAM_NAME_OVERRIDES |= SET_DEFAULT_VERSION
    stepfunctions._start_execution = start_execution
    stepfunctions._run_parallel_branches = run_parallel_branches
    stepfunctions._dispatch_aws_sdk_rest_json = call_rest_json
    stepfunctions._apply_jsonata_arguments = apply_jsonata_arguments
    stepfunctions._apply_jsonata_output = apply_jsonata_output
    stepfunctions._apply_state_assign = apply_state_assign
    stepfunctions._evaluate_jsonata_choice_rule = evaluate_choice
    stepfunctions._error_matches = error_matches
    stepfunctions._find_matching_retrier = find_matching_retrier
    stepfunctions._invoke_resource = invoke_resource
    stepfunctions._call_lambda = call_lambda
    stepfunctions._add_event = add_event
    stepfunctions._fail_execution = fail_execution
